"""`fareway profile`: what a log is read as, its sums worked out by hand, and what may be wrong."""

import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from fareway.body import MAX_BODY_BYTES
from fareway.cli import app
from fareway.errors import BadRequest
from fareway.logged import read_log
from fareway.prices import Price
from fareway.profile import EXAMPLES, FAULTS, Profiler
from fareway.profile_sheets import profile_page, profile_sheets
from tests.builders import a_policy, a_verdict

#: USD per million tokens, round, so that the sums can be done by hand.
RATES = {
    "deepseek-v4-flash": (1, 2),
    "claude-haiku-4-5": (2, 4),
    "gpt-5": (10, 20),
    "claude-sonnet-5-5": (10, 30),
}
ASKED = [{"role": "user", "content": "Where is my parcel?"}]
SAID = [{"message": {"content": "In Oslo."}}]
USED = {"prompt_tokens": 12, "completion_tokens": 34}


class Words:
    """Scores by a prompt's words, and counts them."""

    def count(self, text):
        return len(text.split())

    def score_many(self, texts, *, workers=1):
        return [a_verdict(5 if "hard" in t else 1, 0.9 if "pills" in t else 0.01) for t in texts]


@pytest.fixture
def policy():
    policy = a_policy()
    prices = {name: Price(Decimal(i), Decimal(o)) for name, (i, o) in RATES.items()}
    return replace(policy, prices=policy.prices.with_overrides(prices))


@pytest.fixture
def profiled(policy):
    def profiled(*entries, **options):
        lines = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
        profiler = Profiler(policy, Words(), **options)
        for row in read_log(io.BytesIO(lines), "log.jsonl"):
            profiler.add([row])
        return profiler.profile()

    return profiled


def read(content, name="log.jsonl"):
    data = content if isinstance(content, bytes) else content.encode()
    return list(read_log(io.BytesIO(data), name))


def row(content, name="log.jsonl"):
    (one,) = read(content, name)
    return one


def usage(one):
    return one.usage and (one.usage.prompt_tokens, one.usage.completion_tokens)


