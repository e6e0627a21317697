"""A batch job against the simulated providers, with no waiting: what the batch tests stand on."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from fareway.batch import run
from fareway.batch.collect import collect
from fareway.batch.job import Job
from fareway.batch.lanes import Offers
from fareway.batch.realtime import Pace, RealTime
from fareway.batch.store import Store, read
from fareway.batch.submit import Submitter
from fareway.breaker import Breakers
from fareway.caller import Caller
from fareway.circuits import Circuits
from fareway.dispatch import Dispatcher
from fareway.policy import Policy
from fareway.providers.aggregator import Aggregator
from fareway.providers.anthropic_batch import VERSION, AnthropicBatch
from fareway.providers.batch_api import Client
from fareway.providers.http import Http
from fareway.providers.openai_batch import OpenAIBatch
from fareway.verdict import Verdict
from local.batch_simulation import Simulation
from tests.builders import a_policy, a_verdict


class Crash(BaseException):
    """The machine is gone: nothing catches it."""


@dataclass
class Dying:
    """A store that crashes at one call.

    Args:
        at: `create`, `write` or `written`, and the key, as a regular expression.
    """

    store: Store
    at: str

    def _come_to(self, call: str) -> None:
        if self.at and re.fullmatch(self.at, call):
            self.at = ""
            raise Crash(call)

    def open(self, key: str) -> IO[bytes]:
        return self.store.open(key)

    @contextmanager
    def write(self, key: str) -> Iterator[IO[bytes]]:
        self._come_to(f"write {key}")
        with self.store.write(key) as file:
            yield file
        self._come_to(f"written {key}")

    def create(self, key: str, data: bytes) -> bool:
        self._come_to(f"create {key}")
        done = self.store.create(key, data)
        self._come_to(f"created {key}")
        return done

    def keys(self, prefix: str) -> list[str]:
        return self.store.keys(prefix)


def by_words(texts: Sequence[str]) -> list[Verdict]:
    """`easy` is complexity 1, `hard` 5, `risky` sensitive; anything else 3."""
    return [
        a_verdict(
            1 if "easy" in text else 5 if "hard" in text else 3, 0.9 if "risky" in text else 0.01
        )
        for text in texts
    ]


@dataclass
class World:
    """The providers, and whoever works through jobs at them.

    Args:
        aggregators: name -> base URL of those that answer in real time.
        key: theirs.
        sleeps: what was waited for, seconds; nothing is really waited for.
    """

    url: str
    simulation: Simulation
    policy: Policy = field(default_factory=a_policy)
    keys: tuple[str, ...] = ("openai", "anthropic")
    aggregators: dict[str, str] = field(default_factory=dict)
    key: str = "k"
    scorer: Callable[[Sequence[str]], list[Verdict]] = by_words
    options: run.Options = field(default_factory=run.Options)
    sleeps: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await asyncio.sleep(0)

    def providers(self, http: Http) -> dict[str, Any]:
        def client(name: str, **headers: str) -> Client:
            return Client(f"{self.url}/{name}/v1", headers, http, sleep=self.sleep)

        anthropic = {"x-api-key": "k", "anthropic-version": VERSION}
        return {
            "openai": OpenAIBatch(client("openai", authorization="Bearer k")),
            "anthropic": AnthropicBatch(client("anthropic", **anthropic)),
        }

    def submitter(self, job: Job, http: Http) -> Submitter:
        return Submitter(job, self.providers(http), sleep=self.sleep)

    def plan(self, store: Store, content: bytes, format_: Any = "csv", name: str = "in") -> Any:
        """Plans a file -> the plan."""
        job, http = Job(store), Http()
        file = io.BytesIO(content)
        run.begin(job, name, file, format_, self.options, self.policy, "test-1")
        offers = Offers(self.keys, tuple(self.aggregators))
        providers = self.providers(http)
        return run.prepare(job, file, self.policy, offers, providers, self.scorer, lambda *_: None)

    def ask(self, store: Store) -> None:
        """Gets a planned job's answers."""

        async def asking() -> None:
            async with aclosing(Http()) as http:
                job = Job(store)
                realtime = self._realtime(job, http) if self.aggregators else None
                runner = run.Runner(job, self.submitter(job, http), realtime, lambda *_: None)
                runner.sleep = self.sleep
                await runner.run()

        asyncio.run(asking())

    def _realtime(self, job: Job, http: Http) -> RealTime:
        rules = self.policy.attempts
        aggregators = {n: Aggregator(n, u, self.key, http, {}) for n, u in self.aggregators.items()}
        breakers = Breakers(rules.breaker_failures, 0)
        circuits = Circuits(breakers, None)  # type: ignore[arg-type]
        dispatcher = Dispatcher(aggregators, rules, circuits, sleep=self.sleep)
        return RealTime(job, self.policy, dispatcher, Pace(10_000), sleep=self.sleep)

    def collect(self, store: Store, **options: Any) -> dict[str, Any]:
        return collect(Job(store), self.policy, Caller("batch", "acme"), **options)

    def all(self, store: Store, content: bytes, **options: Any) -> dict[str, Any]:
        """The whole way -> the summary."""
        self.plan(store, content, **options)
        self.ask(store)
        return self.collect(store)


def a_file(*prompts: str, **columns: Sequence[str]) -> bytes:
    """A CSV file of prompts with ids from 0."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["id", "prompt", *columns])
    writer.writerows(zip(range(len(prompts)), prompts, *columns.values(), strict=True))
    return file.getvalue().encode()


def answers(store: Store, name: str = "in") -> list[dict[str, str]]:
    """The rows of the output."""
    return list(csv.DictReader(io.StringIO((read(store, f"out/{name}.csv") or b"").decode())))


def errors(store: Store, name: str = "in") -> list[dict[str, str]]:
    """The rows of the errors file."""
    content = read(store, f"out/{name}.errors.csv") or b""
    return list(csv.DictReader(io.StringIO(content.decode())))
