"""Run by the caller's Python: print as JSON what is installed there. Standard library only."""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path


def digest(package: Path) -> str:
    """One text for the contents of a package's Python files."""
    whole = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        whole.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()[:20]


def installed() -> dict[str, str]:
    """The version of each distribution that can be imported, by name.

    The names of their folders say it, where a wheel was installed; to read the metadata of all takes ten times longer.
    """
    found: dict[str, str] = {}
    for folder in map(Path, dict.fromkeys(sys.path)):
        for entry in folder.iterdir() if folder.is_dir() else ():
            name, dash, version = entry.name.removesuffix(".dist-info").partition("-")
            if entry.suffix == ".egg-info" or (entry.suffix == ".dist-info" and (not dash or "_" in version)):
                name, version = _from_metadata(entry)
            elif entry.suffix != ".dist-info":
                continue
            found.setdefault(name.replace("_", "-"), version)
    found.pop("", None)
    return found


def _from_metadata(entry: Path) -> tuple[str, str]:
    from importlib.metadata import Distribution  # noqa: PLC0415 - rarely needed, and slow to load

    metadata = Distribution.at(entry).metadata
    return metadata["Name"] or "", metadata["Version"] or ""


def main() -> None:
    spec = find_spec("pytest_savepoint")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    print(
        json.dumps(
            {
                "installed": installed(),
                "savepoint": digest(folder) if folder else "",
                "prefix": sys.prefix,
                "virtual": sys.prefix != sys.base_prefix or Path(sys.prefix, "conda-meta").exists(),
            }
        )
    )


if __name__ == "__main__":
    main()
