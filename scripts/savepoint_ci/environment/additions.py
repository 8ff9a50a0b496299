"""What a run needs beside the project's own dependencies; nothing that the caller chose is changed for it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest_savepoint
from pytest_savepoint.settings import Settings

from savepoint_ci.environment.choose import Contents
from savepoint_ci.environment.probe import digest
from savepoint_ci.environment.uv import UV, InstallError, run_program
from savepoint_ci.suite.files import test_files

__all__ = ["install_additions", "missing_additions", "our_digest"]

_PACKAGE = Path(pytest_savepoint.__file__).parent
_DISTRIBUTION = _PACKAGE.parent.parent


def our_digest() -> str:
    """One text for the contents of the fixture package that belongs to this tool."""
    return digest(_PACKAGE)


def missing_additions(contents: Contents, settings: Settings, project: Path) -> list[str]:
    """The requirements that the environment does not meet yet, our own package left out."""
    installed = {name.lower().replace("_", "-") for name in contents.installed}
    wanted = {
        "pytest-xdist>=3.5": settings.workers != "0" and "pytest-xdist" not in installed,
        "pytest-cov>=5": settings.coverage and "pytest-cov" not in installed,
        "pytest-asyncio>=0.24": "pytest-asyncio" not in installed and not _uses_anyio(project),
    }
    return [requirement for requirement, is_missing in wanted.items() if is_missing]


def install_additions(
    python: Path, contents: Contents, requirements: list[str], *, cache: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes] | None:
    """Install what is missing, and our fixture package when it is not there or is another version.

    Gives what still compiles our package, None where that is done.

    :raises InstallError: when it does not fit to what the caller has installed.
    """
    command: list[str | Path] = [UV, "pip", "install", "--python", python, *requirements]
    if contents.savepoint != our_digest():
        command += [_wheel(cache, environ), "--reinstall-package", "pytest-savepoint"]
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(scratch, "installed.txt")
        pins = (f"{name}=={version}" for name, version in contents.installed.items() if name != "pytest-savepoint")
        kept.write_text("\n".join(pins))
        command += ["--constraint", kept]
        if not requirements and _is_added_alone(command, folder=Path(scratch), environ=environ):
            return _compile(python, environ)
        try:
            run_program(command, folder=Path(scratch), environ=environ, purpose="Installing")
        except InstallError as error:
            raise InstallError(
                f"What a run needs could not be added to {contents.prefix} without changing what is installed there.\n"
                f"{error}\nRaise the version that is in the way in your own requirements."
            ) from None
    return None


def _is_added_alone(command: list[str | Path], *, folder: Path, environ: Mapping[str, str]) -> bool:
    """Add our package where all that it needs is there: no index is asked, and nothing is compiled."""
    quickly = {"UV_COMPILE_BYTECODE": "0", "UV_OFFLINE": "1"}
    try:
        run_program(command, folder=folder, environ={**environ, **quickly}, purpose="Installing")
    except InstallError:
        return False  # the index has what is missing, or it is said what is in the way
    return True


def _compile(python: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Compile our package beside what comes next; otherwise each worker compiles the same modules at the same time."""
    program = "import compileall, os, pytest_savepoint; compileall.compile_dir(os.path.dirname(pytest_savepoint.__file__), quiet=2)"
    return subprocess.Popen(
        [str(python), "-c", program], cwd=_DISTRIBUTION, env=dict(environ), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _uses_anyio(project: Path) -> bool:
    return any(b"anyio" in path.read_bytes() for path in test_files(project))


def _wheel(cache: Path, environ: Mapping[str, str]) -> Path:
    """Our fixture package, built once for its contents by the tool's uv, which has the build backend in it."""
    place = cache / "wheels" / our_digest()
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, ignore_cleanup_errors=True) as scratch:
            built = Path(scratch, "built")
            command = (UV, "build", "--wheel", "--offline", "--no-config", "--python", sys.executable, "--out-dir", built)
            run_program(command, folder=_DISTRIBUTION, environ=environ, purpose="Building pytest-savepoint")
            try:
                built.rename(place)
            except OSError:
                if not place.exists():
                    raise
    return next(place.glob("*.whl"))
