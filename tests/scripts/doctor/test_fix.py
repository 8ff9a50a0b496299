"""What --fix writes: it mends the finding, parses, is done after one time, and stays inside the project."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest
from savepoint_ci.steps.doctor import doctor

SUITES = Path(__file__).parent / "suites"
OLD_CLIENT = "from httpx import AsyncClient\n\n\nasync def test_x(app):\n    AsyncClient(app=app)\n"
NEW_CLIENT = (
    "from httpx import ASGITransport, AsyncClient\n\n\n"
    "async def test_x(app):\n    AsyncClient(transport=ASGITransport(app=app))\n"
)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", sorted(each.name for each in SUITES.iterdir()))
def test_fixing_mends_what_it_can_and_once_is_enough(name, project, problems):
    folder = project / name
    shutil.copytree(SUITES / name, folder)
    mendable = [each.finding for each in problems(folder) if each.edits]
    doctor([str(folder), "--fix"], {})
    first = {path: path.read_text() for path in folder.rglob("*.py")}
    left = problems(folder)
    kept = {(each.finding.cause, each.finding.culprit.name) for each in left}
    assert not [each for each in mendable if (each.cause, each.culprit.name) in kept]
    assert not [each.finding for each in left if each.edits]
    doctor([str(folder), "--fix"], {})
    assert {path: path.read_text() for path in folder.rglob("*.py")} == first
    for text in first.values():
        ast.parse(text)


def test_only_the_line_in_question_changes(project, capsys):
    file = project / "test_x.py"
    file.write_bytes(OLD_CLIENT.replace("\n", "\r\n").encode() + "# déjà vu  \r\n".encode())
    file.chmod(0o755)
    assert doctor([str(project), "--fix"], {}) == 1
    assert file.read_bytes() == NEW_CLIENT.replace("\n", "\r\n").encode() + "# déjà vu  \r\n".encode()
    assert file.stat().st_mode & 0o777 == 0o755
    assert "+    AsyncClient(transport=ASGITransport(app=app))" in capsys.readouterr().out


def test_text_before_the_edit_may_be_wider_than_ascii(project):
    file = project / "test_x.py"
    file.write_text(
        'import httpx\n\n\ndef test_x(app):\n    "ünïcødé 😀"; httpx.AsyncClient(app=app, base_url="http://ä")\n'
    )
    doctor([str(project), "--fix"], {})
    assert '; httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://ä")' in file.read_text()


def test_diff_changes_nothing_and_can_be_applied(project, capsys):
    (project / "test_x.py").write_text(OLD_CLIENT)
    assert doctor([str(project), "--diff"], {}) == 1
    assert (project / "test_x.py").read_text() == OLD_CLIENT
    out = capsys.readouterr().out
    patch = out[out.index("--- a/") :]
    subprocess.run(["git", "apply", "-"], cwd=project, input=patch, text=True, check=True)
    assert (project / "test_x.py").read_text() == NEW_CLIENT


def test_links_that_leave_the_project_are_not_followed(project, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "test_x.py").write_text(OLD_CLIENT)
    (project / "linked").symlink_to(outside)
    (project / "test_linked.py").symlink_to(outside / "test_x.py")
    assert doctor([str(project), "--fix"], {}) == 0
    assert (outside / "test_x.py").read_text() == OLD_CLIENT
    assert (project / "test_linked.py").is_symlink()


def test_settings_behind_a_link_are_left_alone(project, tmp_path, capsys):
    config = tmp_path / "pytest.ini"
    config.write_text("[pytest]\nasyncio_mode = auto\n")
    (project / "pytest.ini").symlink_to(config)
    override = 'import pytest\n\n\n@pytest.fixture(scope="session")\ndef event_loop():\n    yield\n'
    (project / "conftest.py").write_text(override)
    assert doctor([str(project), "--fix"], {}) == 1
    assert config.read_text() == "[pytest]\nasyncio_mode = auto\n"
    assert "pytest.ini is left as it is: it is a link" in capsys.readouterr().err


def test_override_of_the_session_becomes_two_settings(project):
    (project / "tox.ini").write_text("[tox]\nenvlist = py\n\n[pytest]\nasyncio_mode = auto\n\n[other]\nx = 1\n")
    override = (
        '@pytest.fixture(scope="session")\ndef event_loop():\n    loop = asyncio.new_event_loop()\n    yield loop\n'
    )
    kept = "\n\ndef test_x():\n    assert pytest\n"
    (project / "test_x.py").write_text(f"import asyncio\n\nimport pytest\n\n\n{override}{kept}")
    doctor([str(project), "--fix"], {})
    assert (project / "test_x.py").read_text() == f"import pytest\n{kept}"
    assert (project / "tox.ini").read_text() == (
        "[tox]\nenvlist = py\n\n[pytest]\nasyncio_default_fixture_loop_scope = session\n"
        "asyncio_default_test_loop_scope = session\nasyncio_mode = auto\n\n[other]\nx = 1\n"
    )


def test_file_that_is_no_python_is_named_and_the_others_are_examined(project, capsys):
    (project / "broken.py").write_text("def (\n")
    (project / "test_x.py").write_text(OLD_CLIENT)
    assert doctor([str(project)], {}) == 1
    captured = capsys.readouterr()
    assert "broken.py could not be read" in captured.err
    assert "SP705" in captured.out


def test_file_of_settings_is_made_once_by_all_who_need_it(project, capsys):
    application = project / "src" / "shop"
    application.mkdir(parents=True)
    depends = "from fastapi import Depends, FastAPI\nfrom src.shop.db import session\n\napp = FastAPI()\n\n\n"
    (application / "main.py").write_text(f"{depends}@app.get('/')\nasync def root(s=Depends(session)): ...\n")
    made = "from sqlalchemy.ext.asyncio import async_sessionmaker\n\nmaker = async_sessionmaker()\n\n\n"
    (application / "db.py").write_text(f"{made}async def session():\n    async with maker() as s:\n        yield s\n")
    (project / "conftest.py").write_text(
        "import pytest\nfrom httpx import AsyncClient\nfrom src.shop.db import maker\nfrom src.shop.main import app\n\n\n"
        '@pytest.fixture(scope="session")\ndef event_loop():\n    yield\n\n\n'
        "@pytest.fixture\nasync def db_session():\n    async with maker() as s:\n        yield s\n\n\n"
        "@pytest.fixture\nasync def client():\n    async with AsyncClient(app=app) as c:\n        yield c\n"
    )
    doctor([str(project), "--migrate", "--fix"], {})
    assert sorted((project / "pytest.ini").read_text().splitlines()) == [
        "[pytest]",
        "asyncio_default_fixture_loop_scope = session",
        "asyncio_default_test_loop_scope = session",
        "asyncio_mode = auto",
    ]
    settings = '[tool.savepoint]\napp = "src.shop.main:app"\nget-db = "src.shop.db:session"\n'
    assert (project / "pyproject.toml").read_text() == settings
    doctor([str(project), "--migrate", "--diff"], {})
    assert capsys.readouterr().err.endswith("savepoint: 0 files would change with --fix\n")
