"""Reports as runs of a small shop leave them, one for each situation that people see."""

from __future__ import annotations

from msgspec.structs import replace
from report_parts import (
    COVERED,
    DATABASE,
    GREEN,
    HISTORY,
    LOOP_FINDING,
    LOOP_TESTS,
    NO_USER,
    ORDER_FINDING,
    ORDER_TEST,
    OUT_OF_STOCK,
    PASSED,
    SLEEP_FINDING,
    TASK_FINDING,
    red,
)
from savepoint_ci.report.model import (
    Failure,
    FileLines,
    FilePatch,
    Finding,
    Gate,
    PatchCoverage,
    PhaseError,
    Quarantined,
    Report,
    ShardResult,
    Silenced,
    Template,
    TestHistory,
    TestResult,
    Verdict,
)

_ALWAYS_GREEN = replace(GREEN, coverage=replace(COVERED, total=100.0, lines=100.0, branches=100.0))
_PARTLY_COVERED = replace(
    COVERED,
    diff=PatchCoverage(
        percent=71.42857,
        covered=10,
        changed=14,
        files=(FilePatch(path="shop/services/orders.py", uncovered=((41, 43), (57, 57))),),
    ),
)
_KNOWN_FLAKY = TestHistory(
    nodeid=OUT_OF_STOCK.nodeid, runs=40, failures=6, standing="known-flaky", recent="...........F....F..F.FF"
)
_FLAKY = Verdict(nodeid=OUT_OF_STOCK.nodeid, verdict="flaky", runs=20, failures=3, interval=(5.2, 36.0))


_WELL: dict[str, Report] = {
    "green": _ALWAYS_GREEN,
    "green_with_uncovered_lines": replace(GREEN, coverage=_PARTLY_COVERED),
    "green_with_skipped": replace(
        GREEN,
        counts={"total": 84, "passed": 70, "skipped": 9, "xfailed": 4, "xpassed": 1},
        history=replace(HISTORY, coverage=92.4),
    ),
    "green_without_coverage": replace(GREEN, coverage=None),
    "green_without_database": replace(GREEN, database=None, run=replace(GREEN.run, workers=0)),
    "green_with_new_template": replace(
        GREEN,
        database=replace(
            DATABASE,
            provider="container",
            reason="the image postgres:16 was started with docker",
            template=Template(fingerprint="5be0a7c93d11", hit=False, seconds=3.4, source="alembic"),
            isolation={"savepoint": 61, "rows": 18, "clone": 5},
        ),
        tests=(*PASSED[:80], *(replace(test, duration=2.5 + test.duration) for test in PASSED[80:])),
        warnings=("2 tests were moved from `savepoint` to `clone`, because they hold two sessions open at once.",),
    ),
    "green_with_warnings": replace(
        GREEN,
        warnings=(
            (
                "With your own coverage configuration lines after an awaited SQLAlchemy call would count as missed, "
                "because [run] concurrency in pyproject.toml is not set. This run used greenlet, thread."
            ),
            (
                "Coverage of the changed lines is not known: the base of the pull request was not fetched. "
                "Check out with `fetch-depth: 0`."
            ),
        ),
        coverage=replace(COVERED, diff=None),
    ),
    "green_with_finding": replace(GREEN, findings=(TASK_FINDING,)),
    "green_with_known_flaky": replace(GREEN, history=replace(HISTORY, tests=(_KNOWN_FLAKY,))),
    "green_with_quarantine": replace(
        GREEN,
        counts={"total": 84, "passed": 83, "failed": 1},
        tests=(*PASSED[1:], OUT_OF_STOCK),
        quarantined=(
            Quarantined(
                nodeid=OUT_OF_STOCK.nodeid,
                reason="The stock service is being replaced.",
                owner="team-stock",
                expires="2026-12-01",
                failed=True,
            ),
        ),
        silenced=(Silenced(finding=TASK_FINDING, reason="Mails of tests go nowhere, see the mail module."),),
    ),
    "green_after_rerun": replace(
        GREEN, verdicts=(_FLAKY,), history=replace(HISTORY, tests=(_KNOWN_FLAKY,)), coverage=_PARTLY_COVERED
    ),
    "green_with_less_coverage": replace(
        GREEN,
        history=HISTORY,
        coverage=replace(
            _PARTLY_COVERED,
            total=90.13,
            only_flaky=(
                FileLines(path="shop/services/stock.py", ranges=((18, 22), (31, 31))),
                FileLines(path="shop/routers/orders.py", ranges=((77, 80),)),
            ),
        ),
        verdicts=(_FLAKY,),
    ),
}

