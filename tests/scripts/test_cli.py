"""The command line says everything that is wrong before anything slow begins."""

from __future__ import annotations


def test_all_faults_are_named_at_once(tool):
    done = tool.call("run", "elsewhere", "--workrs", "3", "--isolation", "savepoin", "--server-timeout", "soon")
    assert done.returncode == 2
    assert "there is no option --workrs; did you mean --workers?" in done.stderr
    assert f"{tool.project / 'elsewhere'} is not a folder" in done.stderr
    assert "isolation is 'savepoin' (from --isolation); it takes one of auto, savepoint, rows, clone, none" in done.stderr
    assert "did you mean savepoint?" in done.stderr
    assert "server-timeout is 'soon' (from --server-timeout); it takes a number of seconds" in done.stderr


def test_fault_in_pyproject_is_named_with_its_source(tool):
    (tool.project / "pyproject.toml").write_text('[tool.savepoint]\nworkers = "many"\n')
    done = tool.call("run")
    assert done.returncode == 2
    assert "workers is 'many' (from pyproject.toml)" in done.stderr


def test_pytest_arguments_are_refused_where_no_suite_runs(tool):
    done = tool.call("report", "--", "-k", "one")
    assert done.returncode == 2
    assert "arguments for pytest (after --) go to run, test, flaky, plan, not to report" in done.stderr


def test_settings_are_shown_with_their_source_and_secrets_are_not(tool):
    (tool.project / "pyproject.toml").write_text('[tool.savepoint]\nworkers = 3\nmetadata = "app:Base"\n')
    tool.environ |= {"SAVEPOINT_SERVER_URL": "postgresql://me:hunter2@localhost/postgres", "SAVEPOINT_WORKERS": "2"}
    done = tool.call("run", "--show-settings", "--workers", "1")
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert lines["workers"] == ["1", "--workers"]
    assert lines["metadata"] == ["app:Base", "pyproject.toml"]
    assert lines["server-url"] == ["***", "SAVEPOINT_SERVER_URL"]
    assert lines["isolation"] == ["auto", "default"]
    assert "hunter2" not in done.stdout + done.stderr


def test_settings_of_the_first_step_hold_in_later_steps_of_the_job(tool, tmp_path):
    tool.environ["SAVEPOINT_STATE"] = str(tmp_path / "state")
    tool.environ["SAVEPOINT_ISOLATION"] = "none"  # no server is started
    configured = {"SAVEPOINT_WORKERS": "3", "SAVEPOINT_SERVER_URL": "postgresql://me:hunter2@localhost/postgres"}
    tool.environ |= configured | {"SAVEPOINT_GITHUB_TOKEN": "ghs_secret"}
    assert tool.call("begin").returncode == 0
    for name in configured:
        del tool.environ[name]
    lines = {line.split()[0]: line.split()[1:] for line in tool.call("test", "--show-settings").stdout.splitlines()}
    assert lines["workers"] == ["3", "SAVEPOINT_WORKERS"]
    assert lines["server-url"] == ["***", "SAVEPOINT_SERVER_URL"]
    kept = tmp_path / "state" / "configured.json"
    assert kept.stat().st_mode & 0o077 == 0
    assert "ghs_secret" not in kept.read_text(), "tests could read it"
