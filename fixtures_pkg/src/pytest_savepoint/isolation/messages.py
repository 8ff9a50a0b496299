"""The messages of PostgreSQL's protocol: a letter for the kind, four bytes of length, and the body."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["HEADER", "message", "whole"]

HEADER = 5


def message(kind: bytes, body: bytes) -> bytes:
    """One message as it is sent."""
    return kind + struct.pack("!i", len(body) + 4) + body


def whole(received: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Take each message that has come whole out of what was received: its kind, and all of it."""
    while len(received) >= HEADER:
        end = struct.unpack_from("!i", received, 1)[0] + 1
        if len(received) < end:
            return
        taken = bytes(received[:end])
        del received[:end]
        yield taken[:1], taken
