"""`fareway report`: the SQL's figures in its tables and on its page."""

import io
import re
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.lake import DAYS, FIRST, MONTH, filled
from benchmarks.traffic import Generator
from fareway.chart import bars, columns
from fareway.cli import app
from fareway.cli import report as command
from fareway.cli.report import print_report, print_sheets
from fareway.policy import load_policy
from fareway.prices import Price, Usage, list_prices
from fareway.report import by_single_tag, details, report
from fareway.report_html import page
from fareway.reprice import cost_usd, reconciled, repriced
from fareway.settings import Settings
from fareway.sheets import detail_sheets, main_sheets
from local.lake import Lake
from tests.builders import an_event

DAY = date(2026, 11, 24)


@pytest.fixture
def reported():
    def reported(*events):
        lake = Lake()
        made = (an_event(decision_id=f"dec_{i}", **e) for i, e in enumerate(events))
        lake.add("cost_events", ({**event.record(), "dt": DAY.isoformat()} for event in made))
        figures = report(lake, DAY, DAY)
        lake.close()
        printed = io.StringIO()
        print_report(figures, Console(file=printed, width=120))
        return figures, printed.getvalue()

    return reported


UNPRICED = {"served_model": "acme/llm-1", "cost_usd": None, "cost_source": None}
FAILED = {"served_model": None, "cost_usd": None, "cost_source": None, "status": 502}
CUT = {**UNPRICED, "status": 502, "stream": True}
ESTIMATED = {"cost_source": "estimated"}


def line(printed, words):
    return next(row for row in printed.splitlines() if words in row)


def test_what_has_no_price_is_counted_and_not_summed(reported):
    figures, printed = reported({}, UNPRICED, CUT, FAILED)
    totals = figures.totals
    assert (totals["requests"], totals["unpriced"]) == ("4", "2")
    assert Decimal(totals["cost_usd"]) == Decimal("0.00045")
    assert Decimal(totals["baseline_usd"]) == Decimal("0.00625")  # of the priced one alone
    assert " 2 " in line(printed, "unpriced, not in the sums")


def test_a_models_name_is_no_markup_and_no_escape_for_the_terminal(reported):
    _, printed = reported({"served_model": "acme/[red]llm\x1b[2J"})
    assert "\x1b" not in printed
    assert "acme/[red]llm\ufffd[2J" in printed


def test_the_model_without_a_price_is_named_and_shows_no_zero(reported):
    figures, printed = reported({}, UNPRICED)
    by_model = {row["served_model"]: row["unpriced"] for row in figures.by_model}
    assert by_model == {"acme/llm-1": "1", "deepseek-v4-flash": "0"}
    assert "0.000000" not in line(printed, "acme/llm-1")


def test_estimates_are_told_apart(reported):
    figures, printed = reported({}, ESTIMATED, ESTIMATED)
    assert figures.totals["estimated"] == "2"
    assert " 2 " in line(printed, "estimated, in the sums")


def test_where_all_is_priced_nothing_is_said_of_it(reported):
    assert "unpriced" not in reported({})[1]


def test_a_day_without_requests_is_reported_too(reported):
    figures, printed = reported()
    assert figures.requests == 0
    assert "0 answered" in printed


# ---- what is behind it, over a month of synthetic traffic ----


@pytest.fixture(scope="module")
def traffic():
    return Generator(3, FIRST, DAYS).traffic(4_000)


@pytest.fixture(scope="module")
def lake(traffic):
    lake = filled(traffic)
    yield lake
    lake.close()


@pytest.fixture(scope="module")
def figures(lake):
    return report(lake, *MONTH), details(lake, *MONTH, today=MONTH[1])


@pytest.fixture(scope="module")
def sheets(figures):
    return [*main_sheets(figures[0]), *detail_sheets(figures[1], list_prices())]


def seen(traffic):
    first, last = (day.isoformat() for day in MONTH)
    return [e for e in traffic.events if first <= e.occurred_at[:10] <= last]


def test_every_table_has_its_columns_filled(sheets):
    titles = [sheet.title for sheet in sheets]
    assert len(set(titles)) == len(titles) == 14
    for sheet in sheets:
        width = len(sheet.headings) or 2
        assert sheet.rows
        assert {len(row) for row in sheet.rows} == {width}, sheet.title


