"""Settings -> the parts of a running Fareway, put together. The only room that knows them all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fareway.athena import Athena
from fareway.aws import Aws
from fareway.breaker import Breakers
from fareway.budget import Budgets
from fareway.circuits import Circuits
from fareway.classify import Classifier
from fareway.corrections import Corrections
from fareway.decisions import Decisions
from fareway.dispatch import Dispatcher
from fareway.errors import ClassifierUnavailable, ConfigError
from fareway.feedback import Feedback
from fareway.judge import Judge
from fareway.keys import Keys, KeyTable, OneKey
from fareway.ledger import Ledger
from fareway.log import log
from fareway.memory import Memory
from fareway.opinions import Opinions
from fareway.policy import Policy, load_policy
from fareway.policy_store import policy_in_force
from fareway.providers.aggregator import Aggregator
from fareway.providers.http import Http
from fareway.rate import Rates
from fareway.remember import Remembering
from fareway.route import Router
from fareway.savings import Savings
from fareway.scorer_process import ScorerProcess
from fareway.scoring import Scoring
from fareway.sessions import Sessions
from fareway.settings import Settings
from fareway.teacher import NAME, Teacher
from fareway.verdicts import Verdicts

#: Budgets of memory's writes, in budgets of its read.
WRITES = 4


@dataclass(slots=True)
class Gateway:
    """A running Fareway: who may ask, and how often, the router, and what is closed at the end."""

    settings: Settings
    policy: Policy
    classifier: Classifier | None
    keys: Keys
    rates: Rates
    budgets: Budgets
    router: Router
    feedback: Feedback
    savings: Savings
    aws: Aws
    http: Http

    @property
    def scoring(self) -> Scoring:
        return self.router.judge.verdicts.scoring

    async def close(self) -> None:
        await self.router.close()
        self.scoring.close()
        await self.budgets.close()
        await self.http.aclose()
        await self.aws.close()


def build(
    settings: Settings, classifier: Classifier | None = None, *, scorer_process: bool = False
) -> Gateway:
    """Puts a Gateway together.

    Args:
        classifier: one that is loaded already.
        scorer_process: whether prompts are scored in a process of its own, for which a core is
            there.

    Raises:
        ConfigError: a faulty policy, or upstream keys that cannot be read.
    """
    with ThreadPoolExecutor(1) as beside:  # while AWS is asked
        loading = None if classifier else beside.submit(load_classifier, settings)
        file = policy_in_force(settings)
        policy = load_policy(file)
        upstream_keys = upstream_keys_of(settings)
    classifier = loading.result() if loading else classifier
    aws, rules = Aws(), policy.attempts
    http = Http()
    aggregators = aggregators_of(settings, policy, upstream_keys, http)
    if not aggregators:
        log("warning", "no aggregator has a key", aggregators=list(policy.aggregators))
    budgets = Budgets(aws, settings.spend_table)
    budget_s = settings.cache_budget_ms / 1000
    memory = Memory(
        aws,
        settings.cache_table,
        settings.sessions_table,
        budget_s,
        _memory_secret(upstream_keys),
    )
    # what is written goes out beside the cost event, which takes its time too
    sessions = Sessions(aws, settings.sessions_table, WRITES * budget_s)
    decisions = Decisions(aws, settings.decisions_table, WRITES * budget_s)
    corrections = Corrections(
        aws, settings.cache_table, policy.escalation, memory.forget, WRITES * budget_s
    )
    apart = (
        ScorerProcess(settings.classifier_dir, classifier.version, settings.classifier_threads)
        if classifier and scorer_process
        else None
    )
    verdicts = Verdicts(
        policy.version,
        Scoring(classifier, settings.classifier_budget_ms / 1000, apart),
        memory,
        _router_teacher(settings, policy, upstream_keys, http),
    )
    circuits = Circuits(
        Breakers(rules.breaker_failures, rules.breaker_cooldown_ms / 1000),
        aws,
        settings.circuits_table,
        circuit_names(policy, aggregators),
    )
    ledger = Ledger(
        aws, settings.ledger_stream, settings.ledger_bucket, settings.ledger_budget_ms / 1000
    )
    router = Router(
        policy=policy,
        judge=Judge(policy, verdicts, tuple(aggregators), shadow=load_shadow(policy, file.parent)),
        remembering=Remembering(policy.escalation, sessions, decisions, corrections),
        dispatcher=Dispatcher(aggregators, rules, circuits),
        ledger=ledger,
        budgets=budgets,
        aggregators=tuple(aggregators),
    )
    keys: Keys = (
        KeyTable(aws, settings.keys_table) if settings.keys_table else OneKey(settings.api_key)
    )
    if settings.keys_table and not settings.spend_table:
        log("warning", "no spend table: budgets and rates of keys do not hold")
    rates = Rates(aws, settings.spend_table)
    opinions = Opinions(aws, settings.ledger_bucket, settings.ledger_budget_ms / 1000)
    feedback = Feedback(policy.escalation, sessions, decisions, corrections, opinions)
    has_lake = settings.athena_workgroup and settings.ledger_database
    savings = Savings(policy, partial(_athena, settings) if has_lake else None)
    return Gateway(
        settings, policy, classifier, keys, rates, budgets, router, feedback, savings, aws, http
    )


def load_shadow(policy: Policy, folder: Path) -> Policy | None:
    """The policy that decides without acting; None where there is none, or it has faults."""
    if not policy.shadow.share:
        return None
    try:
        return load_policy(folder / policy.shadow.policy)
    except ConfigError as error:
        log("error", "shadow policy unavailable", reason=error.message)
        return None


def circuit_names(policy: Policy, aggregators: Iterable[str]) -> list[str]:
    """What can rest: each aggregator, and each of the policy's models at it."""
    at = [(a, name) for a in aggregators for name, m in policy.models.items() if a in m.ids]
    return [*aggregators, *(f"{aggregator}/{name}" for aggregator, name in at)]


