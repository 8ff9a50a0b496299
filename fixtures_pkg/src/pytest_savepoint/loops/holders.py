"""Who holds an object: a module's global or a fixture's value, and the line that made it so."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller

__all__ = ["Holders"]


class Holders:
    """Searches the caller's modules, only when something has failed."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def find(self, thing: Any, fixtures: dict[str, Any]) -> Fact | None:
        """The fixture or global through which an object is reached, nearest first."""
        for name, value in fixtures.items():
            if value is thing or _has(value, thing):
                return {
                    "kind": "fixture",
                    "name": name,
                    "attribute": None if value is thing else _attribute(value, thing),
                }
        for module in list(sys.modules.values()):
            filename = getattr(module, "__file__", None)
            if not isinstance(module, ModuleType) or not filename or not self._caller.owns(filename):
                continue
            for name, value in list(vars(module).items()):
                if value is thing or (not isinstance(value, ModuleType) and _has(value, thing)):
                    return self._global(module, filename, name, value, thing)
        return None

    def _global(self, module: ModuleType, filename: str, name: str, value: Any, thing: Any) -> Fact:
        # A name that was imported is assigned in the module it comes from, which the search meets as well.
        attribute = None if value is thing else _attribute(value, thing)
        line = assignment_line(filename, name, attribute)
        if line is None:
            for other in list(sys.modules.values()):
                source = getattr(other, "__file__", None)
                if other is not module and source and self._caller.owns(source) and vars(other).get(name) is value:
                    found = assignment_line(source, name)
                    if found is not None:
                        module, filename, line = other, source, found
                        break
        return {
            "kind": "global",
            "name": f"{module.__name__}.{name}",
            "attribute": attribute,
            "path": self._caller.path(filename),
            "line": line,
        }


def _has(owner: Any, thing: Any) -> bool:
    return _attribute(owner, thing) is not None


def _attribute(owner: Any, thing: Any) -> str | None:
    for name, value in list(getattr(owner, "__dict__", {}).items()):
        if value is thing:
            return str(name)
    return None


def assignment_line(filename: str, name: str, attribute: str | None = None) -> int | None:
    """The line of a module on which a global gets its value, or an attribute of its class when the global is one."""
    try:
        tree = ast.parse(Path(filename).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name and attribute is not None:
            return _assigned(node.body, attribute)
    return _assigned(tree.body, name)


def _assigned(body: list[ast.stmt], name: str) -> int | None:
    for node in body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
        if name in names:
            return node.lineno
    return None
