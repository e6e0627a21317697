"""A deployment on this machine to be ill-treated: the endpoint in a process of its own, AWS and two
aggregators in this one, load, and at the end the books: answers, events, invoices.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import boto3

from benchmarks.cloud import Cloud, cloud
from fareway.caller import Allowance
from fareway.keys import create_key
from fareway.ledger import FALLBACK_PREFIX, events_in_log
from local.aggregator import create_app
from local.cloud import REGION
from local.serving import serve

TABLES = {
    "keys": "key_hash",
    "spend": "counter",
    "cache": "key",
    "sessions": "session",
    "decisions": "id",
    "circuits": "circuit",
}
BUCKET, START_S = "ledger", 120
SUBJECTS = (
    "a parcel",
    "my invoice",
    "the weather",
    "a proof",
    "a recipe",
    "this contract",
    "a bug",
)
ASKED = ("What is", "Explain", "Translate", "Summarise", "Why is there", "Help me with")


@dataclass(slots=True)
class Answer:
    """What one request came to, as its caller saw it. Units: `ms` milliseconds."""

    status: int
    ms: float
    decision_id: str | None = None
    cost_usd: str | None = None
    tier: str | None = None
    lane: str | None = None


@dataclass(slots=True)
class Books:
    """Answers against events against invoices.

    Args:
        lost: answered requests whose event is nowhere.
        wrong: events whose cost is not what their caller was told.
        ledger_usd: all events' costs, each counted once.
        invoice_usd: what both aggregators charge.
        places: where events are: firehose, s3, log; one may be in two.
        estimated_usd, cut_usd: what of either is of streams that were cut: the ledger estimates
            them, the invoice has what had been sent.
    """

    answers: list[Answer]
    lost: int
    wrong: int
    events: int
    ledger_usd: Decimal
    invoice_usd: Decimal
    places: Counter[str]
    estimated_usd: Decimal
    cut_usd: Decimal

    @property
    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    @property
    def sound(self) -> bool:
        return not self.lost and not self.wrong and self.ledger_usd == self.invoice_usd


@dataclass(slots=True)
class Rig:
    """The whole of it; `start` the endpoint once the illness that it is to start with is there."""

    cloud: Cloud
    aggregators: dict[str, Any]  # name -> its Simulation
    urls: dict[str, str]
    folder: Path
    key: str = ""
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    def start(self, wait_s: float = START_S, **env: str) -> bool:
        """Starts the endpoint -> whether it is up; False where it ended or is not up in time."""
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FAREWAY_"))},
            **aws_settings(self.cloud.url),
            **{f"FAREWAY_{name.upper()}_TABLE": name for name in TABLES},
            "FAREWAY_LEDGER_STREAM": "events",
            "FAREWAY_LEDGER_BUCKET": BUCKET,
            "FAREWAY_POLICY_STORE": f"s3://{BUCKET}/policies",
            "FAREWAY_UPSTREAM_SECRET": "upstream",
            "FAREWAY_METRICS": "emf",
            "FAREWAY_TOKENMIX_BASE_URL": self.urls["tokenmix"] + "/v1",
            "FAREWAY_OPENROUTER_BASE_URL": self.urls["openrouter"] + "/v1",
            **self.env,
            **env,
        }
        command = [sys.executable, "-m", "benchmarks.served", str(port)]
        with (self.folder / "log").open("ab") as log, (self.folder / "lines").open("ab") as lines:
            self.process = subprocess.Popen(command, env=settings, stdout=lines, stderr=log)
        give_up = time.monotonic() + wait_s
        while time.monotonic() < give_up and self.process.poll() is None:
            if self.health():
                return True
            time.sleep(0.05)
        self.kill()
        return False

    def health(self) -> Mapping[str, Any] | None:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                found: Mapping[str, Any] = json.load(answer)
                return found
        except OSError:
            return None

    def kill(self) -> None:
        """As Lambda ends a function: at once."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def rss_mb(self) -> float:
        """Resident memory of the endpoint, MB. Source: proc(5), statm."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def logged(self, text: str) -> int:
        """How many of the endpoint's log lines have a text."""
        return (self.folder / "log").read_text(encoding="utf-8").count(text)

    def books(self, answers: list[Answer]) -> Books:
        fallbacks = {k: v for k, v in self.cloud.objects.items() if FALLBACK_PREFIX in k}
        log = (self.folder / "log").read_text(encoding="utf-8").splitlines()
        found: dict[str, dict[str, Any]] = {}
        places: Counter[str] = Counter()
        for place, events in (
            ("firehose", map(json.loads, self.cloud.records)),
            ("s3", map(json.loads, fallbacks.values())),
            ("log", events_in_log(log)),
        ):
            for event in events:
                found[event["decision_id"]] = event
                places[place] += 1
        told = [a for a in answers if a.status == 200]
        lines = [line for s in self.aggregators.values() for line in s.invoice.lines]
        spent = [event for event in found.values() if event["cost_usd"]]
        estimated = [event for event in spent if event["cost_source"] == "estimated"]
        return Books(
            answers,
            sum(a.decision_id not in found for a in told),
            sum(
                a.cost_usd is not None and a.cost_usd != found[a.decision_id]["cost_usd"]
                for a in told
                if a.decision_id in found
            ),
            len(found),
            _usd(event["cost_usd"] for event in spent),
            _usd(line.cost_usd for line in lines),
            places,
            _usd(event["cost_usd"] for event in estimated),
            _usd(line.cost_usd for line in lines if line.cut),
        )


