"""Plain pytest shows what was found, whether the tests run in its own process or in workers, with an evidence file or without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Each of them is a whole run of pytest.
pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SUITE = Path(__file__).parent / "diagnosis" / "suites" / "narrow"


@pytest.mark.parametrize("workers", [[], ["-p", "xdist.plugin", "-n", "1"]], ids=["one process", "a worker"])
@pytest.mark.parametrize("has_file", [True, False], ids=["evidence file", "no file"])
def test_finding_is_shown(workers, has_file, tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SAVEPOINT_"))}
    environ = {**kept, "PYTHONPATH": str(ROOT / "fixtures_pkg" / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if has_file:
        environ["SAVEPOINT_EVIDENCE"] = str(tmp_path / "evidence.jsonl")
    for part in ("both", "sick"):
        shutil.copytree(SUITE / part, tmp_path / "suite", dirs_exist_ok=True)
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "pytest_savepoint.plugin", "-p", "no:cacheprovider", *workers]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "--savepoint-isolation", "none", "test_siren.py"],
        cwd=tmp_path / "suite", env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "SP505 state.logging_disabled  test_siren.py:7" in done.stdout, done.stdout + done.stderr
