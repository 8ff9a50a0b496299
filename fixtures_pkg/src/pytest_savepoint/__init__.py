"""Async Python tests against real PostgreSQL: a database per worker, a savepoint per test."""

__version__ = "0.1.0"
