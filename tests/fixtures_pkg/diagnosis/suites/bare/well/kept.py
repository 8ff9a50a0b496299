"""Keeps what it made first; under test, that is as it should be."""

_greeting = None


def greeting():
    global _greeting
    if _greeting is None:
        _greeting = "hello"
    return _greeting
