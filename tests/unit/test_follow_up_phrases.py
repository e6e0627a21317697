"""Complaints, thanks and plain turns in seventeen languages, a sentence each."""

from __future__ import annotations

import pytest

from fareway.follow_up import follow_up

ASKED = {"role": "user", "content": "How do I descale the red kettle?"}
ANSWER = {"role": "assistant", "content": "Fill it with vinegar and boil it once."}


def after(
    said: object, answer: str = ANSWER["content"], asked: str = ASKED["content"]
) -> str | None:
    return follow_up(
        [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": answer},
            {"role": "user", "content": said},
        ]
    )


@pytest.mark.parametrize(
    "said",
    [
        "That's wrong, you didn't answer my question.",
        "That’s wrong.",
        "No, that is still not what I asked.",
        "No, that is still wrong!",
        "That is wrong, you did not answer my question.",
        "What do you mean?",
        "I don't understand",
        "thanks but that didn't work",
        "huh?",
        "??",
        "Das stimmt nicht.",
        "Das habe ich nicht gefragt!",
        "Verstehe ich nicht",
        "Ce n'est pas ce que j'ai demandé",
        "tu n'as pas répondu à ma question",
        "Eso no es lo que pregunté",
        "no entiendo nada",
        "Non è quello che ho chiesto",
        "non hai risposto alla domanda",
        "Não foi isso que eu perguntei",
        "você não respondeu",
        "Dat klopt niet",
        "je hebt mijn vraag niet beantwoord",
        "To nie jest odpowiedź na moje pytanie",
        "nie rozumiem tego",
        "Это неправильно",
        "Вы не ответили на мой вопрос",
        "Det stämmer inte",
        "du svarade inte på frågan",
        "Bu yanlış",
        "soruma cevap vermedin",
        "你没有回答我的问题",
        "这不对",
        "質問に答えていません",
        "間違っています",
        "제 질문에 답하지 않았어요",
        "이해가 안 돼요",
        "هذا خطأ",
        "لم تجب على سؤالي",
        "यह गलत है",
        "समझ नहीं आया",
    ],
)
def test_complaints(said):
    assert after(said) == "complaint"


@pytest.mark.parametrize(
    "said",
    [
        "Thank you, that helps!",
        "perfect, thanks",
        "That works!",
        "not bad, thanks!",
        "Danke, das hat geklappt",
        "merci beaucoup !",
        "gracias, ya funciona",
        "Perfetto, grazie",
        "obrigado!",
        "Bedankt, het werkt",
        "dziękuję bardzo",
        "спасибо, помогло",
        "tack så mycket",
        "teşekkürler",
        "谢谢！",
        "ありがとうございます",
        "감사합니다",
        "شكرا جزيلا",
        "धन्यवाद",
    ],
)
def test_satisfied(said):
    assert after(said) == "satisfied"


@pytest.mark.parametrize(
    "said",
    [
        "What are your opening hours?",
        "And when does the shop open?",
        "Do you sell socks?",
        "Which sizes are there?",
        "Which colours do you have?",
        "Another answer.",
        "now translate it into German",
        "make it shorter",
        "and for Berlin?",
        "what's wrong with my car?",
        "and a blue kettle?",
        "no problem",
        "Why doesn't it rain in the desert?",
        "Translate: \"That's wrong, I don't understand you.\"",
        "Was ist an dem Satz falsch?",
        "et en espagnol ?",
        "¿y en Madrid?",
        "continua",
        "再短一点",
        "英語でお願いします",
        "더 짧게 해 주세요",
        "",
        "   ",
        None,
        "ok",
    ],
)
def test_neutral(said):
    assert after(said) == "neutral"


def test_a_no_to_the_answers_own_question_is_an_answer():
    for said in ("no, the blue one", "No, it's the kettle", "nope", "it doesn't work"):
        assert after(said, answer="Is it the red kettle?") == "neutral"
    assert after("nope", answer="It is the red kettle.") == "complaint"
    assert after("You didn't answer my question.", answer="Anything else?") == "complaint"


def test_a_question_asked_again():
    assert after("So how do I descale the kettle?", answer="Kettles boil water.") == "complaint"
    assert after("How do I descale the red kettle?") == "complaint"
    assert after("我的快递在哪里", answer="您好。", asked="请问我的快递在哪里?") == "complaint"
    assert after("How do I descale the red iron?", answer="With vinegar.") == "neutral"


def test_of_a_long_turn_only_the_opening_complains():
    text = "The parcel was handed over at the station, and everybody was glad of it. " * 12
    assert after(f"That's wrong. {text}") == "complaint"
    assert after(f"{text} That's wrong, you didn't answer my question. {text}") == "neutral"


def test_parts_and_what_is_no_text():
    assert after([{"type": "text", "text": "That's wrong."}]) == "complaint"
    assert after([{"type": "image_url", "image_url": {"url": "x"}}]) == "neutral"
    assert after([{"type": "text"}, None, 3]) == "neutral"


def test_none_where_nothing_is_followed_up():
    complaint = {"role": "user", "content": "That's wrong."}
    assert follow_up([]) is None
    assert follow_up([complaint]) is None
    assert follow_up([{"role": "system", "content": "Be kind."}, complaint]) is None
    assert follow_up([ASKED, ANSWER]) is None
    assert follow_up([{"content": "x"}, {"content": "y"}]) is None


@pytest.mark.parametrize("messages", [None, 3, "user", {"role": "user"}, [None], [3, "x"], [[]]])
def test_never_raises_where_there_are_no_messages(messages):
    assert follow_up(messages) is None
