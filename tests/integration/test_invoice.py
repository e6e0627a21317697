"""Our costs against the providers' own invoices, over 10,000 requests of every kind.

The app and two simulated aggregators in this process, without sockets, so that it takes seconds;
then a batch job's rows, at both batch APIs and, where there is none for a model, at an aggregator.
Each provider bills a line for each generation, with genai-prices' arithmetic, which shares no
code with ours. A completion's id ties a cost event to its line.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientPayloadError

from fareway.app import create_app
from fareway.batch.store import Folder, read
from fareway.budget import Reservation
from fareway.caller import Allowance, Caller
from fareway.errors import BudgetExceeded
from fareway.settings import Settings
from fareway.wiring import build
from local.aggregator import create_app as aggregator
from local.batch import create_app as batch_apis
from local.batch_simulation import Simulation
from local.invoice import Line
from local.serving import serve
from local.simulation import Failure
from tests.batching import World, a_file
from tests.builders import POLICY_FILE

#: Of 10,000 requests, those of one caller at a time, and the rows of a batch job.
REQUESTS, ROWS, AT_ONCE, ROUND = 8_500, 1_500, 24, 250
MICRO, NANO = Decimal("0.000001"), Decimal("0.000000001")
EXACT = ("provider", "price_table")
#: Nobody waits in a test: breakers try again at once, and a failure is followed by the next try.
RULES = {
    "backoff_ms = 150": "backoff_ms = 1",
    "breaker_cooldown_ms = 15_000": "breaker_cooldown_ms = 1",
}
QUESTIONS = [
    f"{verb} {what}{end}"
    for verb in ("Where is", "Explain", "Translate into French:", "Prove something about")
    for what in ("my parcel", "the moon", "prime numbers", "a bank account", "the invoice")
    for end in ("?", ", please.", " in a table.")
]
#: Beyond 1,024 tokens the simulators cache a prompt's head.
LONG = [
    f"The {subject}: " + f"the {subject} and what is of it, " * 200 for subject in ("sea", "sky")
]


class Reply:
    """A simulator's answer, as aiohttp's response; it is made as it is read."""

    def __init__(self) -> None:
        self.status, self.headers = 0, dict[str, str]()
        self.begun = asyncio.Event()
        self.parts: asyncio.Queue[bytes | None] = asyncio.Queue(2)
        self.content = self
        self.task: asyncio.Task[None] | None = None
        self._sent, self._ended = 0, False

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            self.begun.set()
        elif message.get("body"):
            self._sent += len(message["body"])
            await self.parts.put(message["body"])

    async def run(self, app: Any, scope: dict[str, Any], receive: Any) -> None:
        with suppress(ConnectionError):
            await app(scope, receive, self.send)
            if int(self.headers.get("content-length", self._sent)) == self._sent:
                self._ended = True
        await self.parts.put(None)

    async def readany(self) -> bytes:
        if self.at_eof():
            return b""
        part = await self.parts.get()
        if part is None and not self._ended:
            raise ClientPayloadError("the connection is lost")
        return part or b""

    async def read(self) -> bytes:
        return b"".join([part async for part in _until_empty(self.readany)])

    def at_eof(self) -> bool:
        return self._ended and self.parts.empty()

    def close(self) -> None:
        if self.task:
            self.task.cancel()

    release = close

    async def __aenter__(self) -> Reply:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


async def _until_empty(read: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    while part := await read():
        yield part


@dataclass
class Wire:
    """An `Http` whose session is a simulator's app."""

    app: Any

    def session(self) -> Wire:
        return self

    async def post(self, url: str, *, data: bytes, headers: dict[str, str], **_: Any) -> Reply:
        sent, reply = iter([{"type": "http.request", "body": data}]), Reply()

        async def receive() -> dict[str, Any]:
            if message := next(sent, None):
                return message
            await asyncio.Event().wait()
            raise AssertionError

        scope = asgi_scope(urlsplit(url).path, headers)
        reply.task = asyncio.create_task(reply.run(self.app, scope, receive))
        await reply.begun.wait()
        return reply

    async def aclose(self) -> None:
        return None