def test_the_terminal_shows_them_all(sheets):
    printed = io.StringIO()
    print_sheets(sheets, Console(file=printed, width=200))
    for sheet in sheets:
        assert sheet.title in printed.getvalue()


def test_a_lake_without_events_has_no_more_to_tell():
    empty = Lake()
    behind = details(empty, *MONTH, today=MONTH[1])
    assert detail_sheets(behind, list_prices()) == []
    html = page(report(empty, *MONTH), behind, main_sheets(report(empty, *MONTH)))
    assert "0 answered" in html
    empty.close()


def test_a_request_counts_for_each_of_its_keys_tags():
    def row(tags, cost):
        return {"tags": tags, "requests": "2", "cost_usd": cost, "unpriced": "0"}

    rows = by_single_tag(
        [
            row('{"app": "mail", "team": "x"}', "0.100000000"),
            row('{"team": "x"}', "0.200000000"),
            row("{}", None),
        ]
    )
    assert [(r["tag"], r["requests"], r["cost_usd"]) for r in rows] == [
        ("team=x", "4", "0.300000000"),
        ("app=mail", "2", "0.100000000"),
        ("(none)", "2", None),
    ]


# ---- the same tokens at another price ----


def test_against_the_policys_own_baseline_the_saving_is_the_same(traffic, figures):
    """To the nano-dollar that each event was rounded to."""
    policy = load_policy(Settings().policy_file)
    again = repriced(figures[1].tokens, lambda _: policy.baseline_price())
    priced = [e for e in seen(traffic) if e.cost_usd is not None]
    assert again.requests == len(priced)
    assert again.left_out == sum(e.served_model is not None for e in seen(traffic)) - len(priced)
    assert again.cost_usd == sum(e.cost_usd for e in priced)
    due = sum(e.baseline_usd for e in priced)
    assert abs(again.again_usd - due) <= len(priced) * Decimal("0.5e-9")


def test_what_the_provider_charged_above_the_list_shows(traffic, figures):
    prices = list_prices()
    told = reconciled(figures[1].tokens, prices)
    theirs = [e for e in seen(traffic) if e.cost_source == "provider"]
    assert sum(sums.requests for sums in told.values()) == len(theirs)
    assert sum(sums.cost_usd for sums in told.values()) == sum(e.cost_usd for e in theirs)
    assert {aggregator for aggregator, _ in told} == {"openrouter"}
    listed = sum(
        prices.find(e.served_model).cost_usd(
            Usage(
                e.prompt_tokens,
                e.completion_tokens,
                e.cached_tokens,
                e.cache_write_tokens,
                e.reasoning_tokens,
            )
        )
        for e in theirs
    )
    again = sum(sums.again_usd for sums in told.values())
    assert abs(again - listed) <= len(theirs) * Decimal("0.5e-9")
    assert again < sum(e.cost_usd for e in theirs)


def tokens(**fields):
    counts = ("prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens")
    row = dict.fromkeys((*counts, "reasoning_tokens", "prompts_from", "audio"), "0")
    return row | {"cost_usd": "1", "requests": "1"} | fields


LONG = Price.of({"input": 1, "output": 2, "above": {"200000": {"input": 10, "output": 20}}})


@pytest.mark.parametrize(
    ("prompts_from", "usd"), [("0", "0.9"), ("200000", "0.9"), ("200001", "9"), ("256001", "9")]
)
def test_long_prompts_are_priced_as_long_ones(prompts_from, usd):
    row = tokens(prompt_tokens="900000", prompts_from=prompts_from)
    assert cost_usd(row, LONG) == Decimal(usd)


def test_audio_cannot_be_priced_again():
    assert cost_usd(tokens(audio="1"), LONG) is None
    assert repriced([tokens(audio="1", requests="3")], lambda _: LONG).left_out == 3


# ---- the page ----


