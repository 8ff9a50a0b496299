"""An environment for exactly one lock, made once and then only found.

Standard library only, because nothing else is there before it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pytest_savepoint.errors import SavepointError

__all__ = ["LockedEnvironmentError", "locked_environment", "packages_of", "python_of"]


class LockedEnvironmentError(SavepointError):
    """An environment of ours could not be made."""


def locked_environment(home: Path, lock: Path) -> Path:
    """The folder of the environment in `home` that has what `lock` names; made when there is none.

    :param lock: a requirements file with hashes.
    :raises LockedEnvironmentError: when the cache cannot be written, or an installer fails.
    """
    import hashlib  # noqa: PLC0415 - most steps of a job are in their environment, and need none

    python = f"{sys.implementation.cache_tag} {sys.version} {sys.base_prefix}"
    environment = home / hashlib.sha256(lock.read_bytes() + python.encode()).hexdigest()[:20]
    if not environment.exists():
        _make(environment, lock)
    return environment


def python_of(environment: Path) -> Path:
    """The interpreter of an environment."""
    return environment / "Scripts" / "python.exe" if os.name == "nt" else environment / "bin" / "python"


def packages_of(environment: Path) -> list[str]:
    """The folders of an environment in which packages are."""
    return [*map(str, environment.glob("Lib/site-packages" if os.name == "nt" else "lib/*/site-packages"))]


def _make(environment: Path, lock: Path) -> None:
    """Build beside the final place and rename, so that nobody ever sees half an environment."""
    import shutil  # noqa: PLC0415 - with subprocess and tempfile a third of the start of every later call
    import tempfile  # noqa: PLC0415

    print(f"savepoint: making the environment of {lock.name} (once for this version)", file=sys.stderr, flush=True)
    try:
        environment.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="making-", dir=environment.parent.parent))
    except OSError as error:
        raise LockedEnvironmentError(
            f"The cache cannot be written: {error}.\nName another folder in SAVEPOINT_CACHE."
        ) from None
    try:
        built = folder / "environment"
        _install(built, lock, uv=shutil.which("uv"))
        try:
            built.rename(environment)
        except OSError:
            if not environment.exists():  # otherwise another process was first, and its work is as good
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _install(built: Path, lock: Path, *, uv: str | None) -> None:
    if uv:
        make = ["venv", "--quiet", "--no-project", "--relocatable", "--python", sys.executable, str(built)]
        _call([uv, *make], built.parent)
        install = [uv, "pip", "install", "--quiet", "--python", str(python_of(built))]
    else:
        _call([sys.executable, "-m", "venv", "--without-pip", str(built)], built.parent)
        # Compiling all of it ahead would take longer than everything else together.
        install = [sys.executable, "-m", "pip", "--python", str(python_of(built)), "install", "--quiet", "--no-compile"]
    _call([*install, "--require-hashes", "--no-deps", "-r", str(lock)], built.parent)


def _call(command: list[str], folder: Path) -> None:
    import subprocess  # noqa: PLC0415

    # Not in the caller's folder: its uv.toml and pyproject.toml are about the caller's project.
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise LockedEnvironmentError(
            f"An environment could not be made; {command[0]} ended with exit code {done.returncode}:\n"
            f"{done.stdout.strip()}\n"
            "It needs the package index (or a mirror, named as for pip and uv) and either uv on PATH or a pip "
            "for this Python (Debian: apt-get install python3-pip). Installing uv is the simplest way out."
        )
