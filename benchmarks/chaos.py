"""What breaks, and what comes of it: every part of AWS ill in every way, under load.

    uv run python -m benchmarks.chaos [--requests 80] [--only WORD] [--json]

The endpoint runs in a process of its own, with a key that has budgets and a rate, over AWS and two
aggregators of this process. Each scenario begins well, then something falls ill while requests go
on, eight at a time. Then the books are compared: each answer's event must be somewhere (Firehose,
S3, or the log, from where `fareway replay-events` brings it back), its cost what the caller was
told, and all costs the aggregators' invoices. `held` says whether all that was promised was kept.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.cloud import ILLNESSES, SERVICES, Service
from benchmarks.rig import BUCKET, Answer, Books, Rig, bodies, load, rig
from fareway.settings import PACKAGE, Settings
from local.simulation import Failure

CONNECTIONS = 8


@dataclass(slots=True)
class Outcome:
    """What a scenario came to. Units: `p50_ms` milliseconds, `*_usd` USD."""

    scenario: str
    requests: int = 0
    answered: int = 0
    refused: int = 0
    lost: int = 0
    wrong: int = 0
    ledger_usd: str = ""
    invoice_usd: str = ""
    events_in: str = ""
    p50_ms: int = 0
    broken: list[str] = field(default_factory=list)

    def expect(self, holds: bool, promise: str) -> None:
        if not holds:
            self.broken.append(promise)


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    run: Callable[[Rig, Outcome, int], None]


def under_load(
    here: Rig, outcome: Outcome, count: int, meanwhile: Callable[[], None] = lambda: None
) -> list[Answer]:
    """A few requests while all is well; `meanwhile`; the rest. Fills the outcome's figures."""
    answers: list[Answer] = []
    requests = bodies(count, seed=7)

    async def drive() -> None:
        await load(here, itertools.islice(requests, min(8, count)), 2, answers)
        meanwhile()
        await load(here, requests, CONNECTIONS, answers)

    asyncio.run(drive())
    here.cloud.ill.clear()
    return answers


def settle(here: Rig, outcome: Outcome, answers: list[Answer], *, exact: bool = True) -> Books:
    """The endpoint ends, so that all is written; then the books."""
    here.stop()
    time.sleep(0.2)
    books = here.books(answers)
    outcome.requests, outcome.answered = len(answers), books.statuses[200]
    outcome.refused = outcome.requests - outcome.answered
    outcome.lost, outcome.wrong = books.lost, books.wrong
    outcome.ledger_usd, outcome.invoice_usd = f"{books.ledger_usd:f}", f"{books.invoice_usd:f}"
    outcome.events_in = ", ".join(f"{n} {place}" for place, n in books.places.items())
    outcome.p50_ms = round(median(a.ms for a in answers)) if answers else 0
    outcome.expect(books.lost == 0, "no event is lost")
    outcome.expect(books.wrong == 0, "no bill is wrong")
    if exact:
        outcome.expect(books.ledger_usd == books.invoice_usd, "the ledger is the invoice")
    return books


def ill(services: tuple[Service, ...], illness: Any) -> Callable[[Rig, Outcome, int], None]:
    """Services that fall ill while requests go on: every one is answered all the same."""

    def run(here: Rig, outcome: Outcome, count: int) -> None:
        assert here.start()

        def fall() -> None:
            here.cloud.ill.update(dict.fromkeys(services, (illness, 1.0)))

        answers = under_load(here, outcome, count, fall)
        settle(here, outcome, answers)
        outcome.expect(outcome.refused == 0, "every request is answered")

    return run


