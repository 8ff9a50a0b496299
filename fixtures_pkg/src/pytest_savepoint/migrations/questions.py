"""What is asked of Alembic in the caller's own environment, one question for each process.

Only the standard library and the caller's SQLAlchemy and Alembic are there, as for `databases/build_child.py`, which
has led every engine to the database in question before it comes here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import render_python_code
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, event

__all__ = ["QUESTIONS"]

# A lock is held until its transaction ends, so what is held right before the commit is all that was taken.
_LOCKS = """
select c.oid::bigint, n.nspname || '.' || c.relname, l.mode from pg_locks l
join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
where l.pid = pg_backend_pid() and l.granted and c.relkind in ('r', 'p', 'm') and c.relname <> 'alembic_version'
and l.database = (select oid from pg_database where datname = current_database()) and n.nspname not in ('pg_catalog', 'pg_toast')
"""


def heads(config: Config, _: Mapping[str, Any]) -> dict[str, str]:
    """The file of each head."""
    scripts = ScriptDirectory.from_config(config)
    return {head: _file(scripts.get_revision(head)) for head in scripts.get_heads()}


def stairs(config: Config, _: Mapping[str, Any]) -> dict[str, Any]:
    """Apply each revision, take it back, and apply it again with the next; those that say no are listed."""
    irreversible = []
    revisions = _in_order(ScriptDirectory.from_config(config))
    for script in revisions:
        command.upgrade(config, script.revision)
        if getattr(script.module, "irreversible", False):
            irreversible.append(_file(script))
            continue
        before = script._versioned_down_revisions  # noqa: SLF001 # the public one is a text, a tuple or None
        try:
            command.downgrade(config, f"{script.revision}@{before[0]}" if len(before) > 1 else _one(before))
        except NotImplementedError:
            irreversible.append(_file(script))
    command.upgrade(config, "heads")
    return {"revisions": len(revisions), "irreversible": irreversible}


def _one(before: tuple[str, ...]) -> str:
    return before[0] if before else "base"


def drift(config: Config, _: Mapping[str, Any]) -> dict[str, str]:
    """What `alembic revision --autogenerate` would write into a new revision, or why it cannot tell."""
    if not hasattr(command, "check"):
        return {"unknown": "this Alembic has no `alembic check`; it is there from 1.9 on"}
    try:
        command.check(config)
    except CommandError as error:
        made = getattr(error, "revision_context", None)
        if made is not None:
            return {"missing": render_python_code(made.generated_revisions[-1].upgrade_ops)}
        if "MetaData" in str(error):
            return {"unknown": "env.py gives no target_metadata, so there are no models to compare with"}
        raise
    return {}


def base(config: Config, asked: Mapping[str, Any]) -> list[dict[str, str]]:
    """Apply everything but the new revisions, and give those in the order in which they will be applied."""
    files = {str(Path(name).resolve()) for name in asked["files"]}
    revisions = _in_order(ScriptDirectory.from_config(config))
    new = [script for script in revisions if str(Path(script.path).resolve()) in files]
    known = {script.revision for script in revisions} - {script.revision for script in new}
    for script in revisions:
        # Those that come after it are new, so it is a head of the base branch.
        if script.revision in known and not known & set(script.nextrev):
            command.upgrade(config, script.revision)
    return [{"revision": script.revision, "path": _file(script)} for script in new]


def apply(config: Config, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Apply one revision, and give the seconds it took and the locks that it held when it was committed."""
    held: set[tuple[int, str, str]] = set()

    @event.listens_for(Engine, "commit")
    def look(connection: Connection) -> None:
        held.update((row[0], row[1], row[2]) for row in connection.exec_driver_sql(_LOCKS))

    started = time.perf_counter()
    command.upgrade(config, asked["revision"])
    return {"seconds": time.perf_counter() - started, "locks": sorted(held)}


def _in_order(scripts: ScriptDirectory) -> list[Script]:
    return list(scripts.walk_revisions())[::-1]


def _file(script: Script | None) -> str:
    return os.path.relpath(script.path) if script is not None else "?"


QUESTIONS: Mapping[str, Callable[[Config, Mapping[str, Any]], Any]] = {
    "heads": heads,
    "stairs": stairs,
    "drift": drift,
    "base": base,
    "apply": apply,
}
