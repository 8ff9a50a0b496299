"""What is installed beside an interpreter is told by names of folders, and is what the metadata says."""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

from savepoint_ci.environment.probe import installed


def test_folders_tell_what_the_metadata_tells() -> None:
    told = {re.sub("[._]", "-", dist.metadata["Name"].lower()): dist.version for dist in distributions()}
    assert {name.lower(): version for name, version in installed().items()} == told


def test_distribution_whose_folder_does_not_tell_its_version_is_read(tmp_path: Path, monkeypatch) -> None:
    for folder in ("old.egg-info", "post-1.0_1.dist-info"):
        (tmp_path / folder).mkdir()
    (tmp_path / "old.egg-info" / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Old\nVersion: 2.0\n")
    (tmp_path / "post-1.0_1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: post\nVersion: 1.0-1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert installed() == {"Old": "2.0", "post": "1.0-1"}