def killed(here: Rig, outcome: Outcome, count: int) -> None:
    """The process is killed under load, and another one started."""
    assert here.start()
    answers: list[Answer] = []

    async def drive() -> None:
        loading = asyncio.create_task(load(here, bodies(count // 2, 7), CONNECTIONS, answers))
        while len(answers) < count // 4 and not loading.done():
            await asyncio.sleep(0.005)
        here.kill()
        await loading
        assert await asyncio.to_thread(here.start)
        await load(here, bodies(count // 2, 8), CONNECTIONS, answers)

    asyncio.run(drive())
    books = settle(here, outcome, answers, exact=False)
    late = [a for a in answers[-count // 2 :] if a.status == 200]
    outcome.expect(len(late) == count // 2, "the next process serves every request")
    # what an upstream charged for a call whose process was killed has no event
    unbilled = books.invoice_usd - books.ledger_usd
    outcome.expect(unbilled >= 0, "nothing is billed that was not served")


def corrupt_model(here: Rig, outcome: Outcome, count: int) -> None:
    """One byte of the model is another: it is not loaded, and prompts count as sensitive."""
    folder = here.folder / "classifier"
    shutil.copytree(Settings().classifier_dir, folder)
    model = bytearray((folder / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (folder / "model.onnx").write_bytes(model)
    assert here.start(FAREWAY_CLASSIFIER_DIR=str(folder))
    health = here.health() or {}
    answers = under_load(here, outcome, count)
    settle(here, outcome, answers)
    outcome.expect(health.get("status") == "degraded", "/healthz says degraded")
    outcome.expect(here.logged("sha256") > 0, "the log names the checksum")
    outcome.expect({a.lane for a in answers} == {"sensitive"}, "all take the sensitive lane")
    outcome.expect(outcome.refused == 0, "every request is answered")


def corrupt_stored_policy(here: Rig, outcome: Outcome, count: int) -> None:
    """The policy that was applied is damaged: the one that ships is in force."""
    here.cloud.objects[f"/{BUCKET}/policies/applied.json"] = b'{"applied": ["bad"]}'
    here.cloud.objects[f"/{BUCKET}/policies/bad.toml"] = b"version = 'bad'\n[complexity\ncuts = "
    assert here.start()
    health = here.health() or {}
    settle(here, outcome, under_load(here, outcome, count))
    outcome.expect(health.get("policy") not in (None, "bad"), "the shipped policy is in force")
    outcome.expect(here.logged("stored policy unavailable") > 0, "the log says so")
    outcome.expect(outcome.refused == 0, "every request is answered")


def corrupt_shipped_policy(here: Rig, outcome: Outcome, _: int) -> None:
    """The package's own policy is damaged: nothing starts, and the fault is named."""
    file = here.folder / "policy.toml"
    text = (PACKAGE / "policy.toml").read_text(encoding="utf-8")
    damaged, places = re.subn(r"(?m)^cuts = \[[\d.]+,", "cuts = [9.55,", text)
    assert places
    file.write_text(damaged, encoding="utf-8")
    outcome.expect(not here.start(FAREWAY_POLICY=str(file)), "it does not start")
    outcome.expect(here.logged("cuts") > 0, "the fault is named")


def starts(service: Service, illness: Any, up: bool) -> Callable[[Rig, Outcome, int], None]:
    """A service is ill when the process starts, and well afterwards."""

    def run(here: Rig, outcome: Outcome, count: int) -> None:
        here.cloud.ill[service] = (illness, 1.0)
        is_up = here.start()
        here.cloud.ill.clear()
        outcome.expect(is_up is up, "it starts" if up else "it does not start without keys")
        if not is_up:
            outcome.expect(here.logged("upstream secret") > 0, "the fault is named")
            assert here.start()  # as Lambda does: another process, once the service is well
        settle(here, outcome, under_load(here, outcome, count))
        outcome.expect(outcome.refused == 0, "every request is answered")

    return run


def upstream_down(here: Rig, outcome: Outcome, count: int) -> None:
    """The first aggregator and all of AWS but the secrets fall ill together."""
    assert here.start()

    def fall() -> None:
        here.aggregators["tokenmix"].failures.append(Failure("refuse_500"))
        for service in ("dynamodb", "firehose", "s3"):
            here.cloud.ill[service] = ("down", 1.0)  # type: ignore[index]

    answers = under_load(here, outcome, count, fall)
    settle(here, outcome, answers)
    outcome.expect(outcome.refused == 0, "every request is answered")


SCENARIOS = [
    Scenario("all is well", ill((), "down")),
    *(
        Scenario(f"{service} {illness}", ill((service,), illness))
        for service in ("dynamodb", "firehose", "s3")
        for illness in ILLNESSES
    ),
    *(Scenario(f"all of AWS {illness}", ill(SERVICES, illness)) for illness in ILLNESSES),
    Scenario("AWS and an aggregator down", upstream_down),
    Scenario("killed under load", killed),
    Scenario("starts without Secrets Manager", starts("secretsmanager", "down", up=False)),
    Scenario("starts with it throttling", starts("secretsmanager", "throttling", up=False)),
    Scenario("starts without S3 (policies)", starts("s3", "down", up=True)),
    Scenario("corrupt model", corrupt_model),
    Scenario("corrupt policy in S3", corrupt_stored_policy),
    Scenario("corrupt policy of the package", corrupt_shipped_policy),
]


def play(scenario: Scenario, count: int) -> Outcome:
    """One scenario, with everything new."""
    outcome = Outcome(scenario.name)
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as here:
        scenario.run(here, outcome, count)
    return outcome


def table(outcomes: list[Outcome]) -> Table:
    shown = Table(title="Chaos", box=box.SIMPLE, padding=(0, 1))
    shown.add_column("what falls ill", no_wrap=True)
    for name in ("requests", "answered", "lost", "wrong", "p50 ms"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("events in")
    shown.add_column("held")
    for o in outcomes:
        figures = [str(n) for n in (o.requests, o.answered, o.lost, o.wrong, o.p50_ms)]
        shown.add_row(o.scenario, *figures, o.events_in, "yes" if not o.broken else str(o.broken))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=80, help="of each scenario")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    args = parser.parse_args()
    chosen = [s for s in SCENARIOS if args.only in s.name]
    outcomes = []
    for scenario in chosen:
        outcomes.append(play(scenario, args.requests))
        print(f"{scenario.name}: {outcomes[-1].broken or 'held'}", flush=True)
    Console(width=130).print(table(outcomes))
    if args.json:
        print(json.dumps([asdict(o) for o in outcomes]))
    raise SystemExit(any(o.broken for o in outcomes))


if __name__ == "__main__":
    main()
