"""A log of requests -> what routing would make of them: tiers, cost by model set, savings. No call.

Each prompt is classified here and decided by the policy, as if every aggregator had a key. Costs
are at list prices for the tokens of the log; where it tells none of an answer, for as many as the
policy expects, and for half and twice as many. Every model set is charged for the same tokens.

Memory stays flat: money is summed up in nano-USD as it comes, also for resamples of the rows, in
which each counts as often as a Poisson number of mean 1 says (Hanley, MacGibbon: Creating
non-parametric bootstrap samples using Poisson frequencies, 2006).
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fareway.asks import Bounds, Needs
from fareway.decide import Decision, decide, tier_candidates
from fareway.errors import BadRequest
from fareway.logged import Logged, count
from fareway.policy import TIERS, Policy, Tier
from fareway.prices import NANO, Price, Usage
from fareway.render import last_user, render, shorten, text_of
from fareway.verdict import Verdict
from fareway.wire import words

#: Parts of the expected completion that an answer of unknown length is taken to have.
LENGTHS = (Decimal("0.5"), Decimal(1), Decimal(2))
RESAMPLES, SEED = 500, 1
#: 90 % intervals.
ENDS = (0.05, 0.95)
#: Faults that are told, examples of a tier, and characters of one.
FAULTS, EXAMPLES, SHORT = 10, 3, 100
ROUTED, PREMIUM = "the policy's tiers", "all-premium"


class Scorer(Protocol):
    def count(self, text: str) -> int: ...
    def score_many(self, texts: Sequence[str], *, workers: int = 1) -> list[Verdict]: ...


@dataclass(frozen=True, slots=True)
class Range:
    """A figure, and between what it lies."""

    value: float
    low: float
    high: float


@dataclass(slots=True)
class Way:
    """Requests that go the same way. Units: tokens; `nano_usd` at the expected length."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class ModelSet:
    """What all requests cost at a set of models.

    Args:
        model: that takes all; empty where each tier has its own.
        usd: USD of all; low and high by the lengths of answers that the log does not tell.
        saving: part of what all-premium costs that is not spent; low and high by these lengths and
            by resampling, 90 %.
    """

    name: str
    model: str
    usd: Range
    saving: Range


@dataclass(frozen=True, slots=True)
class Profile:
    """What was found.

    Args:
        ways: (tier, lane, model) -> its requests.
        fields: where prompts and tokens were found -> of how many rows.
        lengths: how an answer's tokens are known (logged, counted, assumed) -> of how many rows.
        faults: the first of the `faulty` rows, with their lines.
        examples: tier -> prompts, shortened, drawn by their hash.
    """

    requests: int
    faulty: int
    sensitive: int
    ways: Mapping[tuple[Tier, str, str], Way]
    sets: Sequence[ModelSet]
    fields: Mapping[str, int]
    lengths: Mapping[str, int]
    faults: Sequence[str]
    examples: Mapping[Tier, Sequence[str]]


