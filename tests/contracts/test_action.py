"""action.yml says what settings.py says, and does what a reader of its table of contents expects."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pytest_savepoint.settings import SETTINGS
from read_yaml import read_yaml
from savepoint_ci.verbs import VERBS

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = read_yaml((ROOT / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
OURS = [step for step in STEPS if "scripts/savepoint" in step.get("run", "")]


def default_of(setting: Any) -> str:
    match setting.default:
        case None | "":
            return ""
        case bool():
            return str(setting.default).lower()
        case tuple():
            return ",".join(setting.default)
        case dict():
            return ""
        case float():
            return f"{setting.default:g}"
        case _:
            return f"{setting.default}"


def test_every_setting_is_an_input_with_the_same_words_and_default() -> None:
    inputs = {name: given["description"] for name, given in ACTION["inputs"].items() if name != "working-directory"}
    assert inputs == {
        setting.kebab: setting.help + (f" Default: {default_of(setting)}." if default_of(setting) else "")
        for setting in SETTINGS
    }


def test_only_inputs_that_pyproject_cannot_hold_have_a_default() -> None:
    defaults = {name: given["default"] for name, given in ACTION["inputs"].items() if "default" in given}
    assert defaults == {"working-directory": ".", "github-token": "${{ github.token }}"}


def test_every_input_is_handed_over_under_its_settings_variable() -> None:
    handed = {}
    for step in OURS:
        handed.update(step["env"])
    del handed["SAVEPOINT_STATE"], handed["SAVEPOINT_TOOL"]
    assert handed == {setting.variable: f"${{{{ inputs.{setting.kebab} }}}}" for setting in SETTINGS}


def test_only_the_steps_that_ask_github_get_the_token() -> None:
    verbs = [step["run"].split()[-1] for step in OURS if "SAVEPOINT_GITHUB_TOKEN" in step["env"]]
    assert verbs == ["begin", "comment"]


@pytest.mark.parametrize("step", OURS, ids=lambda step: step["name"])
def test_a_step_is_one_short_command_without_expressions(step: dict[str, Any]) -> None:
    command = re.fullmatch(
        r'(?:python3|"\$SAVEPOINT_TOOL") -I -S "\$GITHUB_ACTION_PATH/scripts/savepoint" (\w+)( --[\w-]+| \|\| true)?',
        step["run"],
    )
    assert command, step["run"]
    assert command[1] in VERBS


def test_only_the_first_step_looks_for_the_tool() -> None:
    assert [step["run"].split()[-1] for step in OURS if "SAVEPOINT_TOOL" not in step["env"]] == ["begin"]
    assert {step["env"].get("SAVEPOINT_TOOL") for step in OURS[1:]} == {"${{ steps.begin.outputs.tool }}"}


def test_postgres_starts_before_dependencies_install_and_the_verdict_comes_last() -> None:
    verbs = [step["run"].split('savepoint" ')[1].split()[0] for step in OURS]
    assert verbs == ["begin", "install", "fingerprint", "migrate", "suite", "report", "comment"]
    assert STEPS[-1]["run"] == 'exit "$EXIT_CODE"'
    assert STEPS[-1]["env"] == {"EXIT_CODE": "${{ steps.suite.outputs.exit-code || steps.report.outputs.exit-code }}"}


def test_every_output_of_a_report_is_taken_from_whichever_of_the_two_steps_made_it() -> None:
    text = (ROOT / "action.yml").read_text()
    assert re.findall(r"(?<!\|\| )steps\.report\.outputs\.([\w-]+)", text) == []
    assert {suite == report for suite, report in re.findall(r"steps\.suite\.outputs\.([\w-]+) \|\| steps\.report\.outputs\.([\w-]+)", text)} == {True}
    report = next(step for step in STEPS if step.get("id") == "report")
    assert report["if"] == "always() && steps.begin.outcome == 'success' && !steps.suite.outputs.exit-code"


def test_the_clean_up_is_registered_before_anything_is_started() -> None:
    uses = next(index for index, step in enumerate(STEPS) if "uses" in step)
    assert uses < STEPS.index(OURS[0])


def test_every_output_comes_from_a_step_that_exists() -> None:
    ids = {step["id"] for step in STEPS if "id" in step}
    for name, output in ACTION["outputs"].items():
        for source in re.fullmatch(r"\$\{\{ (.+) \}\}", output["value"])[1].split(" || "):
            step = re.fullmatch(r"steps\.([\w-]+)\.outputs\.([\w-]+)", source)
            assert step, name
            assert (step[1] in ids, step[2]) == (True, name)