@pytest.mark.parametrize(
    ("entry", "fields", "tokens", "answer"),
    [
        ({"model": "gpt-5", "messages": ASKED}, ("messages",), None, ""),
        (
            {"request": {"messages": ASKED}, "response": {"usage": USED}},
            ("request.messages", "response.usage"),
            (12, 34),
            "",
        ),
        (
            {"request": {"messages": ASKED}, "response": {"choices": SAID}},
            ("request.messages", "response.choices"),
            None,
            "In Oslo.",
        ),
        (
            {"custom_id": "a", "url": "/v1/chat/completions", "body": {"messages": ASKED}},
            ("body.messages",),
            None,
            "",
        ),
        (
            {"request": {"body": {"messages": ASKED}}, "response": {"body": {"usage": USED}}},
            ("request.body.messages", "response.body.usage"),
            (12, 34),
            "",
        ),
        (
            {"body": {"input": "Where is my parcel?", "model": "gpt-5"}, "url": "/v1/responses"},
            ("body.input",),
            None,
            "",
        ),
        ({"text": "Where is my parcel?", "usage": USED}, ("text", "usage"), (12, 34), ""),
        (
            {"prompt": "Where is my parcel?", "completion": "In Oslo."},
            ("prompt", "completion"),
            None,
            "In Oslo.",
        ),
        ({"messages": ASKED, "choices": SAID}, ("messages", "choices"), None, "In Oslo."),
        (
            {"messages": ASKED, "completion": {"choices": SAID, "usage": USED}},
            ("messages", "completion.usage"),
            (12, 34),
            "",
        ),
        (
            {"input": ASKED, "output": {"role": "assistant", "content": "In Oslo."}},
            ("input", "output"),
            None,
            "In Oslo.",
        ),
        (
            {
                "input": ASKED,
                "response": {
                    "output": [{"content": [{"type": "output_text", "text": "In Oslo."}]}]
                },
            },
            ("input", "response.output"),
            None,
            "In Oslo.",
        ),
        (
            {"messages": [*ASKED, {"role": "assistant", "content": "In Oslo."}]},
            ("messages", "messages: the last one is the answer"),
            None,
            "In Oslo.",
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_the_usual_logs_are_understood(entry, fields, tokens, answer):
    one = row(json.dumps(entry))
    assert (one.fault, one.body["messages"]) == ("", ASKED)
    assert (one.fields, usage(one), one.answer) == (fields, tokens, answer)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", "Prompt,completion_tokens\nWhere is my parcel?,34\n"),
        ("log.csv", "\ufeffid;text;output_tokens\n1;Where is my parcel?;34.0\n"),
        ("LOG.TSV", "prompt\tcompletion_tokens\nWhere is my parcel?\t34\n"),
        (
            "log.csv",
            'request,response\n"{""messages"":[{""role"":""user"",""content"":""Where is my '
            'parcel?""}]}","{""usage"":{""completion_tokens"":34}}"\n',
        ),
        (
            "log.csv",
            'messages,completion_tokens\n"[{""role"":""user"",""content"":""Where is my '
            'parcel?""}]",34\n',
        ),
    ],
)
def test_a_csv_file_has_columns_of_the_same_names(name, content):
    one = row(content, name)
    assert (one.fault, one.body["messages"], usage(one)) == ("", ASKED, (0, 34))
    assert one.line == 2


def test_a_csv_of_one_column_has_semicolons_in_its_words():
    rows = read('prompt\nlist: a; b\n"c, d"\n', "log.csv")
    assert [one.body["messages"][0]["content"] for one in rows] == ["list: a; b", "c, d"]


def test_words_in_a_csv_that_are_json_stay_words():
    one = row('prompt,completion\n"[1, 2]","{""a"": 1}"\n', "log.csv")
    assert (one.fault, one.body["messages"][0]["content"]) == ("", "[1, 2]")
    assert one.answer == '{"a": 1}'


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": 5},
        {"tools": ["search"]},
        {"tools": "search, calculator"},
        {"response_format": "json"},
        {"modalities": 3},
        {"response": {"choices": 5}},
    ],
    ids=str,
)
def test_a_field_of_another_form_than_a_requests_stops_nothing(profiled, fields):
    assert profiled({"prompt": "a", **fields}, {"prompt": "b"}).requests == 2


def test_a_csv_record_may_span_lines_and_is_named_by_its_first():
    rows = read('id,prompt\n1,"a\nb\nc"\n\n2,d\n3,\n', "log.csv")
    assert [one.line for one in rows] == [2, 6, 7]
    assert rows[0].body["messages"][0]["content"] == "a\nb\nc"
    assert rows[2].fault.startswith("line 7: it has no prompt")


