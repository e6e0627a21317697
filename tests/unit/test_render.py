"""Messages -> the classifier's text: the last question leads, and nothing odd can break it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fareway.render import LAST_TURN, ROOM, render, render_prompt, shorten


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_bare_prompt_is_itself() -> None:
    assert render_prompt("What is the capital of France?") == "What is the capital of France?"
    assert render([user("What is the capital of France?")]) == "What is the capital of France?"


def test_the_last_user_turn_leads_and_its_context_follows() -> None:
    text = render(
        [
            {"role": "system", "content": "You are a tutor."},
            user("What is a prime?"),
            {"role": "assistant", "content": "A number with two divisors."},
            user("And is 91 one?"),
        ]
    )
    assert text.splitlines() == [
        "And is 91 one?",
        "System: You are a tutor.",
        "User: What is a prime?",
        "Assistant: A number with two divisors.",
    ]


def test_the_last_user_turn_leads_even_where_a_tool_spoke_last() -> None:
    text = render(
        [
            user("How warm is it in Oslo?"),
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": '{"celsius": 4}', "tool_call_id": "1"},
        ]
    )
    assert text.splitlines() == [
        "How warm is it in Oslo?",
        "Assistant: [tool call]",
        'Tool: {"celsius": 4}',
    ]


def test_a_long_question_is_not_pushed_out_by_its_context() -> None:
    question = "word " * 900 + "Summarise all of this."
    text = render([{"role": "system", "content": "s" * 5_000}, user("x" * 5_000), user(question)])
    assert text.startswith(question)
    assert len(text) - len(question) < 250


def test_of_many_turns_the_latest_are_kept_in_order() -> None:
    text = render([*(user(f"turn {i}") for i in range(50)), user("now")])
    assert text.splitlines() == ["now", *(f"User: turn {i}" for i in range(46, 50))]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, ""),
        (17, ""),
        ([], ""),
        ([{"type": "text", "text": "Who is this?"}, {"type": "image_url"}], "Who is this? [image]"),
        ([{"type": "input_audio", "input_audio": {}}], "[audio]"),
        ([{"type": "file", "file": {"file_id": "f"}}], "[file]"),
        ([{"type": "text", "text": {"value": 1}}, "stray", 3, None], ""),
        ([{"type": "unknown"}, {"type": "text", "text": "still read"}], "still read"),
    ],
    ids=["null", "number", "empty", "image", "audio", "file", "not text", "unknown part"],
)
def test_any_content_has_a_text(content: Any, expected: str) -> None:
    assert render([user(content)]) == expected


def test_an_image_alone_is_a_question() -> None:
    text = render([{"role": "system", "content": "Describe."}, user([{"type": "image_url"}])])
    assert text.splitlines() == ["[image]", "System: Describe."]


def test_parallel_calls_and_their_results_stay_behind_the_question() -> None:
    calls = [{"id": i, "function": {"name": "warmth", "arguments": "secret"}} for i in "12"]
    parts = [{"type": "text", "text": "4 C"}, {"type": "text", "text": "in the shade"}]
    text = render(
        [
            user("Oslo and Rome?"),
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": parts, "tool_call_id": "1"},
            {"role": "tool", "content": "", "tool_call_id": "2"},
            {"role": "function", "name": "f", "content": None},
            {"role": "developer", "content": "Be brief."},
        ]
    )
    assert text.splitlines() == [
        "Oslo and Rome?",
        "System: Be brief.",
        "Assistant: [tool call]",
        "Tool: 4 C in the shade",
    ]


def test_an_answer_begun_for_the_model_does_not_lead() -> None:
    text = render([user("List three."), {"role": "assistant", "content": "1. Oslo"}])
    assert text.splitlines() == ["List three.", "Assistant: 1. Oslo"]


def test_no_user_turn_leaves_the_context() -> None:
    assert render([]) == ""
    assert render([{"role": "system", "content": "Be brief."}]) == "System: Be brief."


def test_a_megabyte_is_bounded_with_its_head_and_tail() -> None:
    text = render([user("HEAD " + "x" * 1_000_000 + " TAIL")])
    assert text.startswith("HEAD")
    assert text.endswith("TAIL")
    assert len(text) <= LAST_TURN + 3


def test_shorten_keeps_what_fits() -> None:
    assert shorten("short", 5) == "short"
    assert shorten("0123456789", 4) == "01 … 89"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "text", "a"]), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "name"]), anything)
        | st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "system", "tool"]), "content": anything}
        )
    )
)
def test_it_never_raises_and_is_bounded(messages: list[dict[str, Any]]) -> None:
    assert len(render(messages)) <= LAST_TURN + ROOM + 200
