"""Stub."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

FollowUp = Literal["complaint", "satisfied", "neutral"]


def follow_up(messages: Sequence[Mapping[str, Any]]) -> FollowUp | None:
    if len(messages) < 2 or messages[-1]["role"] != "user":
        return None
    text = str(messages[-1]["content"])
    return "complaint" if "wrong" in text or "not what" in text else "satisfied" if "Thank" in text else "neutral"
