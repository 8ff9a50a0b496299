"""Calling pytest in the caller's environment, and following what it does."""
