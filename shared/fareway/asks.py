"""Headers and body -> what the request allows (Bounds) and what it needs of a model (Needs)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from fareway.errors import BadRequest, Forbidden
from fareway.model_table import Capability
from fareway.policy import TIERS, Tier
from fareway.render import utf8_size

#: What x-fareway-max-cost-usd may be; the ledger counts in nano-USD.
LEAST_USD, MOST_USD = Decimal("1e-9"), Decimal("1e9")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the request allows, and its key. Units: `max_cost_usd` USD for the one call.

    Args:
        tiers: those between the two that the key may use.
        raised, held: how a decision that a bound moved says so, before the tier's name.
    """

    min_tier: Tier = TIERS[0]
    max_tier: Tier = TIERS[-1]
    max_cost_usd: Decimal | None = None
    tiers: tuple[Tier, ...] = TIERS
    raised: str = "raised to x-fareway-min-tier"
    held: str = "held at x-fareway-max-tier"

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Bounds:
        """`x-fareway-min-tier`, `-max-tier`, `-max-cost-usd` -> Bounds.

        Raises:
            BadRequest: an unknown tier, a minimum over the maximum, or a cost that is no
                positive number.
        """
        tiers: list[Tier] = []
        for name, default in (("min", TIERS[0]), ("max", TIERS[-1])):
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

    def within(self, tiers: Collection[Tier]) -> Bounds:
        """These bounds, narrowed to a key's tiers.

        Raises:
            Forbidden: the key may use none of the tiers that the request asks for.
        """
        asked = TIERS[TIERS.index(self.min_tier) : TIERS.index(self.max_tier) + 1]
        left = tuple(tier for tier in asked if tier in tiers)
        if not left:
            raise Forbidden(
                f"This key may use {', '.join(tiers)}; the request asks for {', '.join(asked)}.",
                param="x-fareway-min-tier" if self.min_tier != TIERS[0] else "x-fareway-max-tier",
                code="tier_not_allowed",
            )
        if left == self.tiers:
            return self
        return replace(
            self,
            min_tier=left[0],
            max_tier=left[-1],
            tiers=left,
            raised=self.raised if left[0] == self.min_tier else "raised to the key's lowest tier",
            held=self.held if left[-1] == self.max_tier else "held at the key's highest tier",
        )

    def degraded(self) -> Bounds:
        """These bounds for a key that is over its budget: the cheap tier alone."""
        least = TIERS[0]
        return replace(self, max_tier=least, tiers=(least,), held="over budget: degraded to")


def _cost_bound(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        cost = Decimal(text.strip())
        cost = cost if cost.is_finite() else Decimal(0)
    except InvalidOperation:
        cost = Decimal(0)
    if not MOST_USD >= cost >= LEAST_USD:  # `1e999999999` is a number too, and a gigabyte told
        raise BadRequest(
            "x-fareway-max-cost-usd must be a number of USD from 1e-9 to 1e9, such as 0.002.",
            param="x-fareway-max-cost-usd",
            code="invalid_header",
        )
    return cost


#: What a picture of common size is to most models, tokens. Sources:
#: platform.openai.com/docs/guides/images-vision (765 for one of 1024 x 1024),
#: platform.claude.com/docs/en/build-with-claude/vision (1,600 at most).
IMAGE_TOKENS = 1_000


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
        capabilities = _capabilities(body, choices)
        schemas = (body.get(name) for name in ("tools", "functions", "response_format"))
        size = sum(utf8_size(str(schema)) for schema in schemas if schema)
        images = 0
        for message in body["messages"]:
            content = message.get("content")
            size += utf8_size(content) if isinstance(content, str) else 0
            size += sum(utf8_size(part.get("text") or "") for part in _parts(message))
            size += 16 + utf8_size(str(message.get("tool_calls") or ""))
            images += sum(_PARTS.get(part["type"]) == "vision" for part in _parts(message))
        tokens = size // 4 + 1 + images * IMAGE_TOKENS
        return cls(frozenset(capabilities), tokens, completion_tokens, choices)


#: The type of a content part -> what it takes to read it.
_PARTS: Mapping[str, Capability] = {
    "image_url": "vision",
    "input_image": "vision",
    "input_audio": "audio",
    "file": "files",
    "input_file": "files",
}


def _capabilities(body: Mapping[str, Any], choices: int) -> set[Capability]:
    """What the answer would be wrong without."""
    messages = body["messages"]
    tools = body.get("tools") or body.get("functions")
    format_ = (body.get("response_format") or {}).get("type")
    asked: dict[Capability, object] = {
        "tools": tools or any(m.get("tool_calls") or m["role"] == "tool" for m in messages),
        "tool_choice": tools and _forces_a_tool(body),
        "single_tool_call": tools and body.get("parallel_tool_calls") is False,
        "custom_tools": any(t.get("type") == "custom" for t in body.get("tools") or ()),
        "json_object": format_ == "json_object",
        "json_schema": format_ == "json_schema",
        "audio": "audio" in (body.get("modalities") or ()),
        "logprobs": body.get("logprobs"),
        "logit_bias": body.get("logit_bias"),
        "stop": body.get("stop"),
        "prefill": messages[-1]["role"] == "assistant",
        "n>1": choices > 1,
    }
    needs = {capability for capability, needed in asked.items() if needed}
    return needs | {
        _PARTS[part["type"]] for m in messages for part in _parts(m) if part["type"] in _PARTS
    }


def _forces_a_tool(body: Mapping[str, Any]) -> bool:
    """Whether a tool has to be called, or a certain one."""
    choice = body.get("tool_choice") or body.get("function_call")
    return choice == "required" or isinstance(choice, dict)


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if isinstance(content, list) else []
