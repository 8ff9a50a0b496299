"""`run` always ends with a report, and its exit code says what the run came to."""

from __future__ import annotations

import os
import signal
import venv

import pytest

# Each of them is a whole run of pytest, which takes seconds.
pytestmark = pytest.mark.e2e

PASSING = "def test_one(): pass\ndef test_two(): pass\n"


@pytest.mark.parametrize(
    ("module", "arguments", "code", "result"),
    [
        (PASSING + "import nowhere\n", [], 1, "tests-failed"),
        (PASSING, ["-k", "nothing"], 2, "error"),
        (PASSING, ["--no-such-option"], 2, "error"),
        (PASSING, ["-p", "no:pytest_savepoint.plugin", "-p", "no:savepoint"], 2, "error"),
    ],
)
def test_exit_code_says_what_the_run_came_to(observer, module, arguments, code, result):
    observer.write(test_it=module)
    done = observer.call("run", "--", *arguments)
    assert (done.returncode, observer.report["result"]) == (code, result), done.stdout


def test_known_flake_fails_without_failing_the_job_until_its_date(observer):
    observer.write(test_it=PASSING + "def test_flake(): assert 1 == 2\n")
    entry = '[[quarantine]]\ntest = "test_it.py::test_flake"\nreason = "issue 12"\nowner = "@team"\nexpires = {}\n'
    for expires, code, result in (("2999-12-31", 0, "green"), ("2020-01-01", 1, "tests-failed")):
        (observer.project / "savepoint-quarantine.toml").write_text(entry.format(expires))
        done = observer.call("run")
        assert (done.returncode, observer.report["result"], observer.outcomes["test_flake"]) == (code, result, "failed")
    assert "ended on 2020-01-01 (@team: issue 12)" in observer.report["warnings"][0]


def test_errors_of_every_phase_are_in_the_report_and_in_the_log_with_paths_that_count_from_the_project(observer):
    (observer.project.parent / "pytest.ini").write_text("[pytest]\n")
    observer.write(
        test_it="""
import pytest

@pytest.fixture
def broken_before():
    raise ValueError("before")

@pytest.fixture
def broken_after():
    yield
    raise ValueError("after")

def test_before(broken_before): pass
def test_after(broken_after): pass
def test_call(): assert False, "during"
"""
    )
    done = observer.call("run")
    assert (done.returncode, observer.report["result"]) == (1, "tests-failed"), done.stdout
    errors = {test["nodeid"]: [error["phase"] for error in test["phase_errors"]] for test in observer.report["tests"]}
    assert errors == {
        "test_it.py::test_before": ["setup"], "test_it.py::test_after": ["teardown"], "test_it.py::test_call": ["call"],
    }  # fmt: skip
    assert {error["path"] for test in observer.report["tests"] for error in test["phase_errors"]} == {"test_it.py"}
    assert "failed: test_it.py::test_before - setup: ValueError: before" in done.stdout
    assert "assert False" in done.stdout


def test_killed_worker_costs_its_own_test_only(observer):
    observer.write(
        test_it="import os, signal\ndef test_dies(): os.kill(os.getpid(), signal.SIGKILL)\n"
        + "".join(f"def test_{number}(): pass\n" for number in range(6))
    )
    done = observer.call("run", "--workers", "2")
    assert done.returncode == 1
    assert observer.outcomes == {"test_dies": "error", **{f"test_{number}": "passed" for number in range(6)}}


def test_killed_pytest_still_leaves_the_tests_that_ran(observer):
    observer.write(test_it=PASSING + "import os\ndef test_zz(): os.kill(os.getpid(), 9)\ndef test_never(): pass\n")
    done = observer.call("run")
    assert done.returncode == 1
    assert observer.outcomes["test_one"] == observer.outcomes["test_two"] == "passed"
    assert observer.report["counts"]["not_run"] >= 1
    assert "was ended by signal 9" in done.stdout


