"""Which session a request belongs to."""

import pytest

from fareway.conversation import conversation
from tests.builders import a_chat

SYSTEM = {"role": "system", "content": "You help shoppers."}
FIRST = {"role": "user", "content": "Where is my order?"}
ANSWER = {"role": "assistant", "content": "It is on its way."}
SECOND = {"role": "user", "content": "That is not what I asked."}


def talk(*messages, tenant="acme", header=None, **fields):
    return conversation(tenant, header, a_chat(messages=list(messages), **fields))


def test_the_callers_name_goes_before_the_fingerprint_in_a_fixed_order():
    fields = {"prompt_cache_key": "p", "user": "u", "metadata": {"session_id": "m"}}
    named = [talk(FIRST, header="h", **fields)]
    for gone in ("metadata", "user", "prompt_cache_key"):
        named.append(talk(FIRST, **fields))
        del fields[gone]
    named.append(talk(FIRST))
    assert len({one.session_hash for one in named}) == 5
    assert [one.named for one in named] == [True, True, True, True, False]
    assert named[0].session_hash == talk(SECOND, header="h").session_hash


@pytest.mark.parametrize("name", ["", "   ", 7, None, ["x"]])
def test_a_name_that_is_none_is_passed_over(name):
    assert not talk(FIRST, metadata={"session_id": name}).named


def test_the_fingerprint_does_not_drift_as_the_history_grows():
    marked = {
        "role": "user",
        "content": [
            {"type": "text", "text": FIRST["content"], "cache_control": {"type": "ephemeral"}}
        ],
    }
    turns = [
        talk(SYSTEM, FIRST),
        talk(SYSTEM, FIRST, ANSWER, SECOND),
        talk(SYSTEM, marked, ANSWER, SECOND),
        talk(SYSTEM, FIRST, ANSWER, SECOND, ANSWER, SECOND, temperature=0.1),
        talk(SYSTEM, FIRST, ANSWER, {"role": "system", "content": "It is noon."}, SECOND),
    ]
    assert len({one.session_hash for one in turns}) == 1


def test_another_tenant_system_prompt_or_opening_is_another_session():
    others = [
        talk(SYSTEM, FIRST),
        talk(SYSTEM, FIRST, tenant="other"),
        talk(FIRST),
        talk(SYSTEM, SECOND),
        talk(SYSTEM, FIRST, header="s"),
        talk(SYSTEM, FIRST, header="s", tenant="other"),
    ]
    assert len({one.session_hash for one in others}) == len(others)


def test_strangers_who_open_alike_share_no_state():
    mine = talk(FIRST, ANSWER, SECOND)
    theirs = talk(FIRST, {"role": "assistant", "content": "Which order?"}, SECOND)
    assert mine.session_hash == theirs.session_hash
    assert mine.key != theirs.key
    assert talk(FIRST).key is None


def test_a_greeting_of_the_assistants_is_no_first_answer():
    hello = {"role": "assistant", "content": "Hello, how can I help?"}
    assert talk(hello, FIRST).key is None
    mine = talk(hello, FIRST, ANSWER, SECOND)
    assert mine.key == talk(hello, FIRST).key_after(ANSWER["content"])
    assert mine.key != talk(hello, FIRST, {**ANSWER, "content": "Which order?"}, SECOND).key


def test_the_state_is_found_again_once_the_first_answer_is_in_the_history():
    opened = talk(FIRST).key_after("It is\n on its way. ")
    assert opened == talk(FIRST, ANSWER, SECOND).key
    assert opened == talk(FIRST, ANSWER, SECOND).key_after("Something else.")
    assert talk(FIRST).key_after("  ") is None
    named = talk(FIRST, header="s")
    assert named.key == named.key_after("anything") == named.session_hash


def test_who_speaks_is_the_user_whatever_the_session():
    one, two = (talk(FIRST, header=h, user="ann") for h in "ab")
    assert one.voice == two.voice
    assert talk(FIRST, header="a").voice != talk(FIRST, header="b").voice
    assert talk(FIRST, user="ann", tenant="other").voice != one.voice


@pytest.mark.parametrize("messages", [[1], ["x", None], [{}], [[]], "x", {"role": "user"}])
def test_messages_that_nobody_checked_are_no_failure(messages):
    body = {"model": "text-embedding-3-small", "input": "x", "messages": messages}
    conversation("acme", None, body)
    assert conversation("acme", "s", body).named


def test_those_whom_nothing_tells_apart_speak_with_one_voice():
    # a person who opens two unnamed conversations is no quorum
    assert talk(FIRST).voice == talk(SYSTEM, SECOND).voice
    assert talk(FIRST).voice != talk(FIRST, tenant="other").voice
    keys = {conversation("acme", None, a_chat(), key).voice for key in ("k1", "k2")}
    assert len(keys) == 2
    assert talk(FIRST).voice not in (talk(FIRST, user="ann").voice, talk(FIRST, header="a").voice)


def test_a_request_without_messages_has_a_session_only_by_name():
    body = {"model": "text-embedding-3-small", "input": "x"}
    assert conversation("acme", None, body) is None
    assert conversation("acme", "s", body).named


def test_one_name_may_have_several_talks_which_their_last_answers_tell_apart():
    said = talk(FIRST, ANSWER, header="ann").latest
    assert not talk(FIRST, ANSWER, SECOND, user="ann").is_after_another(said)
    other = {"role": "assistant", "content": "It is a red one."}
    assert talk(FIRST, other, SECOND, user="ann").is_after_another(said)
    assert not talk(SECOND, user="ann").is_after_another(said)  # no history: it may be
