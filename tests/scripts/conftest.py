"""The tool, called as people call it: scripts/savepoint in a process of its own, on a small project."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from programs import LEAN, UV

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "scripts" / "savepoint"
LIMIT = 300.0


@dataclass
class Tool:
    """The launcher with a project, in an environment that can be changed."""

    project: Path
    environ: dict[str, str] = field(repr=False)
    python: str = sys.executable
    launcher: Path = LAUNCHER

    def write(self, **files: str) -> None:
        for name, text in files.items():
            self.project.joinpath(f"{name}.py").write_text(text)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=LIMIT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, self.launcher, *arguments], cwd=self.project, env=self.environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.project / ".savepoint" / "report.json").read_text())

    @property
    def outcomes(self) -> dict[str, str]:
        return {test["nodeid"].rpartition("::")[2]: test["outcome"] for test in self.report["tests"]}


@pytest.fixture(scope="session")
def path(tmp_path_factory) -> str:
    """A PATH with uv, and on which no environment comes first: that would be the caller's own, to install into."""
    uv = tmp_path_factory.mktemp("bin") / "uv"
    uv.symlink_to(UV)
    folders = os.environ["PATH"].split(os.pathsep)
    others = [each for each in folders if not Path(each).with_name("pyvenv.cfg").exists()]
    return os.pathsep.join([*others, str(uv.parent)])


@pytest.fixture(scope="session")
def cache(tmp_path_factory, worker_id) -> Path:
    """One cache for all workers of this test run, as one machine has one."""
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "cache"


@pytest.fixture
def tool(tmp_path, cache, path) -> Tool:
    """The tool with an empty project and no environment active."""
    project = tmp_path / "project"
    project.mkdir()
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    kept["PATH"] = path
    mirrors = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    return Tool(project, {**mirrors, **kept, "SAVEPOINT_CACHE": str(cache), "SAVEPOINT_COVERAGE": "false", "SAVEPOINT_RERUN_BUDGET": "0"})


@pytest.fixture
def observer(tool) -> Tool:
    """The tool that only observes, with the environment of these tests as the caller's: no server, no installation."""
    tool.environ |= {
        "SAVEPOINT_PYTHON": sys.executable,
        "SAVEPOINT_INSTALL": "none",
        "SAVEPOINT_ISOLATION": "none",
        "SAVEPOINT_WORKERS": "0",
        "SAVEPOINT_PYTEST_ARGS": "-p pytest_savepoint.plugin",
        "PYTEST_ADDOPTS": shlex.join(LEAN),
        "PYTHONPATH": str(ROOT / "fixtures_pkg" / "src"),
    }
    return tool
