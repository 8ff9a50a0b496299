"""SP505: loggers that one test silences, and another one listens to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Finding, finding
from pytest_savepoint.diagnosis.record import Fact, Record, asserted, at_site, line_with, place

__all__ = ["RULES"]

_SETS_LEVEL = r"\b(at_level|set_level|setLevel)\("
_EVERY_LOGGER = ("root", "logging.disable")


def _logging_disabled(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if "caplog" not in failure["fixtures"] or not asserted(failure):
            continue
        for fact in record.of("logging_disabled"):
            if fact["worker"] != failure["worker"] or fact["at"] > failure["at"] or fact["site"] is None:
                continue
            silenced = sorted(set(fact["loggers"]) & set(failure["reached"]["loggers"]))
            if not silenced:
                continue
            seen = f"{failure['test']} looks at captured logs of {', '.join(silenced[:3])} after that and sees none."
            yield _configured(fact, [failure["test"]], seen, confidence=0.93)
            break


def _logging_level(record: Record) -> Iterator[Finding]:
    """A test looks at captured logs after another one has set a level and left it."""
    for failure in record.failures:
        function = failure["function"]
        # A test that sets the level itself sees what it wants to see.
        if "caplog" not in failure["fixtures"] or not asserted(failure) or line_with(function, _SETS_LEVEL):
            continue
        for fact in record.of("logging_level_leaked"):
            later = (
                fact["worker"] == failure["worker"] and fact["at"] < failure["at"] and fact["test"] != failure["test"]
            )
            if not later or fact["site"] is None or fact["level"] <= fact["before"]:
                continue
            name = fact["logger"]
            silenced = [
                each
                for each in failure["reached"]["loggers"]
                if name in _EVERY_LOGGER or f"{each}.".startswith(f"{name}.")
            ]
            if not silenced:
                continue
            yield finding(
                "state.logging_disabled",
                tests=[failure["test"]],
                culprit=at_site(fact["site"]),
                explanation=f"{place(fact['site'])} raises the level of {'all loggers' if name in _EVERY_LOGGER else name} to "
                f"{fact['level']} in {fact['test']} and nobody sets it back. {failure['test']} looks at captured logs of "
                f"{silenced[0]} after that.",
                fix="Set it with caplog.set_level() or caplog.at_level(), which put it back, or in a fixture that does.",
                confidence=0.91,
                evidence=[f"the level of {name} was {fact['level']} instead of {fact['before']} after {fact['test']}"],
            )
            break


def _logging_latent(record: Record) -> Iterator[Finding]:
    """The same, where the order of this run kept it from the tests that look at logs."""
    for latent in record.of("latent"):
        fact = latent["leak"]
        if fact["kind"] != "logging_disabled" or fact["site"] is None:
            continue
        seen = "Tests that look at captured logs see none when they come after it."
        yield _configured(fact, latent["tests"], seen, confidence=0.75)


def _configured(fact: Fact, tests: list[str], seen: str, *, confidence: float) -> Finding:
    return finding(
        "state.logging_disabled",
        tests=tests,
        culprit=at_site(fact["site"]),
        explanation=f"{place(fact['site'])} configures logging and disables every logger that exists. {seen}",
        fix="Pass disable_existing_loggers=False to fileConfig() or dictConfig().",
        confidence=confidence,
        evidence=[f"{len(fact['loggers'])} loggers disabled in {fact['test'] or 'an import'}"],
    )


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (_logging_disabled, _logging_level, _logging_latent)
