"""The caller's coverage.py, asked from here."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

__all__ = ["CoverageProcess"]

_SCRIPT = Path(__file__).with_name("caller_coverage.py")


class CoverageProcess:
    """`caller_coverage.py` in the caller's interpreter, loaded once for all questions; it ends with this process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self, python: Path, *, project: Path, environ: Mapping[str, str]) -> None:
        """Let it load while something else is done; where it runs already, nothing happens.

        :param python: the interpreter of the caller's environment.
        :param environ: its variables, without those with which the caller's code could reach the job.
        """
        import subprocess  # noqa: PLC0415 - most steps ask nothing

        if self._process is None or self._process.poll() is not None:
            # With these the script would measure itself.
            unmeasured = {name: text for name, text in environ.items() if not name.startswith("COVERAGE_PROCESS_")}
            # In a session of its own it misses the interrupt of a terminal, after which it is still asked.
            self._process = subprocess.Popen(
                [str(python), str(_SCRIPT)], cwd=project, env=unmeasured, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", start_new_session=True,
            )  # fmt: skip

    def ask(
        self, python: Path, verb: str, request: Mapping[str, Any], *, project: Path, environ: Mapping[str, str]
    ) -> dict[str, Any]:
        """The answer to `settings` or `read`; what went wrong is its `error`."""
        import tempfile  # noqa: PLC0415

        self.start(python, project=project, environ=environ)
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder, "answer.json")
            printed = self._wait({**request, "verb": verb, "answer": str(answer)})
            if answer.exists():
                result: dict[str, Any] = json.loads(answer.read_text("utf-8"))
                return result
        has = dict.fromkeys(("coverage", "pytest_cov"), True)
        return {"error": f"{python} failed: {printed}", "warnings": [], "has": has}

    def close(self) -> None:
        """End it, if it was started."""
        if self._process:
            self._process.communicate()

    def _wait(self, request: Mapping[str, Any]) -> str:
        """Wait until it has answered or is gone, and give the last line that it printed."""
        assert self._process
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):  # what it printed says why
            print(json.dumps(request), file=self._process.stdin, flush=True)
        # Plugins may print, too; only the script knows this name.
        lines = (line.strip() for line in self._process.stdout)
        printed = deque(iter(lambda: next(lines, request["answer"]), request["answer"]), maxlen=2)
        return next((line for line in reversed(printed) if line), f"exit code {self._process.poll()}")
