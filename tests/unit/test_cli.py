import json

import pytest
from typer.testing import CliRunner

from fareway.cli import app

COLUMNS = {"id", "complexity", "p1", "p2", "p3", "p4", "p5", "sensitivity", "tier"}


@pytest.fixture
def run():
    def run(*arguments):
        return CliRunner().invoke(app, list(arguments))

    return run


@pytest.fixture
def jsonl(tmp_path):
    def write(*lines):
        file = tmp_path / "in.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return str(file)

    return write


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_file_is_scored_row_by_row_in_its_order(run, jsonl, tmp_path):
    source = jsonl(
        {"id": "a", "text": "Where is my order?"},
        {"id": 2, "messages": [{"role": "user", "content": "Hello"}]},
        "",
        {"id": "c", "text": "long " * 3000},
    )
    out = tmp_path / "out.jsonl"
    result = run("classify", "--jsonl", source, "--out", str(out))
    assert result.exit_code == 0
    scored = rows(out)
    assert [row["id"] for row in scored] == ["a", 2, "c"]
    for row in scored:
        assert set(row) == COLUMNS
        assert sum(row[f"p{c}"] for c in range(1, 6)) == pytest.approx(1, abs=1e-3)
        assert row["tier"] in ("cheap", "mid", "premium")


def test_route_tells_the_model_and_the_reason_too(run, jsonl, tmp_path):
    out = tmp_path / "out.jsonl"
    assert run("route", "--jsonl", jsonl({"id": 1, "text": "Hi"}), "--out", str(out)).exit_code == 0
    (row,) = rows(out)
    assert set(row) == COLUMNS | {"lane", "model", "reason"}


def test_a_line_that_breaks_is_told_and_the_rest_are_scored(run, jsonl, tmp_path):
    source = jsonl({"id": 1, "text": "Hi"}, "{broken", {"id": 3}, {"id": 4, "messages": "x"}, "[]")
    out = tmp_path / "out.jsonl"
    result = run("classify", "--jsonl", source, "--out", str(out))
    assert result.exit_code == 1
    good, *bad = rows(out)
    assert set(good) == COLUMNS
    assert [row["error"].split(":")[0] for row in bad] == [f"line {n}" for n in (2, 3, 4, 5)]
    assert [row["id"] for row in bad] == [None, 3, 4, None]


def test_one_prompt_is_explained_for_a_person(run):
    result = run("route", "What is the capital of France?")
    assert result.exit_code == 0
    for word in ("complexity", "sensitivity", "tier", "because", "candidates"):
        assert word in result.stdout


def test_one_prompt_is_classified_as_json(run):
    assert set(json.loads(run("classify", "Hello").stdout)) == COLUMNS - {"id"}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("label", "TEACHER_API_KEY"),
        ("train", "fareway[train]"),
        ("train", "FAREWAY_CLASSIFIER_DIR"),
    ],
)
def test_help_says_what_a_command_needs(run, command, says):
    assert says in run(command, "--help").stdout


@pytest.mark.parametrize("arguments", [(), ("hello", "--jsonl", __file__)])
def test_neither_or_both_inputs_is_a_clear_error(run, arguments):
    result = run("classify", *arguments)
    assert result.exit_code == 1
    assert "--jsonl" in result.stderr


def test_a_faulty_policy_names_its_faults(run, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "x"\n')
    result = run("route", "hello", "--policy", str(policy))
    assert result.exit_code == 1
    assert "baseline" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("keys", "list"), ("report",), ("replay-events",)], ids=lambda a: a[0]
)
def test_a_missing_setting_is_named(run, arguments, monkeypatch):
    for name in ("KEYS_TABLE", "ATHENA_WORKGROUP", "LEDGER_STREAM"):
        monkeypatch.delenv(f"FAREWAY_{name}", raising=False)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "FAREWAY_" in result.stderr
