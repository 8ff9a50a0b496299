"""One file out of a run's artifact, whoever made the archive: nothing of it is ever written to a disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

from pytest_savepoint.errors import SavepointError

if TYPE_CHECKING:  # it takes longer to import than most steps do
    from savepoint_ci.github.client import Client

__all__ = ["ArtifactError", "download_file"]

_END = b"PK\x05\x06"
_END_BYTES = 22
_LONGEST_COMMENT = 65_535
_ZIP64_LOCATOR = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_DIRECTORY_BYTES = 1024 * 1024
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others need memory that their headers ask for


class ArtifactError(SavepointError):
    """An artifact that is not what one of ours looks like; the message says in what."""


def download_file(client: Client, repository: str, artifact: int, name: str, *, limit: int) -> bytes:
    """Return one file of an artifact.

    :param name: the file's name in the archive.
    :param limit: the most bytes that archive and file may have, each.
    :raises ArtifactError: when the archive is broken, built to harm, or without the file.
    :raises GitHubError: when GitHub refuses or cannot be reached.
    """
    return _unpack(client.download(f"/repos/{repository}/actions/artifacts/{artifact}/zip", limit=limit), name, limit)


def _unpack(archive: bytes, name: str, limit: int) -> bytes:
    _refuse_long_directory(archive)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            found = [entry for entry in opened.infolist() if entry.filename == name]
            if len(found) != 1:
                raise ArtifactError(f"The artifact has {len(found) or 'no'} files called {name}; one is expected.")
            if found[0].compress_type not in _METHODS:
                raise ArtifactError(f"{name} is compressed in a way that GitHub's own actions do not use.")
            with opened.open(found[0]) as file:
                content = file.read(limit + 1)  # what the header says of its length is anybody's word
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, ValueError, OSError, EOFError) as fault:
        raise ArtifactError(f"The artifact is no archive that can be read ({type(fault).__name__}).") from None
    if len(content) > limit:
        raise ArtifactError(f"{name} unpacks to more than {limit:,} bytes.")
    return content


def _refuse_long_directory(archive: bytes) -> None:
    """Because zipfile reads a directory at once, however long it is: a million entries fill the memory."""
    at = archive.rfind(_END, max(len(archive) - _END_BYTES - _LONGEST_COMMENT, 0))
    if at < 0 or at + _END_BYTES > len(archive):
        raise ArtifactError("The artifact is no archive: it has no directory.")
    (directory_bytes,) = struct.unpack_from("<L", archive, at + 12)
    is_zip64 = archive[max(at - _ZIP64_LOCATOR_BYTES, 0) : at].startswith(_ZIP64_LOCATOR)
    if is_zip64 or directory_bytes > _DIRECTORY_BYTES:
        raise ArtifactError("The artifact's directory is longer than that of any report.")
