"""Names, marks and lock keys: how a database says that it is ours and whose run it belongs to."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from datetime import datetime, timezone

__all__ = [
    "BIRTH_MARK",
    "BUILD_LOCKS",
    "RUN_LOCKS",
    "TEMPLATE_LOCKS",
    "database_name",
    "lock_key",
    "mark_of",
    "new_run_id",
    "quoted",
    "quoted_text",
    "run_of",
    "template_name",
    "template_of",
]

# The first number of a pair of advisory lock keys; the second comes from the run id or the fingerprint.
RUN_LOCKS = 0x5AFE01
TEMPLATE_LOCKS = 0x5AFE02
BUILD_LOCKS = 0x5AFE03

# CREATE DATABASE and COMMENT are two statements, and a kill may fall between them. This unusual connection limit is
# set by the first of them, so that a database of ours is never without a mark.
BIRTH_MARK = 1_905_041_207

_RUN = re.compile(r"savepoint_([0-9a-f]{8})_[a-z0-9_]+")
_TEMPLATE = re.compile(r"savepoint_t_([0-9a-f]{12})")


def new_run_id() -> str:
    """Eight hexadecimal digits: 32 bits, which is also what an advisory lock key holds."""
    return secrets.token_hex(4)


def template_name(fingerprint: str) -> str:
    return f"savepoint_t_{fingerprint[:12]}"


def database_name(run_id: str, worker: str) -> str:
    """The name of a worker's database, the same for the same run and worker, and within PostgreSQL's 63 bytes."""
    return f"savepoint_{run_id}_{re.sub(r'[^a-z0-9_]', '_', worker.lower())}"[:63]


def run_of(name: str) -> str | None:
    """The id of the run that the database `name` belongs to."""
    found = _RUN.fullmatch(name)
    return found[1] if found else None


def template_of(name: str) -> str | None:
    """The start of the fingerprint of the template `name`."""
    found = _TEMPLATE.fullmatch(name)
    return found[1] if found else None


def lock_key(identity: str) -> int:
    """The second number of an advisory lock's pair, a signed 32-bit one, from a run id or a fingerprint."""
    key = int(identity[:8], 16)
    return key - (1 << 32) if key >= 1 << 31 else key


def mark_of(kind: str, run_id: str, **more: str) -> str:
    """The text of the comment on a database: a `template`, a `clone`, or one that is `kept`.

    :param more: what else people should read there.
    """
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    mark = {"kind": kind, "run": run_id, "created": created, "host": socket.gethostname(), "pid": os.getpid(), **more}
    return json.dumps({"savepoint": mark})


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
