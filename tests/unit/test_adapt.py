"""What each model takes of a request: names and hints change at the call, meaning never does."""

from __future__ import annotations

import copy
from typing import Any, get_args

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.shared import ReasoningEffort

from fareway.adapt import adapt, told
from fareway.asks import Bounds, Needs
from fareway.decide import Decision, decide
from fareway.errors import ConfigError
from fareway.model_table import EFFORTS, Effort, Hint, ModelTable
from fareway.policy import load_policy
from tests.builders import POLICY_FILE, a_chat, a_policy, a_verdict

POLICY = a_policy()


def sent_to(model: str, **fields: Any) -> tuple[dict[str, Any], str | None]:
    """What goes out to one of the policy's models, messages aside; and what the caller is told."""
    body, changes = adapt(a_chat(**fields), POLICY.models[model])
    left = {k: v for k, v in body.items() if k not in ("model", "messages")}
    return left, told(changes)


@pytest.mark.parametrize(
    ("model", "given", "sent", "says"),
    [
        (
            "gpt-5",
            {"max_tokens": 9},
            {"max_completion_tokens": 9},
            "max_tokens renamed to max_comp",
        ),
        ("gpt-5", {"max_completion_tokens": 9}, {"max_completion_tokens": 9}, None),
        (
            "deepseek-v4-flash",
            {"max_completion_tokens": 9},
            {"max_tokens": 9},
            "max_completion_tokens renamed to max_tokens",
        ),
        ("gpt-4o-mini", {"max_tokens": 9}, {"max_tokens": 9}, None),
        (
            "gpt-5",
            {"max_tokens": 8, "max_completion_tokens": 9},
            {"max_completion_tokens": 9},
            "max_tokens dropped",
        ),
        ("gpt-5", {"max_tokens": None}, {"max_tokens": None}, None),
        (
            "gpt-4o-mini",
            {"max_tokens": 99_999},
            {"max_tokens": 16_384},
            "max_tokens lowered to 16384",
        ),
        ("gpt-5", {"temperature": 0, "top_p": 0.1}, {}, "temperature dropped; top_p dropped"),
        (
            "claude-haiku-4.5",
            {"temperature": 1.5},
            {"temperature": 1.0},
            "temperature lowered to 1",
        ),
        ("claude-haiku-4.5", {"temperature": 0.2}, {"temperature": 0.2}, None),
        (
            "claude-haiku-4.5",
            {"top_p": 0.9, "temperature": 0.2},
            {"temperature": 0.2},
            "top_p dropped",
        ),
        ("claude-haiku-4.5", {"top_p": 0.9}, {"top_p": 0.9}, None),
        ("claude-sonnet-5.5", {"seed": 7}, {}, "seed dropped"),
        ("gpt-4o-mini", {"reasoning_effort": "low"}, {}, "reasoning_effort dropped"),
        (
            "gpt-5",
            {"reasoning_effort": "xhigh"},
            {"reasoning_effort": "high"},
            "reasoning_effort xhigh became high",
        ),
        (
            "gemini-2.5-flash-lite",
            {"reasoning_effort": "minimal"},
            {"reasoning_effort": "low"},
            "reasoning_effort minimal became low",
        ),
        ("gpt-5", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}, None),
        ("gpt-5", {"reasoning_effort": "turbo"}, {"reasoning_effort": "turbo"}, None),
        ("deepseek-v4-flash", {"vendor": {"deep": [1]}}, {"vendor": {"deep": [1]}}, None),
        (
            "deepseek-v4-flash",
            {"models": ["openai/gpt-5"], "route": "fallback"},
            {},
            "models dropped; route dropped",
        ),
    ],
)
def test_a_model_gets_what_it_takes_and_the_caller_is_told(
    model: str, given: dict[str, Any], sent: dict[str, Any], says: str | None
) -> None:
    left, header = sent_to(model, **given)
    assert left == sent
    assert header == says or (header or "").startswith(says or "nothing is told")


def test_the_developer_is_the_system_where_that_role_is_unknown() -> None:
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    body, changes = adapt(a_chat(messages=messages), POLICY.models["qwen3.8-flash"])
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert told(changes) == "role developer became system"
    body, changes = adapt(a_chat(messages=messages), POLICY.models["gpt-5"])
    assert (body["messages"], changes) == (messages, ())


def test_the_callers_own_body_is_never_changed() -> None:
    """The next candidate is adapted from it anew."""
    body = a_chat(
        messages=[{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}],
        max_tokens=999_999,
        temperature=2.0,
        top_p=0.5,
        seed=1,
        reasoning_effort="none",
    )
    before = copy.deepcopy(body)
    for model in POLICY.models.values():
        adapt(body, model)
    assert body == before


def test_a_model_that_the_request_named_itself_gets_the_body_as_it_came() -> None:
    body = a_chat(max_tokens=10**9, temperature=2.0)
    assert adapt(body, None) == (body, ())


