"""Reports as runs of a small shop leave them, one for each situation that people see."""

from __future__ import annotations

from dataclasses import replace

from savepoint_ci.report.model import (
    Coverage,
    Culprit,
    Database,
    Failure,
    FileCoverage,
    FilePatch,
    Finding,
    Gate,
    PatchCoverage,
    PhaseError,
    Report,
    Run,
    Template,
    TestResult,
)

_RUN = Run(
    id="1234567890",
    commit="3f2a91c7d5e04b8891aa6f0c2d7be4f15a9c0e63",
    ref="orders-refund",
    repository="example/shop",
    python="3.13.0",
    workers=2,
    started="2026-11-21T09:30:00+00:00",
)
_DATABASE = Database(
    provider="system",
    reason="PostgreSQL 16.4 is installed",
    version="16.4",
    template=Template(fingerprint="9c1f04d2", hit=True, seconds=0.0, source="alembic"),
    isolation={"savepoint": 84},
)
_TIMING = {"provision": 1.2, "install": 3.4, "migrate": 0.3, "test": 7.4}
_PASSED = tuple(
    TestResult(nodeid=f"tests/api/test_items.py::test_item_{number}", outcome="passed", duration=0.02, worker="gw0")
    for number in range(84)
)
_COVERED = Coverage(
    lines=93.1,
    branches=88.0,
    total=92.4,
    files=(
        FileCoverage(path="shop/services/orders.py", lines=88, missing=((41, 43), (57, 57)), percent=94.3),
        FileCoverage(path="shop/routers/users.py", lines=40, missing=((12, 12),), percent=97.5),
        FileCoverage(path="shop/models.py", lines=61, missing=(), percent=100.0),
    ),
    diff=PatchCoverage(percent=100.0, covered=14, changed=14),
)
_GREEN = Report(
    result="green",
    counts={"total": 84, "passed": 84},
    run=_RUN,
    tests=_PASSED,
    coverage=_COVERED,
    database=_DATABASE,
    timing=_TIMING,
)


def _red(*broken: TestResult, **more: object) -> Report:
    counts = {"total": 84, "passed": 84 - len(broken)}
    for test in broken:
        counts[test.outcome] = counts.get(test.outcome, 0) + 1
    return replace(_GREEN, result="tests-failed", counts=counts, tests=(*_PASSED[len(broken) :], *broken), **more)


_OUT_OF_STOCK = TestResult(
    nodeid="tests/services/test_orders.py::test_refund_returns_stock[two items]",
    outcome="failed",
    duration=0.04,
    worker="gw1",
    phase_errors=(
        PhaseError(
            phase="call",
            message="AssertionError: assert 3 == 5",
            text=(
                "    async def test_refund_returns_stock(service, order):\n"
                "        await service.refund(order.id)\n"
                ">       assert (await service.stock(order.item_id)) == 5\n"
                "E       assert 3 == 5\n"
                "\n"
                "tests/services/test_orders.py:48: AssertionError"
            ),
            path="tests/services/test_orders.py",
            line=48,
        ),
    ),
)
_NO_USER = TestResult(
    nodeid="tests/api/test_users.py::test_me",
    outcome="error",
    duration=0.01,
    worker="gw0",
    phase_errors=(
        PhaseError(
            phase="setup",
            message='sqlalchemy.exc.IntegrityError: null value in column "email"',
            text="tests/conftest.py:21: in registered_user\n    await users.add(User(name='ada'))\nE   IntegrityError",
            path="tests/conftest.py",
            line=21,
        ),
        PhaseError(phase="teardown", message="RuntimeError: no user to remove", path="tests/conftest.py", line=24),
    ),
)
_LOOP_TESTS = tuple(
    TestResult(
        nodeid=f"tests/repositories/test_items.py::test_{name}",
        outcome="failed",
        duration=0.01,
        worker="gw1",
        phase_errors=(
            PhaseError(
                phase="call",
                message="RuntimeError: got Future attached to a different loop",
                text="shop/database.py:9: in session\nE   RuntimeError: got Future attached to a different loop",
                path="shop/database.py",
                line=9,
            ),
        ),
    )
    for name in ("search", "delete", "rename", "restock", "list")
)
_LOOP_FINDING = Finding(
    code="SP104",
    cause="loop.resource_outlived_loop",
    tests=tuple(test.nodeid for test in _LOOP_TESTS),
    culprit=Culprit(path="tests/conftest.py", line=12, name="engine"),
    explanation=(
        "The fixture `engine` is made once per session, on the loop of the first test. Its pooled connections belong "
        "to that loop, and each later test runs on a loop of its own."
    ),
    fix="Give the tests the fixture's loop: set `asyncio_default_test_loop_scope = session` in pyproject.toml.",
    confidence=0.95,
    evidence=("connection made on loop 1, used on loop 2",),
)

SAMPLES: dict[str, Report] = {
    "green": replace(_GREEN, coverage=replace(_COVERED, total=100.0, lines=100.0, branches=100.0)),
    "green_with_uncovered_lines": replace(
        _GREEN,
        coverage=replace(
            _COVERED,
            diff=PatchCoverage(
                percent=71.42857,
                covered=10,
                changed=14,
                files=(FilePatch(path="shop/services/orders.py", uncovered=((41, 43), (57, 57))),),
            ),
        ),
    ),
    "failures": _red(_OUT_OF_STOCK),
    "setup_error": _red(_NO_USER),
    "findings": _red(
        *_LOOP_TESTS,
        _OUT_OF_STOCK,
        findings=(_LOOP_FINDING,),
        coverage=replace(
            _COVERED,
            diff=PatchCoverage(
                percent=85.7,
                covered=12,
                changed=14,
                files=(FilePatch(path="shop/services/orders.py", uncovered=((42, 43),)),),
            ),
        ),
    ),
    "crash": replace(
        _red(
            TestResult(
                nodeid="tests/api/test_export.py::test_large_export",
                outcome="error",
                worker="gw1",
                phase_errors=(PhaseError(phase="crash", message="worker gw1 died"),),
            )
        ),
        counts={"total": 84, "passed": 60, "error": 1, "not_run": 23},
        warnings=(
            "worker gw1 died while it ran tests/api/test_export.py::test_large_export.",
            "pytest was ended by signal 9 before it had finished; tests without a result count as not run.",
        ),
    ),
    "gate": replace(
        _GREEN,
        result="gate",
        gates=(
            Gate(name="coverage", wanted=95.0, actual=92.4, passed=False),
            Gate(name="patch-coverage", wanted=90.0, actual=100.0, passed=True),
        ),
    ),
    "database": replace(
        _GREEN,
        result="database",
        counts={"total": 0},
        tests=(),
        coverage=None,
        database=None,
        failure=Failure(
            step="migrate",
            message=(
                "The migration to revision 7c1e (add order status) failed:\n"
                'sqlalchemy.exc.ProgrammingError: type "order_status" does not exist'
            ),
        ),
    ),
    "huge": _red(
        *(
            replace(
                _OUT_OF_STOCK,
                nodeid=f"tests/services/test_orders.py::test_refund_returns_stock[{number} items]",
                phase_errors=(replace(_OUT_OF_STOCK.phase_errors[0], text="detail\n" * 4_000),),
            )
            for number in range(80)
        ),
        findings=tuple(replace(_LOOP_FINDING, explanation=f"Case {number}. " * 30) for number in range(60)),
    ),
}
