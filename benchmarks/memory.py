"""What memory finds, and what it costs: a replay of support traffic.

    uv run python -m benchmarks.memory --json [--requests 20000] [--data ../shared/data]

Requests are drawn by Zipf's law from public support prompts (banking77, clinc150; without the
data, from our own of `models/training/written`). The first of a prompt is new; later ones repeat
it, or are derivatives (an edit that leaves it the same: case, marks, courtesy, slips, numbers,
names, a sentence more), or have a word changed that makes them another prompt. Each goes to the
shipped classifier, in a process of its own as under `fareway serve`, and to the memory of one
server. The last line of `--json` is one object:

    {"exact_hit", "derivative_hit", "wrong_reuse", "added_p50_ms", "noise_p50_ms", ...}

`exact_hit` and `derivative_hit` are shares of all requests. `wrong_reuse` is the share of those
that were answered from memory by the decision of a prompt of another intent, or of one with a word
changed. `added_p50_ms` is what memory adds to the median time to a verdict where it knows nothing,
and so cannot help: each such prompt is timed with and without, in turn, in either order.
`noise_p50_ms` is the same of two runs without.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from fareway.aws import Aws
from fareway.cache import prompt_hash
from fareway.classify import Classifier
from fareway.fingerprint import Fingerprint
from fareway.memory import Memory
from fareway.scorer_process import ScorerProcess
from fareway.scoring import Scoring
from fareway.settings import Settings
from fareway.verdicts import Found, Prompt, Verdicts
from models.evaluation.edits import POSITIVE, Edit, contrary, inserted, negated, removed, replaced

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
SOURCES = ("banking77", "clinc150")
WRITTEN = ROOT / "models" / "training" / "written"
#: Of requests for a prompt that was there before: the same, a derivative, another by one word.
SHARES = (0.50, 0.35, 0.15)
#: Prompts that are timed.
TIMED = 2_000
SEED = 20261126


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and what it asks: equal meanings may share a decision."""

    text: str
    meaning: str
    kind: str


@dataclass(frozen=True, slots=True)
class Base:
    text: str
    language: str
    intent: str