def load_classifier(settings: Settings) -> Classifier | None:
    """The classifier, or None: an endpoint without one still answers, at the safe tier."""
    try:
        return Classifier.load(settings.classifier_dir, threads=settings.classifier_threads)
    except ClassifierUnavailable as error:
        log("error", "classifier unavailable", reason=error.message)
        return None


def load_teacher(settings: Settings, policy: Policy, http: Http) -> Teacher:
    """The LLM that the policy's `[classifier]` names, whatever its mode.

    Raises:
        ConfigError: it names none, or one at an aggregator that has no key.
    """
    return _teacher(settings, policy, upstream_keys_of(settings), http)


def _router_teacher(
    settings: Settings, policy: Policy, keys: Mapping[str, str], http: Http
) -> Teacher | None:
    """The teacher in mode "llm"; None if it cannot be asked: the shipped model does its work."""
    if policy.classifier.mode == "onnx":
        return None
    try:
        return _teacher(settings, policy, keys, http)
    except ConfigError as error:
        log("error", "teacher unavailable", reason=error.message)
        return None


def _teacher(settings: Settings, policy: Policy, keys: Mapping[str, str], http: Http) -> Teacher:
    table, rules = policy.classifier, policy.attempts
    if table.model is None or (table.aggregator is None and table.base_url is None):
        raise ConfigError("[classifier]", ["name a model, and an aggregator or a base_url"])
    if table.base_url is not None:
        where = settings.base_urls.get(NAME, table.base_url)
        # A model on one's own machine asks for no key, but the header must have a word.
        endpoint = Aggregator(NAME, where, keys.get(NAME) or "none", http, {})
    else:
        assert table.aggregator is not None
        variable = f"{table.aggregator.upper()}_API_KEY"
        known = aggregators_of(settings, policy, keys, http)
        if table.aggregator not in known:
            raise ConfigError("[classifier]", [f"{table.aggregator} has no key: set {variable}"])
        endpoint = known[table.aggregator]
    breakers = Breakers(rules.breaker_failures, rules.breaker_cooldown_ms / 1000)
    return Teacher(endpoint, table.model, table.budget_ms / 1000, breakers)


def aggregators_of(
    settings: Settings, policy: Policy, keys: Mapping[str, str], http: Http
) -> dict[str, Aggregator]:
    """Those of the policy that have a key, in its order."""
    return {
        name: Aggregator(
            name=name,
            base_url=settings.base_urls.get(name, table.base_url),
            api_key=keys[name],
            http=http,
            headers=table.headers,
        )
        for name, table in policy.aggregators.items()
        if keys.get(name)
    }


def _athena(settings: Settings) -> Athena:
    """The lake; what it takes must fit into a request, which API Gateway cuts off at 29 s."""
    config = Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 3})
    client = boto3.client("athena", config=config)
    return Athena(client, settings.athena_workgroup, settings.ledger_database, timeout_s=22)


def _memory_secret(upstream_keys: Mapping[str, str]) -> bytes:
    """The key of memory's hashes: made of secrets that the tables do not hold.

    It is the same in all processes; with other upstream keys derivatives are learned anew.
    """
    return hashlib.sha256(json.dumps(["memory", upstream_keys], sort_keys=True).encode()).digest()


def upstream_keys_of(settings: Settings) -> dict[str, str]:
    """Keys by aggregator; the environment's go before the secret's."""
    return _secret_keys(settings) | dict(settings.upstream_keys)


def _secret_keys(settings: Settings) -> dict[str, str]:
    """The secret holds `{"openrouter": "sk-...", "tokenmix": "..."}`."""
    if not settings.upstream_secret:
        return {}
    client = boto3.client(
        "secretsmanager",
        config=Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 3}),
    )
    try:
        secret = client.get_secret_value(SecretId=settings.upstream_secret)["SecretString"]
        keys = json.loads(secret)
        return {str(name): str(key).strip() for name, key in keys.items() if str(key).strip()}
    except (BotoCoreError, ClientError) as error:
        raise ConfigError("upstream secret", [type(error).__name__]) from error
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            "upstream secret", ["it is not a JSON object of names and keys"]
        ) from error
