"""Start PostgreSQL and leave it running for the steps that follow."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers import Server, start_server

from savepoint_ci.invocation import Invocation
from savepoint_ci.state import Failed, Provisioned, Started

__all__ = ["provision", "provision_in_background", "wait_for_server"]

LAUNCHER = Path(__file__).resolve().parents[2] / "savepoint"
PULLING_AN_IMAGE = 180.0
LOOK_EVERY = 0.05


def provision(invocation: Invocation, *, keep: bool = True) -> Server | None:
    """Start the server, or say why none is needed.

    :param keep: it lives on after this process, until `clean`.
    :raises ServerError: when no server could be started.
    """
    settings, state = invocation.settings, invocation.state
    start = time.monotonic()
    if settings.isolation == "none":
        invocation.display.say("savepoint: isolation is none, so your suite keeps its own database; no server is started")
        state.save(Provisioned(seconds=0.0))
        return None
    server = start_server(settings, cache=invocation.cache, keep=keep)
    state.save(
        Provisioned(
            seconds=time.monotonic() - start,
            provider=server.provider,
            reason=server.reason,
            version=server.version,
            url=server.address.url("postgres", scheme="postgresql"),
        )
    )
    invocation.display.say(f"savepoint: PostgreSQL {server.version} ({server.provider}: {server.reason})")
    return server


def provision_in_background(invocation: Invocation) -> None:
    """Start a process that provisions while other steps go on; `wait_for_server` takes up its result."""
    invocation.state.forget(Provisioned)
    invocation.state.forget(Failed)
    with _log(invocation).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-E", str(LAUNCHER), "provision", str(invocation.project)],
            env={
                **invocation.environ,
                **invocation.settings.environment(),
                "SAVEPOINT_STATE": str(invocation.state.folder),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    invocation.state.save(Started(pid=process.pid))


def wait_for_server(invocation: Invocation) -> Provisioned:
    """The server of this job, waited for when it is still being started, started when nobody did.

    :raises ServerError: when it could not be started, with the reason.
    """
    state, timeout = invocation.state, invocation.settings.server_timeout
    deadline = time.monotonic() + timeout + PULLING_AN_IMAGE
    started, known = state.load(Started), state.load(Provisioned)
    if known is None and started is None:
        provision(invocation)
    while (provisioned := state.load(Provisioned)) is None:
        if (failed := state.load(Failed)) and failed.step == "provision":
            raise ServerError(failed.message)
        if started and not _is_alive(started.pid) and state.load(Provisioned) is None:
            raise ServerError(f"The process that starts the server ended without a result:\n{_log_tail(invocation)}")
        if time.monotonic() > deadline:
            raise ServerError(
                f"The server was not ready in time; server-timeout is {timeout:g} s "
                f"(and {PULLING_AN_IMAGE:g} s more for an image):\n{_log_tail(invocation)}"
            )
        time.sleep(LOOK_EVERY)
    return provisioned


def _is_alive(pid: int) -> bool:
    try:
        if os.name == "posix":
            os.waitpid(pid, os.WNOHANG)  # when it is our own child, it stays a zombie until it is asked for
    except ChildProcessError:
        pass
    return psutil.pid_exists(pid)


def _log(invocation: Invocation) -> Path:
    return invocation.state.folder / "provision.log"


def _log_tail(invocation: Invocation) -> str:
    try:
        return "\n".join(_log(invocation).read_text("utf-8", "replace").splitlines()[-40:])
    except FileNotFoundError:
        return "(it left no log)"
