"""`install` fills the environment that tests will run in, and changes nothing that its owner chose."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from programs import UV

pytestmark = pytest.mark.e2e

PROJECT = """
[project]
name = "thing"
version = "1"
requires-python = ">=3.10"
dependencies = ["iniconfig==2.0.0"]
[project.optional-dependencies]
test = ["tomlkit==0.13.0"]
"""
# Poetry asks the public index in a way that mirrors do not answer, so its dependency is a file.
POETRY = """
[tool.poetry]
package-mode = false
[tool.poetry.dependencies]
python = ">=3.10"
[tool.poetry.group.test]
optional = true
[tool.poetry.group.test.dependencies]
iniconfig = { path = "iniconfig-2.0.0-py3-none-any.whl" }
"""
PDM = PROJECT + "[tool.pdm]\ndistribution = false\n"
LOCKERS = {
    "uv": (PROJECT, [UV, "lock", "--quiet"]),
    "poetry": (POETRY, [UV, "tool", "run", "--quiet", "--from", "poetry>=2,<3", "poetry", "lock"]),
    "pdm": (PDM, [UV, "tool", "run", "--quiet", "--from", "pdm[locked]>=2,<3", "pdm", "lock", "-G", "test"]),
}


def versions(python: str | Path) -> dict[str, str]:
    code = "import importlib.metadata as m, json; print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
    return json.loads(subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout)


def write_wheel(folder: Path, name: str, version: str) -> None:
    described = f"{name}-{version}.dist-info"
    files = {
        f"{described}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{described}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{described}/RECORD": f"{described}/METADATA,,\n{described}/WHEEL,,\n{described}/RECORD,,\n",
    }
    with ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.fixture
def environment(tmp_path):
    """An empty environment of the caller's."""
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "theirs"], check=True)
    return tmp_path / "theirs"


@pytest.mark.parametrize("manager", LOCKERS)
def test_lock_is_installed_with_its_test_extra(tool, environment, manager):
    pyproject, lock = LOCKERS[manager]
    (tool.project / "pyproject.toml").write_text(pyproject)
    write_wheel(tool.project, "iniconfig", "2.0.0")
    subprocess.run(lock, cwd=tool.project, check=True, env={**tool.environ, "VIRTUAL_ENV": str(environment)})
    tool.environ["VIRTUAL_ENV"] = str(environment)
    done = tool.call("install")
    assert done.returncode == 0, done.stdout
    found = versions(environment / "bin" / "python")
    assert (found["iniconfig"], found.get("tomlkit")) == ("2.0.0", None if manager == "poetry" else "0.13.0")
    assert {"pytest", "pytest-xdist", "pytest-asyncio", "pytest-savepoint"} <= set(found)


def test_what_the_owner_of_the_environment_pinned_is_left_alone(tool, environment):
    pins = {"pytest": "8.3.3", "pytest-xdist": "3.6.1", "sqlalchemy": "2.0.36", "anyio": "4.6.2"}
    words = [f"{name}=={version}" for name, version in pins.items()]
    subprocess.run([UV, "pip", "install", "--quiet", "--python", environment / "bin" / "python", *words], check=True)
    tool.environ["pythonLocation"] = str(environment)
    tool.write(test_it="import anyio\n")
    done = tool.call("install")
    assert done.returncode == 0, done.stdout
    found = versions(environment / "bin" / "python")
    assert {name: found[name] for name in pins} == pins
    assert "pytest-savepoint" in found
    assert "pytest-asyncio" not in found, "the suite uses anyio's plugin"


def test_pin_that_our_fixtures_cannot_live_with_is_named(tool, environment):
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", environment / "bin" / "python", "sqlalchemy==1.4.54"],
        check=True,
    )
    tool.environ["VIRTUAL_ENV"] = str(environment)
    done = tool.call("install")
    assert done.returncode == 2
    assert "sqlalchemy==1.4.54" in done.stdout
    assert "Raise the version that is in the way" in done.stdout
    assert versions(environment / "bin" / "python")["sqlalchemy"] == "1.4.54"


def test_kept_environment_is_used_again_until_the_files_change(tool, tmp_path):
    tool.environ["SAVEPOINT_STATE"] = str(tmp_path / "state")
    requirements = tool.project / "requirements.txt"
    used = []
    for text in ("iniconfig==2.0.0\n", "iniconfig==2.0.0\n", "iniconfig==2.1.0\n"):
        requirements.write_text(text)
        done = tool.call("install")
        assert done.returncode == 0, done.stdout
        used.append(json.loads((tmp_path / "state" / "installed.json").read_text())["python"])
    assert used[0] == used[1] != used[2]
    assert [versions(python)["iniconfig"] for python in used[1:]] == ["2.0.0", "2.1.0"]


def test_install_command_runs_in_the_environment_and_gets_its_text_as_data(tool, environment):
    tool.environ["VIRTUAL_ENV"] = str(environment)
    command = "uv pip install iniconfig==2.0.0 && echo \"it's $VIRTUAL_ENV\" > 'where it is'"
    done = tool.call("install", f"--install={command}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert versions(environment / "bin" / "python")["iniconfig"] == "2.0.0"
    assert (tool.project / "where it is").read_text() == f"it's {environment}\n"


def test_install_command_that_fails_ends_the_run_with_its_exit_code(tool, environment):
    tool.environ["VIRTUAL_ENV"] = str(environment)
    done = tool.call("run", "--isolation", "none", "--install", "echo no mirror; exit 7")
    assert done.returncode == 2
    assert "The install command failed with exit code 7" in done.stdout
    assert "no mirror" in done.stdout
    assert tool.report["failure"]["step"] == "install"


def test_environment_that_is_first_on_the_path_is_the_callers(tool, environment):
    tool.environ.pop("VIRTUAL_ENV", None)
    tool.environ["PATH"] = f"{environment / 'bin'}:{tool.environ['PATH']}"
    done = tool.call("install")
    assert done.returncode == 0, done.stdout
    assert "pytest-savepoint" in versions(environment / "bin" / "python")


def test_project_that_declares_nothing_gets_the_known_libraries_it_imports(tool, tmp_path):
    tool.environ["SAVEPOINT_STATE"] = str(tmp_path / "state")
    tool.environ["PATH"] = f"{Path(sys.base_prefix, 'bin')}:{tool.environ['PATH']}"
    tool.write(
        test_thing="import freezegun\nimport somebody_elses_name\ntry:\n    import redis\nexcept ImportError:\n    pass\n"
    )
    done = tool.call("install")
    assert done.returncode == 0, done.stdout
    python = json.loads((tmp_path / "state" / "installed.json").read_text())["python"]
    installed = versions(python)
    assert "freezegun" in installed
    assert "redis" not in installed
