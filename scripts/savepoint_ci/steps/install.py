"""Install the project's dependencies, and what a run needs, into the caller's environment."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from savepoint_ci.environment.additions import install_additions, missing_additions, our_digest
from savepoint_ci.environment.choose import (
    Contents,
    active_python,
    ask_for_contents,
    find_base_python,
    make_once,
    read_contents,
)
from savepoint_ci.environment.dependencies import Dependencies, detect_dependencies
from savepoint_ci.environment.imports import undeclared_requirements
from savepoint_ci.environment.uv import UV, InstallError, changes_nothing, run_program
from savepoint_ci.invocation import Invocation
from savepoint_ci.state import Installed

__all__ = ["callers_python", "install"]


def install(invocation: Invocation) -> None:
    """Fill the active environment, or a kept one of the project's own when none is active.

    :raises InstallError: when an installer fails, with what it printed.
    """
    start = time.monotonic()
    wish = invocation.settings.install
    dependencies = None if wish else detect_dependencies(invocation.project)
    python = _environment(invocation, dependencies)
    if wish == "none":
        _refuse_incomplete(invocation, python)
    elif wish:
        _run_install_command(invocation, python, wish)
        _add_what_is_missing(invocation, python, read_contents(python, invocation.environ))
    else:
        where = dependencies.source if dependencies else "no lock file, requirements file or pyproject.toml with any"
        invocation.display.say(f"savepoint: dependencies: {where}")
    invocation.state.save(Installed(seconds=time.monotonic() - start, python=str(python)))


def _environment(invocation: Invocation, dependencies: Dependencies | None) -> Path:
    """The environment that tests will run in, filled with what was detected."""
    if found := active_python(invocation.settings.python, invocation.environ):
        python, origin = found
        invocation.display.say(f"savepoint: using {python} ({origin})")
        if not invocation.settings.install:
            _fill(invocation, python, dependencies, _undeclared(invocation, dependencies))
        return python
    if invocation.settings.install == "none":
        raise InstallError(
            "install is none, but no environment is active and python is empty, so there is nothing to run tests in.\n"
            "Activate your environment, name its interpreter in python, or leave install empty."
        )
    python = _kept_environment(invocation, dependencies)
    invocation.display.say(f"savepoint: using {python} (made by us, because no environment is active)")
    return python


def callers_python(invocation: Invocation) -> Path:
    """The interpreter that runs the caller's code: the installed one, else the active one.

    :raises InstallError: when there is neither.
    """
    if installed := invocation.state.load(Installed):
        return Path(installed.python)
    if found := active_python(invocation.settings.python, invocation.environ):
        return found[0]
    raise InstallError(
        "There is no environment to run the project in: none is active and nothing was installed.\n"
        "Run `savepoint install` first, activate your environment, or name its interpreter in python."
    )


def _fill(
    invocation: Invocation, python: Path, dependencies: Dependencies | None, undeclared: Sequence[str] = ()
) -> subprocess.Popen[bytes] | None:
    """Install what is declared and what a run needs; gives what still compiles our package."""
    contents = ask_for_contents(python, invocation.environ)
    if dependencies and _install_dependencies(invocation, python, dependencies, contents):
        contents = ask_for_contents(python, invocation.environ)
    return _add_what_is_missing(invocation, python, contents(), undeclared)


def _undeclared(invocation: Invocation, dependencies: Dependencies | None) -> list[str]:
    return [] if dependencies or invocation.settings.install else undeclared_requirements(invocation.project)


def _add_what_is_missing(
    invocation: Invocation, python: Path, contents: Contents, undeclared: Sequence[str] = ()
) -> subprocess.Popen[bytes] | None:
    known = {name.lower().replace("_", "-") for name in contents.installed}
    requirements = [each for each in undeclared if re.split(r"[\[>]", each)[0] not in known]
    requirements += missing_additions(contents, invocation.settings, invocation.project)
    if not requirements and contents.savepoint == our_digest():
        return None
    compiling = install_additions(python, contents, requirements, cache=invocation.cache, environ=invocation.environ)
    invocation.display.say(f"savepoint: added {', '.join([*requirements, 'pytest-savepoint'])}")
    return compiling


def _install_dependencies(
    invocation: Invocation, python: Path, dependencies: Dependencies, contents: Callable[[], Contents]
) -> bool:
    """Install what the project says; whether anything may have changed."""
    folder, changed = invocation.project, False
    with tempfile.TemporaryDirectory() as scratch:
        for command in dependencies.commands(python, Path(scratch)):
            if not changes_nothing(command, folder=folder, environ=invocation.environ_without_token):
                changed = True
                environ = _activated(invocation, python, contents())
                run_program(command, folder=folder, environ=environ, purpose=f"Installing from {dependencies.source}")
    return changed


def _kept_environment(invocation: Invocation, dependencies: Dependencies | None) -> Path:
    """An environment for exactly these files; when they change, so does the environment."""
    base = find_base_python(invocation.project, invocation.environ)
    files = dependencies.files if dependencies else ()
    undeclared = _undeclared(invocation, dependencies)
    # Where nothing is declared, tests run with what is installed beside the Python that has a pytest.
    with_base = bool(undeclared) and "pytest" in read_contents(Path(base), invocation.environ).installed
    key = "\0".join(
        [
            str(invocation.project),
            base,
            our_digest(),
            invocation.settings.install,
            f"{invocation.settings.workers != '0'} {invocation.settings.coverage}",
            f"{with_base} {undeclared}",
            *(f"{path}\0{path.read_text('utf-8', 'replace')}" for path in files if path.exists()),
        ]
    )

    def fill(python: Path) -> None:
        compiling = None if invocation.settings.install else _fill(invocation, python, dependencies, undeclared)
        if compiling:
            compiling.wait()  # the environment is to be moved

    home = invocation.cache / "environments"
    return make_once(home, key, base, fill, invocation.environ, with_base=with_base)


def _run_install_command(invocation: Invocation, python: Path, command: str) -> None:
    """Run the caller's command in a shell; its text comes in by the environment, and its output goes straight out."""
    contents = read_contents(python, invocation.environ)
    environ = _activated(invocation, python, contents) | {"SAVEPOINT_INSTALL": command}
    shell = ["bash", "-c", 'eval "$SAVEPOINT_INSTALL"'] if os.name == "posix" else ["cmd", "/c", "%SAVEPOINT_INSTALL%"]
    done = subprocess.run(shell, cwd=invocation.project, env=environ, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise InstallError(
            f"The install command failed with exit code {done.returncode}; its output is above:\n  {command}"
        )


def _activated(invocation: Invocation, python: Path, contents: Contents) -> dict[str, str]:
    """The caller's variables with this environment active, and uv at the end of the path."""
    path = os.pathsep.join((str(python.parent), invocation.environ.get("PATH", ""), str(UV.parent)))
    active = {"VIRTUAL_ENV": str(contents.prefix), "PDM_IGNORE_SAVED_PYTHON": "1"}
    if contents.virtual:
        active["UV_PROJECT_ENVIRONMENT"] = str(contents.prefix)
    return invocation.environ_without_token | {"PATH": path} | active


def _refuse_incomplete(invocation: Invocation, python: Path) -> None:
    contents = read_contents(python, invocation.environ)
    missing = missing_additions(contents, invocation.settings, invocation.project)
    if not contents.savepoint:
        missing.append("pytest-savepoint")
    if missing:
        raise InstallError(
            f"install is none, but {python} has no {', '.join(missing)}.\n"
            "Install them yourself, leave install empty, or set coverage to false and workers to 0 to need less."
        )
