"""What people see, in a real browser: every comment on a desk and on a phone, and the page with everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from github_page import github_page
from hostile_text import TRICKS, filled_with
from msgspec.structs import replace
from report_parts import PASSED
from report_samples import SAMPLES
from rich_report import RICH, SOURCES
from savepoint_ci.report.page.render import report_page

pytestmark = pytest.mark.e2e
GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture
def report_file(tmp_path):
    """Write the page of a report and return its address."""

    def write(report, **given):
        path = tmp_path / "report.html"
        path.write_text(report_page(report, **given), encoding="utf-8")
        return path.as_uri()

    return write


@pytest.fixture
def rich_page(open_page, report_file):
    return open_page(report_file(RICH, sources=SOURCES)).page


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


# Asked at once, because there are many comments and every question takes a way to the browser and back.
SEEN_OF_A_COMMENT = """() => {
    const fits = () => document.documentElement.scrollWidth <= window.innerWidth
    const folded = { fits: fits(), open: document.querySelectorAll("details[open]").length }
    document.querySelectorAll("details").forEach((each) => { each.open = true })
    return { folded, unfolded: fits(), headings: document.querySelectorAll("h3").length }
}"""


@pytest.mark.parametrize(("width", "colours"), [(360, "dark"), (820, "light")])
def test_every_comment_fits_its_screen_folded_and_asks_for_nothing(open_page, tmp_path, width, colours):
    opened, files = open_page("about:blank", width=width, colours=colours), []
    for golden in sorted(GOLDEN.glob("*.md")):
        file = tmp_path / f"{golden.stem}.html"
        file.write_text(github_page(golden.read_text("utf-8")), encoding="utf-8")
        files.append(file.as_uri())
        opened.page.goto(files[-1])
        seen = opened.page.evaluate(SEEN_OF_A_COMMENT)
        assert seen == {"folded": {"fits": True, "open": 0}, "unfolded": True, "headings": 1}, golden.name
    assert (opened.requests, opened.complaints) == (files, [])


@pytest.mark.parametrize("name", ["green", "findings", "database", "interrupted", "no_tests"])
def test_page_opens_without_network_and_without_complaint(open_page, report_file, name):
    opened = open_page(report_file(SAMPLES[name]))

    assert opened.page.locator("h1").inner_text()[0] == ("✓" if name == "green" else "✗")
    assert opened.requests == opened.complaints == []


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_the_page(open_page, report_file, colours):
    opened = open_page(report_file(RICH, sources=SOURCES), colours=colours)
    opened.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    # The page's own policy forbids scripts that are not its own; the protocol runs axe beside it.
    found = Axe().run(opened.page)

    assert found.violations_count == 0, found.generate_report()


def test_page_fits_a_phone(open_page, report_file):
    page = open_page(report_file(RICH, sources=SOURCES), width=360).page
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")

    assert fits(page)


def test_twenty_thousand_tests_load_in_two_seconds_and_only_the_rows_in_sight_exist(open_page, report_file):
    tests = tuple(
        replace(PASSED[number % 84], nodeid=f"tests/api/test_{number % 90}.py::test_item_{number}", started=number / 50)
        for number in range(20_000)
    )
    page = open_page("about:blank").page
    session = page.context.new_cdp_session(page)
    # The page's own time on a processor, because the machine may be busy with other things.
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds():
        return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}[
            "TaskDuration"
        ]

    page.goto(report_file(replace(RICH, tests=(*tests, *RICH.tests[-7:]))))
    loaded = seconds()
    assert 0 < loaded < 2
    page.locator("#search").fill("test_19 item_19")
    assert page.locator(".row").count() < 60
    assert seconds() - loaded < 0.5
    page.locator("#search").fill("")
    page.locator("#list").evaluate("(list) => { list.scrollTop = list.scrollHeight }")
    page.locator("#test-20006").wait_for(state="attached")


def test_search_and_filters_narrow_the_tests(rich_page):
    rich_page.locator("#search").fill("test_item_7")
    assert rich_page.locator("#shown").inner_text() == "11 of 84 tests"
    rich_page.locator("#search").fill("attached to a different loop")
    assert rich_page.locator("#shown").inner_text() == "5 of 84 tests"
    rich_page.locator("#search").fill("")
    rich_page.get_by_label("Database").select_option("clone")
    assert rich_page.locator("#shown").inner_text() == "9 of 84 tests"
    rich_page.get_by_label("Database").select_option("")
    rich_page.get_by_label("passed (77)").uncheck()
    assert rich_page.locator("#shown").inner_text() == "7 of 84 tests"
    rich_page.get_by_label("Order").select_option("slowest")
    assert "test_refund" in rich_page.locator(".row").first.inner_text()


def test_what_a_test_asked_of_the_database_is_told_and_orders_the_tests(rich_page):
    rich_page.get_by_label("Order").select_option("database")
    rich_page.locator("#list").focus()
    rich_page.keyboard.press("Home")
    details = rich_page.locator("#details").inner_text()
    assert details.startswith("tests/api/test_items.py::test_item_8\n")
    assert "43 statements, 30 ms in the database, 12 rows; slowest (12 ms): SELECT item.name" in details
    assert "sent 40 times, as in a loop: SELECT item.stock" in details


def test_list_is_walked_with_the_keyboard(rich_page):
    rich_page.locator("#list").focus()
    rich_page.keyboard.press("Home")
    rich_page.keyboard.press("ArrowDown")
    active = rich_page.locator("#list").get_attribute("aria-activedescendant")
    assert rich_page.locator(f"#{active}").get_attribute("aria-posinset") == "2"
    rich_page.keyboard.press("End")
    assert rich_page.locator("#details h3").first.inner_text() == RICH.tests[-1].nodeid
    assert "assert 3 == 5" in rich_page.locator("#details pre").inner_text()


def test_cause_leads_to_its_test_though_a_filter_hides_it(rich_page):
    rich_page.locator("#search").fill("nothing of this name")
    rich_page.locator("#findings summary").first.click()
    rich_page.locator("#findings article").first.get_by_role("button").first.click()

    assert rich_page.locator("#details h3").first.inner_text() == RICH.findings[0].tests[0]


def test_bar_of_the_timeline_leads_to_its_test(rich_page):
    rich_page.locator("#canvas").scroll_into_view_if_needed()
    box = rich_page.locator("#canvas").bounding_box()
    rich_page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 8)

    assert "on gw0" in rich_page.locator("#details").inner_text()


def test_source_shows_what_did_not_run_and_which_tests_ran_the_rest(rich_page):
    rich_page.locator("#files summary").first.click()
    missed = rich_page.locator(".missed").all_inner_texts()
    assert [line.split()[0] for line in missed] == ["41", "42", "43", "57"]
    assert all("not run, changed" in line for line in missed)
    source = rich_page.locator(".source").inner_text()
    assert "<not> &amp; <script>alert(1)</script>" in source
    rich_page.get_by_role("button", name="40 tests").click()
    assert PASSED[10].nodeid in rich_page.locator("#files details [role=status]").inner_text()


def test_no_text_of_a_test_becomes_an_element_of_the_page(open_page, report_file):
    text = " ".join(TRICKS)
    plain = open_page(report_file(filled_with("plain"))).page.evaluate("document.querySelectorAll('*').length")
    opened = open_page(report_file(filled_with(text), sources={text[:4_000]: text}))

    assert opened.complaints == []
    assert opened.page.locator("script").count() == 2
    assert opened.page.locator("img, iframe, object, embed, a:not([href^='#'])").count() == 0
    # Each code span that the text's own backticks make in a sentence is the page's doing.
    spans = "document.querySelectorAll('code').length"
    assert opened.page.evaluate(f"document.querySelectorAll('*').length - {spans}") <= plain
    assert json.loads(opened.page.locator("#data").inner_text())["report"]["version"] == 1
