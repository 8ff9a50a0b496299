"""Our compiled modules, kept in the cache by what is in them.

Python keeps them beside their sources, by place and time: but the checkout may be read-only, it may be the caller's, and
a CI puts it somewhere else in each job.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import FileFinder, SourceFileLoader
from importlib.util import source_hash
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["keep_compiled"]


def keep_compiled(sources: Sequence[Path], place: Path) -> None:
    """From here on, modules below `sources` are compiled once for their contents, and kept in `place`."""
    roots = tuple(str(each) for each in sources)

    class Loader(_Loader):
        kept = place

    finder = FileFinder.path_hook((Loader, [".py"]))

    def find(path: str) -> FileFinder:
        if not path.startswith(roots):
            raise ImportError(path)
        return finder(path)  # type: ignore[return-value] # a FileFinder, whatever the protocol says

    sys.path_hooks.insert(0, find)
    for path in [each for each in sys.path_importer_cache if each.startswith(roots)]:
        del sys.path_importer_cache[path]


class _Loader(SourceFileLoader):
    kept: Path

    def path_stats(self, path: str) -> dict[str, float]:
        return {**super().path_stats(path), "mtime": 0}

    def get_data(self, path: str) -> bytes:
        return super().get_data(self._place(path))

    def set_data(self, path: str, data: ReadableBuffer, *, _mode: int = 0o666) -> None:
        super().set_data(self._place(path), data, _mode=_mode)

    def _place(self, path: str) -> str:
        if not path.endswith(".pyc"):
            return path
        contents = source_hash(super().get_data(self.path)).hex()
        return str(self.kept / f"{contents}-{Path(path).name}")
