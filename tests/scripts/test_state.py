"""What one step leaves for the next."""

from __future__ import annotations

from savepoint_ci.state import State


def test_removing_goes_on_where_a_killed_process_had_begun(tmp_path):
    state = State(tmp_path / "state")
    begun = tmp_path / "state.removed"
    begun.mkdir()
    for folder in (state.folder, begun):
        (folder / "log").write_text("something")
    state.remove()
    state.remove()
    assert list(tmp_path.iterdir()) == []
