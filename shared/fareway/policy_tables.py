"""The tables of policy.toml, by the shape that each has to have."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from fareway.model_table import ModelTable

Tier = Literal["cheap", "mid", "premium"]
#: The tiers from the least to the greatest.
TIERS: tuple[Tier, ...] = get_args(Tier)
_URL = r"^https?://[^\s]+$"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Complexity(_Table):
    cuts: Annotated[list[float], Field(min_length=4, max_length=4)]


class Sensitivity(_Table):
    threshold: Annotated[float, Field(gt=0, le=1)]
    tier: Tier


class Unclassified(_Table):
    tier: Tier


class ClassifierTable(_Table):
    """Who says the complexity. Units: `budget_ms` milliseconds, of one call to the teacher.

    `model` at an `aggregator` or at a `base_url` is the teacher: mode "llm" asks it for each new
    prompt, `fareway label` in either mode.
    """

    mode: Literal["onnx", "llm"] = "onnx"
    aggregator: str | None = None
    base_url: Annotated[str, Field(pattern=_URL)] | None = None
    model: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")] | None = None
    budget_ms: Annotated[int, Field(ge=50, le=10_000)] = 1_500


class Attempts(_Table):
    """How hard `dispatch` tries. Units: `*_ms` milliseconds."""

    tries: Annotated[int, Field(ge=1, le=5)]
    backoff_ms: Annotated[int, Field(ge=0)]
    timeout_ms: Annotated[int, Field(ge=100)]
    first_token_ms: Annotated[int, Field(ge=100)]
    inter_chunk_ms: Annotated[int, Field(ge=100)]
    hedge_ms: Annotated[int, Field(ge=0)] = 0
    retry_after_max_ms: Annotated[int, Field(ge=0)]
    breaker_failures: Annotated[int, Field(ge=1)]
    breaker_cooldown_ms: Annotated[int, Field(ge=0)]


class Escalation(_Table):
    """How feedback moves tiers.

    Args:
        calm_turns: turns without a complaint after which a session comes down a tier.
        idle_minutes: the same for time without a turn.
        quorum: users of a tenant who must complain of a prompt's answers, more than praise them,
            before the prompt itself starts a tier higher.
        hold_days: for how long it does.
    """

    calm_turns: Annotated[int, Field(ge=1, le=100)] = 2
    idle_minutes: Annotated[int, Field(ge=1, le=1440)] = 30
    quorum: Annotated[int, Field(ge=1, le=1000)] = 2
    hold_days: Annotated[int, Field(ge=1, le=365)] = 7

    @property
    def idle_s(self) -> float:
        return self.idle_minutes * 60.0


class Exploration(_Table):
    """What share of requests goes a tier higher or lower by lot, 0 to 0.05 (`fareway.explore`)."""

    share: Annotated[float, Field(ge=0, le=0.05)] = 0.0


class Shadow(_Table):
    """Another policy that decides too, for a share of requests, 0 to 1, and acts on none.

    Args:
        policy: its file, beside this one; empty: there is none.
    """

    policy: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = ""
    share: Annotated[float, Field(ge=0, le=1)] = 0.0


class AggregatorTable(_Table):
    base_url: Annotated[str, Field(pattern=_URL)]
    headers: dict[str, str] = {}


class TierTable(_Table):
    complexity: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1)]
    models: list[str]
    sensitive: list[str] = []


class Document(_Table):
    """The whole file."""

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
    baseline: str
    expected_completion_tokens: Annotated[int, Field(ge=1)]
    classifier: ClassifierTable = ClassifierTable()
    complexity: Complexity
    sensitivity: Sensitivity
    unclassified: Unclassified
    escalation: Escalation = Escalation()
    exploration: Exploration = Exploration()
    shadow: Shadow = Shadow()
    attempts: Attempts
    aggregators: Annotated[dict[str, AggregatorTable], Field(min_length=1)]
    tiers: dict[str, TierTable]
    models: dict[str, ModelTable]
