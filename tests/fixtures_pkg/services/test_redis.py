"""Redis is empty when a test begins, whoever wrote what in it, and nobody else's keys are touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from programs import LEAN
from pytest_savepoint.servers.docker import our_containers
from pytest_savepoint.services.redis_container import RedisContainer
from pytest_savepoint.services.redis_server import OwnRedis, redis_program

# Whole runs of pytest, or of migrations, which take seconds.
pytestmark = pytest.mark.e2e

IMAGE = "savepoint/redis:7"
SOURCE = Path(__file__).parents[3] / "fixtures_pkg" / "src"

TESTS = """
import os, subprocess, sys
import pytest, redis

URL = os.environ["REDIS_URL"]  # read at import, as applications do
STORE = redis.Redis.from_url(URL)

@pytest.mark.parametrize("number", range(12))
def test_each_begins_empty(number):
    assert STORE.dbsize() == 0
    STORE.set("key", number)
    write = "import redis, sys; redis.Redis.from_url(sys.argv[1]).set('other', 1)"
    if number < 2:
        subprocess.run([sys.executable, "-c", write, URL], check=True)
        assert STORE.dbsize() == 2
    assert STORE.get("key") == str(number).encode()

def test_url(record_property):
    print("URL", URL)
"""


def database(url: str, number: int) -> redis.Redis:
    return redis.Redis.from_url(url.removesuffix("/0") + f"/{number}")


@pytest.fixture
def run(tmp_path: Path):
    def run_tests(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text(TESTS)
        (tmp_path / "pyproject.toml").write_text('[tool.savepoint]\nservices = ["redis"]\n')
        command = [sys.executable, "-m", "pytest", "-p", "no:savepoint", *LEAN, "-p", "pytest_savepoint.plugin", "-rA", *arguments]
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "SAVEPOINT_"))}
        environment |= {"PYTHONPATH": str(SOURCE), "REDIS_URL": "redis://production:6379/0", **variables}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run_tests


@pytest.fixture
def given() -> Iterator[str]:
    """The URL of a server that is not the run's own, with somebody's keys in database 1."""
    server = OwnRedis.start(redis_program(), timeout=30)
    url = server.url.reveal()
    database(url, 1).set("precious", 1)
    yield url
    server.stop()


def test_every_test_begins_empty_in_each_worker(run) -> None:
    done = run("-n", "2")
    assert "13 passed" in done.stdout, done.stdout + done.stderr


def test_given_server_keeps_its_keys_and_gets_back_what_was_claimed(run, given) -> None:
    done = run(SAVEPOINT_REDIS_URL=given)
    assert "13 passed" in done.stdout, done.stdout + done.stderr
    assert given.removesuffix("/0") + "/2" in done.stdout  # 0 keeps who owns what, 1 is somebody's
    assert database(given, 1).get("precious") == b"1"
    assert database(given, 0).keys() == []


def test_every_test_begins_empty_in_a_container(run, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    done = run(SAVEPOINT_REDIS_IMAGE=IMAGE, SAVEPOINT_CACHE=str(cache))
    assert "13 passed" in done.stdout, done.stdout + done.stderr
    assert our_containers(cache) == []


def test_password_of_a_container_is_on_no_command_line(tmp_path: Path) -> None:
    server = RedisContainer.start(IMAGE, cache=tmp_path, timeout=30)
    password = urlsplit(server.url.reveal()).password
    assert redis.Redis.from_url(server.url.reveal()).ping()
    shown = subprocess.run(["docker", "top", *our_containers(tmp_path)], check=True, capture_output=True, text=True).stdout
    server.stop()
    assert "redis-server" in shown
    assert password not in shown


def test_container_that_cannot_start_shows_its_log_and_is_removed(run, tmp_path: Path) -> None:
    done = run(SAVEPOINT_REDIS_IMAGE="savepoint/postgres:15", SAVEPOINT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 3
    assert "Redis in a container of savepoint/postgres:15 did not start" in done.stderr
    assert "exec: -: not found" in done.stderr
    assert our_containers(tmp_path / "cache") == []


@pytest.mark.e2e
def test_server_that_is_not_this_machines_is_refused(run) -> None:
    done = run(SAVEPOINT_REDIS_URL="redis://:hush@cache.example.com/0")
    assert done.returncode == 2
    assert "redis-url leads to cache.example.com" in done.stderr
    assert "hush" not in done.stdout + done.stderr


def test_server_ends_with_the_process_that_started_it_even_when_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import time\nfrom pytest_savepoint.services.redis_server import OwnRedis, redis_program\n"
        "print(OwnRedis.start(redis_program(), timeout=30).url.reveal(), flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCE)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    client = redis.Redis.from_url(process.stdout.readline().strip())
    blocked = client.pubsub()
    blocked.subscribe("end")
    blocked.get_message(timeout=10)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with suppress(redis.ConnectionError):
        blocked.get_message(timeout=30)  # until the server hangs up
    with pytest.raises(redis.ConnectionError):
        client.ping()
