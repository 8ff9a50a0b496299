"""The parts of which the reports of a small shop are made."""

from __future__ import annotations

from msgspec.structs import replace
from savepoint_ci.report.model import (
    Coverage,
    Culprit,
    Database,
    FileCoverage,
    Finding,
    History,
    PatchCoverage,
    PhaseError,
    Report,
    Run,
    Template,
    TestResult,
)

RUN = Run(
    id="1234567890",
    commit="3f2a91c7d5e04b8891aa6f0c2d7be4f15a9c0e63",
    ref="orders-refund",
    repository="example/shop",
    python="3.13.0",
    workers=2,
    started="2026-11-21T09:30:00+00:00",
)
DATABASE = Database(
    provider="system",
    reason="PostgreSQL 16.4 is installed",
    version="16.4",
    template=Template(fingerprint="9c1f04d2", hit=True, seconds=0.0, source="alembic"),
    isolation={"savepoint": 84},
)
TIMING = {"provision": 1.2, "install": 3.4, "migrate": 0.3, "test": 8.1}
PASSED = tuple(
    TestResult(
        nodeid=f"tests/api/test_items.py::test_item_{number}",
        outcome="passed",
        duration=0.10 + number % 7 / 50,
        worker=f"gw{number % 2}",
        started=number // 2 * 0.18,
        phases={"setup": 0.02, "call": 0.07 + number % 7 / 50, "teardown": 0.01},
    )
    for number in range(84)
)
COVERED = Coverage(
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
GREEN = Report(
    result="green",
    counts={"total": 84, "passed": 84},
    run=RUN,
    tests=PASSED,
    coverage=COVERED,
    database=DATABASE,
    timing=TIMING,
)


def red(*broken: TestResult, **more: object) -> Report:
    counts = {"total": 84, "passed": 84 - len(broken)}
    for test in broken:
        counts[test.outcome] = counts.get(test.outcome, 0) + 1
    return replace(GREEN, result="tests-failed", counts=counts, tests=(*PASSED[len(broken) :], *broken), **more)


OUT_OF_STOCK = TestResult(
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
NO_USER = TestResult(
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
LOOP_TESTS = tuple(
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
LOOP_FINDING = Finding(
    code="SP104",
    cause="loop.resource_outlived_loop",
    tests=tuple(test.nodeid for test in LOOP_TESTS),
    culprit=Culprit(path="tests/conftest.py", line=12, name="engine"),
    explanation=(
        "The fixture `engine` is made once per session, on the loop of the first test. Its pooled connections belong "
        "to that loop, and each later test runs on a loop of its own."
    ),
    fix="Give the tests the fixture's loop: set `asyncio_default_test_loop_scope = session` in pyproject.toml.",
    confidence=0.95,
    evidence=("connection made on loop 1, used on loop 2",),
)

ORDER_TEST = TestResult(
    nodeid="tests/api/test_catalogue.py::test_empty_catalogue",
    outcome="failed",
    duration=0.03,
    worker="gw0",
    phase_errors=(
        PhaseError(
            phase="call",
            message="AssertionError: assert 12 == 0",
            text=">       assert len((await client.get('/catalogue')).json()) == 0\nE       assert 12 == 0",
            path="tests/api/test_catalogue.py",
            line=15,
        ),
    ),
)
ORDER_FINDING = Finding(
    code="SP502",
    cause="state.rows_left_behind",
    tests=(ORDER_TEST.nodeid,),
    culprit=Culprit(path="tests/api/test_import.py", line=31, name="test_import_fills_catalogue"),
    explanation=(
        "`test_import_fills_catalogue` commits 12 rows to `items` through a connection of its own, and nothing removes "
        "them. `test_empty_catalogue` then counts them, when it runs later on the same worker."
    ),
    fix="Mark the importing test with `@pytest.mark.savepoint(isolation='clone')`.",
    confidence=0.9,
    evidence=("12 rows in items after test_import_fills_catalogue",),
)
TASK_FINDING = Finding(
    code="SP401",
    cause="task.leak_writes_into_next_test",
    tests=("tests/api/test_items.py::test_item_3", "tests/api/test_items.py::test_item_4"),
    culprit=Culprit(path="shop/services/mail.py", line=27, name="send_later"),
    explanation="The task that `send_later` starts is still running when its test ends, and writes into the next one.",
    fix="Await the task, or cancel it where the application shuts down.",
    confidence=0.8,
    evidence=("task send_later pending at the end of test_item_3",),
)
SLEEP_FINDING = Finding(
    code="SP603",
    cause="time.sleep_instead_of_wait",
    tests=("tests/api/test_items.py::test_item_9",),
    culprit=Culprit(path="tests/api/test_items.py", line=88, name=""),
    explanation="The test sleeps 50 ms and then expects the result of a task; on a busy machine 50 ms are not enough.",
    fix="Wait for the task's own event.",
    confidence=0.4,
)
HISTORY = History(runs=40, base="b81c02e94f1d7a6650c3d2e8f9a0b1c2d3e4f506", coverage=91.83)
