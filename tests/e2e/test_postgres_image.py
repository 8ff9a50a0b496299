"""The locally built PostgreSQL image keeps the promises of the official image that it stands in for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

IMAGE = "savepoint/postgres:15"


@pytest.fixture(scope="module", autouse=True)
def _image() -> None:
    subprocess.run([Path(__file__).parent / "postgres_image" / "build"], check=True)


def in_container(*arguments: str, command: str) -> subprocess.CompletedProcess[str]:
    """Start a server, wait for its port, run a shell command next to it, and remove it all."""
    start = ["docker", "run", "--detach", "--tmpfs", "/var/lib/postgresql/data", *arguments]
    container = subprocess.run(start, check=True, capture_output=True, text=True).stdout.strip()
    wait = "until pg_isready --quiet --host 127.0.0.1; do sleep 0.1; done; "
    try:
        return subprocess.run(
            ["docker", "exec", container, "bash", "-c", wait + command],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", container], check=True, capture_output=True)


def test_user_database_initdb_arguments_and_server_flags_are_honoured() -> None:
    shown = in_container(
        "-e", "POSTGRES_USER=Mrs Neil", "-e", 'POSTGRES_DB=the "app"', "-e", "POSTGRES_PASSWORD=p w",
        "-e", "POSTGRES_INITDB_ARGS=--locale=C.UTF-8 --data-checksums", IMAGE, "-c", "fsync=off",
        command="""PGPASSWORD='p w' psql --host 127.0.0.1 --username "Mrs Neil" --dbname 'the "app"' -At \
            -c "select current_user, current_database(), current_setting('fsync'), current_setting('lc_collate'),
                current_setting('data_checksums')" """,
    )  # fmt: skip
    assert shown.stdout.strip() == 'Mrs Neil|the "app"|off|C.UTF-8|on', shown.stderr


def test_scripts_of_the_init_folder_run_before_the_port_opens(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "1.sql").write_text("CREATE EXTENSION citext; CREATE TABLE made (by text);")
    (tmp_path / "2.sh").write_text("""psql --username "$POSTGRES_USER" -c "INSERT INTO made VALUES ('shell')" """)
    shown = in_container(
        "-v", f"{tmp_path}:/docker-entrypoint-initdb.d:ro", "-e", "POSTGRES_HOST_AUTH_METHOD=trust", IMAGE,
        command="psql --host 127.0.0.1 --username postgres -At -c 'SELECT by FROM made'",
    )  # fmt: skip
    assert shown.stdout.strip() == "shell", shown.stderr


def test_a_server_without_password_is_refused_with_the_way_out() -> None:
    refused = subprocess.run(["docker", "run", "--rm", IMAGE], check=False, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "POSTGRES_HOST_AUTH_METHOD=trust" in refused.stderr
