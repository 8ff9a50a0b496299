"""Programs of the environment that these tests run in; a machine need not have them elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["UV"]

UV = str(Path(sys.executable).with_name("uv"))
