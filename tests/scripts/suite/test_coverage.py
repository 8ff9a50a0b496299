from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest
from pytest_savepoint.settings import read_settings
from savepoint_ci.report.model import FileLines, Report, Run, Verdict
from savepoint_ci.report.only_flaky import with_only_flaky
from savepoint_ci.suite.coverage import CollectedCoverage, collect_coverage, plan_coverage
from savepoint_ci.suite.coverage_process import CoverageProcess

# Whole runs of pytest, or of migrations, which take seconds.
pytestmark = pytest.mark.e2e

APP = """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from sqlalchemy.util import await_only, greenlet_spawn


    def in_a_greenlet(flag):
        answer = await_only(asyncio.sleep(0, flag))
        if answer:
            return "yes"
        return "no"


    def in_a_thread():
        total = 0
        for number in range(3):
            total += number
        return total


    async def main():
        answer = await greenlet_spawn(in_a_greenlet, True)
        after = answer + "!"
        with ThreadPoolExecutor(1) as pool:
            in_greenlet_and_thread = await greenlet_spawn(lambda: pool.submit(in_a_thread).result())
        return after, in_greenlet_and_thread


    def never():
        return 1
"""
TESTS = """
    import asyncio, os, subprocess, sys
    from pathlib import Path

    import app.core


    def test_main():
        assert asyncio.run(app.core.main()) == ("yes!", 3)


    def test_other():
        assert True


    def test_command(tmp_path):
        here = str(Path(__file__).parent.parent)
        subprocess.run(
            [sys.executable, "-c", "import app.command"], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": here}
        )
"""
FILES = {
    "app/__init__.py": "",
    "app/core.py": APP,
    "app/command.py": "done = 1\n",
    "app/unused.py": "x = 1\n",
    "app/tests/deep/test_inner.py": "def test_inner():\n    pass\n",
    "app/tests/deep/__init__.py": "",
    "app/tests/__init__.py": "",
    "tests/test_app.py": TESTS,
    "pytest.ini": "[pytest]\npythonpath = .\n",
}


@dataclass
class Project:
    folder: Path
    arguments: tuple[str, ...] = ("-n", "2")
    process: CoverageProcess = field(default_factory=CoverageProcess)

    @property
    def environ(self):
        dropped = ("COVERAGE_", "COV_", "GITHUB_", "PYTEST_")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(dropped)}
        # Only for speed: the plugins of this environment are none of the project's.
        return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin,pytest_cov.plugin"}

    def write(self, files):
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return self

    def plan(self, **environ):
        return plan_coverage(
            self.process, Path(sys.executable), self.folder, self.report, environ={**self.environ, **environ},
            pytest_arguments=self.arguments,
        )  # fmt: skip

    def run(self, **environ):
        plan = self.plan(**environ)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *self.arguments, *plan.arguments]
        inside = {**self.environ, **environ, **plan.environment}
        done = subprocess.run(command, cwd=self.folder, env=inside, capture_output=True, text=True, check=False)
        return plan, done

    def collect(self, environ=None, **settings):
        read = read_settings(self.folder, flags=settings, environ={})
        inside = {**self.environ, **(environ or {})}
        return collect_coverage(self.process, read, Path(sys.executable), self.folder, self.report, environ=inside)

    @property
    def report(self):
        return self.folder / ".savepoint"

    @property
    def config(self):
        return (self.report / "coverage" / "coverage.toml").read_text("utf-8")


PLAIN = {
    "app/__init__.py": "",
    "app/core.py": "def run():\n    return 1\n",
    "app/unused.py": "x = 1\n",
    "tests/test_app.py": "import app.core\n\ndef test_one():\n    app.core.run()\n\ndef test_two():\n    app.core.run()\n",
    "pytest.ini": "[pytest]\npythonpath = .\n",
}


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "project")
    yield project
    project.process.close()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("measured") / "tests" / "project").write(FILES)
    plan, done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert plan.warnings == ()
    collected = project.collect()
    project.process.close()
    return project, collected


def missing(collected, path):
    return next(file.missing for file in collected.coverage.files if file.path == path)


def test_lines_of_greenlets_and_threads_are_measured_over_workers(measured):
    no, never = 12, 31
    assert missing(measured[1], "app/core.py") == ((no, no), (never, never))


def test_subprocess_of_a_test_is_measured_from_another_folder(measured):
    assert missing(measured[1], "app/command.py") == ()


def test_module_that_nobody_imports_counts_as_missing(measured):
    assert missing(measured[1], "app/unused.py") == ((1, 1),)


def test_tests_are_no_source_by_default(measured):
    assert {file.path for file in measured[1].coverage.files} == {
        "app/__init__.py", "app/command.py", "app/core.py", "app/unused.py",
    }  # fmt: skip


