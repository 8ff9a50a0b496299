"""What every step gets, and how its end becomes an exit code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_savepoint.errors import ExitCode, SavepointError
from pytest_savepoint.settings import Settings

from savepoint_ci.progress import Display
from savepoint_ci.state import Failed, State
from savepoint_ci.suite.coverage_process import CoverageProcess

__all__ = ["Invocation", "attempt"]

_ORDER = ("provision", "install", "migrate", "test", "search", "server")


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One call of the tool: the caller's project and environment, the settings in force, and where things are kept."""

    project: Path
    settings: Settings
    environ: Mapping[str, str]
    cache: Path
    state: State
    display: Display
    pytest_arguments: tuple[str, ...] = ()
    shards: int | None = None
    """How many shards `plan` is to make; None lets the history say."""
    budget: float = 0.0
    """The seconds that `flaky` may take."""
    shard_seconds: float = 0.0
    """The time that a shard may take when the history says how many there are."""
    folders: Sequence[Path] = ()
    """The report folders that `merge` was given."""
    artifact: str = ""
    """The name under which the run that `post` comments for kept its report folder."""
    kept: bool = False
    """`clean` removes also what is kept of failed tests."""
    form: str = ""
    """The form in which `report` prints the last report; empty makes a new one."""
    coverage: CoverageProcess = field(default_factory=CoverageProcess, repr=False)
    """What the steps of one process ask about coverage, they ask the same process of the caller's."""

    @property
    def environ_without_token(self) -> dict[str, str]:
        """The variables for whatever runs the caller's code, or beside it."""
        return {name: text for name, text in self.environ.items() if name != "SAVEPOINT_GITHUB_TOKEN"}

    @property
    def report_folder(self) -> Path:
        """The folder of report.json and its renderings; made when it is not there, and kept out of version control."""
        folder = self.project / str(self.settings.report)
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / ".gitignore").write_text("*\n")
        return folder


def attempt(
    name: str, step: Callable[[Invocation], ExitCode | None], invocation: Invocation, *, show: bool = True
) -> ExitCode:
    """Take one step; what goes wrong is kept for the report and becomes the exit code.

    :param show: say at once what went wrong.
    """
    _forget_failures_from(name, invocation.state)
    try:
        return step(invocation) or ExitCode.GREEN
    except KeyboardInterrupt:
        invocation.state.save(Failed(step=name, message="interrupted", interrupted=True))
        return ExitCode.INTERRUPTED
    except SavepointError as error:
        _keep_failure(name, str(error), invocation, show=show)
        return error.exit_code
    except Exception:  # noqa: BLE001 - whatever happens, the tests that ran are reported
        import traceback  # noqa: PLC0415 - not needed elsewhere

        message = f"This is a fault in Savepoint itself; please report it.\n{traceback.format_exc().rstrip()}"
        _keep_failure(name, message, invocation, show=show)
        return ExitCode.USAGE


def _forget_failures_from(name: str, state: State) -> None:
    failed = state.load(Failed)
    if failed and name in _ORDER and failed.step in _ORDER[_ORDER.index(name) :]:
        state.forget(Failed)


def _keep_failure(name: str, message: str, invocation: Invocation, *, show: bool) -> None:
    if show:
        invocation.display.say(f"savepoint: {name} failed: {message}")
    if name in _ORDER and invocation.state.load(Failed) is None:
        invocation.state.save(Failed(step=name, message=message))