def _usd(amounts: Iterable[str | Decimal]) -> Decimal:
    return sum(map(Decimal, amounts), Decimal(0))


def bodies(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Chat requests: new prompts, repeated ones, turns of conversations; a fifth are streams."""
    chance = random.Random(seed)
    for number in range(count):
        subject, asked = chance.choice(SUBJECTS), chance.choice(ASKED)
        about = f" number {chance.randrange(10**9)}" if chance.random() < 0.6 else ""
        messages = [{"role": "user", "content": f"{asked} {subject}{about}, please?"}]
        if chance.random() < 0.2:
            messages += [
                {"role": "assistant", "content": "It is as it is."},
                {"role": "user", "content": "That is wrong, try again."},
            ]
        body: dict[str, Any] = {"model": "fareway/auto", "messages": messages, "max_tokens": 64}
        if chance.random() < 0.3:
            body["user"] = f"user-{number % 50}"
        if chance.random() < 0.2:
            body["stream"] = True
        yield body


async def load(
    rig: Rig, requests: Iterator[dict[str, Any]], connections: int, answers: list[Answer]
) -> None:
    """All requests, so many at a time; what they came to is appended as it comes."""
    headers = {"authorization": f"Bearer {rig.key}"}
    patience = aiohttp.ClientTimeout(total=90)
    async with aiohttp.ClientSession(headers=headers, timeout=patience) as session:

        async def worker() -> None:
            for body in requests:
                answers.append(await _ask(session, rig.url, body))

        await asyncio.gather(*(worker() for _ in range(connections)))


async def _ask(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Answer:
    begun = time.monotonic()
    told: Mapping[str, str] = {}
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            told, text = response.headers, await response.read()
            status = response.status
            if status == 200 and body.get("stream") and not text.endswith(b"data: [DONE]\n\n"):
                status = 599  # it broke off, and said so
    except (aiohttp.ClientError, OSError, TimeoutError):
        status = 0  # no answer: the process is gone
    return Answer(
        status,
        (time.monotonic() - begun) * 1000,
        told.get("x-fareway-decision-id"),
        told.get("x-fareway-cost-usd"),
        told.get("x-fareway-tier"),
        told.get("x-fareway-lane"),
    )


@contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    """AWS and the aggregators, well; a key with budgets and a rate; no endpoint yet."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        sky = stack.enter_context(cloud(TABLES))
        sky.secret = json.dumps({"tokenmix": "sk-one", "openrouter": "sk-two"})
        apps = {name: create_app(name, 0) for name in ("tokenmix", "openrouter")}  # type: ignore[arg-type]
        urls = {name: stack.enter_context(serve(app)) for name, app in apps.items()}
        one = Rig(sky, {n: a.state.simulation for n, a in apps.items()}, urls, folder)
        client = boto3.client(
            "dynamodb",
            endpoint_url=sky.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        rich = Allowance(daily_usd=10**6, monthly_usd=10**6, requests_per_minute=60_000)
        _, one.key = create_key(client, "keys", "chaos", "acme", rich)
        try:
            yield one
        finally:
            one.stop()


def aws_settings(url: str) -> dict[str, str]:
    """What points an SDK at the cloud."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_MAX_ATTEMPTS": "2",
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
