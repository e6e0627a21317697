"""What a person sees of the savings page, and does with it, at a desk and on a phone."""

import os
import re
import threading
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from fareway.athena import QueryFailed
from fareway.savings import Savings
from tests.browser.conftest import KEY
from tests.builders import ROOT


@pytest.fixture
def page(visit, site):
    """The page after signing in, with its figures."""
    page = visit.page
    sign_in(page, site)
    expect(page.get_by_role("heading", name="Spend and savings by day")).to_be_visible()
    whole(page)
    yield page
    assert visit.faults == []


def sign_in(page, site, key=KEY):
    page.goto(f"{site}/dashboard")
    page.get_by_label("Admin key").fill(key)
    page.get_by_role("button", name="Open").click()


def whole(page):
    """Every part has its figures."""
    expect(page.locator("#figures .state:not(:empty)")).to_have_count(0)
    expect(page.locator("#figures[aria-busy], #figures [aria-busy]")).to_have_count(0)


def stat(page, name):
    return page.locator(".stat", has_text=name).locator("strong").inner_text()


def cell(page, row, column):
    """Of the projection: 1 as logged, 2 with the cuts tried, 3 the change."""
    return page.locator("#projection tr", has_text=row).locator("td").nth(column - 1).inner_text()


def number(text):
    return float(re.sub(r"[^\d.]", "", text))


def move(page, cut, value):
    page.get_by_label(f"Complexity {cut}").evaluate(
        "(at, to) => { at.value = to; at.dispatchEvent(new Event('input')); }",
        str(value),
    )


def test_a_wrong_key_is_told_and_shows_nothing(visit, site, lake):
    sign_in(visit.page, site, "fw-wrong")
    expect(visit.page.get_by_role("alert")).to_contain_text("unknown or revoked")
    expect(visit.page.get_by_label("Admin key")).to_be_focused()
    expect(visit.page.locator("#figures")).to_be_hidden()
    assert lake.asked == []
    assert visit.page.evaluate("sessionStorage.length") == 0


def test_the_key_is_in_no_address_and_gone_after_signing_out(visit, site):
    page, addresses = visit.page, []
    page.on("request", lambda request: addresses.append(request.url))
    sign_in(page, site)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Admin key")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Admin key")).to_be_visible()
    assert (
        page.evaluate("JSON.stringify([sessionStorage, localStorage, document.cookie])")
        == '[{},{},""]'
    )
    assert addresses
    assert not any(KEY in address for address in addresses)
    assert all(address.startswith(site) for address in addresses)


def test_the_first_view_is_three_queries_and_shows_what_was_saved(page, lake):
    assert len(lake.asked) == 3
    saved, spent = number(stat(page, "Saved")), number(stat(page, "Spent"))
    (money,) = lake.run(
        "SELECT sum(cost_usd) AS cost, sum(baseline_usd) AS baseline FROM cost_events "
        "WHERE cost_usd IS NOT NULL"
    )
    assert spent == pytest.approx(float(money["cost"]), abs=0.006)
    assert saved == pytest.approx(float(money["baseline"]) - float(money["cost"]), abs=0.006)
    expect(page.locator("#caveats")).to_contain_text("Without a known price")
    assert 0 < number(stat(page, "Did not suffice")) < 100


def test_the_charts_are_drawn_and_have_their_figures_as_tables(page, lake):
    days, flow = page.locator("#days"), page.locator("#flow")
    expect(days.locator("canvas")).to_be_visible()
    page.get_by_text("Days as a table").click()
    expect(page.locator("#days-table tbody tr")).to_have_count(30)
    for name in ("cheap", "mid", "premium", "sensitive", "gpt-5"):
        expect(flow.locator("text", has_text=re.compile(f"^{name}"))).not_to_have_count(0)
    page.get_by_text("Flow as a table").click()
    requests = page.locator("#flow-table tbody tr td:nth-child(5)").all_inner_texts()
    (all_,) = lake.run("SELECT count(*) AS n FROM cost_events")
    assert sum(int(number(text)) for text in requests) == int(all_["n"])
    by_requests = flow.locator("svg").get_attribute("aria-label")
    page.locator("#measure").select_option("spend")
    assert flow.locator("svg").get_attribute("aria-label") != by_requests
    assert "$" in flow.locator("svg").get_attribute("aria-label")


def test_nothing_is_wider_than_the_window(page, width):
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_move_the_projection_is_what_was_logged(page):
    for row in ("Cost", "Saved", "Expected to suffice", "Share of cheap"):
        assert cell(page, row, 1) == cell(page, row, 2)
        assert cell(page, row, 3) == "±0"


