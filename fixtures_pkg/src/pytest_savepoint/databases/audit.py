"""The escape audit: the server itself tells what was committed in a worker's database, by whom and how.

Every table of the template has a trigger for whole statements, and the database one for DDL; both call NOTIFY, which
PostgreSQL delivers only when the writer commits, to everybody who listens in the same database. The worker's own
connection listens, and its changes are left out, since a rollback undoes them anyway. So a test that stays in its
sandbox costs nothing, and what its threads, subprocesses and sync drivers commit is heard before the next test: what
was committed before a listener ends its transaction is sent ahead of the answer to that (PostgreSQL's manual, NOTIFY).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pytest_savepoint.databases.session import Connection

__all__ = ["AUDIT", "CHANNEL", "LISTEN", "OF_A_TEST", "OF_THE_SANDBOX", "Commit", "install_audit", "read_commit"]

CHANNEL = "savepoint"
LISTEN = f"LISTEN {CHANNEL}"
OF_THE_SANDBOX = "SET savepoint.connection = 'sandbox'"
"""What a connection says whose changes are undone; they are not told."""
OF_A_TEST = "SET savepoint.connection = 'test'"
"""What a connection of this process says in a test that commits for real; a pooler would refuse it at start-up."""

_SHOWN = 600

# Only the tables of the project: those of extensions are not ours to change. A role that may not make a trigger on a
# table, or an event trigger at all, goes without; what is missing then is a warning, never a wrong alarm.
AUDIT = f"""
create schema if not exists savepoint;

create or replace function savepoint.tell(kind text, table_name text, table_oid oid) returns void
language plpgsql set search_path = pg_catalog as $savepoint$
begin
  perform pg_notify('{CHANNEL}', json_build_object(
    'kind', lower(kind), 'table', table_name, 'oid', table_oid::bigint, 'pid', pg_backend_pid(),
    'connection', coalesce(current_setting('savepoint.connection', true), ''),
    'application', current_setting('application_name'),
    'statement', case when current_setting('savepoint.connection', true) = 'test' then ''
                      else left(current_query(), {_SHOWN}) end)::text);
end $savepoint$;

create or replace function savepoint.tell_rows() returns trigger
language plpgsql set search_path = pg_catalog as $savepoint$
begin
  perform savepoint.tell(tg_op, tg_table_schema || '.' || tg_table_name, tg_relid);
  return null;
end $savepoint$;

create or replace function savepoint.tell_definition() returns event_trigger
language plpgsql set search_path = pg_catalog as $savepoint$
begin
  if current_setting('savepoint.connection', true) = 'sandbox' then
    return;
  end if;
  if tg_event = 'sql_drop' then
    if not exists (select from pg_event_trigger_dropped_objects() where original and not is_temporary) then
      return;
    end if;
  elsif not exists (select from pg_event_trigger_ddl_commands() where schema_name is distinct from 'pg_temp') then
    return;
  end if;
  perform savepoint.tell('definition', tg_tag, null);
end $savepoint$;

do $savepoint$
declare
  each record;
begin
  for each in
    select format('%I.%I', n.nspname, c.relname) as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
    and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  loop
    begin
      execute format('create trigger savepoint_audit after insert or update or delete or truncate on %s for each '
        'statement when (current_setting(''savepoint.connection'', true) is distinct from ''sandbox'') '
        'execute function savepoint.tell_rows()', each.name);
    exception when insufficient_privilege then null;
    end;
  end loop;
  begin
    create event trigger savepoint_definition on ddl_command_end execute function savepoint.tell_definition();
    create event trigger savepoint_drop on sql_drop execute function savepoint.tell_definition();
  exception when insufficient_privilege then null;
  end;
end $savepoint$;
"""  # noqa: S608 # only our own constants are put in


@dataclass(frozen=True)
class Commit:
    """One statement whose transaction was really committed."""

    kind: str
    """insert, update, delete, truncate, or definition for DDL."""
    table: str
    """schema.table; for DDL the command, such as CREATE TABLE."""
    oid: int
    connection: str
    """`test` for a connection of the process that runs the tests; empty for any other."""
    application: str
    statement: str

    def __str__(self) -> str:
        whose = f" (application_name {self.application})" if self.application else ""
        said = " ".join(self.statement.split())
        return f"{self.kind} {self.table}{whose}" + (f": {said}" if said else "")


async def install_audit(connection: Connection) -> None:
    """Put the triggers on every table that is in the connection's database now."""
    await connection.execute(AUDIT)


def read_commit(payload: str) -> Commit | None:
    """What a notification says; None for one that is not ours, since any session may use the channel."""
    try:
        told = json.loads(payload)
        return Commit(
            kind=str(told["kind"]),
            table=str(told["table"]),
            oid=int(told["oid"] or 0),
            connection=str(told["connection"]),
            application=str(told["application"]),
            statement=str(told["statement"]),
        )
    except (ValueError, TypeError, KeyError):
        return None
