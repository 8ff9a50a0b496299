"""The files of workflows/, copied into somebody else's repository and run by act, which finds our action by its name."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from caller import LIMIT, REPOSITORY, ROOT, Caller, end, published
from fake_actions import zipped
from fake_github import TOKEN, FakeGitHub
from pytest_savepoint.servers.docker import our_containers
from pytest_savepoint.servers.leftovers import living_servers
from savepoint_ci.report.model import Report, Run, report_json

pytestmark = pytest.mark.e2e

SAMPLES = ROOT / "workflows"
CALLABLE = "savepoint-ci/savepoint/.github/workflows/savepoint.yml"

COUNTER = """
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase): ...


class Visit(Base):
    __tablename__ = "visit"
    id: Mapped[int] = mapped_column(primary_key=True)


async def count(session) -> int:
    return len((await session.scalars(select(Visit))).all())
"""

TESTS = """
import pytest
from counter import Visit, count


@pytest.mark.parametrize("visits", range(4))
async def test_visits_are_counted(db_session, visits):
    db_session.add_all(Visit() for _ in range(visits))
    await db_session.commit()
    assert await count(db_session) == visits
"""

SLOW_TEST = """
import os
import time


async def test_slow(db_session):
    with open(os.environ["SLOW_TEST_STARTED"], "w") as fifo:
        fifo.write("now")
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, str]:
    """The variables of a person with an active environment."""
    machine = tmp_path_factory.mktemp("machine")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", machine / "environment"], check=True)
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("SAVEPOINT_", "PYTEST_", "COV_"))}
    return kept | {
        "VIRTUAL_ENV": str(machine / "environment"),
        "PATH": f"{machine / 'environment' / 'bin'}:{os.environ['PATH']}:{Path.home() / 'go' / 'bin'}",
        "SAVEPOINT_CACHE": str(cache),
        "STAND_IN_SAVEPOINT": str(published(machine / "savepoint")),
    }


@pytest.fixture
def shop(tmp_path: Path, environ: dict[str, str]) -> Caller:
    """The example application in a repository of its own, with the half of its tests that covers almost all of it."""
    shutil.copytree(ROOT / "examples" / "shop", tmp_path / "shop", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    for of_parts in ("repositories", "schemas", "services"):
        shutil.rmtree(tmp_path / "shop" / "tests" / of_parts)
    return Caller(tmp_path / "shop", environ)


@pytest.fixture
def counter(tmp_path: Path, environ: dict[str, str]) -> Caller:
    """A project with one module, one test and no migrations."""
    folder = tmp_path / "counter"
    folder.mkdir()
    (folder / "counter.py").write_text(COUNTER)
    (folder / "test_counter.py").write_text(TESTS)
    (folder / "requirements.txt").write_text("sqlalchemy[asyncio]\nasyncpg\n")
    (folder / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\nasyncio_mode = "auto"\npythonpath = ["."]\n'
        '[tool.savepoint]\nmetadata = "counter:Base"\n'
    )
    return Caller(folder, environ)


@pytest.fixture
def nothing_is_left(environ: dict[str, str]) -> Callable[[], None]:
    cache = Path(environ["SAVEPOINT_CACHE"])

    def check() -> None:
        assert our_containers(cache) == []
        assert list(living_servers(cache)) == []

    return check


def choose(caller: Caller, **settings: str) -> None:
    """Set what the workflow files leave to the project; what was set before is replaced."""
    file = caller.folder / "pyproject.toml"
    text = file.read_text()
    for name, value in settings.items():
        key = name.replace("_", "-")
        text = re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE)
        text = text.replace("[tool.savepoint]\n", f'[tool.savepoint]\n{key} = "{value}"\n')
    file.write_text(text)


