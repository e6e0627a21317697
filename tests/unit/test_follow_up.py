"""Whether the last turn complains of the answer before it: what is said, and how often rightly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fareway.follow_up import follow_up
from models.evaluation.follow_ups import HELD_OUT, STRANGER, score, trained, written

QUESTION = "What is the capital of Australia?"
ANSWER = "The capital of Australia is Sydney."


def told(*turns: Any) -> str | None:
    """What is said of turns that are the user's and the assistant's by turns."""
    roles = ("user", "assistant")
    return follow_up([{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)])


@pytest.mark.parametrize(
    "turn",
    [
        "That's wrong.",
        "thats not right, its canberra",
        "Are you sure?",
        "I don't understand",
        "what do you mean?",
        "You didn't answer my question",
        "that's not what i asked",
        "doesnt work",
        "try again",
        "isn't it Canberra?",
        "???",
        "THE CAPITAL",
        "Das stimmt nicht, es ist Canberra.",
        "ich versteh das nicht",
        "Ce n'est pas ce que j'ai demandé",
        "c'est faux",
        "Eso no es correcto",
        "¿estás seguro?",
        "non ho capito",
        "não foi isso que eu perguntei",
        "dat klopt niet",
        "nie o to pytałem",
        "Это неправильно",
        "yanlış, Canberra",
        "不对，是堪培拉",
        "你确定吗？",
        "違います。キャンベラです。",
        "틀렸어요. 캔버라예요",
        "هذا خطأ",
        "यह गलत है",
    ],
)
def test_who_says_that_the_answer_failed_complains(turn: str) -> None:
    assert told(QUESTION, ANSWER, turn) == "complaint"


@pytest.mark.parametrize(
    "turn",
    [
        *("Thanks!", "perfect", "that worked", "danke dir", "merci beaucoup", "funciona, gracias"),
        *("grazie mille", "спасибо", "谢谢", "ありがとうございます", "고마워요", "شكرا جزيلا"),
    ],
)
def test_thanks_and_praise_are_satisfied(turn: str) -> None:
    assert told(QUESTION, ANSWER, turn) == "satisfied"


@pytest.mark.parametrize(
    "turn",
    [
        "And of Peru?",
        "now translate it into French",
        "make it shorter",
        "what's wrong with my car?",
        "My boss says that my reports are wrong and incomplete. How do I answer him?",
        'Summarise this mail: "It does not work, your answer was useless. That is wrong!"',
        "no problem",
        "make sure that nothing goes wrong",
        "und von Peru?",
        "jetzt bitte auf Englisch",
        "et celle du Pérou ?",
        "¿y la de Perú?",
        "那秘鲁呢？",
        "ペルーは？",
    ],
)
def test_what_goes_on_from_the_answer_is_neutral(turn: str) -> None:
    assert told(QUESTION, ANSWER, turn) == "neutral"


@pytest.mark.parametrize("turn", ["no", "No, the blue one", "it doesn't work", "wrong, try again!"])
def test_what_answers_the_assistants_own_question_is_neutral(turn: str) -> None:
    assert told("I'd like a lamp", "Which one: is it the red one?", turn) == "neutral"


def test_open_blame_counts_after_a_question_too() -> None:
    assert told("Cancel it", "Shall I upgrade you?", "that's not what I asked") == "complaint"


def test_a_closing_courtesy_is_no_question() -> None:
    answer = "Restart it. Is there anything else I can do?"
    assert told("My printer is stuck", answer, "that didn't work") == "complaint"


def test_thanks_that_are_taken_back_complain() -> None:
    assert told("A keto recipe", "Boil pasta.", "thanks, but pasta isn't keto") == "complaint"


def test_asking_again_complains_and_asking_on_does_not() -> None:
    asked = "When does the last ferry leave Holyhead on Sundays?"
    answer = "Ferries take about three hours."
    assert told(asked, answer, "So when does the last ferry leave on Sunday?") == "complaint"
    assert told(asked, answer, "So when does the first train leave on Monday?") == "neutral"


def test_an_error_after_code_complains_and_elsewhere_does_not() -> None:
    error = "TypeError: 'int' object is not callable"
    assert told("sum a list", "`sum(items)()`", error) == "complaint"
    assert told("Hello", "Hello there.", error) == "neutral"


def test_setting_right_with_words_of_question_and_answer_complains() -> None:
    asked, answer = "a packing list for skiing", "Sunscreen, swimsuit, beach towel."
    assert told(asked, answer, "skiing, not the beach") == "complaint"


def test_where_no_answer_came_before_there_is_nothing_to_say() -> None:
    assert follow_up([]) is None
    assert told("that's wrong") is None
    assert told(QUESTION, ANSWER) is None
    assert told(QUESTION, "", "that's wrong") is None
    called: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert follow_up([{"role": "user", "content": "that's wrong"}, called]) is None
    tool = {"role": "tool", "content": "that's wrong", "tool_call_id": "1"}
    assert follow_up([{"role": "user", "content": QUESTION}, called, tool]) is None


def test_parts_are_read_as_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
    assert told([image], ANSWER, [image, {"type": "text", "text": "That's wrong."}]) == "complaint"


@pytest.mark.parametrize("unit", ["that is wrong ", "`", '" ', "a. ", "不对", "that ", "\n", "?"])
def test_a_megabyte_is_read_at_its_ends_alone(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    assert told(text, f"{text} {ANSWER} {ANSWER}", "That's wrong.") == "complaint"
    assert told(QUESTION, ANSWER, text) in ("complaint", "neutral")
    assert told(QUESTION, ANSWER, f"You didn't answer my question: {text}") == "complaint"


messages = st.lists(
    st.one_of(
        st.none(),
        st.integers(),
        st.fixed_dictionaries(
            {},
            optional={
                "role": st.sampled_from(["user", "assistant", "system", "tool", None, 3]),
                "content": st.one_of(
                    st.none(),
                    st.integers(),
                    st.text(),
                    st.sampled_from(["That's wrong", "¿seguro?", "不对", "```", '"', "no, but"]),
                    st.lists(
                        st.one_of(
                            st.none(),
                            st.text(),
                            st.fixed_dictionaries(
                                {}, optional={"text": st.one_of(st.text(), st.none())}
                            ),
                        )
                    ),
                ),
            },
        ),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(messages)
def test_nothing_breaks_it(turns: list[Any]) -> None:
    assert follow_up(turns) in ("complaint", "satisfied", "neutral", None)


def test_on_conversations_that_were_held_out() -> None:
    """docs/evaluation/follow_ups.md: precision .88 and recall .47 of 206 complaints."""
    found = score([c for c in trained() if c.half == HELD_OUT])
    assert found.precision >= 0.86
    assert found.recall >= 0.45


def test_on_conversations_in_fifteen_languages() -> None:
    """docs/evaluation/follow_ups.md: precision 1.00, recall .99, tuned on."""
    conversations = written()
    assert score(conversations).precision >= 0.97
    for language in {c.language for c in conversations}:
        assert score([c for c in conversations if c.language == language]).recall >= 0.9, language


def test_on_hard_conversations_of_a_stranger() -> None:
    """docs/evaluation/follow_ups.md: precision .71, recall .35 of 105 complaints."""
    found = score(written(STRANGER))
    assert found.precision >= 0.68
    assert found.recall >= 0.32
