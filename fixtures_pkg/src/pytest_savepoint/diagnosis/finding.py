"""A finding: code, cause, culprit and fix, with the evidence it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

__all__ = ["CODES", "Culprit", "Finding", "finding", "merged", "shown"]

CODES = {
    "loop.resource_outlived_loop": "SP101",
    "loop.scope_mismatch": "SP102",
    "loop.asyncio_run_in_fixture": "SP103",
    "loop.event_loop_fixture_removed": "SP104",
    "loop.two_async_plugins": "SP105",
    "loop.testclient_portal": "SP106",
    "loop.primitive_bound_to_old_loop": "SP107",
    "loop.worker_died_with_loop": "SP108",
    "loop.fixture_wider_than_loop": "SP109",
    "loop.running_loop_reentry": "SP110",
    "loop.current_loop_unset": "SP111",
    "loop.dispose_on_wrong_loop": "SP112",
    "connection.shared_across_tasks": "SP201",
    "pool.connection_not_returned": "SP202",
    "pool.nested_checkout_deadlock": "SP203",
    "pool.server_connection_limit": "SP204",
    "pool.engine_not_disposed": "SP205",
    "pool.backend_terminated": "SP206",
    "pool.stale_statement_cache": "SP207",
    "session.shared_across_tasks": "SP301",
    "session.failed_transaction_reused": "SP302",
    "session.detached_object_shared": "SP303",
    "session.lazy_relationship_outside_greenlet": "SP304",
    "session.lazy_load_after_commit": "SP305",
    "session.stale_identity_map": "SP306",
    "session.uncommitted_data_invisible": "SP307",
    "blocking.sync_call_in_loop": "SP401",
    "blocking.sync_db_call_self_deadlock": "SP402",
    "task.coroutine_never_awaited": "SP403",
    "task.leaked_past_test": "SP404",
    "task.ignores_cancellation": "SP405",
    "task.collected_while_pending": "SP406",
    "task.exception_swallowed": "SP407",
    "thread.non_daemon_left_running": "SP408",
    "fixture.async_fixture_not_handled": "SP501",
    "fixture.cancel_scope_crosses_tasks": "SP502",
    "fixture.teardown_order": "SP503",
    "state.rollback_isolation_broken": "SP504",
    "state.logging_disabled": "SP505",
    "state.unordered_select": "SP506",
    "state.rows_leaked": "SP507",
    "state.shared_database_across_workers": "SP508",
    "xdist.nondeterministic_collection": "SP509",
    "state.depends_on_earlier_test": "SP510",
    "state.concurrent_ddl_race": "SP511",
    "state.sequence_assumption": "SP512",
    "state.schema_made_per_test": "SP513",
    "state.ddl_blocked_by_open_transaction": "SP514",
    "fixture.setup_order": "SP515",
    "state.process_state_leaked": "SP516",
    "concurrency.deadlock": "SP601",
    "concurrency.check_then_insert_race": "SP602",
    "concurrency.lost_update": "SP603",
    "concurrency.serialization_failure": "SP604",
    "time.sleep_based_sync": "SP605",
    "time.now_frozen_in_transaction": "SP606",
    "time.timezone_mismatch": "SP607",
    "random.value_collision": "SP608",
    "time.timeout_race": "SP609",
    "framework.lifespan_not_run": "SP701",
    "framework.dependency_override_leaked": "SP702",
    "context.leaked_from_fixture": "SP703",
    "context.token_reset_elsewhere": "SP704",
    "framework.client_app_removed": "SP705",
    "framework.cached_settings_leaked": "SP706",
    "framework.middleware_context_lost": "SP707",
    "context.worker_snapshot": "SP708",
}
"""The code of every cause; docs/findings.md has a heading for each."""


@dataclass(frozen=True)
class Culprit:
    """The line to change."""

    path: str
    line: int
    name: str


@dataclass(frozen=True)
class Finding:
    """Why tests failed, which line to change, and how."""

    code: str
    cause: str
    tests: tuple[str, ...]
    culprit: Culprit | None
    explanation: str
    fix: str
    confidence: float
    evidence: tuple[str, ...] = field(default=())

    def of_tests(self, tests: tuple[str, ...]) -> Finding:
        """The same finding, about these tests."""
        return replace(self, tests=tests)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in the evidence file and in report.json."""
        return {**asdict(self), "tests": list(self.tests), "evidence": list(self.evidence)}


def finding(
    cause: str,
    *,
    tests: Iterable[str],
    culprit: Culprit | None,
    explanation: str,
    fix: str,
    confidence: float,
    evidence: Iterable[str],
) -> Finding:
    """A finding of a known cause, with its code."""
    return Finding(CODES[cause], cause, tuple(tests), culprit, explanation, fix, confidence, tuple(evidence))


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding per cause and culprit, however many tests it breaks; the surest first."""
    by_cause: dict[tuple[str, Culprit | None], Finding] = {}
    for each in findings:
        key = (each.cause, each.culprit)
        known = by_cause.get(key)
        if known is None:
            by_cause[key] = each
            continue
        surer = max(known, each, key=lambda one: one.confidence)
        by_cause[key] = replace(
            surer,
            tests=tuple(dict.fromkeys(known.tests + each.tests))
            if known.confidence == each.confidence
            else surer.tests,
            confidence=max(known.confidence, each.confidence),
            evidence=tuple(dict.fromkeys(known.evidence + each.evidence))[:12],
        )
    return sorted(by_cause.values(), key=lambda each: (-each.confidence, each.code, each.tests))


def shown(each: Finding) -> str:
    """A finding as a few lines of plain text."""
    where = f"{each.culprit.path}:{each.culprit.line} ({each.culprit.name})" if each.culprit else "no single line"
    first, *others = each.tests or ("",)
    tests = first if not others else f"{first} and {len(others)} more"
    lines = [f"{each.code} {each.cause}  {where}", f"  {each.explanation}", f"  Fix: {each.fix}"]
    if tests:
        lines.append(f"  Tests: {tests}")
    return "\n".join([*lines, *(f"  Seen: {line}" for line in each.evidence[:3])])