def test_the_callable_workflow_in_another_repository_reports_with_a_container_what_the_action_does_with_a_system_server(
    counter: Caller, nothing_is_left: Callable[[], None]
) -> None:
    counter.use(SAMPLES / "forks.yml")
    base = counter.commit()
    choose(counter, provider="system", postgres_version="15")
    job = counter.act(base=base)
    assert job.exit == 0, job.log
    by_system = job.report("savepoint")
    nothing_is_left()
    shutil.rmtree(counter.folder / ".github")
    counter.use(SAMPLES / "matrix.yml")
    choose(counter, provider="container")
    copied = counter.folder / ".github" / "workflows" / "matrix.yml"
    # This machine has one Python on PATH and one image.
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    one = re.sub(r"python-versions: .*", f"python-versions: '[\"{python}\"]'", copied.read_text())
    copied.write_text(re.sub(r"postgres-versions: .*", "postgres-versions: '[\"15\"]'", one))
    job = counter.act(base=base)
    assert job.exit == 0, job.log
    by_container = job.report(f"savepoint-python{python}-postgres15")
    nothing_is_left()
    assert (by_system["database"]["provider"], by_container["database"]["provider"]) == ("system", "container")
    assert what_people_see(by_system) == what_people_see(by_container)
    assert by_system["result"] == "green"


def what_people_see(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "tests": {test["nodeid"]: test["outcome"] for test in report["tests"]},
        **{name: report[name] for name in ("result", "counts", "coverage", "findings", "gates")},
    }


def test_the_alembic_sample_is_green_on_the_example(shop: Caller, nothing_is_left: Callable[[], None]) -> None:
    shop.use(SAMPLES / "with-alembic.yml")
    job = shop.act()
    assert job.exit == 0, job.log
    assert job.output("result") == "green"
    assert re.fullmatch(r"postgresql://postgres@127\.0\.0\.1:\d+/\w+", job.output("database-url"))
    nothing_is_left()


def test_the_act_sample_runs_with_the_command_of_its_first_line_and_keeps_a_template_where_it_is_asked_for(
    counter: Caller, nothing_is_left: Callable[[], None]
) -> None:
    counter.use(SAMPLES / "act.yml")
    command = re.search(r"`act (.+?)`", (SAMPLES / "act.yml").read_text())
    assert command
    event, *arguments = shlex.split(command[1])
    assert event == "pull_request"
    choose(counter, template_cache="true")
    first = counter.act(*arguments)
    assert (first.exit, first.output("result"), first.output("passed")) == (0, "green", "4"), first.log
    (kept,) = counter.artifacts.glob("savepoint-template-*")
    assert "the template (metadata) was built in" in first.log
    nothing_is_left()
    clean_up(counter)  # as on a machine that is new in each job
    for stored in (Path(counter.environ["SAVEPOINT_CACHE"]) / "templates").iterdir():
        stored.unlink()
    (counter.folder / "README.md").write_text("Nothing that the schema depends on.")
    second = counter.act(*arguments)
    assert (second.exit, second.output("passed")) == (0, "4"), second.log
    assert "the template (metadata) was restored in" in second.log
    assert list(counter.artifacts.glob("savepoint-template-*")) == [kept]


def test_the_callable_workflow_cuts_a_suite_into_shards_and_merges_their_reports(
    counter: Caller, nothing_is_left: Callable[[], None]
) -> None:
    counter.use(SAMPLES / "sharded.yml")
    copied = counter.folder / ".github" / "workflows" / "sharded.yml"
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    own = f"provider: system\n      python-versions: '[\"{python}\"]'\n      postgres-versions: '[\"15\"]'"
    copied.write_text(copied.read_text().replace('shards: "3"', f'shards: "2"\n      {own}'))
    job = counter.act()
    assert job.exit == 0, job.log
    merged = job.report(f"savepoint-python{python}-postgres15")
    assert (merged["result"], merged["counts"]["passed"]) == ("green", 4)
    assert [(shard["name"], shard["result"]) for shard in merged["shards"]] == [("1/2", "green"), ("2/2", "green")]
    assert merged["coverage"]["total"] == 100
    nothing_is_left()


def test_a_failing_suite_is_commented_on_and_fails_the_job_at_its_end(counter: Caller) -> None:
    counter.use(SAMPLES / "minimal.yml")
    choose(counter, rerun_budget="0")
    failing = counter.folder / "test_failing.py"
    failing.write_text("def test_that_fails():\n    assert 1 == 2\n")
    with FakeGitHub() as github:
        job = counter.act(
            "--env", f"GITHUB_API_URL={github.url}", "--env", f"GITHUB_GRAPHQL_URL={github.url}/graphql",
            "--secret", f"GITHUB_TOKEN={TOKEN}",
        )  # fmt: skip
        (body,) = github.bodies()
    assert github.violations == []
    assert job.exit == 1
    assert [name for name, failed in inner_steps(job.log) if failed] == ["Give the verdict"]
    assert (job.output("result"), job.output("failed"), job.output("passed")) == ("tests-failed", "1", "4")
    assert job.output("comment-url").startswith("https://github.com/")
    assert "test_that_fails" in body
    assert TOKEN not in job.log


