"""A run is read from its evidence, complete or not."""

from __future__ import annotations

import json

from savepoint_ci.rerun.ran import read_run
from savepoint_ci.rerun.variation import FILE_ORDER


def started(nodeid, worker="gw0"):
    return json.dumps({"kind": "started", "nodeid": nodeid, "worker": worker})


def phases(nodeid, *outcomes, worker="gw0", xfail=False):
    return [
        json.dumps({"kind": "phase", "nodeid": nodeid, "worker": worker, "when": when, "outcome": outcome,
                    "message": f"{when} failed", "xfail": xfail})
        for when, outcome in zip(("setup", "call", "teardown"), outcomes, strict=False)
    ]  # fmt: skip


def test_what_ran_before_a_test_is_what_its_own_worker_ran():
    ran = read_run(
        [started("a"), *phases("a", "passed", "passed", "passed"), started("x", "gw1"), started("b")], FILE_ORDER
    )
    assert (ran.before("b"), ran.before("x")) == (("a",), ())


def test_a_worker_may_begin_a_test_before_its_last_one_is_reported():
    lines = [started("a"), started("b"), *phases("a", "passed", "passed", "passed"), *phases("b", "passed", "passed", "passed")]
    assert read_run(lines, FILE_ORDER).tests == ("a", "b")


def test_a_test_that_had_begun_when_the_run_was_ended_is_stuck():
    lines = [started("a"), *phases("a", "passed", "passed", "passed"), started("b"), *phases("b", "passed")]
    assert read_run(lines, FILE_ORDER, hung=True).stuck == ("b",)
    assert read_run(lines, FILE_ORDER).failed("b") is None


def test_skipped_and_expected_failures_give_no_answer():
    lines = [*phases("a", "skipped", "passed", "passed"), *phases("b", "passed", "failed", "passed", xfail=True)]
    ran = read_run(lines, FILE_ORDER)
    assert (ran.failed("a"), ran.failed("b")) == (None, None)


def test_a_line_cut_in_the_middle_is_passed_over():
    ran = read_run([*phases("a", "passed", "failed", "passed"), '{"kind": "phase", "nod'], FILE_ORDER)
    assert (ran.failed("a"), ran.failures["a"]) == (True, "call failed")
