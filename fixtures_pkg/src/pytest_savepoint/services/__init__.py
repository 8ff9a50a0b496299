"""Further services of a test run, declared like PostgreSQL and empty at the start of each test."""