def test_the_second_workflow_comments_on_the_pull_request_of_a_fork(counter: Caller) -> None:
    counter.use(SAMPLES / "forks-comment.yml")
    commit = "f" * 40
    with FakeGitHub() as github:
        github.add_pull_request(7, branch="topic", sha=commit, owner="stranger")
        run = github.actions.add_run(
            event="pull_request", branch="topic", sha=commit, repository="stranger/Hello-World"
        )
        report = Report(
            result="green",
            counts={"total": 3, "passed": 3},
            run=Run(id=str(run["id"]), commit=commit, repository=REPOSITORY),
        )
        github.actions.add_artifact(run, "savepoint", zipped(report_json=report_json(report)))
        job = counter.act(
            "--env", f"GITHUB_API_URL={github.url}", "--env", f"GITHUB_GRAPHQL_URL={github.url}/graphql",
            "--secret", f"GITHUB_TOKEN={TOKEN}", event={"workflow_run": run},
        )  # fmt: skip
        bodies = github.bodies()
    assert github.violations == []
    assert job.exit == 0, job.log
    assert len(bodies) == 1, job.log
    assert "3 tests passed" in bodies[0]
    assert TOKEN not in job.log


def inner_steps(log: str) -> list[tuple[str, bool]]:
    """The steps of our action in the order in which they ended, and whether each failed."""
    names = re.findall(r"    - name: (.+)", (ROOT / "action.yml").read_text())
    ended = re.findall(r"(Success|Failure) - Main (.+?) \[", log)
    return [(name, how == "Failure") for how, name in ended if name in names]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_job_that_is_stopped_leaves_nothing_after_the_clean_up(
    counter: Caller, how: signal.Signals, nothing_is_left: Callable[[], None]
) -> None:
    counter.use(SAMPLES / "act.yml")
    choose(counter, provider="container", postgres_version="15")
    (counter.folder / "test_slow.py").write_text(SLOW_TEST)
    started = counter.folder.parent / "started"
    os.mkfifo(started)
    fifo = os.open(started, os.O_RDONLY | os.O_NONBLOCK)
    process = counter.start_act("--env", f"SLOW_TEST_STARTED={started}")
    try:
        assert select.select([fifo], [], [], LIMIT)[0], "the slow test never began"
    finally:
        os.close(fifo)
        log = end(process, how, also=holders(counter))
    assert process.returncode != 0, log
    if how == signal.SIGKILL:  # nobody was left to clean up; a person does
        clean_up(counter)
    nothing_is_left()


def clean_up(caller: Caller) -> None:
    """What a person does by hand."""
    clean = [sys.executable, ROOT / "scripts" / "savepoint", "clean", caller.folder]
    subprocess.run(clean, check=True, env=caller.environ)


def test_a_server_ends_with_the_runner_of_its_job(counter: Caller, nothing_is_left: Callable[[], None]) -> None:
    step = f"'{sys.executable}' '{ROOT / 'scripts' / 'savepoint'}' provision"
    state = {"GITHUB_ACTIONS": "true", "SAVEPOINT_STATE": str(counter.folder.parent / "state")}
    # As a runner does: a process that starts a shell for every step, and lives for the whole job.
    runner = subprocess.Popen(
        ["bash", "-c", 'bash -c "$STEP; true"; echo; exec sleep 1000'], cwd=counter.folder,
        env=counter.environ | state | {"STEP": step}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert runner.stdout
    runner.stdout.readline()
    runner.kill()
    runner.wait()
    assert psutil.wait_procs(holders(counter), timeout=30)[1] == []
    nothing_is_left()


def holders(caller: Caller) -> list[psutil.Process]:
    """The processes that hold a server for a job of this caller's machine."""
    cache = caller.environ["SAVEPOINT_CACHE"]
    held = psutil.process_iter(["cmdline", "environ"])
    return [
        each
        for each in held
        if "--hold" in (each.info["cmdline"] or ()) and (each.info["environ"] or {}).get("SAVEPOINT_CACHE") == cache
    ]
