"""A library of the caller's is met when the caller imports it, and nobody is made to import one."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from pytest_savepoint.arrival import when_imported

SOURCE = Path(__file__).parents[2] / "fixtures_pkg" / "src"


@pytest.fixture
def parcel(tmp_path, monkeypatch):
    """The file of a module that can be imported and never was."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "parcel.py"
    sys.modules.pop("parcel", None)


def test_plugin_imports_no_library_that_a_suite_may_do_without():
    code = "import sys, pytest_savepoint.plugin; print({'sqlalchemy', 'asyncpg', 'greenlet', 'httpx'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "set()\n", done.stderr


def test_who_waits_is_called_once_when_all_of_the_module_is_there_in_whatever_thread(parcel):
    parcel.write_text("contents = 1\n")
    seen = []
    when_imported("parcel", lambda: seen.append(sys.modules["parcel"].contents))
    assert seen == []
    with ThreadPoolExecutor() as threads:
        threads.submit(importlib.import_module, "parcel").result()
    importlib.reload(sys.modules["parcel"])
    assert seen == [1]
    when_imported("parcel", lambda: seen.append("at once"))
    assert seen == [1, "at once"]


def test_module_that_cannot_be_imported_is_waited_for_until_it_can(parcel):
    parcel.write_text("raise ImportError\n")
    seen = []
    when_imported("parcel", lambda: seen.append("arrived"))
    with pytest.raises(ImportError):
        importlib.import_module("parcel")
    assert seen == []
    parcel.write_text("contents = 'all of it'\n")
    importlib.invalidate_caches()
    importlib.import_module("parcel")
    assert seen == ["arrived"]


def test_module_knows_its_own_loader_and_nothing_stays_behind(parcel):
    finders = sys.meta_path.copy()
    parcel.write_text("def send(): ...\n")
    forget = when_imported("parcel_of_nobody", lambda: pytest.fail("nobody has imported it"))
    when_imported("parcel", lambda: None)
    module = importlib.import_module("parcel")
    assert module.__spec__.loader is module.__loader__
    assert type(module.__loader__) is SourceFileLoader
    assert inspect.getsource(module.send) == "def send(): ...\n"
    forget()
    assert sys.meta_path == finders