class Outline(HTMLParser):
    """Tags that are open, and all that would be fetched."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [v for k, v in attrs if k in ("src", "href", "xlink:href", "action")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """`<line ... />` stands alone."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_in_itself(figures, sheets):
    html = page(*figures, sheets)
    parsed = Outline()
    parsed.feed(html)
    assert parsed.open == []
    assert parsed.fetched == []
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    assert "url(" not in html
    assert parsed.tags.count("svg") == 4
    assert parsed.tags.count("table") == len(sheets)
    assert html.index("By day") < html.index("Where the prompts went")


def test_names_from_outside_are_text_on_the_page(figures, sheets):
    """A caller chooses a model's name; an upstream tells another."""
    first, behind = figures
    evil = {**first.by_model[0], "served_model": "<script>alert(1)</script>"}
    tainted = type(first)(first.first, first.last, first.totals, first.by_tier, [evil])
    html = page(tainted, behind, main_sheets(tainted))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 2  # in the chart and in the table


def test_columns_are_as_high_as_their_values():
    svg = columns("t", ["a", "b"], [("spent", [1.0, 2.0]), ("saved", [1.0, 0.0])], "USD")
    heights = [float(h) for h in re.findall(r'<rect class="c\d"[^>]* height="([\d.]+)"', svg)]
    assert heights[0] == heights[1] == pytest.approx(heights[2] / 2, abs=0.1)
    assert heights[3] == 0
    assert "<title>b: spent 2 USD</title>" in svg


def test_the_longest_bar_is_the_greatest_value():
    svg = bars("t", [("x", 1.0, "one"), ("y", 4.0, "four")])
    one, four = (float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)"', svg))
    assert four == pytest.approx(4 * one)


@pytest.mark.parametrize("values", [[], [0.0]])
def test_charts_of_nothing_are_drawn_too(values):
    labels = ["a"] * len(values)
    assert "<svg" in columns("t", labels, [("spent", values)], "USD")
    assert "<svg" in bars("t", [(label, 0.0, "0") for label in labels])


# ---- the command ----


@pytest.fixture
def run(lake, monkeypatch):
    monkeypatch.setenv("FAREWAY_ATHENA_WORKGROUP", "w")
    monkeypatch.setenv("FAREWAY_LEDGER_DATABASE", "d")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(command, "Athena", lambda *_: lake)
    span = ("--from", MONTH[0].isoformat(), "--to", MONTH[1].isoformat())
    return lambda *arguments: CliRunner().invoke(app, ["report", *span, *arguments])


def test_the_command_writes_the_page(run, tmp_path):
    file = tmp_path / "report.html"
    result = run("--html", str(file))
    assert result.exit_code == 0, result.output
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_another_baseline_is_told_beside_the_policys(run):
    result = run("--against", "claude-sonnet-5.5")
    assert "all at claude-sonnet-5.5 would have cost" in result.output
    assert "all-premium would have cost" in result.output


def test_a_model_of_the_policy_that_was_applied_can_be_the_baseline(run, monkeypatch, tmp_path):
    """Its prices are those that the events were priced by."""
    applied = tmp_path / "applied.toml"
    shipped = Settings().policy_file.read_text(encoding="utf-8")
    applied.write_text(re.sub(r'(?<!tokenmix = )(?<!model = )"gpt-5"', '"ours"', shipped))
    monkeypatch.setattr(command, "policy_in_force", lambda _: applied)
    assert "all at ours would have cost" in run("--against", "ours").output


def test_a_model_without_a_price_is_no_baseline(run):
    result = run("--against", "acme/unheard-of")
    assert result.exit_code == 1
    assert "no price is known" in result.output


def test_days_in_the_wrong_order_are_told(run):
    result = run("--from", "2026-11-30")
    assert result.exit_code == 1
    assert "is after" in result.output


@pytest.mark.parametrize("days", [("--to", "9999-12-31"), ("--from", "0001-01-01")])
def test_days_about_which_none_can_be_are_told(run, days):
    result = run(*days)
    assert result.exit_code == 1
    assert "is no day of 2000 to 2999" in result.output


def test_a_page_that_cannot_be_written_is_told(run, tmp_path):
    result = run("--html", str(tmp_path / "no" / "such.html"))
    assert result.exit_code == 1
    assert "such file or directory" in result.output