def test_the_words_of_the_table_are_the_sdks() -> None:
    known = set(CompletionCreateParamsBase.__annotations__)
    assert set(get_args(Hint)) - {"developer"} <= known
    assert set(EFFORTS) == set(get_args(get_args(ReasoningEffort)[0]))


def test_what_changes_the_meaning_cannot_be_put_among_the_hints(tmp_path: Any) -> None:
    text = POLICY_FILE.read_text(encoding="utf-8").replace('rejects = ["seed"', 'rejects = ["stop"')
    file = tmp_path / "policy.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"deepseek-v4-flash\.rejects"):
        load_policy(file)


@pytest.mark.parametrize("asked", EFFORTS)
@pytest.mark.parametrize("known", [["minimal", "high"], ["max"], ["none", "low"]])
def test_an_effort_becomes_one_that_the_model_knows(asked: str, known: list[Effort]) -> None:
    table = ModelTable(context=1, ids={"a": "m"}, efforts=known)
    body, _ = adapt(a_chat(reasoning_effort=asked), table)
    assert body["reasoning_effort"] in known


# What passes a model over.

TOOL = {"type": "function", "function": {"name": "f"}}


def decided(complexity: int = 1, sensitivity: float = 0.01, **fields: Any) -> Decision:
    body = a_chat(**fields)
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    needs = Needs.of(body, limit, fields.get("n") or 1)
    verdict = a_verdict(complexity, sensitivity)
    return decide(POLICY, ("tokenmix", "openrouter"), verdict, Bounds(), needs)


@pytest.mark.parametrize(
    ("asked", "capability"),
    [
        ({"n": 2}, "n>1"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"stop": ["\n"]}, "stop"),
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": TOOL}, "tool_choice"),
        ({"tools": [TOOL], "parallel_tool_calls": False}, "single_tool_call"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "custom_tools"),
        ({"functions": [{"name": "f"}]}, "tools"),
        (
            {
                "messages": [
                    {"role": "user", "content": "Weather?"},
                    {"role": "assistant", "tool_calls": [{"id": "1"}]},
                    {"role": "tool", "tool_call_id": "1", "content": "4"},
                ]
            },
            "tools",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "Name it."},
                    {"role": "assistant", "content": "{"},
                ]
            },
            "prefill",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
            "files",
        ),
    ],
)
def test_a_model_that_cannot_is_passed_over_with_the_reason(
    asked: dict[str, Any], capability: str
) -> None:
    for complexity in (1, 3, 5):
        decision = decided(complexity, **asked)
        assert all(capability in POLICY.models[c.model].can for c in decision.candidates)
    reason = decided(1, **asked).reason
    for model in POLICY.tiers["cheap"].models:
        passed_over = f"{model} ruled out: cannot do" in reason
        assert passed_over == (capability not in POLICY.models[model].can)


def test_permission_for_parallel_calls_is_no_demand() -> None:
    assert decided(tools=[TOOL], parallel_tool_calls=True).candidates[0].model == (
        "deepseek-v4-flash"
    )
    left, header = sent_to("gemini-2.5-flash-lite", tools=[TOOL], parallel_tool_calls=True)
    assert (left, header) == ({"tools": [TOOL]}, "parallel_tool_calls dropped")


def test_a_forced_tool_takes_a_sensitive_prompt_to_the_claude_that_can() -> None:
    decision = decided(1, 0.97, tools=[TOOL], tool_choice="required")
    assert decision.candidates[0].model == "claude-sonnet-4.5"
    assert "claude-sonnet-5.5 ruled out: cannot do tool_choice" in decision.reason


def test_what_no_claude_can_do_is_told_and_not_dropped() -> None:
    decision = decided(1, 0.97, logprobs=True)
    assert decision.candidates[0].model == "gpt-4o"
    assert "claude-sonnet-4.5 ruled out: cannot do logprobs" in decision.reason


def test_a_limit_over_what_a_model_gives_passes_it_over_while_another_can() -> None:
    decision = decided(1, max_tokens=200_000)
    assert "gemini-2.5-flash-lite" not in {c.model for c in decision.candidates}
    assert "gemini-2.5-flash-lite ruled out: its completions end at 65535 tokens" in decision.reason


def test_a_limit_over_what_the_tier_gives_does_not_climb() -> None:
    """It is lowered at the call: a limit is not the length of the answer."""
    decision = decided(3, max_completion_tokens=1_000_000)
    assert decision.tier == "mid"
    left, header = sent_to("claude-haiku-4.5", max_completion_tokens=1_000_000)
    assert left == {"max_completion_tokens": 64_000}
    assert header == "max_completion_tokens lowered to 64000"


def test_the_header_is_left_out_where_nothing_changed() -> None:
    assert told(()) is None
