"""A container by the official image's contract, on the real Docker engine."""

from __future__ import annotations

import subprocess

import asyncpg
import pytest
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers import start_server
from pytest_savepoint.servers.docker import our_containers

pytestmark = pytest.mark.e2e

IMAGE = "savepoint/postgres:15"


@pytest.fixture(scope="module", autouse=True)
def _image() -> None:
    there = subprocess.run(["docker", "image", "inspect", IMAGE], check=False, capture_output=True)
    assert there.returncode == 0, f"{IMAGE} is missing; build it with tests/e2e/postgres_image/build"


async def test_server_in_a_container_is_tuned_and_gone_after_stop(make_settings, own_cache) -> None:
    server = start_server(make_settings(provider="container", postgres_image=IMAGE), cache=own_cache)
    connection = await asyncpg.connect(**server.address.connect_arguments("postgres"))
    names = ("fsync", "data_directory", "server_encoding", "lc_collate", "lc_ctype")
    shown = [await connection.fetchval("select current_setting($1)", name) for name in names]
    await connection.close()
    assert shown == ["off", "/savepoint/data", "UTF8", "C", "C.UTF-8"]
    assert server.address.host == "127.0.0.1"
    assert "ready to accept connections" in server.log_tail()
    assert len(our_containers(own_cache)) == 1
    server.stop()
    assert our_containers(own_cache) == []


def test_container_that_cannot_start_shows_its_log_and_is_removed(make_settings, own_cache) -> None:
    settings = make_settings(provider="container", postgres_image=IMAGE, postgres_settings="no_such_setting=1")
    with pytest.raises(ServerError, match="unrecognized configuration parameter"):
        start_server(settings, cache=own_cache)
    assert our_containers(own_cache) == []


def test_image_that_cannot_be_pulled_says_so(make_settings, own_cache) -> None:
    with pytest.raises(ServerError, match=r"The image savepoint\.invalid/postgres:15 is not on this machine"):
        start_server(make_settings(postgres_image="savepoint.invalid/postgres:15"), cache=own_cache)


def test_kept_container_serves_the_next_run_and_clean_removes_it_when_asked(make_settings, own_cache) -> None:
    settings = make_settings(postgres_image=IMAGE)
    kept = start_server(settings, cache=own_cache)
    kept.keep()
    next_one = start_server(settings, cache=own_cache)
    assert next_one.address == kept.address
    kept.stop()
    next_one.stop()
    (name,) = our_containers(own_cache)
    assert clean(make_settings(), cache=own_cache) == []
    assert clean(make_settings(), cache=own_cache, kept=True) == [f"container {name}"]
    assert our_containers(own_cache) == []


def test_container_of_a_killed_run_is_removed_by_clean_and_of_a_living_one_is_not(
    make_settings, own_cache, start_server_and_die
) -> None:
    living = start_server(make_settings(postgres_image=IMAGE), cache=own_cache)
    (name,) = our_containers(own_cache)
    start_server_and_die(own_cache, postgres_image=IMAGE)
    (orphan,) = set(our_containers(own_cache)) - {name}
    assert clean(make_settings(), cache=own_cache) == [f"container {orphan}"]
    assert our_containers(own_cache) == [name]
    living.stop()
