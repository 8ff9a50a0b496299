"""What a project imports, for one that declares its dependencies nowhere."""

from __future__ import annotations

import ast
import os
from pathlib import Path

__all__ = ["undeclared_requirements"]

_REQUIREMENTS = {
    "aiosqlite": "aiosqlite",
    "alembic": "alembic",
    "anyio": "anyio",
    "asgi_lifespan": "asgi-lifespan",
    "asyncpg": "asyncpg",
    "factory": "factory-boy",
    "faker": "faker",
    "fastapi": "fastapi",
    "freezegun": "freezegun",
    "httpx": "httpx",
    "hypothesis": "hypothesis",
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "pydantic": "pydantic",
    "pydantic_settings": "pydantic-settings",
    "pytest_asyncio": "pytest-asyncio>=0.24",
    "redis": "redis",
    "sqlalchemy": "sqlalchemy[asyncio]",
    "sqlmodel": "sqlmodel",
    "starlette": "starlette",
    "trio": "trio",
    "uvloop": "uvloop",
}
"""By import; only these, because the name in an import may belong to somebody else on a package index."""
_SKIPPED = {"node_modules", "site-packages", "__pycache__"}


def undeclared_requirements(project: Path) -> list[str]:
    """The well-known libraries that a project's modules cannot be imported without, as requirements."""
    return sorted({_REQUIREMENTS[name] for name in _imported(project) & _REQUIREMENTS.keys()})


def _imported(project: Path) -> set[str]:
    names: set[str] = set()
    for folder, folders, files in os.walk(project):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        for path in (Path(folder, name) for name in files if name.endswith(".py")):
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                continue  # pytest will say it better
            for node in tree.body:  # an import under a condition may be meant to fail
                if isinstance(node, ast.Import):
                    names.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module.partition(".")[0])
    return names
