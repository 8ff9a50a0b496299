"""A real pgbouncer in front of a server of a test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_savepoint.address import Address

PROGRAM = shutil.which("pgbouncer", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin"))) or "pgbouncer"


@contextmanager
def pgbouncer(address: Address, folder: Path, *, mode: str, databases: str = "*") -> Iterator[str]:
    """The URL of a pooler in the given mode, which lasts as long as the block.

    :param databases: the name of the one that it knows, or * for all.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = folder / f"pgbouncer-{port}.ini"
    configuration.write_text(f"""
[databases]
{databases} = host=127.0.0.1 port={address.port} user={address.user} password={address.password.reveal()}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
{"user = nobody" if os.geteuid() == 0 else ""}
""")
    process = subprocess.Popen([PROGRAM, configuration], stderr=subprocess.PIPE, text=True)
    try:
        said = []
        while "process up" not in (said[-1] if said else ""):
            said.append(process.stderr.readline())
            assert said[-1], said
        yield f"postgresql://{address.user}@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.communicate()