def test_a_higher_cut_sends_more_to_cheap_and_costs_less_and_suffices_less(page):
    move(page, "2 | 3", 3.2)
    assert number(cell(page, "Cost", 2)) < number(cell(page, "Cost", 1))
    assert number(cell(page, "Share of cheap", 2)) > number(cell(page, "Share of cheap", 1))
    assert number(cell(page, "Expected to suffice", 2)) < number(
        cell(page, "Expected to suffice", 1)
    )
    assert page.locator("#toml").inner_text() == "cuts = [1.6, 3.2, 3.45, 4.05]"
    page.get_by_role("button", name="As in the policy").click()
    assert cell(page, "Cost", 3) == "±0"
    assert page.locator("#toml").inner_text() == "cuts = [1.6, 2.4, 3.45, 4.05]"


#: A bin of scores around 2.425, and one that something else sent to mid.
BIN = {"bucket": 48, "score": 2.425, "complexity": 3, "tier": "mid", "requests": 10,
       "prompt_tokens": 1_000_000, "completion_tokens": 500_000, "cost_usd": 9, "baseline_usd": 20,
       "p1": 1, "p2": 5, "p3": 4, "p4": 0, "p5": 0}  # fmt: skip
PINNED = BIN | {"bucket": None, "score": None, "complexity": None, "cost_usd": 1}
TWO_TIERS = {
    "cuts": [1.55, 2.4, 3.5, 4.1],
    "tiers": [
        {"tier": "cheap", "complexity": [1, 2], "usd_per_mtok": {"input": "0.1", "output": "0.4"}},
        {"tier": "mid", "complexity": [3, 4, 5], "usd_per_mtok": {"input": "1", "output": "5"}},
    ],
}


@pytest.mark.parametrize(
    ("bins", "cut", "moved", "cost", "suffices"),
    [
        pytest.param([BIN], 2.4, 0, 9, 10, id="as logged"),
        pytest.param([BIN], 2.3, 0, 9, 10, id="still above"),
        pytest.param([BIN], 2.5, 10, 0.1 + 0.2, 6, id="now below"),
        pytest.param([BIN, PINNED], 2.5, 10, 0.3 + 1, 6, id="the pinned stay"),
        pytest.param([BIN | {"tier": "cheap"}], 2.5, 0, 9, 6, id="a bounded one stays"),
    ],
)
def test_the_projection_as_worked_out_by_hand(page, bins, cut, moved, cost, suffices):
    found = page.evaluate(
        """async ([bins, policy, cuts]) =>
            (await import("./dashboard/project.js")).project(bins, policy, cuts)""",
        [bins, TWO_TIERS, [1.55, cut, 3.5, 4.1]],
    )
    assert (found["moved"], found["suffices"], found["scored"]) == (moved, suffices, 10)
    assert found["cost"] == pytest.approx(cost)
    assert found["tiers"]["cheap"] == (10 if moved or bins[0]["tier"] == "cheap" else 0)


def test_a_cut_pushes_those_that_it_would_pass(page):
    move(page, "1 | 2", 3.9)
    assert page.locator("#toml").inner_text() == "cuts = [3.9, 3.95, 4, 4.05]"


def test_the_cuts_can_be_moved_by_keyboard(page):
    page.get_by_label("Complexity 4 | 5").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#toml").inner_text() == "cuts = [1.6, 2.4, 3.45, 4.1]"
    assert number(cell(page, "Share of premium", 2)) < number(cell(page, "Share of premium", 1))


def test_wasted_calls_are_listed_the_dearest_first(page):
    costs = [number(t) for t in page.locator("#wasted tbody tr th").all_inner_texts() if "$" in t]
    assert costs
    assert costs == sorted(costs, reverse=True)
    expect(page.locator("#wasted-all")).to_contain_text("in all")


def test_a_prompt_can_be_tried(page):
    page.get_by_label("Prompt", exact=True).fill("What is the capital of France?")
    page.get_by_role("button", name="Route it").click()
    tried = page.locator("#tried")
    expect(tried.locator(".badge")).to_have_text("cheap")
    expect(tried.locator("meter")).to_have_count(5)
    expect(tried).to_contain_text("complexity 1")
    expect(tried).to_contain_text("deepseek-v4-flash at tokenmix")


def test_markup_in_what_is_shown_stays_text(page, gateway, lake):
    class Marked:
        def run(self, sql):
            return [
                {
                    k: "<img src=x onerror=alert(1)>" if k in ("key_id", "served_model") else v
                    for k, v in row.items()
                }
                for row in lake.run(sql)
            ]

    gateway.savings = Savings(gateway.policy, Marked)
    page.get_by_role("button", name="30 d").click()
    expect(page.locator("#wasted")).to_contain_text("<img src=x")
    assert page.locator("#figures img").count() == 0


