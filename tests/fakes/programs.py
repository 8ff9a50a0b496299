"""What the environment of these tests has, and what suites that they run do without."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["LEAN", "UV"]

UV = str(Path(sys.executable).with_name("uv"))
"""A machine need not have it elsewhere."""

LEAN = ("-p", "no:hypothesispytest", "-p", "no:respx")
"""Leaves out plugins that no suite here uses; their imports are a quarter of a short run."""
