"""`fareway label` as a user runs it, and its labeller without pauses, against an LLM over HTTP."""

from __future__ import annotations

import asyncio
import csv
import json
from contextlib import aclosing

import pytest
from fastapi.responses import JSONResponse
from typer.testing import CliRunner

from fareway.breaker import Breakers
from fareway.cli import app
from fareway.errors import TeacherDown
from fareway.label import HOPELESS, TRIES, Labeller, Tally
from fareway.providers.aggregator import Aggregator
from fareway.providers.http import Http
from fareway.rows import jsonl_rows
from fareway.teacher import Teacher
from tests.builders import a_policy

GRADES = {"Hello": "1", "Explain DNS": "3", "Prove it": "5"}


def grade(prompt):
    return next((g for words, g in GRADES.items() if words in prompt), "3")


@pytest.fixture
def run(llm):
    llm.say = grade

    def run(*arguments, model="gpt-4o-mini"):
        teacher = ("--base-url", llm.url, "--model", model)
        return CliRunner().invoke(app, ["label", *map(str, arguments), *teacher])

    return run


@pytest.fixture
def traffic(tmp_path):
    def write(*lines):
        file = tmp_path / "traffic.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return file

    return write


@pytest.fixture
def out(tmp_path):
    return tmp_path / "labels.jsonl"


def rows(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def by_id(file):
    return {row["id"]: row.get("complexity", row.get("error")) for row in rows(file)}


def test_each_prompt_gets_its_complexity_and_keeps_its_words(run, traffic, out):
    asked = [{"role": "user", "content": "Prove it"}]
    lines = [{"id": "a", "text": "Hello", "sensitive": False}, {"messages": asked}]
    result = run(traffic(*lines), "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(rows(out), key=str) == sorted(
        [
            {"id": "a", "text": "Hello", "sensitive": False, "complexity": 1},
            {"id": 2, "messages": asked, "complexity": 5},
        ],
        key=str,
    )


def test_a_csv_may_hold_the_prompts(run, tmp_path, out):
    file = tmp_path / "traffic.csv"
    with file.open("w", encoding="utf-8-sig", newline="") as target:
        csv.writer(target).writerows(
            [
                ["id", "Prompt", "kind"],
                ["p1", 'Hello,\n"you"', "x"],
                ["p2", "", "x"],
                ["p3", "Hé" * 99_999, "x"],
            ]
        )
    result = run(file, "--out", out)
    assert by_id(out) == {"p1": 1, "p2": "line 4: its 'Prompt' is empty", "p3": 3}
    assert rows(out)[0].get("kind") is None
    assert result.exit_code == 1


def test_without_out_the_rows_are_printed(run, traffic):
    result = run(traffic({"id": 1, "text": "Hello"}))
    assert json.loads(result.stdout) == {"id": 1, "text": "Hello", "complexity": 1}


def test_what_is_labelled_is_not_asked_again_and_what_failed_is(run, traffic, out, llm):
    file = traffic(*({"id": n, "text": f"Hello {n}"} for n in range(4)))
    llm.say = lambda prompt: "no idea" if prompt in ("Hello 1", "Hello 2") else "1"
    assert run(file, "--out", out).exit_code == 1
    assert by_id(out) == {0: 1, 1: "bad_answer", 2: "bad_answer", 3: 1}
    with out.open("a") as torn:
        torn.write('{"id": 9, "te')
    llm.reset(lambda _: "2")
    result = run(file, "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(llm.prompts) == ["Hello 1", "Hello 2"]
    assert by_id(out) == {0: 1, 1: 2, 2: 2, 3: 1}
    assert "2 were there before" in result.stderr


def test_a_prompt_that_was_changed_is_asked_again(run, traffic, out, llm):
    run(traffic({"id": 1, "text": "Hello"}), "--out", out)
    run(traffic({"id": 1, "text": "Explain DNS"}), "--out", out)
    assert llm.prompts == ["Hello", "Explain DNS"]


def test_bad_lines_are_named_and_gone_on_from(run, traffic, out):
    result = run(traffic("{broken", {"id": 2, "text": "Hello"}, {"id": 3}), "--out", out)
    assert result.exit_code == 1
    assert by_id(out)[2] == 1
    for line in ("line 1: ", "line 3: it has neither"):
        assert line in result.stderr


def test_the_tokens_and_their_cost_are_told(run, traffic, out, llm):
    llm.usage = {"prompt_tokens": 300, "completion_tokens": 2, "cost": 0.00006}
    result = run(traffic(*({"text": f"Hello {n}"} for n in range(10))), "--out", out)
    assert "3000 prompt and 20 completion tokens, 0.0006" in result.stderr
    assert "about" not in result.stderr


def test_a_price_from_the_list_is_an_estimate_and_an_unknown_one_is_none(run, traffic):
    file = traffic({"text": "Hello"})
    assert ", about 0.000031200 USD" in run(file).stderr
    assert ", no price is known" in run(file, model="own/model").stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["label", "nowhere.jsonl"], "does not exist"),
        (["label", __file__], "name a model"),
        (["label", __file__, "--base-url", "localhost:1/v1", "--model", "m"], "base_url"),
        (["label", __file__, "--out", __file__], "--out is the file that is read"),
    ],
    ids=["no file", "no endpoint", "a bad endpoint", "the input as output"],
)
def test_what_is_missing_is_named(arguments, says):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert says in " ".join(result.stderr.split())


