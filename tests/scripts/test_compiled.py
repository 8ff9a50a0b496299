"""What the tool has compiled is kept by what is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
IMPORT = """
import sys
from pathlib import Path

sys.path[:0] = [{scripts!r}, {source!r}]
from savepoint_ci.compiled import keep_compiled

keep_compiled([Path({source!r})], Path({kept!r}))
import module
print(module.VALUE, module.__file__)
"""


def test_source_that_is_somewhere_else_is_not_compiled_again_and_one_that_changed_is(tmp_path):
    def found(folder: str, value: int) -> str:
        source = tmp_path / folder
        source.mkdir(exist_ok=True)
        (source / "module.py").write_text(f"VALUE = {value}\n")
        program = IMPORT.format(scripts=str(SCRIPTS), source=str(source), kept=str(kept))
        return subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True).stdout

    kept = tmp_path / "kept"
    assert found("here", 1) == f"1 {tmp_path / 'here' / 'module.py'}\n"
    (first,) = kept.iterdir()
    written = first.stat().st_mtime_ns
    assert found("there", 1) == f"1 {tmp_path / 'there' / 'module.py'}\n"
    assert [each.stat().st_mtime_ns for each in kept.iterdir()] == [written]
    assert found("here", 2).startswith("2 ")
    assert len(list(kept.iterdir())) == 2
    assert not list(tmp_path.rglob("__pycache__"))
