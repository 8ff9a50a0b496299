"""Stand in for the Python of one worker: python stub.py SOCKET PYTHON-ARGUMENTS...

Runs by itself, without the libraries and without the package around it, because its start is what each worker pays.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
import sys

# Longer than any import; whoever has not answered by then is not going to.
_PATIENCE = 60.0


def main(path: str, arguments: list[str]) -> int:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
        request = marshal.dumps((arguments[-1], os.getcwdb(), dict(os.environb)))  # noqa: PTH109 # pathlib is not loaded
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(request)
        forked = connection.recv(1)
    except OSError:
        forked = b""
    if not forked:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 # the interpreter and arguments that xdist wants
    # Only the worker may hold the streams now: their end is how the controller sees that it died.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection.settimeout(None)
    status = connection.recv(1)
    return status[0] if status else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
