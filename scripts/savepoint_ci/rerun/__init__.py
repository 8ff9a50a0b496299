"""Verdicts by rerun: the same tests in another order, under load, at another time, until the difference is known."""
