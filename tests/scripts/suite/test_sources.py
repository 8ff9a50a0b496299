from __future__ import annotations

import pytest
from savepoint_ci.report.model import Coverage, FileCoverage
from savepoint_ci.suite.sources import read_sources


@pytest.fixture
def project(tmp_path):
    (tmp_path / "secret.py").write_text("password = 1\n")
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop.py").write_text("price = 1\n")
    (project / "link.py").symlink_to(tmp_path / "secret.py")
    (project / "large.py").write_text("x = 1\n" * 100_000)
    return project


def covered(*paths):
    files = tuple(FileCoverage(path=path, lines=1, missing=(), percent=0) for path in paths)
    return Coverage(lines=0, branches=None, total=0, files=files)


def test_source_of_a_measured_file_is_read(project):
    assert read_sources(project, covered("shop.py")) == {"shop.py": "price = 1\n"}


@pytest.mark.parametrize("path", ["../secret.py", "link.py", "/etc/passwd", "gone.py", ".", "nul\0.py", "large.py", ""])
def test_file_that_is_outside_missing_or_large_is_left_out(project, path):
    assert read_sources(project, covered(path)) == {}
