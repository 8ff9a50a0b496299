"""uv, from the tool's own environment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_savepoint.errors import SavepointError

__all__ = ["UV", "InstallError", "changes_nothing", "run_program"]

UV = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")


class InstallError(SavepointError):
    """The caller's environment could not be made or filled."""


def run_program(command: Sequence[str | Path], *, folder: Path, environ: Mapping[str, str], purpose: str) -> str:
    """Run a program to its end and return what it printed.

    :param purpose: what it is for, as the subject of the error message.
    :raises InstallError: with everything that the program printed, when it fails.
    """
    words = [str(word) for word in command]
    # Otherwise every worker of the suite compiles the same modules at the same time.
    environment = {"UV_COMPILE_BYTECODE": "1", **environ}
    done = subprocess.run(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        printed = "\n".join(filter(None, (done.stdout.strip(), done.stderr.strip())))
        shown = " ".join([Path(words[0]).name, *words[1:]])
        raise InstallError(f"{purpose} failed with exit code {done.returncode}:\n  {shown}\n{printed}")
    return done.stdout


def changes_nothing(command: Sequence[str | Path], *, folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether an installation with uv finds everything there; no index is asked, and in doubt the answer is no.

    uv itself asks the index about each dependency of a pyproject.toml, whatever is installed.
    """
    words = [str(word) for word in command]
    # What a folder of the project's own needs is known only when it was built.
    if words[1:3] != ["pip", "install"] or "-e" in words:
        return False
    dry = [*words, "--dry-run", "--offline", "--color", "never"]
    done = subprocess.run(
        dry, cwd=folder, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.returncode == 0 and "Would make no changes" in done.stderr
