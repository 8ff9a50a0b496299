import os, subprocess, sys, threading
import psycopg
import pytest
from shop import count, store

URL = os.environ["DATABASE_URL"].replace("+asyncpg", "")

def commit(sql):
    with psycopg.connect(URL, application_name="backdoor") as connection:
        connection.execute(sql)

async def test_subprocess():
    await store("in the sandbox")
    child = "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])"
    subprocess.run([sys.executable, "-c", child, URL, "INSERT INTO crate (label) VALUES ('by a child')"], check=True)

def test_thread_although_no_engine_is_used():
    thread = threading.Thread(target=commit, args=["INSERT INTO crate (label) VALUES ('by a thread')"])
    thread.start()
    thread.join()

async def test_definition():
    commit("CREATE TABLE barrel (id int)")

async def test_what_was_rolled_back_or_temporary_is_no_escape():
    with psycopg.connect(URL) as connection:
        connection.execute("INSERT INTO crate (label) VALUES ('never')")
        connection.rollback()
        connection.execute("CREATE TEMP TABLE notes (id int)")
        connection.execute("INSERT INTO notes VALUES (1)")
        connection.execute("SELECT count(*) FROM crate")
