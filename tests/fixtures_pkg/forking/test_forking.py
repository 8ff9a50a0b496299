"""A forked Python is to execnet, and to what runs in it, like one that was started."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import execnet
import psutil
import pytest
from pytest_savepoint.forking import workers
from pytest_savepoint.forking.workers import ForkedWorkers

# Each of them starts several processes.
pytestmark = pytest.mark.e2e

Start = Callable[..., "execnet.Gateway"]
# Only a Python that execnet has started has it among its arguments.
WAY = "import sys; channel.send('started' if '-c' in sys.orig_argv else 'forked')"


@pytest.fixture
def start(monkeypatch, tmp_path) -> Iterator[Start]:
    """Start a worker as xdist would, where some modules are the libraries that the controller has imported."""
    runs: list[ForkedWorkers] = []
    group = execnet.Group()

    def start(*imported: str) -> execnet.Gateway:
        if not runs:
            with monkeypatch.context() as patch:
                patch.setenv("PYTHONPATH", str(tmp_path))
                patch.setattr(workers, "libraries", lambda told: [name for name in imported if name not in told])
                runs.append(ForkedWorkers([]))
                runs[0].pytest_xdist_setupnodes()
        return group.makegateway("popen")

    yield start
    group.terminate(30)
    for each in runs:
        each.pytest_unconfigure()


def ask(gateway: execnet.Gateway, code: str) -> Any:
    """What code in the worker sends."""
    return gateway.remote_exec(code).receive(30)


def test_it_has_the_environment_the_folder_and_the_arguments_of_one_that_was_started(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIKE", "this")
    code = "import os, sys; channel.send((sys.argv, os.environ['LIKE'], os.getcwd(), __name__ == '__channelexec__'))"
    assert ask(start(), code) == (["-c"], "this", str(tmp_path), True)


def test_what_it_writes_is_seen(start, capfd):
    ask(start(), "import os, sys; sys.stderr.write('both '); os.write(2, b'as it is'); channel.send(None)")
    assert capfd.readouterr().err == "both as it is"


def test_libraries_are_imported_once_and_are_there_in_each(start, tmp_path):
    (tmp_path / "library.py").write_text(f"open({str(tmp_path / 'imports')!r}, 'a').write('x')")
    for _ in range(2):
        worker = start("library")
        assert ask(worker, WAY) == "forked"
        assert ask(worker, "import sys; channel.send('library' in sys.modules)")
    assert (tmp_path / "imports").read_text() == "x"


def test_package_installed_from_this_machine_is_imported_by_each_itself(start, tmp_path, monkeypatch):
    (tmp_path / "library.py").write_text("")
    installed = tmp_path / "library-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: library\nVersion: 1\n")
    (installed / "RECORD").write_text("library.py,,\n")
    (installed / "direct_url.json").write_text('{"dir_info": {}, "url": "file:///home/me/library"}')
    monkeypatch.syspath_prepend(tmp_path)
    worker = start("library")
    assert ask(worker, WAY) == "forked"
    assert not ask(worker, "import sys; channel.send('library' in sys.modules)")


def test_library_with_a_thread_is_not_forked(start, tmp_path):
    (tmp_path / "library.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    assert ask(start("library"), WAY) == "started"


@pytest.mark.parametrize(("code", "ends"), [("import os; os._exit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_end_of_the_worker_is_told(start, code, ends):
    worker = start()
    with pytest.raises(EOFError):
        ask(worker, code)
    assert worker._io.wait() == ends


def test_worker_that_does_not_answer_can_be_ended(start):
    worker = start()
    process = psutil.Process(ask(worker, "import os, threading; channel.send(os.getpid()); threading.Event().wait()"))
    worker._io.kill()
    assert worker._io.wait() == 137
    process.wait(30)


def test_worker_runs_to_its_end_what_python_runs_at_its_end(start, tmp_path):
    worker = start()
    code = f"""
import atexit, threading
say = open({str(tmp_path / "said")!r}, "a").write
atexit.register(say, "exit")
threading.Timer(0.2, say, ["thread "]).start()
channel.send(None)
"""
    ask(worker, code)
    worker.exit()
    assert worker._io.wait() == 0
    assert (tmp_path / "said").read_text() == "thread exit"


def test_each_draws_other_random_numbers(start):
    code = "import random; channel.send(random.random())"
    assert len({ask(start("random"), code) for _ in range(3)} | {random.random()}) == 4


def test_without_a_server_execnet_starts_what_was_wanted(start):
    worker = start()
    server = psutil.Process(ask(worker, "import os; channel.send(os.getppid())"))
    server.kill()
    server.wait(30)
    assert ask(start(), WAY) == "started"


def test_nothing_of_a_run_is_left_when_its_workers_are_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(workers, "PATIENCE", 60.0)  # to start Python may take a loaded machine more than is waited for
    known = {each.pid for each in psutil.Process().children()}
    run = ForkedWorkers([])
    (server,) = (each for each in psutil.Process().children() if each.pid not in known)
    begun = time.monotonic()
    run.pytest_unconfigure()
    assert not server.is_running()
    assert time.monotonic() - begun < workers.PATIENCE, "it ended by itself"
    assert list(tmp_path.iterdir()) == []
