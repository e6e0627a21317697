"""What counts as the same prompt asked again, and what does not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fareway.canonical import sentences
from fareway.fingerprint import MOST_READS, Fingerprint, fingerprint

SECRET = b"a secret"
ENGLISH = "How do I block my debit card after I lost it on the train?"


def of(text: str, partition: str = "acme|v1", secret: bytes = SECRET) -> Fingerprint:
    found = fingerprint(text, partition, secret)
    assert found is not None
    return found


def reused(kept: Fingerprint, asked: Fingerprint) -> bool:
    """As the product does it: found by a key, and then known."""
    return not set(asked.reads).isdisjoint(kept.writes) and asked.repeats(kept.signature)


@pytest.mark.parametrize(
    "asked",
    [
        "how do i block my debit card after i lost it on the train",
        "HOW DO I BLOCK MY DEBIT CARD AFTER I LOST IT ON THE TRAIN???",
        "How  do I block\nmy debit card, after I lost it on the train ?",
        "How do I block my debitcard after I lost it on the train?",
        "How do I blo\u200bck my debit card after I lost it on the train? 🙏",
        "Hi there! Could you please tell me how do I block my debit card after I lost it on the "
        "train? Thanks a lot!",
        "How do I block my debit card after I lost it on train?",
        "How do I blcok my debit card after I lost it on the train?",
        "How do I block my debbit card after I lost it on the trian?",
        "How do I block my debit card after I lost it on the train? I have been a customer for "
        "six years.",
        "My sister could not say. How do I block my debit card after I lost it on the train?",
        "hello, how do i block my debit crad after i lost it on the train",
    ],
)
def test_a_prompt_with_small_changes_is_the_same(asked: str) -> None:
    assert reused(of(ENGLISH), of(asked))
    assert reused(of(ENGLISH), of(ENGLISH))


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("How do I bake a cake at home?", "How do I bake a bomb at home?"),
        ("How do I bake a cake at home?", "How do I bake a cafe at home?"),
        ("Which plants cure a cough at night?", "Which plants cause a cough at night?"),
        ("Where can I house my horse?", "Where can I horse my house?"),
        ("Why is my card not working abroad?", "Why is my card working abroad?"),
        ("Why can I use my card abroad?", "Why can't I use my card abroad?"),
        ("Is it legal to keep a fox as a pet?", "Is it illegal to keep a fox as a pet?"),
        ("How do I lock the front door?", "How do I unlock the front door?"),
        ("Tell me how to open a savings account", "Tell me how to open a joint savings account"),
        ("How do I open a savings account?", "How do I close a savings account?"),
        ("Is it safe to mix bleach with water?", "Is it safe to mix bleach without water?"),
        ("Wie kann ich meine Karte sperren?", "Wie kann ich meine Karte nicht sperren?"),
        ("Ist das ein gutes Angebot für mich?", "Ist das kein gutes Angebot für mich?"),
        ("Est-ce que je peux prendre ce médicament ?", "Est-ce que je ne peux pas le prendre ?"),
        ("¿Puedo tomar vino con este medicamento?", "¿Puedo tomar vino sin este medicamento?"),
        ("怎么在家做蛋糕", "怎么在家做炸弹"),
        ("What is the result of x + y in Python?", "What is the result of x * y in Python?"),
        ("Write a long poem in C# for me today", "Write a long poem in C for me today"),
    ],
)
def test_another_word_is_another_prompt(kept: str, asked: str) -> None:
    assert not reused(of(kept), of(asked))
    assert not reused(of(asked), of(kept))


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        (
            "Wie kann ich meine verlorene Karte sperren?",
            "Guten Tag, könnten Sie mir bitte sagen, wie kann ich meine verlorene Karte speren? "
            "Vielen Dank im Voraus!",
        ),
        (
            "Comment puis-je bloquer ma carte perdue à l'étranger ?",
            "Bonjour, pourriez-vous me dire comment puis-je bloquer ma carte perdue à l'etranger "
            "s'il vous plaît ? Merci d'avance",
        ),
        (
            "¿Cómo puedo bloquear mi tarjeta perdida en el extranjero?",
            "Hola, me podría decir como puedo bloquear mi tarjeta perdida en el extranjero, por "
            "favor. ¡Muchas gracias!",
        ),
        (
            "Come posso bloccare la mia carta persa all'estero?",
            "Buongiorno, vorrei sapere come posso bloccare la mia carta persa all’estero. Grazie "
            "mille!",
        ),
        (
            "Como posso bloquear o meu cartão perdido no estrangeiro?",
            "Olá, poderia me dizer como posso bloquear o meu cartao perdido no estrangeiro? "
            "Obrigada!",
        ),
        (
            "Hoe kan ik mijn verloren pas in het buitenland blokkeren?",
            "Goedemorgen, kunt u mij vertellen hoe kan ik mijn verloren pas in het buitenland "
            "blokkeren? Alvast bedankt",
        ),
        (
            "Как заблокировать потерянную карту за границей?",
            "Привет! как заблокировать потеряную карту за границей? спасибо",
        ),
        ("怎么冻结我丢失的银行卡？", "你好，请问怎么冻结我丢失的银行卡？谢谢！"),
        ("खोया हुआ कार्ड कैसे बंद करें?", "नमस्ते, खोया हुआ कार्ड कैसे बंद करें। धन्यवाद"),
    ],
    ids=["de", "fr", "es", "it", "pt", "nl", "ru", "zh", "hi"],
)
def test_courtesy_accents_and_slips_in_many_languages(kept: str, asked: str) -> None:
    assert reused(of(kept), of(asked))


def test_numbers_and_names_are_swapped() -> None:
    kept = "Anna has 12 apples and gives 5 to Ben Miller. How many apples does Anna have left?"
    asked = "Zoe has 1,250 apples and gives 7 to Tom. How many apples does Zoe have left?"
    assert reused(of(kept), of(asked))
    assert reused(of(kept), of(kept.lower()))
    assert not reused(of(kept), of(asked.replace("apples", "pears")))


def test_german_nouns_are_no_names() -> None:
    kept = "Wie backe ich einen Kuchen für meine Tante in der Küche?"
    assert not reused(of(kept), of(kept.replace("Kuchen", "Sprengsatz")))


def test_an_added_sentence_that_asks_is_more_than_was_asked() -> None:
    assert not reused(of(ENGLISH), of(f"{ENGLISH} And how do I get a new passport in Spain?"))
    assert not reused(of(ENGLISH), of(f"how do i get a new passport in spain\n{ENGLISH}"))


def test_slips_are_forgiven_by_the_length() -> None:
    kept = "Please show my three latest card payments"
    assert reused(of(kept), of("show my three latest crad payments"))
    assert not reused(of(kept), of("show my threee latest crad payments"))
    three = "How do I blcok my debti card after I lsot it on the train?"
    assert not reused(of(ENGLISH), of(three))


@pytest.mark.parametrize(
    "other", [of(ENGLISH, partition="other|v1"), of(ENGLISH, secret=b"another")]
)
def test_nothing_crosses_a_partition_or_a_secret(other: Fingerprint) -> None:
    mine = of(ENGLISH)
    assert set(other.reads).isdisjoint(mine.writes)
    assert not other.repeats(mine.signature)
    assert not mine.repeats(other.signature)
    words = {_words(of(f"word {ENGLISH}")), _words(mine)}
    assert _words(other).isdisjoint(frozenset().union(*words))


def _words(found: Fingerprint) -> frozenset[bytes]:
    kept = base64.b64decode(found.signature)[16:]
    return frozenset(kept[at : at + 4] for at in range(0, len(kept) - 4, 4))


def test_keys_and_signature_tell_nothing_of_the_text() -> None:
    found = of(ENGLISH)
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in (*found.writes, *found.reads))
    kept = base64.b64decode(found.signature) + repr(found).encode()
    assert not any(word.encode() in kept.lower() for word in ENGLISH.lower().split() if word[3:])


def test_few_keys_and_a_small_signature() -> None:
    long = " ".join(f"Sentence of topic {chr(97 + i)}{chr(98 + i)}x goes here." for i in range(20))
    found = of(f"{long} What follows from it for Anna Miller and Ben?")
    assert len(found.writes) <= 5
    assert len(found.reads) == MOST_READS == len(set(found.reads))
    assert set(of(ENGLISH).writes) <= set(of(ENGLISH).reads)
    assert len(of(ENGLISH).signature) < 120


def test_a_long_text_is_known_as_a_whole_alone() -> None:
    long = " ".join(f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(400))
    assert reused(of(long), of(long.upper()))
    assert len(of(long).signature) == 24
    assert not reused(of(long), of(long.replace("wab", "wob")))


@pytest.mark.parametrize("text", ["", "   ", "?!", "Hi! Thank you very much.", "why", "a" * 6001])
def test_too_short_or_too_long_to_tell(text: str) -> None:
    assert fingerprint(text, "p", SECRET) is None


@pytest.mark.parametrize(
    "signature", ["", "AAAA", "not base64!", "é", "A" * 3, base64.b64encode(bytes(999)).decode()]
)
def test_what_is_no_signature_is_not_repeated(signature: str) -> None:
    assert of(ENGLISH).repeats(signature) is False


_TEXTS = st.text() | st.text(
    alphabet=st.sampled_from("aB é.?!\n'’0#*請แकи\ud800\u200b"), max_size=200
)


@settings(deadline=None, max_examples=300)
@given(_TEXTS, st.text())
def test_any_text_repeats_itself_and_nothing_raises(text: str, signature: str) -> None:
    found = fingerprint(text, "p", SECRET)
    assert found == fingerprint(text, "p", SECRET)
    if found is not None:
        assert reused(found, found)
        assert not found.repeats(signature)


@settings(deadline=None, max_examples=200)
@given(_TEXTS, st.binary(max_size=200))
def test_any_signature_is_read(text: str, signature: bytes) -> None:
    found = fingerprint(f"how do i {text}", "p", SECRET)
    if found is not None:
        found.repeats(base64.b64encode(signature).decode())


def test_a_run_of_marks_is_looked_at_once() -> None:
    # each dot tried anew would take minutes
    assert [part.words for part in sentences("." * 100_000 + "a word")] == [("word",)]
