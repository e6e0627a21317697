"""A deployment's settings -> what is well with it, what is not, and what to do.

Nothing is changed. Only the last checks call an aggregator, one token each, for far below a cent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from fareway.adapt import adapt
from fareway.bill import bill
from fareway.classify import Classifier
from fareway.errors import ClassifierUnavailable, ConfigError, ProviderError
from fareway.inventory import AWS_FAILURES, Finding, client_of, take_stock
from fareway.policy import Policy, load_policy
from fareway.policy_store import policy_in_force
from fareway.prices import Usage
from fareway.providers.aggregator import Aggregator, Completion
from fareway.providers.http import Http
from fareway.remedy import aws_remedy, upstream_remedy
from fareway.render import render_prompt
from fareway.settings import Settings
from fareway.wiring import aggregators_of, load_shadow, upstream_keys_of

#: Of a call to an aggregator, seconds.
_CALL_S = 30.0


def examine(env: Mapping[str, str], *, function: str = "", live: bool = True) -> Iterator[Finding]:
    """Every check, each as soon as it is made. Never raises.

    Args:
        env: the environment.
        function: a deployed function, whose `FAREWAY_*` settings are taken before the
            environment's; empty: the environment's alone.
        live: whether aggregators are called, which costs money.
    """
    try:
        settings = Settings.from_env(dict(env) | (deployed(function) if function else {}))
    except ConfigError as error:
        yield Finding("settings", "failed", error.message, "mend each of these variables")
        return
    except AWS_FAILURES as error:
        fix = aws_remedy(error, "--function", "lambda:GetFunctionConfiguration")
        yield Finding("settings", "failed", f"{function}: {error}", fix)
        return
    yield Finding("settings", "ok", f"stage {settings.stage}, of {function or 'the environment'}")
    policy: Policy | None = None
    file = policy_in_force(settings)
    try:
        policy = load_policy(file)
    except ConfigError as error:
        yield Finding("policy", "failed", error.message, "mend each fault in the policy's file")
    else:
        yield from _policy(policy, file)
    yield _classifier(settings)
    yield from take_stock(settings)
    keys, finding = _keys(settings, policy)
    yield finding
    if policy is not None:
        yield from _aggregators(settings, policy, keys, live)


def deployed(function: str) -> dict[str, str]:
    """The `FAREWAY_*` variables of a function, as its callers meet it.

    Raises:
        ClientError, BotoCoreError: Lambda does not tell them.
    """
    answer = client_of("lambda").get_function_configuration(FunctionName=function, Qualifier="live")
    variables = answer.get("Environment", {}).get("Variables", {})
    return {name: value for name, value in variables.items() if name.startswith("FAREWAY_")}


def _policy(policy: Policy, file: Path) -> Iterator[Finding]:
    yield Finding("policy", "ok", f"version {policy.version}, {len(policy.models)} models")
    # a policy with a model without a price does not load
    yield Finding("prices", "ok", f"{policy.prices.version}; every model of the policy has a price")
    if policy.shadow.share and load_shadow(policy, file.parent) is None:
        fix = f"put a sound {policy.shadow.policy} beside the policy, or set share = 0"
        yield Finding("shadow policy", "failed", f"{policy.shadow.policy} does not load", fix)


def _classifier(settings: Settings) -> Finding:
    try:
        classifier = Classifier.load(settings.classifier_dir)
        begun = time.perf_counter()
        verdict = classifier.score(render_prompt("What is the capital of France?"))
    except ClassifierUnavailable as error:
        fix = "restore models/classifier from git, or set FAREWAY_CLASSIFIER_DIR to a sound one"
        return Finding("classifier", "failed", error.message, fix)
    ms = (time.perf_counter() - begun) * 1000
    told = f"{classifier.version}, checksums right, a first prompt in {ms:.1f} ms"
    if not 1 <= verdict.score < 3:
        fix = "'fareway eval' it, or go back to the shipped model"
        return Finding(
            "classifier", "warning", f"{told}, a simple one scored {verdict.score:.1f}", fix
        )
    return Finding("classifier", "ok", told)


def _keys(settings: Settings, policy: Policy | None) -> tuple[dict[str, str], Finding]:
    """Upstream keys by name, and what is to be said of them; never a key."""
    try:
        keys = upstream_keys_of(settings)
    except ConfigError as error:
        cause = error.__cause__
        fix = 'put {"openrouter": "sk-...", "tokenmix": "..."} into the secret'
        if isinstance(cause, AWS_FAILURES):
            fix = aws_remedy(cause, "FAREWAY_UPSTREAM_SECRET", "secretsmanager:GetSecretValue")
        keys = dict(settings.upstream_keys)
        return keys, Finding("upstream keys", "failed", error.message, fix)
    # those of batch endpoints answer no request
    if not (keys.keys() & set(policy.aggregators) if policy else keys):
        fix = "set OPENROUTER_API_KEY or TOKENMIX_API_KEY, or put them into the upstream secret"
        return keys, Finding("upstream keys", "failed", "no aggregator has a key", fix)
    return keys, Finding("upstream keys", "ok", f"of {', '.join(sorted(keys))}")


def _aggregators(
    settings: Settings, policy: Policy, keys: dict[str, str], live: bool
) -> Iterator[Finding]:
    """A call to each, of one token, to its cheapest model."""
    for name in policy.aggregators:
        if name not in keys:
            fix = f"set {name.upper()}_API_KEY, or take it out of policy.toml"
            yield Finding(name, "warning", "no key: it is passed over", fix)
        elif not live:
            yield Finding(name, "skipped", "not called")
        else:
            yield asyncio.run(_called(settings, policy, keys, name))


async def _called(settings: Settings, policy: Policy, keys: dict[str, str], name: str) -> Finding:
    http = Http()
    at = aggregators_of(settings, policy, keys, http)[name]
    model = cheapest(policy, name)
    if model is None:
        return Finding(
            name, "warning", "no model of the policy is there", "give one in policy.toml"
        )
    id_ = policy.models[model].ids[name]
    begun = time.perf_counter()
    try:
        completion = await _one_token(at, policy, model, id_)
    except ProviderError as error:
        told = f"{id_} at {at.base_url}: {error.kind}"
        return Finding(name, "failed", told, upstream_remedy(error, name, id_))
    finally:
        await http.aclose()
    ms = (time.perf_counter() - begun) * 1000
    usage = completion.usage or Usage(8, 1, estimated=True)
    price = policy.price(model, name)
    cost = bill(usage, completion.cost_usd, completion.served_model, price, policy.prices, None)
    paid = "unpriced" if cost.cost_usd is None else f"{cost.cost_usd:f} USD"
    told = f"{completion.served_model} answered in {ms:.0f} ms, for {paid}"
    return Finding(name, "ok", told, cost_usd=cost.cost_usd)


async def _one_token(at: Aggregator, policy: Policy, model: str, id_: str) -> Completion:
    asked = {"messages": [{"role": "user", "content": "Say OK."}], "max_tokens": 1}
    body, _ = adapt(asked, policy.models[model])
    return await at.complete(id_, body, _CALL_S)


def cheapest(policy: Policy, aggregator: str) -> str | None:
    """The policy's model with the least price of a token in and one out, at an aggregator."""
    there = [name for name, model in policy.models.items() if aggregator in model.ids]

    def usd(name: str) -> Decimal:
        price = policy.price(name, aggregator)
        return price.input + price.output

    return min(there, key=usd, default=None)
