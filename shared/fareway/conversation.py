"""A request -> the session that it belongs to: one that the caller names, or how it began.

The fingerprint of a session that nobody names is made of the tenant, the system prompt and the
first user turn, their text alone: it is the same for every later turn, whatever is appended and
wherever a client marks what an upstream should cache. Strangers may open alike, though ("hi"):
what is remembered of such a session hangs on its first answer too, so that it stays theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fareway.render import is_system, text_of

HEADER = "x-fareway-session"


@dataclass(frozen=True, slots=True)
class Conversation:
    """Which session a request belongs to.

    Args:
        session_hash: 16 hex digits, the same for every turn.
        voice: 16 hex digits of who speaks: the caller's `user` where it names one, else the
            session's name, else the key.
        named: whether the caller named the session.
        opening: the hash of the first answer in the history; None before there is one.
        latest: the same of the last answer.
    """

    session_hash: str
    voice: str
    named: bool
    opening: str | None = None
    latest: str | None = None

    @property
    def key(self) -> str | None:
        """Where its state is; None where nothing can be remembered of it yet."""
        return self._key(self.opening)

    def key_after(self, answer: str) -> str | None:
        """Where its state is once this was answered."""
        return self._key(self.opening or answer_hash(answer))

    def is_after_another(self, answer: str | None) -> bool:
        """Whether the history ends in another answer than that of this hash: one name may have
        several talks."""
        return bool(self.latest and answer and self.latest != answer)

    def _key(self, opening: str | None) -> str | None:
        if self.named:
            return self.session_hash
        return _hashed(self.session_hash, opening) if opening else None


def conversation(
    tenant: str, header: str | None, body: Mapping[str, Any], key_id: str = ""
) -> Conversation | None:
    """The first that there is of `x-fareway-session`, `metadata.session_id`, `user`,
    `prompt_cache_key`, the fingerprint; None for a request that has neither a name nor messages.
    """
    metadata = body.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    user = _name(body.get("user")) or _name(body.get("safety_identifier"))
    names = (header, metadata.get("session_id"), body.get("user"), body.get("prompt_cache_key"))
    name = next(filter(None, map(_name, names)), None)
    messages = body.get("messages")
    if name is None and not isinstance(messages, list):
        return None
    # of a request for embeddings nobody has checked them
    turns = [t for t in messages if isinstance(t, Mapping)] if isinstance(messages, list) else []
    session_hash = _hashed("session", tenant, name) if name else _fingerprint(tenant, turns)
    unnamed = session_hash if name else _hashed("key", tenant, key_id)
    # what the assistant says before the user does is a greeting: the same for all
    said = turns[_first_user(turns) :]
    answers = [turn.get("content") for turn in said if turn.get("role") == "assistant"]
    return Conversation(
        session_hash,
        _hashed("voice", tenant, user) if user else unnamed,
        name is not None,
        _first(answers),
        _first(reversed(answers)),
    )


def _fingerprint(tenant: str, turns: Sequence[Mapping[str, Any]]) -> str:
    first = _first_user(turns)
    # a client may put in a word of the system's later on: only those at the head are its opening
    system = [text_of(turn.get("content")) for turn in turns[:first] if is_system(turn)]
    asked = text_of(turns[first].get("content")) if first < len(turns) else ""
    return _hashed("opening", tenant, "\n".join(system), asked)


def _first_user(turns: Sequence[Mapping[str, Any]]) -> int:
    """The position of the first user turn; past the end where there is none."""
    return next((i for i, turn in enumerate(turns) if turn.get("role") == "user"), len(turns))


def _first(answers: Iterable[object]) -> str | None:
    """The hash of the first that has words."""
    return next(filter(None, (answer_hash(text_of(answer)) for answer in answers)), None)


def answer_hash(answer: str) -> str | None:
    """The hash of an answer; its spacing may change on its way through a client."""
    words = " ".join(answer.split())
    return _hashed(words) if words else None


def _name(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _hashed(*parts: str) -> str:
    joined = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:16]