def asgi_scope(path: str, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


class Keys:
    """Two keys: one that may do everything, one whose budget is spent."""

    async def caller(self, authorization: str | None) -> Caller:
        if authorization == "Bearer poor":
            return Caller("poor", "acme", Allowance(daily_usd=1, over_budget="degrade"))
        return Caller("rich", "acme", Allowance(daily_usd=10**6))


@dataclass
class Purse:
    """Budgets in memory: what was settled, by key."""

    settled: Counter[str] = field(default_factory=Counter)

    async def reserve(
        self, caller: Caller, estimate_usd: Decimal, *, over: bool = False
    ) -> Reservation:
        if caller.key_id == "poor" and not over:
            raise BudgetExceeded("The budget is spent.", left_usd=Decimal(0))
        return Reservation(caller.key_id, "held", datetime.now(UTC), 0)

    async def settle(self, held: Reservation | None, cost_usd: Decimal | None) -> None:
        if held and cost_usd is not None:
            self.settled[held.key_id] += cost_usd


@dataclass
class Told:
    """What requests left: cost events, each with its completion's id. Takes the ledger's place."""

    outcomes: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)

    async def after(self, asked: Any, routed: Any, outcome: Any) -> int:
        self.outcomes.append(outcome)
        return 0

    async def record(self, event: Any) -> str:
        self.events.append(event)
        return "stream"


async def ask(app: Any, path: str, body: Any, key: str = "rich", leave_after: int = 0) -> int:
    """One request -> its status.

    Args:
        leave_after: parts of the answer after which the caller is gone; 0: it stays.
    """
    told = {"status": 0, "parts": 0}
    asked = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not asked.is_set():
            asked.set()
            return {"type": "http.request", "body": json.dumps(body).encode()}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        told["status"] = message.get("status", told["status"])
        told["parts"] += message["type"] == "http.response.body"
        if leave_after and told["parts"] > leave_after:
            raise OSError("the caller is gone")

    scope = asgi_scope(path, {"authorization": f"Bearer {key}"})
    await app(scope, receive, send)
    return told["status"]


CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"


def chat(luck: random.Random, **fields: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": luck.choice(QUESTIONS)}]
    return {"model": "fareway/auto", "messages": said, **fields}


def cached(luck: random.Random) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": luck.choice(LONG)},
        {"role": "user", "content": luck.choice(QUESTIONS)},
    ]
    return chat(luck, messages=messages, stream=luck.random() < 0.5)


Asked = tuple[str, dict[str, Any], dict[str, Any]]
#: What is asked, how often of a hundred, and how.
KINDS: dict[str, tuple[int, Callable[[random.Random], Asked]]] = {
    "whole": (24, lambda r: (CHAT, chat(r), {})),
    "stream": (14, lambda r: (CHAT, chat(r, stream=True), {})),
    "stream with usage": (
        8,
        lambda r: (CHAT, chat(r, stream=True, stream_options={"include_usage": True}), {}),
    ),
    "cached prompt": (12, lambda r: (CHAT, cached(r), {})),
    "reasoning": (8, lambda r: (CHAT, chat(r, model="fareway/premium"), {})),
    "several choices": (6, lambda r: (CHAT, chat(r, n=r.randint(2, 4)), {})),
    "short limit": (4, lambda r: (CHAT, chat(r, max_tokens=r.randint(1, 20)), {})),
    "named model": (6, lambda r: (CHAT, chat(r, model="gpt-4o-mini"), {})),
    "degraded": (6, lambda r: (CHAT, chat(r, model="fareway/premium"), {"key": "poor"})),
    "response": (
        5,
        lambda r: (
            RESPONSES,
            {"model": "fareway/auto", "input": r.choice(QUESTIONS), "stream": r.random() < 0.5},
            {},
        ),
    ),
    "embedding": (
        4,
        lambda r: (EMBEDDINGS, {"model": "text-embedding-3-small", "input": r.choice(LONG)}, {}),
    ),
    "caller leaves": (3, lambda r: (CHAT, chat(r, stream=True), {"leave_after": r.randint(1, 4)})),
}
#: What goes wrong at the first aggregator, one after the other, for a part of a round's requests;
#: in every second round it is down.
FAULTS = ("refuse_500", "429", "html_502", "error_in_200", "invalid_json", "drop", "lost")


