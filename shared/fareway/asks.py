"""Headers and body -> what the request allows (Bounds) and what it needs of a model (Needs)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from fareway.errors import BadRequest
from fareway.policy import TIERS, Capability, Tier


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the request allows. Units: `max_cost_usd` USD for the one call."""

    min_tier: Tier = TIERS[0]
    max_tier: Tier = TIERS[-1]
    max_cost_usd: Decimal | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Bounds:
        """`x-fareway-min-tier`, `-max-tier`, `-max-cost-usd` -> Bounds.

        Raises:
            BadRequest: an unknown tier, a minimum over the maximum, or a cost that is no
                positive number.
        """
        tiers: list[Tier] = []
        for name, default in (("min", cls().min_tier), ("max", cls().max_tier)):
            value = headers.get(f"x-fareway-{name}-tier", default).strip().lower()
            if value not in TIERS:
                raise BadRequest(
                    f"x-fareway-{name}-tier must be one of {', '.join(TIERS)}.",
                    param=f"x-fareway-{name}-tier",
                    code="invalid_header",
                )
            tiers.append(value)
        if TIERS.index(tiers[0]) > TIERS.index(tiers[1]):
            raise BadRequest(
                f"x-fareway-min-tier ({tiers[0]}) is over x-fareway-max-tier ({tiers[1]}).",
                param="x-fareway-min-tier",
                code="invalid_header",
            )
        return cls(tiers[0], tiers[1], _cost_bound(headers.get("x-fareway-max-cost-usd")))


def _cost_bound(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        cost = Decimal(text.strip())
    except InvalidOperation:
        cost = Decimal("NaN")
    if not (cost.is_finite() and cost > 0):
        raise BadRequest(
            "x-fareway-max-cost-usd must be a positive number of USD, such as 0.002.",
            param="x-fareway-max-cost-usd",
            code="invalid_header",
        )
    return cost


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model must be able to do for this request.

    Units: tokens; `prompt_tokens` is an estimate from the request's length.
    """

    capabilities: frozenset[Capability]
    prompt_tokens: int
    completion_tokens: int | None
    choices: int = 1

    @classmethod
    def of(cls, body: Mapping[str, Any], completion_tokens: int | None, choices: int) -> Needs:
        """Reads a chat request's body."""
        needs: set[Capability] = set()
        characters = 0
        for message in body["messages"]:
            content = message.get("content")
            if isinstance(content, str):
                characters += len(content)
            for part in content if isinstance(content, list) else ():
                characters += len(part.get("text") or "")
                if part["type"] in ("image_url", "input_image"):
                    needs.add("vision")
                elif part["type"] == "input_audio":
                    needs.add("audio")
            characters += 16 + len(str(message.get("tool_calls") or ""))
        if body.get("tools"):
            needs.add("tools")
            characters += len(str(body["tools"]))
        if (body.get("response_format") or {}).get("type") == "json_schema":
            needs.add("json_schema")
        if body.get("logprobs"):
            needs.add("logprobs")
        return cls(frozenset(needs), characters // 4 + 1, completion_tokens, choices)
