"""Builds a schema in the caller's own environment; run by path, it reads its job from standard input.

Only the standard library and the caller's SQLAlchemy and Alembic are there: this package may not be installed.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

_PACKAGE = Path(__file__).resolve().parent.parent
_SYNC_DRIVERS = {"psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2", "pg8000": "postgresql+pg8000"}
_ASYNC_WORDS = ("async_engine_from_config", "create_async_engine", "asyncio")


def main() -> int:
    job = json.load(sys.stdin)
    # Python puts the folder of this file on the path; the caller's `python -m alembic` has the project there.
    ours = str(Path(__file__).resolve().parent)
    sys.path[:] = [job["project"], *(path for path in sys.path if path != ours)]
    _make_package_importable()
    try:
        _lead_engines(job)
        result: dict[str, Any] = {"answer": _WORK[job["work"]](job)}
    except BaseException as error:  # noqa: BLE001 - a SystemExit of the caller's env.py is a failure like any other
        result = {"revision": _failing_revision(error), "error": _last_line(error), "traceback": _callers_part(error)}
    Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")
    return 0 if "answer" in result else 1


def _make_package_importable() -> None:
    # Not through sys.path: beside an installed package lie others, which are not for the caller's environment.
    name = "pytest_savepoint"
    spec = importlib.util.spec_from_file_location(
        name, _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)


def _lead_engines(job: dict[str, Any]) -> None:
    from pytest_savepoint.address import Address  # noqa: PLC0415 - importable only now
    from pytest_savepoint.engines import lead_engines_to, lead_engines_to_file  # noqa: PLC0415
    from pytest_savepoint.secret import Secret  # noqa: PLC0415

    if "sqlite" in job:
        lead_engines_to_file(job["sqlite"])
        return
    values = job["address"]
    address = Address(**{**values, "password": Secret(values["password"])})
    lead_engines_to(address, job["database"])


def _upgrade(job: dict[str, Any]) -> list[str]:
    from alembic import command  # noqa: PLC0415 - the caller's, and only where it is the source
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = _alembic_config(job)
    command.upgrade(config, "heads")
    return list(ScriptDirectory.from_config(config).get_heads())


def _ask(job: dict[str, Any]) -> Any:
    from pytest_savepoint.migrations.questions import QUESTIONS  # noqa: PLC0415 - importable only now

    return QUESTIONS[job["question"]](_alembic_config(job), job)


def _alembic_config(job: dict[str, Any]) -> Any:
    from alembic.config import Config  # noqa: PLC0415 - the caller's
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config_file = Path(job["parameter"]).absolute()
    config = Config(str(config_file))
    location = config.get_main_option("script_location") or ""
    # A relative script_location counts from where people run alembic: the project, or the folder of alembic.ini.
    if ":" not in location and not Path(location).is_dir() and (config_file.parent / location).is_dir():
        os.chdir(config_file.parent)
        sys.path.insert(0, str(config_file.parent))
    url = _url_for_migrations(job, config.get_main_option("sqlalchemy.url") or "", ScriptDirectory.from_config(config))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def _url_for_migrations(job: dict[str, Any], configured: str, scripts: Any) -> str:
    """The template's URL with the driver that env.py can use; an async driver in a sync env.py would fail."""
    scheme = configured.partition("://")[0]
    if "sqlite" not in job and scheme.split("+")[0] in ("postgresql", "postgres"):
        return _with_scheme(job["url"], scheme)
    environment = Path(scripts.dir) / "env.py"
    is_async = any(word in environment.read_text(encoding="utf-8") for word in _ASYNC_WORDS)
    installed = ["sqlite"] if "sqlite" in job else _sync_schemes()
    if is_async or not installed:
        return str(job["url"])
    for name in job["free_variables"]:
        os.environ[name] = _with_scheme(os.environ[name], installed[0])
    return _with_scheme(job["url"], installed[0])


def _sync_schemes() -> list[str]:
    return [scheme for module, scheme in _SYNC_DRIVERS.items() if importlib.util.find_spec(module)]


def _with_scheme(url: str, scheme: str) -> str:
    return scheme + "://" + url.partition("://")[2]


def _create_all(job: dict[str, Any]) -> list[str]:
    module, _, attribute = job["parameter"].partition(":")
    found: Any = importlib.import_module(module)
    for name in attribute.split("."):
        found = getattr(found, name)
    metadata = getattr(found, "metadata", found)
    if "sqlite" in job:
        _create_all_sync(metadata, _with_scheme(job["url"], "sqlite"))
    elif importlib.util.find_spec("asyncpg"):
        asyncio.run(_create_all_async(metadata, job["url"]))
    else:
        schemes = _sync_schemes() or ["postgresql"]
        _create_all_sync(metadata, _with_scheme(job["url"], schemes[0]))
    return []


async def _create_all_async(metadata: Any, url: str) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - the caller's

    engine = create_async_engine(_with_scheme(url, "postgresql+asyncpg"))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()


def _create_all_sync(metadata: Any, url: str) -> None:
    from sqlalchemy import create_engine  # noqa: PLC0415 - the caller's

    engine = create_engine(url)
    with engine.begin() as connection:
        metadata.create_all(connection)
    engine.dispose()


_WORK = {"alembic": _upgrade, "metadata": _create_all, "question": _ask}


def _failing_revision(error: BaseException) -> str | None:
    """The revision whose file was running, or which Alembic was about to record, when `error` came."""
    revision = None
    for frame in _frames(error.__traceback__):
        names = frame.tb_frame.f_globals
        if isinstance(names.get("revision"), str) and "down_revision" in names:
            revision = f"{names['revision']} ({os.path.relpath(names.get('__file__', '?'))})"
        elif frame.tb_frame.f_code.co_name == "run_migrations" and "step" in frame.tb_frame.f_locals:
            revision = revision or getattr(frame.tb_frame.f_locals["step"], "name", None)
    return revision


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _last_line(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def _callers_part(error: BaseException) -> str:
    """The traceback without our own frames, here and in what caused it."""
    trace: traceback.TracebackException | None = traceback.TracebackException.from_exception(error)
    assert trace is not None
    whole = trace
    seen: set[int] = set()
    waiting = [trace]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        ours = str(_PACKAGE) + os.sep
        part.stack = traceback.StackSummary.from_list([f for f in part.stack if not f.filename.startswith(ours)])
        waiting += [cause for cause in (part.__cause__, part.__context__) if cause is not None]
    return "".join(whole.format())


if __name__ == "__main__":
    sys.exit(main())
