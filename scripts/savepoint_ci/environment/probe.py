"""Run by the caller's Python: print as JSON what is installed there. Standard library only."""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path


def digest(package: Path) -> str:
    """One text for the contents of a package's Python files."""
    whole = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        whole.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()[:20]


def main() -> None:
    spec = find_spec("pytest_savepoint")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    installed = {dist.metadata["Name"]: dist.version for dist in distributions() if dist.metadata["Name"]}
    print(
        json.dumps(
            {
                "installed": installed,
                "savepoint": digest(folder) if folder else "",
                "prefix": sys.prefix,
                "virtual": sys.prefix != sys.base_prefix or Path(sys.prefix, "conda-meta").exists(),
            }
        )
    )


if __name__ == "__main__":
    main()
