"""Calls that leave the machine are refused by name, and those that stay are not touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import LEAN

# Whole runs of pytest, or of migrations, which take seconds.
pytestmark = pytest.mark.e2e

SOURCE = Path(__file__).parents[3] / "fixtures_pkg" / "src"

APPLICATION = """
import httpx
from fastapi import Depends, FastAPI

app = FastAPI()

def rates():
    return "real"

@app.get("/rates")
async def show(found=Depends(rates)):
    return found

async def call(url):
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).status_code
"""

CALLS = """
import socket, threading, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import application, httpx, pytest

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

@pytest.fixture
def server():
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()

async def test_async_client():
    await application.call("https://user:hush@api.example.com/rates?key=hush")

def test_sync_client():
    httpx.post("http://api.example.com/orders")

def test_address():
    socket.create_connection(("192.0.2.1", 80), timeout=5)

def test_standard_library():
    urllib.request.urlopen("http://api.example.com/file")

async def test_this_machine(server):
    assert await application.call(server) == 204

async def test_mocked(respx_mock):
    respx_mock.get("https://api.example.com/rates").respond(201)
    assert await application.call("https://api.example.com/rates") == 201

async def test_application(client, db_connection):
    assert (await client.get("/rates")).json() == "real"
"""


@pytest.fixture
def run(tmp_path: Path):
    """Run tests beside the application, with the plugin."""

    def run_tests(text: str, *arguments: str, **variables: str) -> str:
        (tmp_path / "application.py").write_text(APPLICATION)
        (tmp_path / "test_it.py").write_text(text)
        (tmp_path / "pyproject.toml").write_text(
            '[tool.savepoint]\napp = "application:app"\n[tool.pytest.ini_options]\nasyncio_mode = "auto"\npythonpath = ["."]\n'
        )
        plugins = ["-p", "no:savepoint", *LEAN, "-p", "pytest_savepoint.plugin"]
        command = [sys.executable, "-m", "pytest", *plugins, "-rA", *arguments]
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "SAVEPOINT_"))}
        environment |= {"PYTHONPATH": str(SOURCE), **variables}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done.stdout + done.stderr

    return run_tests


def test_only_calls_that_leave_the_machine_are_refused_and_the_message_names_them(run) -> None:
    said = run(CALLS, "-p", "respx", "--savepoint-outgoing-http", "refuse")
    assert "4 failed, 3 passed" in said
    assert "test_it.py::test_async_client calls GET https://api.example.com/rates at application.py:16, which" in said
    assert "test_it.py::test_sync_client calls POST http://api.example.com/orders at test_it.py:" in said
    assert "test_it.py::test_address calls 192.0.2.1:80 at test_it.py:" in said
    assert "test_it.py::test_standard_library calls GET http://api.example.com/file at test_it.py:" in said
    assert "key=hush" not in said.partition("short test summary")[2]


@pytest.mark.e2e
def test_outside_of_tests_and_by_default_nothing_is_refused(run) -> None:
    said = run(
        "import socket\nfound = socket.getaddrinfo\nbefore = socket.socket.connect\n"
        "def test_default():\n    assert socket.getaddrinfo is found and socket.socket.connect is before\n",
    )
    assert "1 passed" in said


OVERRIDES = """
import application, pytest

async def test_first(client, override):
    override(application.rates, lambda: "mine")
    override.attribute(application, "call", None)
    assert (await client.get("/rates")).json() == "mine"
    assert application.call is None
    assert FAILS

async def test_second(client):
    assert not application.app.dependency_overrides
    assert application.call is not None
    assert (await client.get("/rates")).json() == "real"
"""


@pytest.mark.parametrize(("fails", "ends"), [pytest.param("True", "2 passed", marks=pytest.mark.e2e), ("False", "1 failed, 1 passed")])
def test_override_is_gone_after_the_test_however_it_ends(run, fails, ends) -> None:
    said = run(OVERRIDES.replace("FAILS", fails), "-p", "no:randomly")
    assert ends in said, said