LONG = b'{"prompt": "' + b"x" * MAX_BODY_BYTES + b'"}\n'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{broken", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"12", "not a JSON object"),
        (b'{"prompt": "\xff"}', "not JSON"),
        (b'{"prompt": "  "}', "no prompt"),
        (b'{"prompt": ["a", "b"]}', "no prompt"),
        (b'{"messages": "hello"}', "messages"),
        (b'{"messages": [{"role": "user"}]}', "messages[0].content"),
        (b'{"custom_id": "a", "response": {"body": {}}}', "batch's output"),
        (b'{"url": "/v1/embeddings", "body": {"input": "a"}}', "embeddings"),
        (b"[" * 100_000, "not JSON"),
        (LONG.rstrip(), "bytes"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_broken_line_is_named_and_the_next_is_read(line, why):
    first, broken, last = read(b'{"prompt": "a"}\n' + line + b'\n{"prompt": "b"}\n')
    assert broken.fault.startswith("line 2: ")
    assert why in broken.fault
    assert (first.fault, last.fault, last.line) == ("", "", 3)


def test_a_broken_csv_row_is_named_and_the_next_is_read():
    rows = read(b'prompt,id\na,1\nb,2,3\n"c"d,4\n' + LONG + b"e,5\n\xff,6\n", "log.csv")
    assert [(one.line, bool(one.fault)) for one in rows] == [
        (2, False), (3, True), (4, True), (5, True), (6, False), (7, False)
    ]  # fmt: skip
    assert "it has 3 cells, the header 2" in rows[1].fault


def test_a_quote_that_is_never_closed_is_one_fault():
    rows = read('prompt\na\n"b\nc\n', "log.csv")
    assert [(one.line, bool(one.fault)) for one in rows] == [(2, False), (3, True)]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("log.jsonl", b" \n\n", "is empty"),
        ("log.csv", b"", "is empty"),
        ("log.csv", b"id,question\n1,a\n", "it has id, question"),
        ("log.csv", b"prompt,id\ra,1\r", "is not CSV"),
        ("log.txt", b"hello\n", "neither"),
        ("log.json", b'[{"prompt": "a"}]', "jq -c"),
        ("log.jsonl.gz", b"\x1f\x8b\x08", "unpack"),
        ("log.csv", "prompt\na\n".encode("utf-16"), "no text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_to_mend(name, content, why):
    with pytest.raises(BadRequest, match=why):
        read(content, name)


def test_costs_and_savings_are_those_worked_out_by_hand(profiled):
    """Of the first, 1,000 and 500 tokens: 0.002 at cheap, 0.004 at mid, 0.02 at premium. Of the
    second, 100 and 100: 0.0003, 0.0006, 0.003. The third has 100 and no known length: at Sonnet
    0.001 + 0.024, at GPT-5 0.001 + 0.016; half and twice of what follows the plus for short and
    long ones.
    """
    found = profiled(
        {"prompt": "a", "prompt_tokens": 1000, "completion_tokens": 500},
        {"prompt": "hard", "prompt_tokens": 100, "completion_tokens": 100},
        {"prompt": "pills", "prompt_tokens": 100},
    )
    assert (found.requests, found.sensitive, found.faulty) == (3, 1, 0)
    assert {way: (of.requests, of.nano_usd) for way, of in found.ways.items()} == {
        ("cheap", "standard", "deepseek-v4-flash"): (1, 2_000_000),
        ("premium", "sensitive", "claude-sonnet-5.5"): (1, 25_000_000),
        ("premium", "standard", "gpt-5"): (1, 3_000_000),
    }
    usd = {one.name: (one.usd.low, one.usd.value, one.usd.high) for one in found.sets}
    assert usd["the policy's tiers"] == pytest.approx((0.018, 0.030, 0.054))
    assert usd["all-premium"] == pytest.approx((0.032, 0.040, 0.056))
    assert usd["all-mid"][1] == pytest.approx(0.004 + 0.0006 + 0.0002 + 0.0032)
    assert usd["all-cheap"][1] == pytest.approx(0.002 + 0.0003 + 0.0001 + 0.0016)
    saving = found.sets[0].saving
    assert saving.value == pytest.approx(0.25)
    assert saving.low <= 1 - 54 / 56
    assert saving.high >= 1 - 18 / 32
    assert found.lengths == {"logged": 2, "assumed": 1}


def test_an_answers_text_is_counted_and_cached_tokens_are_cheaper(profiled, policy):
    price = replace(policy.prices.overrides["gpt-5"], cached=Decimal(1))
    policy.prices.overrides["gpt-5"] = price
    counted = profiled({"prompt": "one two", "completion": "three four five"})
    assert counted.sets[1].usd.value == pytest.approx((2 * 10 + 3 * 20) / 1e6)
    assert counted.lengths == {"counted": 1}
    used = USED | {"prompt_tokens_details": {"cached_tokens": 10}}
    cached = profiled({"prompt": "a", "usage": used})
    assert cached.sets[1].usd.value == pytest.approx((2 * 10 + 10 * 1 + 34 * 20) / 1e6)


def test_an_assumed_answer_is_no_longer_than_its_limit(profiled):
    found = profiled({"messages": ASKED, "max_tokens": 500, "n": 2, "prompt_tokens": 100})
    assert found.sets[1].usd.low == pytest.approx((100 * 10 + 800 * 20) / 1e6)
    assert found.sets[1].usd.value == pytest.approx((100 * 10 + 1000 * 20) / 1e6)
    assert found.sets[1].usd.high == found.sets[1].usd.value


def test_a_csv_files_limit_on_answers_counts_too(policy):
    profiler = Profiler(policy, Words())
    profiler.add(read("prompt,prompt_tokens,max_tokens,n\na,100,500,2\n", "log.csv"))
    usd = profiler.profile().sets[1].usd
    assert usd.value == usd.high == pytest.approx((100 * 10 + 1000 * 20) / 1e6)


def test_resampling_the_rows_tells_how_sure_the_saving_is(profiled):
    """Many rows alike leave no doubt; few that differ, much."""
    easy = {"prompt": "a", "prompt_tokens": 1000, "completion_tokens": 500}
    hard = easy | {"prompt": "hard"}
    sure = profiled(*[easy] * 20).sets[0].saving
    assert sure.low == pytest.approx(sure.high) == pytest.approx(0.9)
    few, many = (profiled(*[easy, hard] * n).sets[0].saving for n in (4, 100))
    assert few.value == many.value == pytest.approx(0.45)
    assert few.high - few.low > 3 * (many.high - many.low) > 0


def test_one_row_saves_what_it_saves(profiled):
    saving = (
        profiled({"prompt": "a", "prompt_tokens": 1000, "completion_tokens": 500}).sets[0].saving
    )
    assert (saving.low, saving.value, saving.high) == pytest.approx((0.9, 0.9, 0.9))


def test_a_prompt_that_no_model_can_take_is_a_fault_of_its_line(profiled):
    speech = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]
    found = profiled({"prompt": "a"}, {"messages": speech})
    assert (found.requests, found.faulty) == (1, 1)
    assert found.faults[0].startswith("line 2: No model")


def test_only_the_first_faults_are_told_and_all_are_counted(profiled):
    found = profiled({"prompt": "a"}, *[{}] * (FAULTS + 5))
    assert (found.faulty, len(found.faults)) == (FAULTS + 5, FAULTS)


def test_examples_are_short_different_and_free_of_escapes(profiled):
    prompts = [f"prompt {n} \x1b[31m" + "word " * 100 for n in range(9)]
    found = profiled(*[{"prompt": prompt} for prompt in prompts * 2])
    examples = found.examples["cheap"]
    assert len(set(examples)) == len(examples) == EXAMPLES
    assert all(len(text) < 110 and "\x1b" not in text for text in examples)
    assert profiled({"prompt": "secret"}, examples=False).examples == {}


def test_the_page_shows_a_prompt_as_text(profiled, policy):
    found = profiled({"prompt": "<script>alert(1)</script>", "completion_tokens": 9})
    page = profile_page("log.jsonl", found, profile_sheets(found, policy, 1.0))
    assert "&lt;script&gt;alert" in page
    assert "<script" not in page
    assert page.count("<svg") == 2


@pytest.fixture
def run(tmp_path):
    def run(content, *options, name="log.jsonl"):
        file = tmp_path / name
        file.write_text(content, encoding="utf-8")
        return CliRunner().invoke(app, ["profile", str(file), *map(str, options)])

    return run


def test_the_command_shows_tables_and_writes_the_page(run, tmp_path):
    entries = [{"messages": ASKED, "completion_tokens": 50}, {"prompt": "Where is my hat?"}]
    html = tmp_path / "profile.html"
    done = run("\n".join([*map(json.dumps, entries), "{broken"]), "--html", html)
    assert done.exit_code == 0, done.output
    for words in ("all-premium", "line 3", "completion_tokens", "Where is my parcel?", "1 assumed"):
        assert words in done.stdout
        assert words in html.read_text(encoding="utf-8")


def test_no_examples_shows_no_prompt(run, tmp_path):
    html = tmp_path / "profile.html"
    done = run(json.dumps({"messages": ASKED}), "--no-examples", "--html", html)
    assert "parcel" not in done.stdout + html.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["", "{}\n{broken\n"])
def test_a_file_without_a_prompt_ends_with_a_clear_word(run, content):
    done = run(content)
    assert done.exit_code == 1
    assert "is empty" in done.stderr or "none of 2 rows could be read" in " ".join(
        done.stderr.split()
    )
