"""Which environment the caller's code runs in: the one that is active, else one that we make and keep."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from savepoint_ci.environment import probe
from savepoint_ci.environment.uv import UV, InstallError, run_program

__all__ = [
    "Contents",
    "active_python",
    "ask_for_contents",
    "environment_python",
    "find_base_python",
    "make_once",
    "read_contents",
]


@dataclass(frozen=True)
class Contents:
    """What is installed beside an interpreter; `savepoint` is the digest of our package there, or empty."""

    installed: Mapping[str, str]
    savepoint: str
    prefix: Path
    virtual: bool


def active_python(setting: str, environ: Mapping[str, str]) -> tuple[Path, str] | None:
    """The interpreter of the active environment and how it was recognised, None when no environment is active.

    :param setting: the `python` setting; it comes first.
    :raises InstallError: when what is named does not exist.
    """
    if setting:
        if found := shutil.which(setting, path=environ.get("PATH")):
            return Path(found).absolute(), "the setting python"
        raise InstallError(
            f"python is {setting!r}, but there is no such program.\n"
            "Give the path of your environment's interpreter, or leave it empty to take the active environment."
        )
    # pythonLocation is what actions/setup-python leaves.
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX", "pythonLocation"):
        if environ.get(variable):
            python = environment_python(Path(environ[variable]))
            if python.exists():
                return python, variable
            raise InstallError(
                f"{variable} names {environ[variable]}, but there is no {python}.\n"
                "Activate an environment that exists, or none, or give its interpreter in the setting python."
            )
    # Some put an environment's folder on the path and leave it at that.
    first = shutil.which("python3", path=environ.get("PATH")) or shutil.which("python", path=environ.get("PATH"))
    if first and (Path(first).parent.parent / "pyvenv.cfg").exists():
        return Path(first).absolute(), "first on PATH"
    return None


def environment_python(prefix: Path) -> Path:
    """The interpreter in an environment's folder."""
    if sys.platform != "win32":
        return prefix / "bin" / "python"
    scripts = prefix / "Scripts" / "python.exe"
    return scripts if scripts.exists() else prefix / "python.exe"


def find_base_python(project: Path, environ: Mapping[str, str]) -> str:
    """The interpreter from which an environment for this project is made; uv honours what the project asks for."""
    command = (UV, "python", "find", "--system", "--no-python-downloads")
    return run_program(command, folder=project, environ=environ, purpose="Finding a Python for the project").strip()


def make_once(
    home: Path,
    key: str,
    base: str,
    fill: Callable[[Path], None] | None,
    environ: Mapping[str, str],
    *,
    with_base: bool = False,
) -> Path:
    """The environment `home`/`key`, made when it is not there; half an environment is never seen.

    :param base: the interpreter to make it from.
    :param with_base: whether what is installed beside `base` can be imported too.
    :param fill: installs into the new environment, given its interpreter.
    """
    place = home / hashlib.sha256(key.encode()).hexdigest()[:20]
    if not place.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix="making-", ignore_cleanup_errors=True) as scratch:
            new = Path(scratch, "environment")
            # Relocatable, because it is renamed when it is complete; with pip, because install commands use it.
            extra = ("--system-site-packages",) if with_base else ()
            command = (UV, "venv", "--relocatable", "--seed", "--no-project", *extra, "--python", base, new)
            run_program(command, folder=Path(scratch), environ=environ, purpose="Making an environment")
            if fill:
                fill(environment_python(new))
            try:
                new.rename(place)
            except OSError:
                if not place.exists():  # otherwise another run was first, and its work is as good
                    raise
    return environment_python(place)


def read_contents(python: Path, environ: Mapping[str, str]) -> Contents:
    """Ask an interpreter what is installed beside it.

    :raises InstallError: when it does not run.
    """
    return ask_for_contents(python, environ)()


def ask_for_contents(python: Path, environ: Mapping[str, str]) -> Callable[[], Contents]:
    """The same, as a function that waits for the answer, so that something else can be done meanwhile.

    :raises InstallError: when it does not run, then or now.
    """
    fault = f"{python} does not work as a Python interpreter:\n"
    try:
        process = subprocess.Popen(
            [str(python), probe.__file__], env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    except OSError as error:
        raise InstallError(f"{fault}{error}") from None

    @cache
    def answer() -> Contents:
        printed, said = process.communicate()
        try:
            found = json.loads(printed.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise InstallError(f"{fault}{said or error}") from None
        return Contents(found["installed"], found["savepoint"], Path(found["prefix"]), found["virtual"])

    return answer
