"""A whole run on a real PostgreSQL: nothing configured, nothing left behind, and its failures told apart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.e2e

CLEAN_UP = Path(__file__).parents[3] / "scripts" / "cleanup_action" / "end.js"

PYPROJECT = """
[project]
name = "thing"
version = "1"
[project.optional-dependencies]
test = ["pytest-asyncio"]
[tool.savepoint]
metadata = "models:Base"
[tool.pytest.ini_options]
asyncio_mode = "auto"
pythonpath = ["."]
"""
MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase): pass

class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
TESTS = """
import pytest
from sqlalchemy import func, select
from models import Thing

@pytest.mark.parametrize("number", range(4))
async def test_committed_row_is_gone_afterwards(db_session, number):
    assert await db_session.scalar(select(func.count(Thing.id))) == 0
    db_session.add(Thing(id=1))
    await db_session.commit()

async def test_fixture_knows_its_database(database):
    assert database.name
"""
KILLS_THE_SERVER = TESTS + """
async def test_server_is_killed(db_session):
    import os, pathlib, pytest, signal
    from sqlalchemy import text
    data = await db_session.scalar(text("show data_directory"))
    os.kill(int(pathlib.Path(data, "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    with pytest.raises(Exception):  # the backends learn of it a moment later
        while True:
            await db_session.execute(text("select 1"))

async def test_comes_after(db_session):
    await db_session.scalar(select(func.count(Thing.id)))
"""
FAILS = """
import pytest
from sqlalchemy import text
from models import Thing

async def test_fails(db_session):
    db_session.add(Thing(id=4711))
    await db_session.commit()
    assert False

async def test_fails_with_much(db_session):
    await db_session.execute(text("insert into thing select generate_series(1, 100000)"))
    await db_session.commit()
    assert False
"""


@pytest.fixture
def bare_project(tool, tmp_path):
    """A project whose environment the tool has to make."""
    (tool.project / "pyproject.toml").write_text(PYPROJECT)
    tool.write(models=MODELS, test_it=TESTS)
    # A server of its own: other tests that share the cache have other settings.
    tool.environ["SAVEPOINT_POSTGRES_SETTINGS"] = f"cluster_name={tool.project.parent.name}"
    tool.environ["SAVEPOINT_STATE"] = str(tmp_path / "state")
    return tool


@pytest.fixture
def project(bare_project, observer):
    """The same in the environment of these tests, which takes no time to fill."""
    observer.environ["SAVEPOINT_ISOLATION"] = "auto"
    return observer


def servers(project) -> list[psutil.Process]:
    """The PostgreSQL servers of this project that run now."""
    name = project.project.parent.name
    return [
        process for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres" and any(f"{name}: checkpointer" in word for word in process.info["cmdline"] or ())
    ]  # fmt: skip


def test_project_without_settings_is_green_and_its_server_ends_with_the_run(bare_project):
    bare_project.environ["SAVEPOINT_COVERAGE"] = "true"
    done = bare_project.call("run")
    assert done.returncode == 0, done.stdout
    report = bare_project.report  # two workers, because there are two test functions and at least two processors
    assert (report["run"]["workers"], report["counts"]["passed"]) == (2, 5)
    assert (report["database"]["provider"], report["database"]["template"]["source"]) == ("system", "metadata")
    assert report["coverage"]["total"] == 100
    assert set(report["timing"]) == {"provision", "install", "migrate", "test"}
    assert servers(bare_project) == []


def test_suite_on_sqlite_needs_no_server(observer):
    observer.environ |= {"SAVEPOINT_ISOLATION": "auto", "SAVEPOINT_PROVIDER": "sqlite"}
    (observer.project / "pyproject.toml").write_text(PYPROJECT)
    observer.write(models=MODELS, test_it=TESTS)
    done = observer.call("run")
    assert done.returncode == 0, done.stdout
    database = observer.report["database"]
    assert (database["provider"], database["template"]["source"]) == ("sqlite", "metadata")
    assert database["isolation"] == {"savepoint": 5}
    assert "SQLite in memory" in done.stdout


def test_steps_one_by_one_do_what_a_run_does(project):
    for verb in (["begin"], ["install"], ["migrate"], ["test"], ["report"]):
        done = project.call(*verb)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(servers(project)) == 1
    assert project.call("verdict").returncode == 0
    assert project.report["database"]["template"]["hit"] is False
    assert project.call("clean").returncode == 0
    assert servers(project) == []
    assert not (project.project.parent / "state").exists()


def test_job_that_came_to_its_end_leaves_its_template_to_the_next_and_one_that_kept_databases_leaves_nothing(project):
    project.environ |= {"SAVEPOINT_GITHUB_TOKEN": "ghs_secret", "SAVEPOINT_WORKERS": "0"}
    project.environ["SAVEPOINT_KEEP_FAILED"] = "true"
    for tests, code, hit in ((TESTS, 0, False), (FAILS, 1, True)):
        project.write(test_it=tests)
        assert project.call("begin").returncode == 0
        holder = json.loads((project.project.parent / "state" / "started.json").read_text())["pid"]
        assert "ghs_secret" not in psutil.Process(holder).environ().values()
        assert project.call("suite").returncode == code
        assert project.report["database"]["template"]["hit"] is hit
        (server,) = servers(project)
        data = Path(server.parent().cmdline()[-1])
        end_job(project)
        assert servers(project) == []
        assert data.exists() is (code == 0)
        assert not (project.project.parent / "state").exists()


def end_job(project):
    """What the runner calls when the job is over."""
    folder = project.project.parent
    remembered = {"STATE_launcher": project.launcher, "STATE_project": project.project, "STATE_state": folder / "state"}
    environ = {**project.environ, **{name: str(value) for name, value in remembered.items()}}
    done = subprocess.run(["node", CLEAN_UP], env=environ, capture_output=True, text=True, check=True, timeout=120)
    assert "::warning" not in done.stdout


def test_template_that_cannot_be_built_ends_with_the_code_of_the_database(project):
    project.write(models="raise RuntimeError('no models today')\n")
    done = project.call("run")
    assert (done.returncode, project.report["result"]) == (3, "database"), done.stdout
    assert project.report["failure"]["step"] == "migrate"
    assert "no models today" in project.report["failure"]["message"]


def test_server_that_cannot_be_had_ends_with_the_code_of_the_database(project):
    done = project.call("run", "--postgres-version", "99", "--provider", "system")
    assert (done.returncode, project.report["failure"]["step"]) == (3, "provision"), done.stdout


def test_failure_in_the_background_is_told_by_the_step_that_waits(project):
    assert project.call("begin", "--postgres-version", "99", "--provider", "system").returncode == 0
    done = project.call("migrate")
    assert done.returncode == 3
    assert "The provider system is not possible" in done.stdout


def test_killed_server_costs_the_tests_after_it_and_is_named(project):
    project.write(test_it=KILLS_THE_SERVER)
    done = project.call("run", "--workers", "0")
    assert (done.returncode, project.report["result"]) == (3, "database"), done.stdout
    assert "stopped answering while the suite ran" in project.report["failure"]["message"]
    assert project.report["counts"]["passed"] >= 4
    assert project.call("run", "--workers", "0", "--", "-k", "committed").returncode == 0, "the next run works"


def test_databases_of_failed_tests_are_kept_and_dumped_up_to_a_size(project):
    project.write(test_it=FAILS)
    done = project.call("run", "--keep-failed", "true", "--dump-kept", "50000")
    assert done.returncode == 1, done.stdout
    kept = {test["nodeid"].rpartition("::")[2]: test["kept"] for test in project.report["tests"]}
    small, large = kept["test_fails"], kept["test_fails_with_much"]
    assert (small["passed"], large["passed"]) == (False, False)
    dumps = project.project / ".savepoint" / "kept"
    assert [dump.name for dump in dumps.iterdir()] == [f"{small['database']}.sql"]
    assert "4711" in (dumps / f"{small['database']}.sql").read_text()
    assert f"The database {large['database']} was not dumped: it has more than 50000 bytes" in done.stdout
    assert small["command"] in done.stdout
    assert project.call("clean").returncode == 0
    assert len(servers(project)) == 1
    assert project.call("clean", "--kept").returncode == 0
    assert servers(project) == []


def test_template_that_is_not_what_is_built_anew_ends_with_the_code_of_the_database_when_asked(project):
    project.write(models="import os\n" + MODELS.replace('"thing"', 'os.environ["TABLE"]'))
    one_test = ("--", "-k", "knows")
    project.environ["TABLE"] = "thing"
    assert project.call("run", *one_test).returncode == 0
    assert project.call("run", "--verify-template", "true", *one_test).returncode == 0
    project.environ["TABLE"] = "other"
    done = project.call("run", "--verify-template", "true", *one_test)
    assert (done.returncode, project.report["result"], project.report["failure"]["step"]) == (3, "database", "migrate"), done.stdout
    assert "+CREATE TABLE public.other (" in project.report["failure"]["message"]


def test_killed_run_leaves_nothing_that_clean_does_not_take(project, tmp_path):
    pipe = tmp_path / "started"
    os.mkfifo(pipe)
    project.write(test_it=f"import pathlib, threading\n{TESTS}\ndef test_z():\n    pathlib.Path({str(pipe)!r}).write_text('now'); threading.Event().wait(60)\n")
    process = project.start("run", "--workers", "0")
    assert pipe.read_text() == "now"
    for victim in (*psutil.Process(process.pid).children(recursive=True), process):
        if victim.pid == process.pid or "pytest" in victim.cmdline():
            os.kill(victim.pid, signal.SIGKILL)
    process.communicate()
    assert project.call("clean").returncode == 0
    assert servers(project) == []
