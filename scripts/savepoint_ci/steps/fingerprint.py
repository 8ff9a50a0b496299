"""Say which stored template the project needs, for the cache of a job."""

from __future__ import annotations

from pytest_savepoint.background import Background
from pytest_savepoint.databases.schema import chosen_schema
from pytest_savepoint.databases.template import stored_template
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers.given import parse_server_url

from savepoint_ci.github.runner_files import set_output
from savepoint_ci.invocation import Invocation
from savepoint_ci.steps.provision import wait_for_server

__all__ = ["fingerprint"]


def fingerprint(invocation: Invocation) -> None:
    """Give the fingerprint of the template, and the file in which template-cache stores it.

    :raises ServerError: when there is no server; its version is a part of the fingerprint.
    """
    provisioned = wait_for_server(invocation)
    if not provisioned.url:
        return
    address = parse_server_url(Secret(provisioned.url))
    schema = chosen_schema(invocation.settings, invocation.project.resolve())
    with Background() as background:
        stored = background.call(stored_template(address, schema, cache=invocation.cache))
    set_output(invocation.environ, "fingerprint", stored.fingerprint)
    set_output(invocation.environ, "file", str(stored.file))
    invocation.display.say(f"savepoint: the template's fingerprint is {stored.fingerprint}")
