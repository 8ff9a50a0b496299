"""Where the parameters of a test come from, when two workers collected it in different order."""

from __future__ import annotations

import pytest
from pytest_savepoint.loops.collections import Collections

DECORATED = """
import pytest

@pytest.mark.parametrize("code", {"a", "b"})
async def test_code(code):
    pass
"""
PLAIN = """
async def test_code(code):
    pass
"""
FIXTURE = """
import pytest

@pytest.fixture(params={"a", "b"})
def code(request):
    return request.param
"""
HOOK = """
def pytest_generate_tests(metafunc):
    if "code" in metafunc.fixturenames:
        metafunc.parametrize("code", {"a", "b"})
"""


@pytest.mark.parametrize(
    ("files", "path", "line"),
    [
        ({"shop/test_code.py": DECORATED, "conftest.py": HOOK}, "shop/test_code.py", 4),
        ({"shop/test_code.py": PLAIN, "shop/conftest.py": FIXTURE}, "shop/conftest.py", 4),
        ({"shop/test_code.py": PLAIN, "conftest.py": HOOK}, "conftest.py", 4),
        ({"shop/test_code.py": PLAIN + HOOK}, "shop/test_code.py", 7),
        ({"shop/test_code.py": PLAIN}, "shop/test_code.py", 2),
    ],
    ids=["decorator", "fixture", "hook of a folder around it", "hook of its own", "unknown"],
)
def test_line_that_gives_the_parameters_is_told(tmp_path, files, path, line):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    collections = Collections(tmp_path)
    assert collections.add("gw0", ["shop/test_code.py::test_code[a]", "shop/test_code.py::test_code[b]"]) is None
    fact = collections.add("gw1", ["shop/test_code.py::test_code[b]", "shop/test_code.py::test_code[a]"])
    assert (fact["site"]["path"], fact["site"]["line"]) == (path, line)