@dataclass
class Month:
    """What 8,500 requests left.

    Args:
        lines: of both invoices.
        aggregators: their apps.
    """

    statuses: Counter[int]
    told: Told
    purse: Purse
    lines: list[Line]
    aggregators: dict[str, Any]


async def _month(policy_file: Path) -> Month:
    apps = {name: aggregator(name, latency_scale=0) for name in ("tokenmix", "openrouter")}
    simulations = {name: app.state.simulation for name, app in apps.items()}
    keys = dict.fromkeys(apps, "k")
    gateway = build(Settings(policy_file=policy_file, api_key="k", upstream_keys=keys))
    told, purse, luck = Told(), Purse(), random.Random(7)
    router: Any = gateway.router
    router.ledger, router.remembering, router.budgets = told, told, purse
    router.dispatcher.aggregators = {
        name: replace(at, http=Wire(apps[name]))
        for name, at in router.dispatcher.aggregators.items()
    }
    app = create_app(replace(gateway, keys=Keys()))
    statuses: Counter[int] = Counter()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(kind: str) -> None:
        async with gate:
            path, body, options = KINDS[kind][1](luck)
            statuses[await ask(app, path, body, **options)] += 1

    weights = [often for often, _ in KINDS.values()]
    for number in range(REQUESTS // ROUND):
        down = Failure("refuse_500") if number % 2 else None
        fault = down or Failure(FAULTS[number // 2 % len(FAULTS)], times=ROUND // 10)
        simulations["tokenmix"].failures[:] = [fault]
        await asyncio.gather(*(one(kind) for kind in luck.choices([*KINDS], weights, k=ROUND)))
    await gateway.close()
    lines = [line for one in simulations.values() for line in one.invoice.lines]
    return Month(statuses, told, purse, lines, apps)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    text = POLICY_FILE.read_text(encoding="utf-8")
    for old, new in RULES.items():
        assert old in text
        text = text.replace(old, new)
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(text, encoding="utf-8")
    return asyncio.run(_month(file))


@dataclass
class Batch:
    """What the rows of a job left.

    Args:
        events: of the ledger.
        invoices: by provider, the lines of this job alone.
    """

    events: list[dict[str, Any]]
    invoices: dict[str, list[Line]]


@pytest.fixture(scope="module")
def batch(month: Month, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """A job of easy, hard, sensitive and other rows, some of which fail and are sent again.

    The first batch expires when it is half done, and the aggregator fails for a while.
    """
    kinds = ("easy", "hard", "risky", "usual")
    prompts = [f"{kinds[n % 4]} question {n} " + "and more " * (n % 37) for n in range(ROWS)]
    at = month.aggregators["tokenmix"].state.simulation
    at.failures[:], before = [Failure("refuse_500", times=40)], len(at.invoice.lines)
    app, store = batch_apis(), Folder(tmp_path_factory.mktemp("batch") / "job")
    simulation: Simulation = app.state.simulation
    simulation.fates = ["expired"]
    simulation.misses = [(r"question \d*7 ", "server_error", 40), (r"question 4?1 ", "invalid", 9)]
    with serve(app) as url, serve(month.aggregators["tokenmix"]) as aggregator_url:
        world = World(url, simulation, aggregators={"tokenmix": f"{aggregator_url}/v1"})
        world.all(store, a_file(*prompts))
    told = (read(store, "events.jsonl") or b"").splitlines()
    lines = {name: invoice.lines for name, invoice in simulation.invoices.items()}
    return Batch(
        [json.loads(line)["event"] for line in told],
        lines | {"tokenmix": at.invoice.lines[before:]},
    )


def test_the_requests_were_of_every_kind(month: Month) -> None:
    events = month.told.events
    assert len(events) == sum(month.statuses.values()) == REQUESTS
    assert month.statuses[200] >= REQUESTS * 0.99
    sources = Counter(event.cost_source for event in events)
    assert min(sources["provider"], sources["price_table"]) > 1_000
    for kind in (
        [e for e in events if e.failovers],
        [e for e in events if e.stream and e.status == 200],
        [e for e in events if e.cached_tokens],
        [e for e in events if e.reasoning_tokens],
        [e for e in events if "over budget" in e.reason],
        [e for e in events if e.cost_source == "estimated"],
        [e for e in events if e.status == 499],
    ):
        assert len(kind) >= 50


def test_our_costs_are_the_invoice_to_the_micro_dollar(month: Month) -> None:
    """Each answer whose tokens were told costs what its line says, and all are in the sums.

    What is left of the invoices has no exact counterpart, and no other line has none: streams of
    which no usage came, which the ledger marks as estimated, and answers that were lost on their
    way, which no ledger can know.
    """
    left = {line.id: line for line in month.lines if line.id}
    assert len(left) == sum(1 for line in month.lines if line.id)
    embedded = [line for line in month.lines if not line.id]
    pairs = [(o.event, left.pop(o.completion_id, None)) for o in month.told.outcomes]
    exact = [(event, line) for event, line in pairs if event.cost_source in EXACT and line]
    for event, line in exact:
        assert abs(event.cost_usd - line.cost_usd) < NANO
        assert (event.prompt_tokens, event.cached_tokens) == (line.usage.prompt, line.usage.cached)
        assert not line.cut
    ours = sum(event.cost_usd for event, _ in exact)
    assert abs(ours - sum(line.cost_usd for _, line in exact)) < MICRO / 2
    without = [event for event, line in pairs if event.cost_source in EXACT and not line]
    assert {event.requested_model for event in without} == {"text-embedding-3-small"}
    assert sum(e.cost_usd for e in without) == sum(line.cost_usd for line in embedded) > 0

    guessed = [(event, line) for event, line in pairs if event.cost_source == "estimated"]
    assert {event.status for event, _ in guessed} <= {499, 502, 504}
    claimed = sum(line.cost_usd for _, line in [*exact, *guessed] if line)
    rest = sum(line.cost_usd for line in [*embedded, *left.values()])
    assert claimed + rest == sum(line.cost_usd for line in month.lines)
    assert all(not line.cut for line in left.values())
    assert 0 < sum(line.cost_usd for line in left.values()) < claimed / 50


def test_keys_are_charged_what_the_ledger_says(month: Month) -> None:
    by_key = defaultdict[str, Decimal](Decimal)
    for event in month.told.events:
        by_key[event.key_id] += event.cost_usd or 0
    assert by_key == dict(month.purse.settled)
    assert set(by_key) == {"rich", "poor"}


def test_a_batch_costs_what_the_invoices_say_to_the_micro_dollar(batch: Batch) -> None:
    """Row by row: as many lines as rows that were answered, each with its tokens and its price."""
    assert len({event["decision_id"] for event in batch.events}) == len(batch.events) == ROWS
    answered = [event for event in batch.events if event["status"] == 200]
    assert ROWS - 10 <= len(answered) < ROWS
    assert all(event["cost_usd"] is None for event in batch.events if event["status"] != 200)
    for provider, lines in batch.invoices.items():
        ours = [event for event in answered if event["aggregator"] == provider]
        assert len(ours) == len(lines) > ROWS / 6
        charged = sum(Decimal(event["cost_usd"]) for event in ours)
        assert abs(charged - sum(line.cost_usd for line in lines)) < MICRO / 2
        rows = sorted((e["prompt_tokens"], Decimal(e["cost_usd"]).quantize(NANO)) for e in ours)
        assert rows == sorted((x.usage.prompt, x.cost_usd.quantize(NANO)) for x in lines)
