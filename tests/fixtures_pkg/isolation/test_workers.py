"""xdist's workers run the same suite however they are started."""

from __future__ import annotations

import pytest

SUITE = {
    "conftest.py": """
import os
os.environ["MODE"] = "from the conftest"
""",
    "test_it.py": """
import os, sys
from pathlib import Path
import psutil
import pytest
from sqlalchemy import text

@pytest.mark.parametrize("number", range(8))
async def test_works(db_session, number):
    await db_session.execute(text("create temp table t as select 1"))
    started_by = Path(f"/proc/{os.getppid()}/cmdline").read_text()
    way = "spawned" if "-c" in sys.orig_argv else "forked by a server" if "server.py" in started_by else "forked"
    assert way == os.environ["EXPECTED"], started_by
    assert psutil.Process().children() == []
    assert os.environ["MODE"] == "from the conftest"

def test_dies():
    os._exit(3)
""",
}


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("way", "expected", "further"),
    [
        ("auto", "forked", ("-n", "auto")),
        # A plugin of the project is there before pytest asks any plugin for anything.
        ("auto", "forked by a server", ("-p", "the_projects_plugin")),
        ("spawn", "spawned", ()),
    ],
)
def test_worker_that_dies_is_replaced_and_named(run_suite, way, expected, further):
    suite = {**SUITE, "the_projects_plugin.py": ""}
    variables = {"EXPECTED": expected, "SAVEPOINT_WORKER_START": way, "SAVEPOINT_SCHEMA": "none"}
    result = run_suite(suite, "-o", "asyncio_mode=auto", "-n", "2", *further, PYTEST_XDIST_AUTO_NUM_WORKERS="2", **variables)
    assert "1 failed, 8 passed" in result.stdout, result.stdout + result.stderr
    assert "crashed while running 'test_it.py::test_dies'" in result.stdout


@pytest.mark.e2e
def test_workers_start_as_xdist_starts_them_where_no_socket_can_be_made(run_suite, tmp_path):
    deep = tmp_path / ("a-folder-with-a-long-name" * 5)
    deep.mkdir()
    result = run_suite(
        SUITE, "-o", "asyncio_mode=auto", "-n", "2", "-k", "works",
        EXPECTED="spawned", SAVEPOINT_SCHEMA="none", TMPDIR=str(deep),
    )  # fmt: skip
    assert "8 passed" in result.stdout, result.stdout + result.stderr


REWRITTEN = {
    "conftest.py": """
import pytest
pytest.register_assert_rewrite("mako")
import mako.template
""",
    "test_it.py": """
import sys
import pytest

@pytest.mark.parametrize("number", range(2))
def test_explains(number):
    assert "-c" not in sys.orig_argv
    assert type(sys.modules["mako.template"].__spec__.loader).__name__ == "AssertionRewritingHook"
""",
}


@pytest.mark.e2e
def test_library_whose_assertions_the_conftest_has_rewritten_is_rewritten_in_workers(run_suite):
    result = run_suite(REWRITTEN, "-o", "asyncio_mode=auto", "-n", "2", SAVEPOINT_SCHEMA="none")
    assert "2 passed" in result.stdout, result.stdout + result.stderr
    assert "warning" not in result.stdout