@pytest.mark.parametrize(("verb", "stop"), [("run", signal.SIGINT), ("suite", signal.SIGTERM)])
def test_interrupt_lets_pytest_tear_down_and_ends_with_a_report_which_a_job_leaves_to_its_next_step(
    observer, tmp_path, verb, stop
):
    pipe, down = tmp_path / "started", tmp_path / "torn-down"
    observer.write(
        test_it=f"""
import os, pathlib, pytest, threading

def test_first(): pass

@pytest.fixture
def resource():
    yield
    pathlib.Path({str(down)!r}).touch()

def test_waits(resource):
    pathlib.Path({str(pipe)!r}).write_text("started")
    threading.Event().wait(60)
"""
    )
    os.mkfifo(pipe)
    process = observer.start(verb)
    assert pipe.read_text() == "started"
    process.send_signal(stop)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert down.exists()
    if verb == "suite":
        assert not (observer.project / ".savepoint" / "report.json").exists()
        observer.call("report")
    assert observer.report["result"] == "interrupted"
    assert observer.outcomes["test_first"] == "passed"


def test_settings_reach_the_suite_by_its_environment_and_tests_cannot_reach_the_job_that_runs_them(observer, tmp_path):
    for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY"):
        observer.environ[name] = str(tmp_path / name)
    observer.environ |= {"SAVEPOINT_GITHUB_TOKEN": "ghs_secret", "GITHUB_SHA": "a" * 40}
    observer.write(
        test_it="""
import os, sys

def test_settings():
    assert os.environ["SAVEPOINT_ISOLATION"] == "none"
    assert not [word for word in sys.argv if "isolation" in word]

def test_environment():
    shown = {name for name in os.environ if name.startswith("GITHUB_")}
    assert shown == {"GITHUB_SHA"}
    assert "ghs_secret" not in os.environ.values()
"""
    )
    done = observer.call("run")
    assert (done.returncode, observer.report["result"]) == (0, "green"), done.stdout
    assert "result<<" in (tmp_path / "GITHUB_OUTPUT").read_text()
    assert "2 tests passed" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()


def test_output_of_a_test_cannot_command_the_runner(observer):
    observer.environ["GITHUB_ACTIONS"] = "true"
    observer.write(test_it="def test_it():\n    print('::add-mask::everything')\n    assert False\n")
    lines = observer.call("run").stdout.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("::stop-commands::"))
    end = lines.index("::" + lines[begin].removeprefix("::stop-commands::") + "::")
    assert begin < lines.index("::add-mask::everything") < end
    assert any(line.startswith("::error") for line in lines[end:])


def test_coverage_below_the_limit_ends_with_the_code_of_a_gate(observer):
    observer.write(module="def used(): return 1\ndef unused(): return 2\n")
    observer.write(test_it="import module\ndef test_used(): assert module.used() == 1\n")
    done = observer.call("run", "--coverage", "true", "--coverage-fail-under", "99", "--", "-p", "pytest_cov")
    assert (done.returncode, observer.report["result"]) == (4, "gate"), done.stdout


def test_what_failed_is_run_again_within_the_budget_and_its_verdict_is_in_the_report(observer):
    observer.environ["SAVEPOINT_RERUN_BUDGET"] = "4s"
    observer.write(test_it="def test_it(): assert False\n")
    done = observer.call("run")
    assert done.returncode == 1, done.stdout
    (verdict,) = observer.report["verdicts"]
    assert verdict["nodeid"] == "test_it.py::test_it"
    assert verdict["verdict"] in ("broken", "undecided"), "the budget may end before it is known"
    assert observer.report["timing"]["rerun"] < 10


def test_two_runs_of_one_project_at_once_do_not_meet(observer):
    observer.write(test_it=PASSING)
    both = [observer.start("run", "--report", f"report-{number}") for number in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]


def test_missing_interpreter_is_named(observer):
    observer.environ["SAVEPOINT_PYTHON"] = "python-of-tomorrow"
    done = observer.call("run")
    assert done.returncode == 2
    assert "python is 'python-of-tomorrow', but there is no such program" in done.stdout
    assert observer.report["failure"]["step"] == "install"


def test_environment_without_what_a_run_needs_is_named_when_nothing_may_be_installed(observer, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    observer.environ |= {"SAVEPOINT_PYTHON": str(tmp_path / "bare" / "bin" / "python"), "PYTHONPATH": ""}
    done = observer.call("run")
    assert done.returncode == 2
    assert "has no pytest-asyncio>=0.24, pytest-savepoint" in done.stdout