def test_totals_count_lines_and_branches(measured):
    coverage = measured[1].coverage
    statements = sum(file.lines for file in coverage.files)
    assert coverage.lines == pytest.approx(100 * (statements - 3) / statements)
    assert coverage.branches == 75
    assert coverage.total == pytest.approx(100 * (statements - 3 + 3) / (statements + 4))


def test_cobertura_file_is_written(measured):
    root = ET.parse(measured[0].report / "coverage.xml").getroot()
    assert root.tag == "coverage"
    assert [node.text for node in root.iter("source")] == ["app"]
    assert {node.get("filename") for node in root.iter("class")} == {"__init__.py", "command.py", "core.py", "unused.py"}


def test_unknown_base_gives_null_and_a_reason_where_somebody_asked(measured):
    project, unasked = measured
    assert unasked.coverage.diff is None
    assert unasked.warnings == ()
    asked = project.collect(compare_to="main")
    assert asked.coverage == unasked.coverage
    assert "not in a git repository" in asked.warnings[0]


def test_data_is_read_again_with_the_same_result(measured):
    project, first = measured
    assert project.collect() == first


def test_changed_lines_are_compared_with_what_ran(project, repository):
    project.folder = repository.folder / "services" / "shop"
    project.arguments = ()
    long_call = "value = dict(\n    a=1,\n    b=2,\n)\n"
    project.write({**PLAIN, "tests/test_app.py": "import app.patch\n\ndef test_it():\n    app.patch.run()\n"})
    project.write({"app/patch.py": "def run():\n    pass\n"})
    repository.commit({".gitignore": "__pycache__\n.savepoint\n", "readme.md": "a\n"})
    repository.git("checkout", "--quiet", "-b", "change")
    project.write({"app/patch.py": f"def run():\n    # why\n    pass\n\n\ndef never():\n    return (\n        2\n    )\n\n\n{long_call}"})
    repository.commit({"readme.md": "b\n", "services/other/x.py": "y = 1\n"})
    repository.git("update-ref", "refs/remotes/origin/HEAD", "main")
    assert project.run()[1].returncode == 0
    patch = project.collect().coverage.diff
    assert [(file.path, file.uncovered) for file in patch.files] == [("app/patch.py", ((7, 9),))]
    assert (patch.covered, patch.changed) == (2, 3)
    # One line inside a call that spans four counts as the call.
    repository.commit()
    project.write({"app/patch.py": (project.folder / "app/patch.py").read_text().replace("b=2", "b=3")})
    patch = project.collect(compare_to="HEAD").coverage.diff
    assert (patch.covered, patch.changed, patch.percent) == (1, 1, 100)
    # Nothing that can run has changed.
    repository.git("checkout", "--quiet", ".")
    patch = project.collect(compare_to="HEAD").coverage.diff
    assert (patch.covered, patch.changed, patch.percent, patch.files) == (0, 0, 100, ())


def test_pytest_that_never_measured_gives_null_and_a_warning(project):
    project.write({**PLAIN, "tests/conftest.py": "import os\nos._exit(7)\n"})
    project.arguments = ()
    assert project.run()[1].returncode == 7
    collected = project.collect()
    assert collected.coverage is None
    assert "There is no coverage data" in collected.warnings[0]


@pytest.mark.e2e
def test_killed_controller_leaves_the_data_of_finished_workers(project):
    kill = """
        import os, signal
        def pytest_testnodedown(node, error):
            if node.gateway.id == "gw1":
                os.kill(os.getpid(), signal.SIGKILL)
    """
    project.write({**PLAIN, "conftest.py": kill})
    assert project.run()[1].returncode == -9
    assert "app/core.py" in {file.path for file in project.collect().coverage.files}


def test_unreadable_data_gives_null_and_the_reason(project):
    project.write(PLAIN)
    project.plan()
    (project.report / "coverage" / "data").write_text("garbage")
    collected = project.collect()
    assert collected.coverage is None
    assert "could not be read" in collected.warnings[-1]


def test_own_configuration_is_kept_and_its_faults_are_told(project):
    config = r"""
        [tool.coverage.run]
        source = ["app"]
        omit = ["app/unused.py"]
        concurrency = ["greenlet"]
        core = "sysmon"
        dynamic_context = "test_function"
        [tool.coverage.report]
        exclude_also = ["# pragma: hidden", "cost = \\$$1", 'say "no"']
        fail_under = 88
        [tool.coverage.paths]
        source = ["app", "*/site-packages/app"]
    """
    project.write({**PLAIN, "pyproject.toml": config})
    project.arguments = ()
    plan, done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    collected = project.collect()
    assert {file.path for file in collected.coverage.files} == {"app/__init__.py", "app/core.py"}
    assert collected.fail_under == 88
    concurrency, core, context = plan.warnings
    assert 'concurrency in pyproject.toml is greenlet' in concurrency
    assert "used ctrace" in core
    assert "dynamic_context" in context
    for kept in ('"# pragma: hidden"', r'"cost = \\$$1"', r'"say \"no\""', '["app", "*/site-packages/app"]'):
        assert kept in project.config


