"""Who is asking, and what their key allows: models, tiers, a rate, budgets. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fareway.decide import AUTO, PREFIX, ROUTED_MODELS
from fareway.errors import Forbidden
from fareway.policy import TIERS, Tier

Usd = Annotated[Decimal, Field(gt=0, lt=1_000_000_000, decimal_places=9)]
Model = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]
TagName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
TagValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,80}$")]


class Allowance(BaseModel):
    """What a key may do; by default everything but see the ledger.

    Args:
        daily_usd, monthly_usd: budgets of a UTC day and a UTC month, USD.
        requests_per_minute: at most what one DynamoDB item takes, 1,000 writes a second.
        tiers: those that a request may be routed to.
        models: what a request may name as its `model`, letter for letter; None is any.
        over_budget: whether a request that the budgets have no room for is refused, or goes to
            the cheap tier.
        tags: words for the ledger, such as `{"team": "search"}`.
        admin: whether it opens the savings page: all tenants' spend.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    daily_usd: Usd | None = None
    monthly_usd: Usd | None = None
    requests_per_minute: Annotated[int, Field(ge=1, le=60_000)] | None = None
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)] = TIERS
    models: Annotated[tuple[Model, ...], Field(min_length=1, max_length=100)] | None = None
    over_budget: Literal["refuse", "degrade"] = "refuse"
    tags: Annotated[Mapping[TagName, TagValue], Field(max_length=10)] = {}
    admin: bool = False

    @field_validator("tiers")
    @classmethod
    def _ascending(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        return tuple(tier for tier in TIERS if tier in tiers)

    @field_validator("models")
    @classmethod
    def _known(cls, models: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for model in models or ():
            if model.startswith(PREFIX) and model not in ROUTED_MODELS:
                raise ValueError(f"{model} does not exist; there are {', '.join(ROUTED_MODELS)}")
        return models

    @model_validator(mode="after")
    def _consistent(self) -> Allowance:
        if self.over_budget == "degrade" and TIERS[0] not in self.tiers:
            raise ValueError(f"to degrade, the key needs the {TIERS[0]} tier among its tiers")
        return self

    @property
    def has_budget(self) -> bool:
        return self.daily_usd is not None or self.monthly_usd is not None

    def allows(self, model: str) -> bool:
        """Whether a request may name this model.

        A key bound to some tiers may name an upstream's model only where `models` lists it: it
        would be a way around the tiers.
        """
        if self.models is not None:
            return model in self.models
        if self.tiers == TIERS:
            return True
        return model in (AUTO, *(PREFIX + tier for tier in self.tiers))

    def check(self, model: str) -> None:
        """Lets an allowed model pass.

        Raises:
            Forbidden: any other.
        """
        if not self.allows(model):
            allowed = self.models or [m for m in ROUTED_MODELS if self.allows(m)]
            raise Forbidden(
                f"This key may not use the model '{model}'. It may use {', '.join(allowed)}.",
                param="model",
                code="model_not_allowed",
            )

    def check_admin(self) -> None:
        """Lets an admin's key pass.

        Raises:
            Forbidden: any other.
        """
        if not self.admin:
            raise Forbidden(
                "This key may not see the ledger; 'fareway keys create --admin' makes one.",
                code="admin_only",
            )


EVERYTHING = Allowance()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: the key's public id, the tenant that it belongs to, and what it may do."""

    key_id: str
    tenant: str
    allowance: Allowance = EVERYTHING

    @property
    def tenant_hash(self) -> str:
        """The tenant in the ledger: 16 hex digits."""
        return hashlib.sha256(f"tenant:{self.tenant}".encode()).hexdigest()[:16]

    @property
    def tags(self) -> str | None:
        """The key's tags in the ledger: a JSON object; None where it has none."""
        tags = dict(self.allowance.tags)
        return json.dumps(tags, sort_keys=True) if tags else None
