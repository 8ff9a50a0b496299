"""What these tests have on this machine, and what suites that they run do without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_savepoint.cache import cache_directory

__all__ = ["LEAN", "OTHER_VERSIONS", "UV", "every_version", "path_with_postgresql"]

UV = str(Path(sys.executable).with_name("uv"))
"""A machine need not have it elsewhere."""

LEAN = ("-p", "no:hypothesispytest", "-p", "no:respx", "-p", "no:anyio", "-p", "no:pytest_cov")
"""Leaves out plugins that a suite here has to ask for; their imports are half of a short run."""

OTHER_VERSIONS = ("14", "17")
"""Of PostgreSQL, beside those of the system and of the embedded wheel."""

_SLOWLY = [pytest.param(version, marks=pytest.mark.e2e) for version in OTHER_VERSIONS]
every_version = pytest.mark.parametrize("postgres_version", ["", *_SLOWLY], indirect=True)
"""Marks a test whose law is another one in each version of the server."""

_INSTALL = Path(__file__).parents[1] / "e2e" / "postgresql_versions" / "install"


def path_with_postgresql(version: str) -> str:
    """A search path on which this PostgreSQL comes first."""
    command = [_INSTALL, cache_directory(os.environ)]
    folder = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    programs = Path(folder, "node_modules", f"postgresql-{version}", "native", "bin")
    return os.pathsep.join((str(programs), os.environ["PATH"]))
