"""Settings -> the parts of a batch job; apart from `wiring`, for no request needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fareway.aws import Aws
from fareway.batch.lanes import Offers
from fareway.breaker import Breakers
from fareway.circuits import Circuits
from fareway.dispatch import Dispatcher
from fareway.policy import Policy
from fareway.providers import anthropic_batch, openai_batch
from fareway.providers.anthropic_batch import AnthropicBatch
from fareway.providers.batch_api import BatchProvider, Client
from fareway.providers.http import Http
from fareway.providers.openai_batch import OpenAIBatch
from fareway.settings import Settings
from fareway.wiring import aggregators_of, upstream_keys_of


@dataclass(frozen=True, slots=True)
class Batching:
    """Who answers batch jobs.

    Args:
        offers: those with a key.
        providers: all, so that a job can be planned without a key.
        dispatcher: for what is asked in real time.
    """

    offers: Offers
    providers: Mapping[str, BatchProvider]
    dispatcher: Dispatcher


def build_batch(settings: Settings, policy: Policy, http: Http) -> Batching:
    """The parts of a batch job.

    Raises:
        ConfigError: upstream keys that cannot be read.
    """
    keys, rules = upstream_keys_of(settings), policy.attempts
    aggregators = aggregators_of(settings, policy, keys, http)

    def client(name: str, url: str, headers: Mapping[str, str]) -> Client:
        return Client(settings.base_urls.get(name, url), headers, http)

    anthropic = {
        "x-api-key": keys.get("anthropic", ""),
        "anthropic-version": anthropic_batch.VERSION,
    }
    openai = {"authorization": f"Bearer {keys.get('openai', '')}"}
    providers: dict[str, BatchProvider] = {
        "openai": OpenAIBatch(client("openai", openai_batch.URL, openai)),
        "anthropic": AnthropicBatch(client("anthropic", anthropic_batch.URL, anthropic)),
    }
    offers = Offers(tuple(name for name in providers if keys.get(name)), tuple(aggregators))
    breakers = Breakers(rules.breaker_failures, rules.breaker_cooldown_ms / 1000)
    return Batching(offers, providers, Dispatcher(aggregators, rules, Circuits(breakers, Aws())))
