"""A request -> the keys under which memory has its prompt.

The tenant, the versions of policy and classifier, and all of the request that a verdict could hang
on are part of each: nothing crosses from one tenant, system prompt or modality to another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fareway.render import last_user, text_of

#: What of a request the classifier's verdict could depend on.
CONTEXT = ("messages", "input", "tools", "response_format", "modalities")

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def prompt_hash(tenant: str, body: Mapping[str, Any]) -> str:
    """The whole routed context of one tenant -> 32 hex digits; equal prompts, equal hashes.

    The tenant is part of it: two tenants' equal prompts do not show that they are equal.
    """
    context = _CANONICAL.encode([tenant, {name: body[name] for name in CONTEXT if name in body}])
    return hashlib.sha256(context.encode()).hexdigest()[:32]


def cache_key(prompt: str, policy_version: str, classifier_version: str) -> str:
    """A new policy or classifier makes every earlier entry unreachable."""
    versions = f"{prompt}|{policy_version}|{classifier_version}"
    return hashlib.sha256(versions.encode()).hexdigest()


def last_turn(tenant: str, body: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a derivative may change, and the hash of what it must share.

    Returns:
        The last user turn's text, and the hash of everything else: earlier turns, the system
        prompt, tools, pictures. None where the last turn is not a user's.
    """
    messages = body.get("messages") or ()
    last = last_user(messages)
    if last < 0 or last != len(messages) - 1:
        return None
    turn = messages[last]
    content = turn.get("content")
    parts = [p for p in content if p.get("type") != "text"] if isinstance(content, list) else []
    rest = [*messages[:last], {**turn, "content": parts}]
    return text_of(content), prompt_hash(tenant, {**body, "messages": rest})