_BROKEN: dict[str, Report] = {
    "failures": red(OUT_OF_STOCK),
    "setup_error": red(NO_USER),
    "findings": red(
        *LOOP_TESTS,
        OUT_OF_STOCK,
        findings=(LOOP_FINDING,),
        coverage=replace(
            COVERED,
            diff=PatchCoverage(
                percent=85.7,
                covered=12,
                changed=14,
                files=(FilePatch(path="shop/services/orders.py", uncovered=((42, 43),)),),
            ),
        ),
    ),
    "several_causes": red(
        *LOOP_TESTS, ORDER_TEST, OUT_OF_STOCK, findings=(LOOP_FINDING, ORDER_FINDING, TASK_FINDING, SLEEP_FINDING)
    ),
    "cause_is_a_guess": red(
        OUT_OF_STOCK,
        findings=(
            Finding(
                code="SP601",
                cause="unknown",
                tests=(OUT_OF_STOCK.nodeid,),
                culprit=None,
                explanation="The test failed once and passed four times with the same code, order and seed.",
                fix="",
                confidence=0.3,
                evidence=("4 of 5 reruns passed",),
            ),
        ),
        verdicts=(_FLAKY,),
    ),
    "order_dependent": red(
        ORDER_TEST,
        findings=(ORDER_FINDING,),
        verdicts=(
            Verdict(
                nodeid=ORDER_TEST.nodeid,
                verdict="order-dependent",
                runs=6,
                failures=3,
                polluter="tests/api/test_import.py::test_import_fills_catalogue",
                command=(
                    "pytest -p no:randomly tests/api/test_import.py::test_import_fills_catalogue "
                    "tests/api/test_catalogue.py::test_empty_catalogue"
                ),
            ),
        ),
    ),
    "known_failures": red(
        OUT_OF_STOCK,
        NO_USER,
        *LOOP_TESTS[:1],
        history=replace(
            HISTORY,
            tests=(
                _KNOWN_FLAKY,
                TestHistory(
                    nodeid=NO_USER.nodeid, runs=40, failures=9, standing="broken-on-base", recent=".....FFFFFFFFF"
                ),
                TestHistory(nodeid=LOOP_TESTS[0].nodeid, runs=40, failures=0, standing="new", recent="." * 20),
            ),
        ),
    ),
    "collection_error": red(
        TestResult(
            nodeid="tests/api/test_reports.py",
            outcome="error",
            phase_errors=(
                PhaseError(
                    phase="collect",
                    message="ImportError: cannot import name 'monthly' from 'shop.reports'",
                    text=(
                        "tests/api/test_reports.py:3: in <module>\n    from shop.reports import monthly\n"
                        "E   ImportError: cannot import name 'monthly' from 'shop.reports'"
                    ),
                    path="tests/api/test_reports.py",
                    line=3,
                ),
            ),
        )
    ),
    "crash": replace(
        red(
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
    "lost_shard": replace(
        GREEN,
        result="tests-failed",
        counts={"total": 84, "passed": 60, "not_run": 24},
        tests=PASSED[:60],
        shards=(
            ShardResult(name="1/3", result="green", tests=31, not_run=0, seconds=12.0),
            ShardResult(name="2/3", result="lost", tests=24, not_run=24),
            ShardResult(name="3/3", result="green", tests=29, not_run=0, seconds=11.2),
        ),
    ),
    "strange_names": red(
        replace(OUT_OF_STOCK, nodeid=f"tests/test_names.py::test_price[{'very-long-parameter-' * 12}]"),
        replace(OUT_OF_STOCK, nodeid="tests/test_names.py::test_greeting[こんにちは、世界-Grüße-مرحبا]"),
        replace(OUT_OF_STOCK, nodeid="tests/test_names.py::test_query[SELECT `a` FROM t -- @octocat #1 $(reboot)]"),
        replace(
            NO_USER,
            nodeid="tests/test_names.py::test_html[</summary></details><img src=x onerror=alert(1)>]",
            phase_errors=(
                PhaseError(
                    phase="call", message="![x](https://evil.example/x.png) <b>bold</b>", text="```\n# no heading"
                ),
            ),
        ),
    ),
    "huge": red(
        *(
            replace(
                OUT_OF_STOCK,
                nodeid=f"tests/services/test_orders.py::test_refund_returns_stock[{number} items]",
                phase_errors=(replace(OUT_OF_STOCK.phase_errors[0], text="detail\n" * 4_000),),
            )
            for number in range(80)
        ),
        findings=tuple(replace(LOOP_FINDING, explanation=f"Case {number}. " * 30) for number in range(60)),
    ),
}

_NO_VERDICT: dict[str, Report] = {
    "gate": replace(
        GREEN,
        result="gate",
        gates=(
            Gate(name="coverage", wanted=95.0, actual=92.4, passed=False),
            Gate(name="patch-coverage", wanted=90.0, actual=100.0, passed=True),
        ),
    ),
    "patch_gate": replace(
        GREEN,
        result="gate",
        coverage=_PARTLY_COVERED,
        gates=(Gate(name="patch-coverage", wanted=90.0, actual=71.42857, passed=False),),
    ),
    "unknown_gate": replace(
        GREEN,
        result="gate",
        coverage=None,
        gates=(Gate(name="coverage", wanted=90.0, actual=None, passed=False),),
        warnings=("There is no coverage data: pytest was called with --no-cov.",),
    ),
    "database": replace(
        GREEN,
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
    "database_lost": replace(
        red(replace(NO_USER, phase_errors=(PhaseError(phase="setup", message="ConnectionRefusedError: [Errno 111]"),))),
        result="database",
        counts={"total": 84, "passed": 41, "error": 1, "not_run": 42},
        coverage=None,
        failure=Failure(
            step="server",
            message=(
                "The PostgreSQL server (container) stopped answering while the suite ran.\n"
                "Something ended it: look for a kill for lack of memory, or for another program that stops servers."
            ),
        ),
    ),
    "interrupted": replace(
        GREEN,
        result="interrupted",
        counts={"total": 84, "passed": 30, "not_run": 54},
        tests=PASSED[:30],
        coverage=None,
        warnings=("pytest ended with exit code 2 before it had finished; tests without a result count as not run.",),
    ),
    "install_failed": replace(
        GREEN,
        result="error",
        counts={"total": 0},
        tests=(),
        coverage=None,
        database=None,
        timing={"provision": 1.2, "install": 3.4},
        failure=Failure(
            step="install",
            message=(
                "The project's dependencies could not be installed:\n"
                "  x No solution found when resolving dependencies:\n"
                "  because shop depends on pydantic>=3 and only pydantic<=2.12 is available, shop cannot be used."
            ),
        ),
    ),
    "no_tests": replace(
        GREEN, result="tests-failed", counts={"total": 0}, tests=(), coverage=None, database=None, timing={"test": 0.4}
    ),
}

SAMPLES: dict[str, Report] = {**_WELL, **_BROKEN, **_NO_VERDICT}
