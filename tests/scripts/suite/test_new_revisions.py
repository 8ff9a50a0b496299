"""The migrations that a change adds, as git tells them."""

from __future__ import annotations

import pytest
from pytest_savepoint.settings import read_settings
from savepoint_ci.suite.new_revisions import new_revisions

INI = "[alembic]\nscript_location = %(here)s/migrations\n"


@pytest.fixture
def asked(repository):
    """The answer for the project in `app/`, whose base is the branch main."""
    repository.commit({"app/alembic.ini": INI, "app/migrations/env.py": "", "app/migrations/versions/0001.py": "old = 1\n"})
    repository.git("switch", "--quiet", "--create", "change")

    def ask(**flags: object) -> dict[str, str]:
        project = repository.folder / "app"
        settings = read_settings(project, flags={"migration_tests": "true", "compare_to": "main", **flags}, environ={})
        return new_revisions(settings, project, environ=repository.environ)

    return ask


def test_added_revisions_are_named_from_the_project_and_changed_ones_are_not(repository, asked) -> None:
    repository.commit(
        {"app/migrations/versions/0002.py": "new = 2\n", "app/migrations/versions/0001.py": "old = 3\n", "app/x.py": "", "y.py": ""}
    )
    repository.write({"app/migrations/versions/0003.py": "newer = 3\n"})
    assert asked() == {"SAVEPOINT_NEW_REVISIONS": "migrations/versions/0002.py,migrations/versions/0003.py"}


def test_nothing_is_named_where_nothing_is_asked_added_or_known(repository, asked) -> None:
    assert asked() == {}
    repository.commit({"app/migrations/versions/0002.py": "new = 2\n"})
    assert asked(migration_tests="false") == {}
    assert asked(new_revisions="mine.py") == {}
    assert asked(compare_to="nowhere") == {}
