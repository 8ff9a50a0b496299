"""Files that anybody may have written: no crash without a clear message, no unescaped byte in any rendering.

bench/fuzz does the same with as many examples as one has time for.
"""

from __future__ import annotations

import pytest
from hostile_files import KINDS, example

_EACH = {"report": 150, "evidence": 150, "event": 300, "history": 150, "coverage": 20}


@pytest.mark.parametrize("kind", KINDS)
def test_changed_file_is_refused_with_a_message_or_shown_as_text(kind):
    outcomes = {example(kind, number) for number in range(_EACH[kind])}

    assert "taken" in outcomes
    assert outcomes <= {"taken", "refused"}
