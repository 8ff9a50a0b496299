"""The example in environments of its own, as its authors would have it on their machines."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from programs import UV
from pytest_savepoint.cache import cache_directory

ROOT = Path(__file__).parents[2]
NEWEST_FIRST = ("3.14", "3.13", "3.12", "3.11")
LIMIT = 300

MakeEnvironment = Callable[..., Path]


def find_interpreter(version: str) -> str | None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    managed = subprocess.run(
        [UV, "python", "find", "--managed-python", version], capture_output=True, text=True, check=False
    )
    on_path = shutil.which(f"python{version}")
    for candidate in (on_path, *pyenv.glob(f"versions/{version}.*/bin/python"), managed.stdout.strip()):
        # A name on the PATH may be a shim that leads nowhere.
        if candidate and subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None


@pytest.fixture
def make_environment(tmp_path: Path) -> MakeEnvironment:
    """Make an environment for a version of Python, or for the newest on this machine, and give its interpreter."""
    return lambda version, *install: _install(tmp_path / "environment", _interpreter(version), *install)


@pytest.fixture
def make_corner() -> MakeEnvironment:
    """The same, kept with its bytecode for the next run of these tests, which brings it up to date."""

    def make(version: str, *install: str) -> Path:
        interpreter = _interpreter(version)
        name = hashlib.sha256(repr((interpreter, install)).encode()).hexdigest()[:20]
        return _install(cache_directory(os.environ) / "corners" / name, interpreter, "--upgrade", *install)

    return make


def _interpreter(version: str) -> str:
    candidates = NEWEST_FIRST if version == "newest" else (version,)
    interpreter = next(filter(None, map(find_interpreter, candidates)), None)
    if interpreter is None:
        pytest.fail(f"Python {version} is missing; install it: uv python install {candidates[0]}", pytrace=False)
    return interpreter


def _install(environment: Path, interpreter: str, *install: str) -> Path:
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([UV, "venv", "--quiet", "--no-project", "--python", interpreter, environment], check=True)
    subprocess.run([UV, "pip", "install", "--quiet", "--python", python, *install], cwd=ROOT, check=True)
    return python


class Project:
    """A project to run with plain pytest or with the tool."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.project = folder / "project"
        self.cache = cache
        active = ("VIRTUAL_ENV", "CONDA_PREFIX", "pythonLocation")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "SAVEPOINT_", *active))}
        sources = (ROOT / "fixtures_pkg" / "src", Path(__file__).parent / "plugins")
        self.environ = {
            **kept,
            "PYTHONPATH": os.pathsep.join(map(str, sources)),
            "PYTEST_ADDOPTS": "-p pytest_savepoint.plugin",
            "SAVEPOINT_CACHE": str(self.cache),
            "SAVEPOINT_STATE": str(folder / "state"),
        }

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.project, env=self.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def start_pytest(self, python: Path, *arguments: str) -> subprocess.Popen[str]:
        return self.start(python, "-m", "pytest", "-q", *arguments)

    def tool(self, *arguments: str) -> tuple[int, str]:
        process = self.start(sys.executable, ROOT / "scripts" / "savepoint", *arguments)
        log, _ = process.communicate(timeout=LIMIT)
        return process.returncode, log

    def servers(self) -> list[psutil.Process]:
        """The PostgreSQL servers that were started for this project and still run."""
        return [
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if process.info["name"] == "postgres" and str(self.cache) in " ".join(process.info["cmdline"] or ())
        ]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A cache of this worker's own, so that what is left is ours; what the tool makes once, all of them share."""
    cache = tmp_path_factory.mktemp("machine") / "cache"
    cache.mkdir()
    base = tmp_path_factory.getbasetemp()
    for made_once in ("tool", "compiled", "wheels"):
        shared = (base if worker_id == "master" else base.parent) / "cache" / made_once
        shared.mkdir(parents=True, exist_ok=True)
        (cache / made_once).symlink_to(shared)
    return cache


@pytest.fixture
def project(tmp_path: Path, cache: Path) -> Project:
    """An empty one."""
    project = Project(tmp_path, cache)
    project.project.mkdir()
    return project


@pytest.fixture
def example(project: Project) -> Project:
    """A copy of the example."""
    junk = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "examples" / "shop", project.project, ignore=junk, dirs_exist_ok=True)
    return project
