"""Start PostgreSQL and leave it running for the steps that follow.

A process of its own holds the server for the whole job. While it lives nobody's clean-up takes the server away, and
when it is killed the server is free to be taken.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_savepoint.errors import ServerError

from savepoint_ci.invocation import Invocation
from savepoint_ci.state import Failed, Provisioned, Started

if TYPE_CHECKING:
    import psutil
    from pytest_savepoint.servers import Server

__all__ = [
    "let_go",
    "provision",
    "provision_and_hold",
    "provision_in_background",
    "start",
    "wait_for_server",
]

LAUNCHER = Path(__file__).resolve().parents[2] / "savepoint"
PULLING_AN_IMAGE = 180.0
LOOK_EVERY = 0.02
STOPPING = 60.0
HOLDING = 2.0


def provision(invocation: Invocation) -> None:
    """Start the server and wait until it answers.

    :raises ServerError: when no server could be started.
    """
    provision_in_background(invocation)
    provisioned = wait_for_server(invocation)
    if provisioned.url:
        invocation.display.say(
            f"savepoint: PostgreSQL {provisioned.version} ({provisioned.provider}: {provisioned.reason})"
        )


def provision_in_background(invocation: Invocation) -> None:
    """Start the process that starts and holds the server; `wait_for_server` takes up its result."""
    import subprocess  # noqa: PLC0415 - most steps find the server started, and need none of this

    import psutil  # noqa: PLC0415

    let_go(invocation)
    invocation.state.forget(Provisioned)
    invocation.state.forget(Failed)
    variables = invocation.settings.environment() | {"SAVEPOINT_STATE": str(invocation.state.folder)}
    if job := _job(invocation):
        variables["SAVEPOINT_JOB"] = str(job.pid)
    with _log(invocation).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), "provision", "--hold"],
            cwd=invocation.project,
            env=invocation.environ_without_token | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    invocation.state.save(Started(pid=process.pid, created=psutil.Process(process.pid).create_time()))


def provision_and_hold(invocation: Invocation) -> None:
    """Start the server, and hold it until this process is ended, the job's end rings, or the job or its state is gone.

    :raises ServerError: when no server could be started.
    """
    import psutil  # noqa: PLC0415 - the process that holds the server only
    from pytest_savepoint.databases.kept import give_back  # noqa: PLC0415

    from savepoint_ci.bell import Bell  # noqa: PLC0415
    from savepoint_ci.steps.end import leave  # noqa: PLC0415

    runner = invocation.environ.get("SAVEPOINT_JOB")
    job = psutil.Process(int(runner)) if runner else None
    server = start(invocation)
    if server is None:
        return
    is_over = False
    try:
        bell = Bell(invocation.state.folder)
        while not is_over and invocation.state.folder.exists() and (job is None or job.is_running()):
            is_over = bell.rings_within(HOLDING)
    except KeyboardInterrupt:
        pass
    finally:
        give_back(server)
    if is_over:
        leave(invocation)


def start(invocation: Invocation) -> Server | None:
    """Start the server and write down where it is; None when the suite needs none.

    :raises ServerError: when no server could be started.
    """
    from pytest_savepoint.servers import start_server  # noqa: PLC0415 - the process that starts it only

    began = time.monotonic()
    if invocation.settings.isolation == "none":
        invocation.state.save(Provisioned(seconds=0.0))
        return None
    if invocation.settings.provider == "sqlite":
        invocation.state.save(Provisioned(seconds=0.0, provider="sqlite", reason="SQLite in memory, which needs none"))
        return None
    server = start_server(invocation.settings, cache=invocation.cache)
    invocation.state.save(
        Provisioned(
            seconds=time.monotonic() - began,
            provider=server.provider,
            reason=server.reason,
            version=server.version,
            url=server.address.url("postgres", scheme="postgresql"),
        )
    )
    return server


def wait_for_server(invocation: Invocation) -> Provisioned:
    """The server of this job, waited for when it is still being started, started when nobody did.

    :raises ServerError: when it could not be started, with the reason.
    """
    state, timeout = invocation.state, invocation.settings.server_timeout
    deadline = time.monotonic() + timeout + PULLING_AN_IMAGE
    if state.load(Provisioned) is None and state.load(Started) is None:
        provision_in_background(invocation)
    while (provisioned := state.load(Provisioned)) is None:
        lives = _holder(invocation) is not None
        if (failed := state.load(Failed)) and failed.step == "provision":
            raise ServerError(failed.message)
        if not lives and state.load(Provisioned) is None:
            raise ServerError(f"The process that starts the server ended without a result:\n{_log_tail(invocation)}")
        if time.monotonic() > deadline:
            raise ServerError(
                f"The server was not ready in time; server-timeout is {timeout:g} s "
                f"(and {PULLING_AN_IMAGE:g} s more for an image):\n{_log_tail(invocation)}"
            )
        time.sleep(LOOK_EVERY)
    return provisioned


def let_go(invocation: Invocation) -> None:
    """End the process that holds this job's server; the server ends with it when nobody else uses it."""
    if holder := _holder(invocation):
        holder.terminate()
        deadline = time.monotonic() + STOPPING
        # psutil would wait for a zombie, and the first process of a container may reap none.
        while _holder(invocation) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
        if _holder(invocation):
            holder.kill()
    invocation.state.forget(Started)


def _job(invocation: Invocation) -> psutil.Process | None:
    """The process that runs a job's steps, above the shell of this one; a killed runner cleans nothing up."""
    if invocation.environ.get("GITHUB_ACTIONS") != "true":
        return None
    import psutil  # noqa: PLC0415

    shell = psutil.Process().parent()
    return shell.parent() if shell else None


def _holder(invocation: Invocation) -> psutil.Process | None:
    started = invocation.state.load(Started)
    if started is None:
        return None
    import psutil  # noqa: PLC0415 - only while the server is being started, and at the end

    try:
        holder = psutil.Process(started.pid)
        # Another process may have been given the same number since.
        if holder.create_time() == started.created and holder.status() != psutil.STATUS_ZOMBIE:
            return holder
    except psutil.NoSuchProcess:
        pass
    return None


def _log(invocation: Invocation) -> Path:
    return invocation.state.folder / "provision.log"


def _log_tail(invocation: Invocation) -> str:
    try:
        return "\n".join(_log(invocation).read_text("utf-8", "replace").splitlines()[-40:])
    except FileNotFoundError:
        return "(it left no log)"
