"""A script for the CALLER's interpreter: what its coverage.py makes of a configuration, and of the data of a run.

Not imported by us. The caller's coverage.py, its plugins and its Python know the data, the options and the syntax;
ours may be of another version. Requests and answers are JSON, one request in each line of its input:

    {"verb": "settings", "config_file": path, or true to search, or false for none}
    {"verb": "read", "data": path, "config_file": path, "xml": path, "changed": {path: [line, ...]}}

The answer goes to the file that the request's "answer" names, because plugins may print; then that name is printed.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def settings(request: dict[str, Any]) -> dict[str, Any]:
    """The options that the configuration sets, and what this environment has."""
    import coverage  # noqa: PLC0415 - without it the request must still get an answer

    # Any, because the caller's version may declare other types than ours.
    found: Any = coverage.Coverage(config_file=request["config_file"])
    plain: Any = coverage.Coverage(config_file=False)
    options = [option[1] for option in plain.config.CONFIG_FILE_OPTIONS]
    changed = {name: found.get_option(name) for name in options if found.get_option(name) != plain.get_option(name)}
    plugins = found.get_option("run:plugins") or []
    return {
        "version": coverage.__version__,
        "c_tracer": find_spec("coverage.tracer") is not None,
        "known": options,
        "options": changed,
        "paths": dict(found.get_option("paths") or {}),
        "plugins": {name: dict(found.config.get_plugin_options(name)) for name in plugins},
        "config_file": found.config.config_file,
    }


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Combine what the processes of a run left, write the XML, and tell what is covered."""
    import coverage  # noqa: PLC0415

    measured = coverage.Coverage(config_file=request["config_file"], data_file=request["data"])
    measured.load()
    # Workers whose controller was killed, and subprocesses that ended late, are not combined yet.
    measured.combine()
    measured.save()
    with beside(lambda: write_xml(request)), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "coverage.json")
        measured.json_report(outfile=str(path), ignore_errors=True)
        report = json.loads(path.read_text("utf-8"))
    files = {name.replace(os.sep, "/"): facts for name, facts in report["files"].items()}
    changed = request["changed"]
    return {
        "branches": report["meta"]["branch_coverage"],
        "totals": report["totals"],
        "files": {
            name: {key: facts[key] for key in ("executed_lines", "missing_lines", "summary")}
            for name, facts in files.items()
        },
        "changed": {name: statements(name, changed[name]) for name in files if name in changed},
        "fail_under": measured.get_option("report:fail_under") or None,
        **contexts(measured.get_data()),
    }


def write_xml(request: dict[str, Any]) -> None:
    """Write the XML from the data file; what was read before is not asked, because a fork may not share its connection."""
    import coverage  # noqa: PLC0415

    measured = coverage.Coverage(config_file=request["config_file"], data_file=request["data"])
    measured.load()
    measured.xml_report(outfile=request["xml"], ignore_errors=True)


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do something in a copy of this process meanwhile; what fails there, or has no fork, is done here afterwards."""
    copy = os.fork() if hasattr(os, "fork") else None
    if copy == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    yield
    if copy is None or os.waitpid(copy, 0)[1]:
        work()


def contexts(data: Any) -> dict[str, Any]:
    """The tests that ran each line, when they were recorded; many lines share their tests, so each set is told once."""
    tests: dict[str, int] = {}
    groups: dict[tuple[int, ...], int] = {}
    touched: dict[str, list[tuple[int, int]]] = {}
    if data.measured_contexts() - {""}:
        for name in data.measured_files():
            lines = touched[name.replace(os.sep, "/")] = []
            for line, ran in sorted(data.contexts_by_lineno(name).items()):
                # What is run at import is run by no test in particular.
                if line > 0 and "" not in ran:
                    # pytest-cov adds the phase: test_a.py::test_x|run
                    places = sorted({tests.setdefault(each.rpartition("|")[0] or each, len(tests)) for each in ran})
                    lines.append((line, groups.setdefault(tuple(places), len(groups))))
    return {"tests": list(tests), "groups": list(groups), "touched": touched}


def statements(path: str, lines: list[int]) -> list[tuple[int, int]]:
    """Each line with the line on which its statement begins, which is the one that coverage.py counts."""
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return [(line, line) for line in lines]
    begins: dict[int, int] = {}
    for node in ast.walk(tree):  # outer statements come first, so that inner ones have the last word
        for decorator in getattr(node, "decorator_list", ()):
            begins.update(dict.fromkeys(range(decorator.lineno, decorator.end_lineno + 1), decorator.lineno))
        if isinstance(node, ast.stmt):
            begins.update(dict.fromkeys(range(node.lineno, last_line(node) + 1), node.lineno))
    return [(line, begins.get(line, line)) for line in lines]


def last_line(statement: ast.stmt) -> int:
    """Where a statement ends; one that has a body ends before it."""
    if not hasattr(statement, "body"):
        return statement.end_lineno or statement.lineno
    inner = (ast.stmt, ast.excepthandler, ast.match_case)
    header = [part for part in ast.iter_child_nodes(statement) if not isinstance(part, inner)]
    return max([statement.lineno, *(getattr(node, "end_lineno", 0) for part in header for node in ast.walk(part))])


def main() -> None:
    # As with `python -m`: coverage plugins may live in the project, and our coverage.py must not hide theirs.
    here = Path(__file__).parent
    sys.path[:] = [str(Path.cwd()), *(folder for folder in sys.path if Path(folder) != here)]
    with suppress(Exception):  # loaded before it is needed; the answer says that there is none
        import coverage  # noqa: F401, PLC0415
    for line in sys.stdin:
        request = json.loads(line)
        answered = Path(request["answer"])
        answered.write_text(json.dumps(answer_to(request)), encoding="utf-8")
        print(answered, flush=True)


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """What one of the verbs gives, or its error, with coverage.py's warnings and what is installed."""
    answer: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = {"settings": settings, "read": read}[request["verb"]](request)
        except Exception as error:  # noqa: BLE001 - whatever a plugin or a strange file does, the caller is told
            answer["error"] = f"{type(error).__name__}: {error}"
    answer["warnings"] = [str(warning.message) for warning in caught if "Coverage" in warning.category.__name__]
    # pytest-cov and SQLAlchemy are only asked for, never imported.
    answer["has"] = {name: find_spec(name) is not None for name in ("coverage", "pytest_cov", "greenlet", "sqlalchemy")}
    return answer


if __name__ == "__main__":
    main()
