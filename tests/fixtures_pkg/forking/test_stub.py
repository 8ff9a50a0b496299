"""A forked Python is to whoever started it like one that was started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pytest_savepoint.forking import workers
from pytest_savepoint.forking.workers import ForkedWorkers

STUB = str(Path(workers.__file__).with_name("stub.py"))
PARENT = "import os; print(open(f'/proc/{os.getppid()}/cmdline').read().replace(chr(0), ' '))"


class Spec:
    """What xdist knows of a worker that it is about to start."""

    popen, python, via, chdir, id = True, None, None, None, "gw0"

    def __init__(self, text: str = "popen") -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(monkeypatch, tmp_path) -> Iterator[Start]:
    """Start `python -u -c CODE` as xdist would, where some modules are the libraries that the controller has imported."""
    runs = []

    def start(code: str, *, libraries: tuple[str, ...] = (), **settings: Any) -> subprocess.Popen[str]:
        with monkeypatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path))
            patch.setattr(workers, "_libraries", lambda: list(libraries))
            if not runs:
                runs.append(ForkedWorkers([]))
            specs = [Spec()]
            runs[0].pytest_xdist_setupnodes(specs)
        command = str(specs[0]).partition("python=")[2].split()
        assert STUB in command
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*command, "-u", "-c", code], text=True, **pipes, **settings)

    yield start
    for each in runs:
        each.pytest_unconfigure()


def test_it_has_the_streams_the_environment_and_the_folder_that_it_was_given(start, tmp_path):
    (tmp_path / "there").mkdir()
    code = "import os, sys; print(sys.argv, sys.stdin.readline(), os.environ, os.getcwd()); sys.stderr.write('both')"
    started = start(code, cwd=tmp_path / "there", env={"LC_ALL": "C.UTF-8"})
    out, err = started.communicate("a line\n")
    assert out == f"['-c'] a line\n environ({{'LC_ALL': 'C.UTF-8'}}) {tmp_path / 'there'}\n"
    assert (err, started.returncode) == ("both", 0)


def test_libraries_are_imported_once_and_are_there_in_each(start, tmp_path):
    (tmp_path / "library.py").write_text(f"open({str(tmp_path / 'imports')!r}, 'a').write('x')")
    for _ in range(2):
        started = start("import sys; print('library' in sys.modules); " + PARENT, libraries=("library",))
        out = started.communicate()[0]
        assert out.startswith("True\n"), out
        assert "server.py" in out
    assert (tmp_path / "imports").read_text() == "x"


def test_package_installed_from_this_machine_is_imported_by_each_itself(start, tmp_path):
    (tmp_path / "library.py").write_text("")
    installed = tmp_path / "library-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: library\nVersion: 1\n")
    (installed / "RECORD").write_text("library.py,,\n")
    (installed / "direct_url.json").write_text('{"dir_info": {}, "url": "file:///home/me/library"}')
    out = start("import sys; print('library' in sys.modules); " + PARENT, libraries=("library",)).communicate()[0]
    assert out.startswith("False\n"), out
    assert "server.py" in out


def test_library_with_a_thread_is_not_forked(start, tmp_path):
    (tmp_path / "library.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    started = start("import os; print(os.getpid(), os.getppid())", libraries=("library",))
    assert started.communicate()[0] == f"{started.pid} {os.getpid()}\n", "what was started became the Python itself"


@pytest.mark.parametrize(("code", "ends"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_end_of_the_worker_is_the_end_of_what_was_started(start, code, ends):
    assert start(code).wait(30) == ends


def test_worker_ends_with_what_was_started(start):
    started = start("import os, threading; print(os.getpid()); threading.Event().wait()")
    worker = psutil.Process(int(started.stdout.readline()))
    started.send_signal(signal.SIGKILL)
    started.wait(30)
    worker.wait(30)


def test_streams_end_when_the_worker_dies(start):
    started = start("import os; print(os.getpid()); os.kill(os.getpid(), 9)")
    assert started.stdout.read().strip().isdigit()


def test_each_draws_other_random_numbers(start):
    drawn = {start("import random; print(random.random())", libraries=("random",)).communicate()[0] for _ in range(3)}
    assert len(drawn) == 3


def test_without_a_server_the_python_that_was_wanted_is_started(tmp_path):
    command = [sys.executable, "-I", "-S", STUB, str(tmp_path / "nobody"), "-u", "-c", "print(6 * 7)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "42\n"


def test_nothing_of_a_run_is_left_when_its_workers_are_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(workers, "PATIENCE", 60.0)  # to start Python may take a loaded machine more than is waited for
    run = ForkedWorkers([])
    server = next(each for each in psutil.Process().children() if "server.py" in " ".join(each.cmdline()))
    begun = time.monotonic()
    run.pytest_unconfigure()
    assert not server.is_running()
    assert time.monotonic() - begun < workers.PATIENCE, "it ended by itself"
    assert list(tmp_path.iterdir()) == []