def test_other_days_are_asked_for(page, lake):
    page.get_by_role("button", name="7 d", exact=True).click()
    page.get_by_text("Days as a table").click()
    expect(page.locator("#days-table tbody tr")).to_have_count(7)
    assert len(lake.asked) == 6


def test_days_without_a_request_say_so(page):
    page.get_by_label("From", exact=True).fill("2026-01-01")
    page.get_by_label("To", exact=True).fill("2026-01-02")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("alert")).to_contain_text("No request from 2026-01-01 to 2026-01-02")
    expect(page.locator("#figures")).to_be_hidden()


def test_a_ledger_that_fails_is_told_in_its_own_words_and_can_be_asked_again(
    visit, site, gateway, lake
):
    def broken():
        raise QueryFailed("Athena: failed: TABLE_NOT_FOUND: cost_events")

    working = gateway.savings
    gateway.savings = Savings(gateway.policy, broken)
    page = visit.page
    sign_in(page, site)
    expect(page.get_by_role("alert")).to_contain_text("TABLE_NOT_FOUND: cost_events")
    gateway.savings = working
    page.get_by_role("button", name="30 d").click()
    expect(page.locator("#totals")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


class Held:
    """A lake whose events wait, and then may fail; the days summed up do not."""

    def __init__(self, lake, error=None):
        self.lake, self.error, self.freed = lake, error, threading.Event()

    def run(self, sql):
        if "FROM cost_events" in sql:
            self.freed.wait(10)
            if self.error:
                raise self.error
        return self.lake.run(sql)


def test_the_summary_does_not_wait_for_the_rest(visit, site, gateway, lake):
    held = Held(lake)
    gateway.savings = Savings(gateway.policy, lambda: held)
    page = visit.page
    sign_in(page, site)
    expect(page.locator("#days canvas")).to_be_visible()
    expect(page.locator("#scores-part .state")).to_have_text("Reading…")
    assert stat(page, "Did not suffice") == "…"
    held.freed.set()
    whole(page)
    expect(page.locator("#projection tr")).not_to_have_count(0)
    assert "%" in stat(page, "Did not suffice")


def test_a_part_that_fails_says_so_in_its_place(visit, site, gateway, lake):
    held = Held(lake, QueryFailed("Athena: failed: TABLE_NOT_FOUND: cost_events"))
    held.freed.set()
    gateway.savings = Savings(gateway.policy, lambda: held)
    page = visit.page
    sign_in(page, site)
    for part in ("#scores-part", "#wasted_premium-part"):
        expect(page.locator(f"{part} .state")).to_contain_text("TABLE_NOT_FOUND: cost_events")
        expect(page.locator(f"{part} .part")).to_be_hidden()
    expect(page.locator("#days canvas")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_what_comes_after_signing_out_is_not_shown(visit, site, gateway, lake):
    held = Held(lake)
    gateway.savings = Savings(gateway.policy, lambda: held)
    page = visit.page
    sign_in(page, site)
    expect(page.locator("#days canvas")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    with page.expect_response("**/scores*"):
        held.freed.set()
    page.evaluate("new Promise((done) => setTimeout(done))")
    assert page.locator("#wasted tr, #projection tr, #totals div").count() == 0
    expect(page.get_by_label("Admin key")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(page, scheme):
    page.emulate_media(color_scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    page.get_by_label("Prompt", exact=True).fill("Prove that there are infinitely many primes.")
    page.get_by_role("button", name="Route it").click()
    expect(page.locator("#tried meter").first).to_be_visible()
    serious_faults(page)


def test_axe_finds_no_serious_fault_before_signing_in(visit, site):
    sign_in(visit.page, site, "fw-wrong")
    expect(visit.page.get_by_role("alert")).to_be_visible()
    serious_faults(visit.page)


def serious_faults(page):
    found = Axe().run(page).response["violations"]
    serious = [
        f"{v['id']}: {n['target']} {n['failureSummary']}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for n in v["nodes"]
    ]
    assert serious == []


def test_the_page_is_worth_a_picture(page, width, tmp_path):
    """With FAREWAY_SCREENSHOTS=1 it is put into docs/."""
    page.get_by_label("Prompt", exact=True).fill(
        "Compare optimistic and pessimistic locking for a ticket shop: which fits a flash sale?"
    )
    page.get_by_role("button", name="Route it").click()
    expect(page.locator("#tried meter").first).to_be_visible()
    move(page, "2 | 3", 2.7)
    folder = ROOT / "docs" if os.environ.get("FAREWAY_SCREENSHOTS") else tmp_path
    file = Path(folder) / f"dashboard-{'phone' if width < 500 else 'desktop'}.png"
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=file, full_page=True)
    assert file.stat().st_size > 20_000
