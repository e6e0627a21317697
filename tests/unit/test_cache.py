from fareway.cache import cache_key, last_turn, prompt_hash
from tests.builders import a_chat


def test_equal_contexts_have_equal_hashes_and_nothing_else_has():
    base = prompt_hash("acme", a_chat("hello"))
    assert base == prompt_hash("acme", a_chat("hello", temperature=0.5, model="fareway/mid"))
    others = [
        prompt_hash("other", a_chat("hello")),
        prompt_hash("acme", a_chat("hello!")),
        prompt_hash("acme", a_chat("hello", tools=[{"type": "function"}])),
        prompt_hash("acme", a_chat("hello", response_format={"type": "json_object"})),
        prompt_hash(
            "acme",
            a_chat(messages=[{"role": "system", "content": "x"}, *a_chat("hello")["messages"]]),
        ),
    ]
    assert base not in others
    assert len(set(others)) == len(others)


def test_a_new_policy_or_classifier_makes_old_entries_unreachable():
    keys = {cache_key("h", "p1", "c1"), cache_key("h", "p2", "c1"), cache_key("h", "p1", "c2")}
    assert len(keys) == 3


def test_what_a_derivative_shares_is_all_but_the_words_of_the_last_turn():
    def context(*content, **fields):
        messages = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [*content]},
        ]
        return last_turn("acme", a_chat(messages=messages, **fields))

    text = {"type": "text", "text": "What is this?"}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    base = context(text)
    assert base[0] == "What is this?"
    assert context({**text, "text": "And this?"})[1] == base[1]
    assert context({**text, "cache_control": {"type": "ephemeral"}})[1] == base[1]
    others = [
        context(text, image),
        context(text, tools=[{"type": "function"}]),
        last_turn("acme", a_chat("What is this?")),
        last_turn("other", a_chat("What is this?")),
    ]
    assert len({base[1], *(other[1] for other in others)}) == 5


def test_a_tools_result_is_no_prompt_that_could_be_repeated():
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "tool", "content": "rain", "tool_call_id": "1"},
    ]
    assert last_turn("acme", a_chat(messages=messages)) is None
    assert last_turn("acme", a_chat(messages=[{"role": "system", "content": "x"}])) is None