def test_a_csv_without_prompts_is_refused_by_its_columns(run, tmp_path):
    file = tmp_path / "traffic.csv"
    file.write_text("a,b\n1,2\n")
    result = run(file)
    assert result.exit_code == 1
    assert "no column is called text or prompt; it has a, b" in " ".join(result.stderr.split())


@pytest.mark.parametrize("content", ['{"a": 1}\n', "notes\n", '{"id": 1}', "\x00\n"])
def test_a_file_that_is_no_output_of_label_is_left_alone(run, traffic, out, content):
    out.write_text(content)
    result = run(traffic({"text": "Hello"}), "--out", out)
    assert result.exit_code == 1
    assert "not a row of `fareway label`" in " ".join(result.stderr.split())
    assert out.read_text() == content


def test_a_refused_key_ends_it_at_once_with_what_was_done(run, traffic, out, llm):
    file = traffic(*({"id": n, "text": f"Hello {n}"} for n in range(50)))
    llm.say = lambda _: "1" if len(llm.asked) <= 10 else JSONResponse({}, 401)
    result = run(file, "--out", out, "--concurrency", 2)
    assert result.exit_code == 1
    assert "status_401" in result.stderr
    assert len(llm.asked) <= 12
    assert len(rows(out)) == 10


@pytest.fixture
async def labeller(llm):
    """The labeller itself, whose pauses take no time."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    async with aclosing(Http()) as http:
        endpoint = Aggregator("teacher", llm.url, "k", http, {})
        teacher = Teacher(endpoint, "mistral-7b", 1.0, Breakers(3, 10))
        labeller = Labeller(teacher, a_policy(), Tally(), sleep=sleep, jitter=lambda: 1.0)
        yield labeller, slept


def lines(count):
    return jsonl_rows(json.dumps({"id": n, "text": f"Hello {n}"}).encode() for n in range(count))


async def test_a_failure_of_the_moment_is_tried_again_when_it_is_time(llm, labeller):
    busy = JSONResponse({}, 429, headers={"retry-after": "7"})
    llm.say = lambda _: busy if len(llm.asked) < 3 else "4"
    kept = []
    await labeller[0].label(lines(1), 1, kept.append)
    assert kept == [{"id": 0, "text": "Hello 0", "complexity": 4}]
    assert labeller[1] == [7.0, 7.0]


async def test_a_row_is_given_up_after_its_tries(llm, labeller):
    llm.say = lambda prompt: "2" if prompt == "Hello 1" else JSONResponse({}, 500)
    kept = []
    await labeller[0].label(lines(2), 1, kept.append)
    assert [row.get("error") for row in kept] == ["status_500", None]
    assert len(llm.asked) == TRIES + 1


async def test_a_teacher_that_never_gives_an_integer_is_not_asked_for_ever(llm, labeller):
    llm.say = lambda _: "It depends."
    kept = []
    with pytest.raises(TeacherDown, match="bad_answer"):
        await labeller[0].label(lines(500), 1, kept.append)
    assert len(llm.asked) == HOPELESS
    assert labeller[0].tally.prompt_tokens == 200 * HOPELESS


async def test_many_prompts_that_it_will_not_grade_do_not_end_the_run(llm, labeller):
    llm.say = lambda prompt: "1" if prompt in ("Hello 0", "Hello 49") else "I cannot."
    kept = []
    await labeller[0].label(lines(50), 1, kept.append)
    assert [row["id"] for row in kept if "complexity" in row] == [0, 49]


async def test_several_are_asked_at_a_time(llm, labeller):
    """Each answer waits until four are asked for: one at a time would never end."""
    four = asyncio.Barrier(4)

    async def say(_):
        await four.wait()
        return "1"

    llm.say = say
    async with asyncio.timeout(10):
        await labeller[0].label(lines(8), 4, lambda row: None)
    assert labeller[0].tally.labelled == 8
