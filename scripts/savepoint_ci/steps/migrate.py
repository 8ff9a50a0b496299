"""Build the template, so that every worker of the suite finds it ready."""

from __future__ import annotations

import time
from dataclasses import asdict
from urllib.parse import urlsplit

from pytest_savepoint.databases.run import DatabaseRun
from pytest_savepoint.databases.sqlite_template import find_or_build_file
from pytest_savepoint.databases.template import Template
from pytest_savepoint.settings import read_settings

from savepoint_ci.github.runner_files import set_output
from savepoint_ci.invocation import Invocation
from savepoint_ci.state import Migrated
from savepoint_ci.steps.install import callers_python
from savepoint_ci.steps.provision import wait_for_server
from savepoint_ci.suite.command import suite_environment

__all__ = ["migrate"]


def migrate(invocation: Invocation) -> None:
    """Build the template in the caller's environment, or find that it is there.

    :raises MigrationError: with the caller's own traceback.
    """
    provisioned = wait_for_server(invocation)
    if not provisioned.provider:
        return
    start = time.monotonic()
    python = callers_python(invocation)
    environ = suite_environment(invocation.environ, invocation.settings, python=python, server_url=provisioned.url)
    proved = {"verify_template": invocation.settings.verify_template}
    settings = read_settings(invocation.project, flags=proved, environ=environ)
    if provisioned.url:
        run = DatabaseRun.open(settings, invocation.project, python=str(python), environ=environ)
        template = run.template
        run.close()
        address = urlsplit(provisioned.url)
        shown = f"postgresql://{address.username}@{address.netloc.rpartition('@')[2]}/{template.name}"
        set_output(invocation.environ, "database-url", shown)
        set_output(invocation.environ, "stored", str(template.stored).lower())
    else:
        template = find_or_build_file(settings, invocation.project, python=str(python), environ=environ)
    invocation.state.save(Migrated(seconds=time.monotonic() - start, template=asdict(template)))
    invocation.display.say(f"savepoint: the template ({template.source}) {_how(template, **proved)}")
    if template.warning:
        invocation.display.say(f"savepoint: {template.warning}")


def _how(template: Template, *, verify_template: bool) -> str:
    proved = ", and is what is built anew" if verify_template else ""
    if template.hit:
        return f"was there already{proved}"
    return f"was restored in {template.seconds:.1f} s{proved}" if template.restored else f"was built in {template.seconds:.1f} s"
