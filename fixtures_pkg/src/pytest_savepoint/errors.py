"""Every error that Savepoint raises on purpose: what happened, the likely cause, the way out."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "ExitCode",
    "GuardError",
    "MigrationError",
    "OutgoingCallError",
    "SandboxError",
    "SavepointError",
    "ServerError",
    "SettingsError",
]


class ExitCode(IntEnum):
    """What a run says to the shell; a contract, see docs/how-it-works.md."""

    GREEN = 0
    TESTS_FAILED = 1
    USAGE = 2
    DATABASE = 3
    GATE = 4
    INTERRUPTED = 130


class SavepointError(Exception):
    """The base of our errors; its message is complete and ready to be shown to a person."""

    exit_code = ExitCode.USAGE


class SettingsError(SavepointError):
    """One or more settings are wrong; the message lists all of them."""


class GuardError(SavepointError):
    """A database or server that is not ours, or not clearly for tests, was refused."""


class ServerError(SavepointError):
    """No PostgreSQL server could be provided."""

    exit_code = ExitCode.DATABASE


class MigrationError(SavepointError):
    """The template could not be built, with the caller's own traceback, or it is not what is built now."""

    exit_code = ExitCode.DATABASE


class SandboxError(SavepointError):
    """One connection cannot serve what a test does; the message names both parties."""


class OutgoingCallError(SavepointError):
    """A test wanted to reach another machine; no OSError, which clients would turn into an error of theirs."""