def test_plugin_of_coverage_keeps_its_options_and_never_sees_the_token(project):
    spy = """
        import os
        from pathlib import Path
        from coverage import CoveragePlugin

        def coverage_init(registry, options):
            with Path("seen").open("a") as file:
                print(options["price"], "SAVEPOINT_GITHUB_TOKEN" in os.environ, file=file)
    """
    config = '[tool.coverage.run]\nplugins = ["spy"]\n[tool.coverage.spy]\nprice = "$5"\n'
    project.write({**PLAIN, "spy.py": spy, "pyproject.toml": config})
    project.arguments = ()
    assert project.run(PYTHONPATH=".")[1].returncode == 0
    assert project.collect({"SAVEPOINT_GITHUB_TOKEN": "secret"}).coverage
    assert set((project.folder / "seen").read_text().splitlines()) == {"$5 False"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".coveragerc", "[run]\nsource = app\n[report]\nexclude_lines =\n    def never\n    secret ${HIDDEN-x}\n"),
        ("setup.cfg", "[coverage:run]\nsource = app\n[coverage:report]\nexclude_lines =\n    def never\n    secret x\n"),
        ("tox.ini", "[coverage:run]\nsource = app\n[coverage:report]\nexclude_lines =\n    def never\n    secret x\n"),
        ("ours.ini", "[run]\nsource = app\n[report]\nexclude_lines =\n    def never\n    secret x\n"),
    ],
)
def test_every_place_of_a_configuration_is_read(project, name, text):
    project.write({**PLAIN, name: text})
    project.arguments = ("--cov-config=ours.ini",) if name == "ours.ini" else ()
    plan = project.plan()
    assert 'source = ["app"]' in project.config.replace('"source"', "source")
    assert '["def never", "secret x"]' in project.config
    assert f"concurrency in {name} is not set" in plan.warnings[0]


def test_sources_of_addopts_are_measured(project):
    project.write({**PLAIN, "pytest.ini": "[pytest]\naddopts = --cov=app.core --cov-fail-under=99\n"})
    project.plan()
    assert '"source" = ["app.core"]' in project.config
    assert '"fail_under" = 99' in project.config


def test_core_of_the_environment_is_overruled(project):
    project.write(PLAIN)
    plan = project.plan(COVERAGE_CORE="sysmon")
    assert plan.environment["COVERAGE_CORE"] == "ctrace"
    assert "sysmon" in plan.warnings[0]


def test_configuration_that_coverage_refuses_is_told(project):
    project.write({**PLAIN, ".coveragerc": "[run]\nconcurrency = nonsense\n"})
    plan = project.plan()
    assert "nonsense" in plan.warnings[0]
    assert plan.arguments


def _children():
    return [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]


def test_coverage_process_that_was_killed_meanwhile_is_started_again(project):
    before = project.write(PLAIN).plan()
    (asked,) = [each for each in _children() if each.cwd() == str(project.folder)]
    asked.kill()
    asked.wait()
    assert project.plan() == before


def test_environment_without_pytest_cov_is_told(project, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    project.write(PLAIN)
    python, asked = tmp_path / "bare" / "bin" / "python", CoverageProcess()
    plan = plan_coverage(asked, python, project.folder, project.report, environ=project.environ)
    asked.close()
    assert plan.arguments == ()
    assert "pytest_cov is not installed" in plan.warnings[0]
    assert project.collect() == CollectedCoverage(coverage=None)


def test_contexts_tell_which_tests_ran_a_line_and_which_lines_only_a_flaky_one_ran(project):
    project.arguments = ("-n", "2", "--cov-context=test")
    project.write(
        {
            **PLAIN,
            "app/core.py": "def run(deep):\n    if deep:\n        return 2\n    return 1\n\ndef never():\n    return 3\n",
            "tests/test_app.py": (
                "import app.core\n\ndef test_shallow():\n    app.core.run(False)\n\n"
                "def test_deep():\n    app.core.run(True)\n"
            ),
        }
    ).run()
    coverage = project.collect().coverage
    (core,) = [file for file in coverage.files if file.path == "app/core.py"]
    ran = {(each.first, each.last): {coverage.tests[place] for place in each.tests} for each in core.touched}
    shallow, deep = "tests/test_app.py::test_shallow", "tests/test_app.py::test_deep"
    assert ran == {(2, 2): {shallow, deep}, (3, 3): {deep}, (4, 4): {shallow}}

    verdicts = (Verdict(nodeid=deep, verdict="flaky", runs=9, failures=2),)
    report = Report(result="green", counts={}, run=Run(), coverage=coverage, verdicts=verdicts)
    assert with_only_flaky(report).coverage.only_flaky == (FileLines(path="app/core.py", ranges=((3, 3),)),)


def test_without_contexts_nothing_is_said_of_tests(measured):
    assert measured[1].coverage.tests == ()
    assert not any(file.touched for file in measured[1].coverage.files)
