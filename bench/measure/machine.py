"""The servers that all peers share, and one measured process on them."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from pytest_savepoint.servers import start_server
from pytest_savepoint.services.redis_server import OwnRedis, redis_program
from pytest_savepoint.settings import read_settings
from redis import Redis

from measure.processor import parent_of, server_seconds

__all__ = ["BENCH", "PYTEST", "Machine", "machine"]

BENCH = Path(__file__).resolve().parents[1]
# The peers' plugins, which pytest finds by itself, have fixtures of the same names as the suites.
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:sqla", "-p", "no:async-sqlalchemy"]


@dataclass(frozen=True)
class Machine:
    """The servers, a folder for what is thrown away, and how to run something between them."""

    scratch: Path
    servers: tuple[int, ...]
    """The process id of the first process of each."""
    version: str
    server_url: str
    database_url: str
    redis_url: str

    def run(self, command: list[str], *, folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
        """Run Python with these arguments and give its seconds: what its clock wrote, `start` and `end` as times of
        day, and the processor time of all its processes and the servers as `total_cpu`.

        :raises SystemExit: with its output when it failed.
        """
        clock = self.scratch / "clock.json"
        clock.unlink(missing_ok=True)
        variables = self.environ({"BENCH_CLOCK": str(clock), "BENCH_SERVERS": " ".join(map(str, self.servers)), **environ})
        before, start = self._processor_seconds(), time.time()
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        seconds: dict[str, Any] = {"start": start, "end": time.time(), "total_cpu": self._processor_seconds() - before}
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return seconds | (json.loads(clock.read_text()) if clock.exists() else {})

    @staticmethod
    def environ(further: Mapping[str, str]) -> dict[str, str]:
        """The environment of this process and `further` variables, whose PYTHONPATH comes first."""
        paths = os.pathsep.join((further.get("PYTHONPATH", ""), os.environ["PYTHONPATH"]))
        return {**os.environ, **further, "PYTHONPATH": paths}

    def _processor_seconds(self) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime + server_seconds(self.servers)


@contextmanager
def machine() -> Iterator[Machine]:
    """A machine with servers of its own, which end with the block."""
    program = redis_program()
    if program is None:
        raise SystemExit("redis-server is missing; install it: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        scratch = Path(name)
        # The server's own account has to reach it.
        scratch.chmod(0o755)
        server = start_server(read_settings(scratch, flags={}), cache=scratch / "server")
        redis = OwnRedis.start(program, timeout=10)
        try:
            postmaster = asyncio.run(_prepare(server.address.url("postgres", "postgresql")))
            url = redis.url.reveal()
            servers = postmaster, Redis.from_url(url).info("server")["process_id"]
            addresses = server.address.url("postgres"), server.address.url("bench"), url
            yield Machine(scratch, servers, server.version, *addresses)
        finally:
            redis.stop()
            server.stop()


async def _prepare(server_url: str) -> int:
    """Make the peers' database; the process id of the server's first process."""
    connection = await asyncpg.connect(server_url)
    await connection.execute("create database bench")
    await connection.close()
    inside = await asyncpg.connect(server_url, database="bench")
    await inside.execute("create table rows (id serial primary key, name text not null)")
    postmaster = parent_of(inside.get_server_pid())
    await inside.close()
    return postmaster
