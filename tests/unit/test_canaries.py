"""What watches the whole suite's logs does see, and sees nothing where nothing is."""

import json
import logging

import pytest

from fareway.log import log
from tests import canaries
from tests.canaries import Watch

PROMPT = "My daughter Anna has swallowed two of the blue pills, what am I to do now?"


@pytest.fixture
def watch(monkeypatch):
    """One of its own in the session's place."""
    watch = Watch()
    monkeypatch.setattr(canaries, "WATCH", watch)
    return watch


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": PROMPT}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]},
        {"input": PROMPT},
        {"input": [{"type": "message", "content": [{"type": "input_text", "text": PROMPT}]}]},
        {"choices": [{"message": {"role": "assistant", "content": PROMPT}}]},
    ],
)
def test_a_logged_prompt_is_seen_whole_and_in_part(watch, body):
    watch.raw(json.dumps(body).encode())
    for text in (PROMPT, f"failed: {PROMPT[10:65]}...", json.dumps({"error": PROMPT})):
        log("error", "a mistake of ours", what=text)
        assert watch.seen, text
        watch.seen.clear()


def test_a_streams_words_a_key_and_a_librarys_log_are_seen(watch):
    chunk = {"choices": [{"delta": {"content": "the blue ones are harmless"}}]}
    watch.raw(b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n")
    watch.key("fw-abcdef")
    for text in ("the blue ones are harmless", "Bearer fw-abcdef"):
        watch.line("log", text)
    logging.getLogger("mangum").error("the blue ones are harmless")
    assert len(watch.seen) == 3


def test_other_words_are_not(watch):
    watch.raw(json.dumps({"model": "fareway/auto", "messages": [{"content": PROMPT}]}).encode())
    watch.raw(b"{nonsense")
    watch.key("k")
    log("info", "request", model="fareway/auto", reason="My daughter", hash="0af7651916cd43dd")
    assert not watch.seen
