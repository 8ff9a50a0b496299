"""The workflows that people copy or call agree with the action, and each one runs in our own CI."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from read_yaml import read_yaml

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "workflows").glob("*.yml"))
WORKFLOWS = [*SAMPLES, *sorted((ROOT / ".github" / "workflows").glob("*.yml"))]
OUR_ACTION = re.compile(
    r"savepoint-ci/savepoint(?:/\.github/workflows/savepoint(?:-flaky)?\.yml|/scripts/post_action)?@v\d+\.\d+\.\d+"
)

CHECKOUT = {
    "uses": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
    "with": {"persist-credentials": False},
}

by_name = pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)


def read(file: Path) -> dict[str, Any]:
    return read_yaml(file.read_text())


def as_in_our_own_ci(job: dict[str, Any]) -> dict[str, Any]:
    """A sample's job, with this commit's action and the example application."""
    text = re.sub(r"savepoint-ci/savepoint/((?:\.github|scripts)/\S+?)@v[\d.]+", r"./\1", yaml.safe_dump(job))
    own: dict[str, Any] = read_yaml(re.sub(r"savepoint-ci/savepoint@v[\d.]+", "./", text))
    for caller in [own, *own.get("steps", [])]:
        uses = caller.get("uses", "")
        if uses.startswith("./scripts/"):  # it works on no project, so the sample has checked none out
            own["steps"].insert(0, CHECKOUT)
            break
        if uses.startswith("./"):
            caller["with"] = {"working-directory": "examples/shop", **caller.get("with", {})}
    return own


@by_name
def test_a_sample_runs_in_our_own_ci_as_it_stands(file: Path) -> None:
    ours: dict[str, Any] = {}
    for own in ("self-test.yml", "self-comment.yml"):
        ours |= read(ROOT / ".github" / "workflows" / own)["jobs"]
    assert ours[file.stem] == as_in_our_own_ci(read(file)["jobs"][file.stem])


@by_name
def test_a_sample_says_in_its_first_line_for_whom_it_is(file: Path) -> None:
    assert re.match(r"# For .{20,}", file.read_text())


@by_name
def test_a_sample_gives_only_inputs_that_exist(file: Path) -> None:
    for caller in callers(read(file)["jobs"][file.stem]):
        called = caller["uses"].removeprefix("savepoint-ci/savepoint").lstrip("/").partition("@")[0] or "action.yml"
        given = read(ROOT / (called if called.endswith(".yml") else f"{called}/action.yml"))
        known = given["inputs"] if "inputs" in given else given[True]["workflow_call"]["inputs"]
        assert set(caller.get("with", {})) <= set(known)


def callers(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in [job, *job.get("steps", [])] if OUR_ACTION.fullmatch(each.get("uses", ""))]


@by_name
def test_a_sample_uses_the_released_version(file: Path) -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    (caller,) = callers(read(file)["jobs"][file.stem])
    assert caller["uses"].endswith(f"@v{version[1]}")


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_other_peoples_actions_are_pinned_by_hash_with_their_version(file: Path) -> None:
    for uses in re.findall(r"uses: (.+)", file.read_text()):
        if not uses.startswith("./") and not OUR_ACTION.fullmatch(uses):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", uses)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_every_job_names_its_permissions_and_its_time_limit(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert "permissions" in job
        assert "timeout-minutes" in job or "uses" in job


def test_the_callable_hands_its_inputs_over_in_the_words_of_the_action() -> None:
    callable_ = read(ROOT / ".github" / "workflows" / "savepoint.yml")
    # YAML 1.1 reads the key `on` as true.
    inputs = callable_[True]["workflow_call"]["inputs"]
    (step,) = [step for step in callable_["jobs"]["test"]["steps"] if step.get("id") == "savepoint"]
    same = {name for name, text in step["with"].items() if text == f"${{{{ inputs.{name} }}}}"}
    assert same == set(inputs) & set(read(ROOT / "action.yml")["inputs"]) - {"comment"}


def test_the_callable_keeps_the_report_and_never_the_state() -> None:
    steps = read(ROOT / ".github" / "workflows" / "savepoint.yml")["jobs"]["test"]["steps"]
    (upload,) = [step for step in steps if step["uses"].startswith("actions/upload-artifact@")]
    assert upload["with"]["path"] == "${{ steps.savepoint.outputs.report }}"
