"""One model's table in policy.toml: what it can do, what it takes of a request, what it is called.

What changes the answer's meaning stands in `can`: a request that needs more passes the model over.
What is a hint stands in `rejects` and the like: `adapt` changes it at the call.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

#: What a request may need of a model; `asks` says what asks for each of them.
Capability = Literal[
    "tools",
    "tool_choice",
    "single_tool_call",
    "custom_tools",
    "json_object",
    "json_schema",
    "vision",
    "files",
    "audio",
    "logprobs",
    "logit_bias",
    "stop",
    "prefill",
    "n>1",
]
#: What may be left out without a change in what the answer means; and the role `developer`.
Hint = Literal[
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "verbosity",
    "prediction",
    "parallel_tool_calls",
    "service_tier",
    "store",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "developer",
]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
#: From the least thought to the most.
EFFORTS: tuple[Effort, ...] = get_args(Effort)


class BatchTable(BaseModel):
    """Where a model answers at half price: a provider's batch endpoint, and its name there."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    provider: Literal["openai", "anthropic"]
    model: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]


class ModelTable(BaseModel):
    """One model: what it can do, what it takes, its name at each aggregator.

    Args:
        context: of prompt and completion, tokens.
        max_output: of a completion, tokens; a higher limit is lowered to it.
        can: a request that needs more passes this model over.
        limit: its one name for the limit on a completion; None: it knows both.
        rejects: hints dropped at a call; `developer` becomes `system` instead.
        one_of: hints of which it takes one; the first that is given is kept.
        temperature_max: a higher temperature is lowered to it.
        efforts: the `reasoning_effort`s it takes, another becomes the nearest; empty: dropped.
        ids: its name at each aggregator.
        usd_per_mtok: its own price, as `Price.of` takes it, in place of the list's.
        batch: its batch endpoint; None: batch jobs ask it in real time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    context: Annotated[int, Field(ge=1)]
    max_output: Annotated[int, Field(ge=1)] | None = None
    can: list[Capability] = []
    limit: Literal["max_tokens", "max_completion_tokens"] | None = None
    rejects: list[Hint] = []
    one_of: list[Hint] = []
    temperature_max: Annotated[float, Field(ge=0, le=2)] | None = None
    efforts: list[Effort] | None = None
    ids: Annotated[dict[str, str], Field(min_length=1)]
    usd_per_mtok: dict[str, Any] | None = None
    batch: BatchTable | None = None
