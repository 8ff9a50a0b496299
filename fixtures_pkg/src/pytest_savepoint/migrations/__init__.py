"""Migrations as tests: one head, down and up again, models, and what a new revision does to data and locks."""