def bases(data: Path) -> list[Base]:
    """The prompts that traffic is made of."""
    file = data / "prompts.jsonl.gz"
    if file.exists():
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            rows = [row for row in map(json.loads, lines) if row["source"] in SOURCES]
        return [Base(row["text"], row["language"], row["kind"]) for row in rows]
    found = []
    for name in ("support_and_documents", "en_everyday"):
        for line in (WRITTEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if len(row["text"]) < 300:
                found.append(Base(row["text"], row["language"], row["text"]))
    return found


def traffic(prompts: list[Base], count: int, chance: random.Random) -> Iterator[Request]:
    """Requests, the popular ones by Zipf's law."""
    chance.shuffle(prompts)
    changes = changing(prompts)
    weights = [1 / rank for rank in range(1, len(prompts) + 1)]
    seen: set[int] = set()
    for i in chance.choices(range(len(prompts)), weights, k=count):
        base = prompts[i]
        if i not in seen:
            seen.add(i)
            yield Request(base.text, base.intent, "new")
            continue
        (kind,) = chance.choices(("repeat", "derivative", "changed"), SHARES)
        if kind == "repeat":
            yield Request(base.text, base.intent, kind)
            continue
        edits = list(POSITIVE.values()) if kind == "derivative" else changes
        chance.shuffle(edits)
        made = next(filter(None, (e(base.text, base.language, chance) for e in edits)), None)
        if made is None:  # a word alone, in which nothing can be changed
            yield Request(base.text, base.intent, "repeat")
            continue
        # "can not" and "can't" are one change
        meaning = base.intent if kind == "derivative" else made.lower().replace("can not", "can't")
        yield Request(made, meaning, kind)


def changing(prompts: list[Base]) -> list[Edit]:
    """Edits of one word that make another prompt of it."""
    words = [word for base in prompts for word in base.text.lower().split() if word.isalpha()]
    content = [word for word in words if len(word) > 3 and word not in ("please", "thanks")]
    return [replaced(content), negated, contrary, inserted(content), removed]


@dataclass(slots=True)
class Forgetful(Verdicts):
    """The same without memory."""

    def _fingerprint(self, prompt: Prompt) -> Fingerprint | None:
        return None


@dataclass(slots=True)
class Replay:
    """What came of the traffic."""

    hits: Counter[str] = field(default_factory=Counter)
    found: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind, and by hit
    wrong: int = 0
    meanings: dict[str, str] = field(default_factory=dict)  # of an entry's root

    def take(self, request: Request, found: Found) -> None:
        self.hits[found.hit] += 1
        self.found[request.kind, found.hit] += 1
        assert found.entry is not None
        if found.hit == "none":
            self.meanings[found.entry.root] = request.meaning
        else:
            self.wrong += self.meanings[found.entry.root] != request.meaning


def prompt(text: str) -> Prompt:
    body = {"model": "fareway/auto", "messages": [{"role": "user", "content": text}]}
    return Prompt("bench", body, prompt_hash("bench", body))


async def timed(verdicts: Verdicts, asked: Prompt) -> tuple[Found, float]:
    begun = time.perf_counter()
    found = await verdicts.of(asked)
    return found, (time.perf_counter() - begun) * 1000


async def replay(requests: list[Request]) -> dict[str, float]:
    """All requests through one process's memory, and the first new ones timed without it too."""
    settings, aws = Settings(), Aws()
    scorer = Classifier.load(settings.classifier_dir)
    memory = Memory(aws, secret=b"bench", size=1_000_000)
    process = ScorerProcess(settings.classifier_dir, scorer.version)
    scoring = Scoring(scorer, 5.0, process)
    remembering = Verdicts("bench", scoring, memory)
    one, two = (Forgetful("bench", scoring, Memory(aws)) for _ in range(2))
    while process.score("the process starts") is None:
        await asyncio.sleep(0.01)
    result, chance = Replay(), random.Random(SEED)
    times: dict[str, list[float]] = {"with": [], "without": [], "again": []}
    for number, request in enumerate(requests):
        asked = prompt(request.text)
        found, took = None, {}
        ways = [("with", remembering), ("without", one), ("again", two)]
        if number < 50 or request.kind != "new" or len(times["with"]) >= TIMED:
            ways = ways[:1]
        chance.shuffle(ways)
        for name, verdicts in ways:
            answer, took[name] = await timed(verdicts, asked)
            found = answer if name == "with" else found
        assert found is not None
        if len(ways) > 1 and found.hit == "none":
            for name, ms in took.items():
                times[name].append(ms)
        result.take(request, found)
        await remembering.keep(found)
    process.close()
    await aws.close()
    return figures(result, times, len(requests))


def figures(result: Replay, times: dict[str, list[float]], count: int) -> dict[str, float]:
    hits, found = result.hits, result.found
    reused = count - hits["none"]
    derived = sum(n for (kind, _), n in found.items() if kind == "derivative")
    changed = sum(n for (kind, _), n in found.items() if kind == "changed")
    without = median(times["without"])
    return {
        "requests": count,
        "exact_hit": round(hits["local"] / count, 4),
        "derivative_hit": round(hits["derivative"] / count, 4),
        "wrong_reuse": round(result.wrong / reused, 5),
        "derivatives_found": round(1 - found["derivative", "none"] / derived, 4),
        "changed_refused": round(found["changed", "none"] / changed, 4),
        "verdict_p50_ms": round(without, 3),
        "added_p50_ms": round(median(times["with"]) - without, 3),
        "noise_p50_ms": round(median(times["again"]) - without, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of public prompts")
    args = parser.parse_args()
    chance = random.Random(SEED)
    requests = list(traffic(bases(args.data), args.requests, chance))
    told = asyncio.run(replay(requests))
    if args.json:
        print(json.dumps(told))
        return
    table = Table(title="A replay of support traffic", show_header=False)
    for name, value in told.items():
        table.add_row(name, f"{value}")
    Console().print(table)


if __name__ == "__main__":
    main()
