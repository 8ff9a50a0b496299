"""Check, then act: two steps that several tasks take at the same time."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from savepoint_ci.doctor.parallel import groups
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.project import assigned
from savepoint_ci.doctor.source import Function, inside, strings

__all__ = ["RULES"]

_INSERT = re.compile(r"\binsert\s+into\s+\"?(\w+)", re.IGNORECASE)
_SAFE = re.compile(r"on\s+conflict|for\s+update|advisory|serializable|lock\s+table", re.IGNORECASE)


def check_then_insert(examined: Examined) -> Iterator[Problem]:
    seen: set[ast.AST] = set()
    for source in examined.project.sources.values():
        for function in source.functions.values():
            for group in groups(function):
                callees = [examined.project.callee(source, each.call) for each in group.branches]
                several = [
                    callee
                    for callee, branch in zip(callees, group.branches, strict=True)
                    if callee and (branch.repeated or callees.count(callee) > 1)
                ]
                for callee in examined.project.reached(several):
                    found = _unguarded(callee)
                    if found and found[0] not in seen:
                        branch, table = found
                        seen.add(branch)
                        yield problem(
                            "concurrency.check_then_insert_race",
                            source=callee.source,
                            node=branch,
                            name=callee.name,
                            explanation=f"{callee.name} looks for a row of {table} and inserts it when it is not there, and "
                            f"{function.name} runs it in several tasks at once. Between the look and the insert another task "
                            "inserts the same row.",
                            fix="INSERT ... ON CONFLICT DO NOTHING, then SELECT.",
                            confidence=0.88,
                        )


def _unguarded(function: Function) -> tuple[ast.If, str] | None:
    text = [str(each.value) for each in strings(function.node)]
    if any(_SAFE.search(each) for each in text) or "except" in ast.unparse(function.node):
        return None
    for node in inside(function.node):
        match node:
            case ast.If(
                test=ast.Compare(left=ast.Name(id=name), ops=[ast.Is()], comparators=[ast.Constant(value=None)])
            ):
                pass
            case ast.If(test=ast.UnaryOp(op=ast.Not(), operand=ast.Name(id=name))):
                pass
            case _:
                continue
        looked = _first_value(function, name) or assigned(function, name)
        inserts = [found[1] for each in node.body for one in strings(each) if (found := _INSERT.search(str(one.value)))]
        if looked is not None and inserts:
            selects = re.compile(rf"\bfrom\s+\"?{re.escape(inserts[0])}\b", re.IGNORECASE)
            if any(selects.search(str(each.value)) for each in strings(looked)):
                return node, inserts[0]
    return None


def _first_value(function: Function, name: str) -> ast.expr | None:
    for node in inside(function.node):
        match node:
            case ast.Assign(targets=[ast.Name(id=bound)], value=value) if bound == name:
                return value
    return None


RULES: tuple[Rule, ...] = (check_then_insert,)
