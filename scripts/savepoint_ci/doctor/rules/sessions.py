"""Sessions that several tasks share, that live too long, or whose objects outlive them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from savepoint_ci.doctor.edits import argument
from savepoint_ci.doctor.parallel import Branch, groups
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.project import assigned
from savepoint_ci.doctor.source import Function, inside, keyword
from savepoint_ci.doctor.tests import wider
from savepoint_ci.doctor.things import Thing

__all__ = ["RULES"]

_QUERIES = {
    "execute",
    "scalar",
    "scalars",
    "flush",
    "commit",
    "refresh",
    "stream",
    "stream_scalars",
    "get_one",
    "merge",
}
_REFUSALS = ("IntegrityError", "DBAPIError", "DatabaseError", "ProgrammingError", "DataError")


def shared_session(examined: Examined) -> Iterator[Problem]:
    for source in examined.project.sources.values():
        for function in source.functions.values():
            for group in groups(function):
                uses = [
                    (name, branch.repeated)
                    for branch in group.branches
                    if (name := _session(examined, function, branch))
                ]
                for name in dict.fromkeys(name for name, _ in uses):
                    times = [repeated for used, repeated in uses if used == name]
                    if len(times) > 1 or any(times):
                        yield problem(
                            "session.shared_across_tasks",
                            source=source,
                            node=group.node,
                            name=name,
                            explanation=f"{function.name} uses the one session {name} in several tasks at once. A session is "
                            "one conversation with one connection; SQLAlchemy refuses or mixes up the second.",
                            fix="Give each task a session of its own, made by the session factory; in tests the fixture "
                            "sessions gives several on one database.",
                            confidence=0.93,
                        )
                        break


def _session(examined: Examined, function: Function, branch: Branch) -> str:
    """The name of the session that a call works on; empty when it does not, or when that is not certain."""
    call = branch.call
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        name = call.func.value
        if call.func.attr in _QUERIES and _is_session(examined, function, name):
            return name.id
        if held := _held_session(examined, function, call, name):
            return held
    callee = examined.project.callee(function.source, call)
    for position, given in enumerate(call.args):
        if isinstance(given, ast.Name) and callee:
            parameters = [each.arg for each in callee.parameters if each.arg not in ("self", "cls")]
            used = position < len(parameters) and _queries(callee, parameters[position])
            certain = _is_session(examined, function, given) or ("session" in given.id and _is_unknown(function, given))
            if used and certain:
                return given.id
    for each in call.keywords:
        given = each.value
        is_used = bool(callee and each.arg and _queries(callee, each.arg))
        if is_used and isinstance(given, ast.Name) and _is_session(examined, function, given):
            return given.id
    return ""


def _is_session(examined: Examined, function: Function, name: ast.Name) -> bool:
    thing = examined.things.of(function.source, name)
    return thing is not None and thing.kind == "session"


def _is_unknown(function: Function, name: ast.Name) -> bool:
    """A parameter of which nothing is written down."""
    return any(each.arg == name.id and each.annotation is None for each in function.parameters)


def _queries(function: Function, name: str) -> bool:
    """Whether a function awaits queries on one of its names."""
    return any(
        isinstance(node, ast.Await)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in _QUERIES
        and ast.unparse(node.value.func.value) == name
        for node in inside(function.node)
    )


def _held_session(examined: Examined, function: Function, call: ast.Call, name: ast.Name) -> str:
    """The session that an object was made with, when the method that is called queries it."""
    made = assigned(function, name.id)
    callee = examined.project.callee(function.source, call)
    if not isinstance(made, ast.Call) or callee is None or callee.owner is None:
        return ""
    given = [each for each in made.args if isinstance(each, ast.Name) and _is_session(examined, function, each)]
    init = examined.project.method(callee.source, callee.owner, "__init__")
    if not given or init is None:
        return ""
    parameter = init.parameters[1 + made.args.index(given[0])].arg if len(init.parameters) > len(made.args) else ""
    for node in inside(init.node):
        match node:
            case ast.Assign(targets=[ast.Attribute() as target], value=ast.Name(id=stored)) if stored == parameter:
                reached = examined.project.reached([callee])
                if any(_queries(each, ast.unparse(target)) for each in reached):
                    return given[0].id
    return ""


def failed_transaction_reused(examined: Examined) -> Iterator[Problem]:
    """A session outlives its test, and a test provokes an error on it without rolling back."""
    for fixture in examined.tests.fixtures:
        thing = examined.things.given(fixture)
        if not wider(fixture.scope, "function") or not thing or thing.kind != "session" or thing.fixture is not fixture:
            continue
        users = [test for test in examined.tests.tests if fixture in examined.tests.requested(test.function)]
        failing = [test for test in users if _leaves_it_failed(test.function, fixture.name)]
        if failing and len(users) > 1:
            yield problem(
                "session.failed_transaction_reused",
                source=fixture.source,
                node=fixture.decorator,
                name=fixture.name,
                explanation=f"The session {fixture.name} lives for a whole {fixture.scope}, and {failing[0].function.name} "
                "leaves its transaction failed. PostgreSQL refuses everything that later tests do with it.",
                fix=f"Make {fixture.name} function-scoped, so that every test has a session of its own.",
                confidence=0.92,
                tests=users,
            )


def _leaves_it_failed(function: Function, session: str) -> bool:
    for block in inside(function.node):
        if not isinstance(block, ast.With | ast.AsyncWith):
            continue
        raised = ast.unparse(block.items[0].context_expr)
        works = any(
            isinstance(node, ast.Attribute) and node.attr in _QUERIES and ast.unparse(node.value) == session
            for node in inside(block)
        )
        if "raises" in raised and any(each in raised for each in _REFUSALS) and works:
            text = ast.unparse(function.node)
            return f"{session}.rollback" not in text and f"{session}.begin_nested" not in text
    return False


def object_outlives_session(examined: Examined) -> Iterator[Problem]:
    """A fixture commits an object, closes its session, and gives the expired object away."""
    for fixture in examined.tests.fixtures:
        function = fixture.function
        for block in inside(function.node):
            if not isinstance(block, ast.AsyncWith) or not isinstance(block.items[0].optional_vars, ast.Name):
                continue
            session, made = block.items[0].optional_vars.id, block.items[0].context_expr
            thing = examined.things.of(function.source, made)
            value = fixture.value
            if (
                not thing
                or thing.kind != "session"
                or not isinstance(value, ast.Name)
                or fixture.yields in set(inside(block))
            ):
                continue
            calls = [ast.unparse(each.func) for each in inside(block) if isinstance(each, ast.Call)]
            added = any(
                isinstance(each, ast.Call) and ast.unparse(each) == f"{session}.add({value.id})"
                for each in inside(block)
            )
            commits = f"{session}.commit" in calls and calls[-1] != f"{session}.refresh"
            if added and commits and f"{session}.refresh" not in calls and _expires(thing, made):
                yield problem(
                    "session.detached_object_shared",
                    source=fixture.source,
                    node=block,
                    name=fixture.name,
                    explanation=f"{fixture.name} commits {value.id}, which expires its attributes, and gives it away after its "
                    "session is closed. The first test that reads an attribute gets DetachedInstanceError.",
                    fix="Make the session with expire_on_commit=False.",
                    confidence=0.92,
                    edits=[argument(fixture.source, made, "expire_on_commit=False")]
                    if isinstance(made, ast.Call) and thing.call is made
                    else [],
                )


def _expires(thing: Thing, made: ast.expr) -> bool:
    calls = [each for each in (thing.call, made) if isinstance(each, ast.Call)]
    return not any(keyword(each, "expire_on_commit") or any(k.arg is None for k in each.keywords) for each in calls)


RULES: tuple[Rule, ...] = (shared_session, failed_transaction_reused, object_outlives_session)
