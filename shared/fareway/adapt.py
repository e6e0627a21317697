"""One request -> what one model takes of it, and what had to change. Pure.

A model that cannot give what the request asks for is passed over before any call (`decide`).
What is left are names and hints: a limit under another name, a temperature that a reasoning model
does not take. These are translated or dropped at the attempt, and the caller is told of each.

Source of each model's table: the comments in `policy.toml`. What OpenAI's protocol holds: the
`openai` SDK's types/chat/completion_create_params.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fareway.model_table import EFFORTS, Effort, ModelTable

_LIMITS = ("max_completion_tokens", "max_tokens")
#: Other models that OpenRouter would go on to: of a routed request the decision alone says which.
#: Source: openrouter.ai/docs/guides/routing/model-fallbacks.
_ELSEWHERE = ("models", "route")


def adapt(
    body: Mapping[str, Any], model: ModelTable | None
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """A chat request's body, as one model takes it.

    Args:
        body: the caller's; it is not changed.
        model: the candidate's table; None for a model that the request named itself, whose
            body goes out as it came.

    Returns:
        The body to send, and what was changed, for people: `temperature dropped`.
    """
    if model is None:
        return body, ()
    sent = dict(body)
    changes = [
        *_limit(sent, model),
        *_effort(sent, model),
        *_hints(sent, model),
        *_temperature(sent, model),
        *_roles(sent, model),
    ]
    return sent, tuple(changes)


def told(changes: tuple[str, ...]) -> str | None:
    """The header `x-fareway-adapted`; None where nothing was changed."""
    return "; ".join(changes) or None


def _limit(sent: dict[str, Any], model: ModelTable) -> list[str]:
    """The limit on the completion: under the model's name for it, and within what it gives."""
    given = [name for name in _LIMITS if sent.get(name) is not None]
    if not given:
        return []
    changes = []
    if model.limit is not None:
        value = sent[given[0]]  # where both are given, the one that OpenAI has not deprecated
        for name in _LIMITS:
            sent.pop(name, None)
        sent[model.limit] = value
        if given[0] != model.limit:
            changes.append(f"{given[0]} renamed to {model.limit}")
        elif len(given) > 1:
            changes.append(f"{given[1]} dropped")
    for name in _LIMITS:
        if model.max_output is not None and (sent.get(name) or 0) > model.max_output:
            sent[name] = model.max_output
            changes.append(f"{name} lowered to {model.max_output}")
    return changes


def _effort(sent: dict[str, Any], model: ModelTable) -> list[str]:
    """`reasoning_effort`: the nearest that the model knows, of two as near the greater."""
    asked = sent.get("reasoning_effort")
    if asked is None or model.efforts is None or asked in model.efforts:
        return []
    if not model.efforts:
        del sent["reasoning_effort"]
        return ["reasoning_effort dropped"]
    if asked not in EFFORTS:
        return []  # not a word of ours; the model may know it
    place = EFFORTS.index(asked)

    def distance(effort: Effort) -> tuple[int, int]:
        return abs(EFFORTS.index(effort) - place), -EFFORTS.index(effort)

    nearest = min(model.efforts, key=distance)
    sent["reasoning_effort"] = nearest
    return [f"reasoning_effort {asked} became {nearest}"]


def _hints(sent: dict[str, Any], model: ModelTable) -> list[str]:
    """What the model rejects, what it does not take beside another, and what names other models."""
    hints = (*_ELSEWHERE, *model.rejects)
    unwanted = [hint for hint in hints if sent.get(hint) is not None]
    kept = [hint for hint in model.one_of if sent.get(hint) is not None and hint not in unwanted]
    unwanted += kept[1:]
    for hint in unwanted:
        del sent[hint]
    return [f"{hint} dropped" for hint in unwanted]


def _temperature(sent: dict[str, Any], model: ModelTable) -> list[str]:
    highest, asked = model.temperature_max, sent.get("temperature")
    if highest is None or asked is None or asked <= highest:
        return []
    sent["temperature"] = highest
    return [f"temperature lowered to {highest:g}"]


def _roles(sent: dict[str, Any], model: ModelTable) -> list[str]:
    messages = sent["messages"]
    if "developer" not in model.rejects or all(m.get("role") != "developer" for m in messages):
        return []
    sent["messages"] = [
        {**m, "role": "system"} if m.get("role") == "developer" else m for m in messages
    ]
    return ["role developer became system"]
