from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.settings import Settings, read_settings

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    return lambda **flags: read_settings(tmp_path, flags=flags, environ={})


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the tests of this process: initdb is slow, and a server that a test leaves is used by the next."""
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    clean(read_settings(folder, environ={}), cache=folder)


@pytest.fixture
def own_cache(tmp_path: Path) -> Iterator[Path]:
    """A cache of this test's own, for what the next test must not find."""
    yield tmp_path / "cache"
    clean(read_settings(tmp_path, environ={}), cache=tmp_path / "cache", kept=True)


@pytest.fixture
def start_server_and_die(tmp_path: Path) -> Callable[..., None]:
    """Start a server in a process that is then killed."""
    code = """
import json, os, sys
from pathlib import Path
from pytest_savepoint.servers import start_server
from pytest_savepoint.settings import read_settings
start_server(read_settings(Path("."), flags=json.loads(sys.argv[2]), environ={}), cache=Path(sys.argv[1]))
os.kill(os.getpid(), 9)
"""

    def start(cache: Path, **flags: str) -> None:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", code, str(cache), json.dumps(flags)]
        assert subprocess.run(command, check=False, env=environ, cwd=tmp_path).returncode == -signal.SIGKILL

    return start