@dataclass(slots=True)
class Profiler:
    """Takes rows, sums them up.

    Args:
        examples: whether prompts are kept for examples.
        workers: prompts scored side by side.
    """

    policy: Policy
    scorer: Scorer
    examples: bool = True
    workers: int = 1
    _ways: dict[tuple[Tier, str, str], Way] = field(default_factory=dict)
    _fields: Counter[str] = field(default_factory=Counter)
    _lengths: Counter[str] = field(default_factory=Counter)
    _faulty: int = 0
    _faults: list[str] = field(default_factory=list)
    _kept: dict[Tier, list[tuple[int, str]]] = field(default_factory=dict)
    _fixed: dict[str, tuple[str, Price]] = field(init=False)
    _sums: NDArray[np.int64] = field(init=False)  # [1 + RESAMPLES, LENGTHS, sets] nano-USD
    _luck: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._fixed = _fixed_sets(self.policy)
        self._sums = np.zeros((1 + RESAMPLES, len(LENGTHS), 1 + len(self._fixed)), dtype=np.int64)
        self._luck = np.random.default_rng(SEED)

    def add(self, rows: Sequence[Logged]) -> None:
        """Some rows of the log; they are classified together."""
        sound = [row for row in rows if not self._fault(row)]
        texts = [render(row.body["messages"]) for row in sound]
        costs = []
        for row, verdict in zip(
            sound, self.scorer.score_many(texts, workers=self.workers), strict=True
        ):
            needs = Needs.of(row.body, _limit(row.body), _choices(row.body))
            try:
                decision = decide(self.policy, self.policy.aggregators, verdict, Bounds(), needs)
            except BadRequest as error:
                self._fault(Logged(row.line, {}, fault=f"line {row.line}: {error.message}"))
                continue
            costs.append(self._counted(row, decision, needs))
        nano = np.array(costs, dtype=np.int64).reshape(-1, *self._sums.shape[1:])
        self._sums[0] += nano.sum(axis=0)
        weights = self._luck.poisson(1, (RESAMPLES, len(nano)))
        self._sums[1:] += np.einsum("rn,nls->rls", weights, nano)

    def _fault(self, row: Logged) -> bool:
        if row.fault:
            self._faulty += 1
            self._faults += [row.fault] if len(self._faults) < FAULTS else []
        return bool(row.fault)

    def _counted(self, row: Logged, decision: Decision, needs: Needs) -> list[list[int]]:
        """Counts a request -> [LENGTHS, sets] what it costs, nano-USD."""
        self._fields.update(row.fields)
        usages = self._usages(row, needs)
        first = decision.candidates[0]
        assert first.tier is not None
        assert first.price is not None  # a policy's own models are priced
        prices = [first.price, *(price for _, price in self._fixed.values())]
        nano = [[int(price.cost_usd(usage) / NANO) for price in prices] for usage in usages]
        way = self._ways.setdefault((first.tier, decision.lane, first.model), Way())
        way.requests += 1
        way.prompt_tokens += usages[1].prompt_tokens
        way.completion_tokens += usages[1].completion_tokens
        way.nano_usd += nano[1][0]
        if self.examples:
            self._keep(first.tier, row.body["messages"])
        return nano

    def _usages(self, row: Logged, needs: Needs) -> list[Usage]:
        """Of each length, the tokens that a request uses."""
        told = row.usage or Usage(0, 0)
        asked = told.prompt_tokens or self.scorer.count("\n".join(words(row.body["messages"])))
        if answered := told.completion_tokens:
            self._lengths["logged"] += 1
        elif row.answer:
            answered = self.scorer.count(row.answer)
            self._lengths["counted"] += 1
        else:
            self._lengths["assumed"] += 1
            expected = self.policy.expected_completion_tokens
            most = needs.completion_tokens
            lengths = [int(expected * part) for part in LENGTHS]
            lengths = lengths if most is None else [min(n, most) for n in lengths]
            return [Usage(asked, n * needs.choices, told.cached_tokens) for n in lengths]
        usage = Usage(asked, answered, told.cached_tokens, reasoning_tokens=told.reasoning_tokens)
        return [usage] * len(LENGTHS)

    def _keep(self, tier: Tier, messages: Sequence[Mapping[str, Any]]) -> None:
        """Those whose hashes are the least: a draw by lot in which equal prompts count once."""
        last = last_user(messages)
        said = text_of(messages[last].get("content"))[: 100 * SHORT]
        plain = "".join(c if c.isprintable() else " " for c in said)  # no escapes for a terminal
        text = shorten(" ".join(plain.split()), SHORT)
        if last < 0 or not text:
            return
        entry = (-int.from_bytes(hashlib.sha256(text.encode()).digest()), text)
        kept = self._kept.setdefault(tier, [])
        if entry not in kept:
            heapq.heappush(kept, entry)
        if len(kept) > EXAMPLES:
            heapq.heappop(kept)

    def profile(self) -> Profile:
        """What was found so far."""
        return Profile(
            requests=sum(way.requests for way in self._ways.values()),
            faulty=self._faulty,
            sensitive=sum(
                w.requests for (_, lane, _), w in self._ways.items() if lane != "standard"
            ),
            ways=dict(sorted(self._ways.items(), key=lambda w: (TIERS.index(w[0][0]), *w[0][1:]))),
            sets=self._sets(),
            fields=self._fields,
            lengths=self._lengths,
            faults=self._faults,
            examples={
                tier: [text for _, text in self._kept[tier]] for tier in TIERS if tier in self._kept
            },
        )

    def _sets(self) -> list[ModelSet]:
        names = {ROUTED: ""} | {n: model for n, (model, _) in self._fixed.items()}
        premium = self._sums[..., list(names).index(PREMIUM)].astype(np.float64)
        found = []
        for place, (name, model) in enumerate(names.items()):
            nano = self._sums[..., place]
            usd = [float(n) / 1e9 for n in nano[0]]
            found.append(
                ModelSet(name, model, Range(usd[1], min(usd), max(usd)), _saving(nano, premium))
            )
        return found


def _saving(nano: NDArray[np.int64], premium: NDArray[np.float64]) -> Range:
    """[1 + RESAMPLES, LENGTHS] -> the part that is saved; of few rows a resample may hold none."""
    if not premium[0].all():
        return Range(0.0, 0.0, 0.0)
    saved = 1 - nano / np.where(premium > 0, premium, np.nan)
    low, high = np.nanquantile(saved[1:], ENDS, axis=0)
    return Range(float(saved[0, 1]), float(low.min()), float(high.max()))


def _fixed_sets(policy: Policy) -> dict[str, tuple[str, Price]]:
    """Name -> the one model that takes all, and its price: the baseline, each tier's first."""
    sets = {PREMIUM: (policy.baseline, policy.baseline_price())}
    for tier in reversed(TIERS[:-1]):
        first = tier_candidates(policy, tuple(policy.aggregators), tier, False)[0]
        assert first.price is not None
        sets[f"all-{tier}"] = (first.model, first.price)
    return sets


def _limit(body: Mapping[str, Any]) -> int | None:
    """The request's limit on its answer, tokens."""
    names = ("max_completion_tokens", "max_tokens", "max_output_tokens")
    return next((n for name in names if (n := count(body.get(name)))), None)


def _choices(body: Mapping[str, Any]) -> int:
    return max(1, count(body.get("n")))
