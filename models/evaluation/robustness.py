"""How far a prompt's verdict moves where what it asks does not, and where someone pushes it.

    python -m models.evaluation.robustness [--classifier DIR] [--json FILE]

Prompts: the golden set and the look-alikes of `tests/models`, which no training has read. Each is
scored as it is and under each disturbance; then words are sought that, behind or before prompts
that are found sensitive, lower their sensitivity the most. Seeded; about four minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fareway.classify import Classifier
from fareway.decide import complexity_of
from fareway.policy import TIERS, Policy, Tier, load_policy
from fareway.render import render_prompt
from fareway.settings import Settings
from models.evaluation import additions
from models.evaluation.disturbances import DISTURBANCES, HARMLESS, ODD_TEXTS, Disturbance

PROMPTS = Path(__file__).parents[2] / "tests" / "models"
SETS = ("golden.jsonl", "look_alikes.jsonl")
SEARCHES, POOL = 30, 150  # prompts that an addition is sought for; pieces that it may be made of
SIDES: dict[str, Callable[[str, str], str]] = {
    "suffix": lambda prompt, added: f"{prompt} {added}".strip(),
    "prefix": lambda prompt, added: f"{added} {prompt}".strip(),
}


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str
    sensitive: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a prompt goes, and the log-odds of its sensitivity."""

    tier: Tier
    in_lane: bool
    log_odds: float


@dataclass(frozen=True, slots=True)
class Flips:
    """What one disturbance does.

    Args:
        prompts: how many were disturbed.
        tier: how many change their tier, and `down` how many of them to a lesser one.
        found: sensitive prompts that are in the lane undisturbed, and `left` how many leave it.
        quiet: harmless prompts that are not in it undisturbed, and `entered` how many enter it.
        mean, worst: change of the sensitivity of those found, in log-odds; 0 where there is none.
    """

    prompts: int
    tier: int
    down: int
    found: int
    left: int
    quiet: int
    entered: int
    mean: float
    worst: float


#: Texts as they are sent -> where each goes.
Judge = Callable[[Sequence[str]], list[Place]]


def judge_of(classifier: Classifier, policy: Policy) -> Judge:
    """A classifier and a policy -> where they send a text, with no bounds of the request's own."""

    def judge(texts: Sequence[str]) -> list[Place]:
        places = []
        for verdict in classifier.score_many([render_prompt(text) for text in texts]):
            tier = policy.tier(complexity_of(policy, verdict))
            in_lane = verdict.sensitivity >= policy.sensitivity.threshold
            if in_lane:
                tier = max(tier, policy.sensitivity.tier, key=TIERS.index)
            places.append(Place(tier, in_lane, log_odds(verdict.sensitivity)))
        return places

    return judge


def log_odds(probability: float) -> float:
    """Of a probability, which float32 may have rounded to 0 or 1."""
    kept = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(kept / (1 - kept))


def read(folder: Path = PROMPTS) -> list[Prompt]:
    """Both sets, one after the other."""
    lines = (line for name in SETS for line in (folder / name).read_text("utf-8").splitlines())
    return [Prompt(row["text"], row["sensitive"] is not None) for row in map(json.loads, lines)]


def flips(prompts: Sequence[Prompt], before: Sequence[Place], after: Sequence[Place]) -> Flips:
    """N prompts and where each went before and after a disturbance -> what that did."""
    steps = [TIERS.index(b.tier) - TIERS.index(a.tier) for a, b in zip(before, after, strict=True)]
    pairs = list(zip(prompts, before, after, strict=True))
    found = [(a, b) for prompt, a, b in pairs if prompt.sensitive and a.in_lane]
    quiet = [b for prompt, a, b in pairs if not prompt.sensitive and not a.in_lane]
    changes = [b.log_odds - a.log_odds for a, b in found]
    return Flips(
        prompts=len(prompts),
        tier=sum(step != 0 for step in steps),
        down=sum(step < 0 for step in steps),
        found=len(found),
        left=sum(not b.in_lane for _, b in found),
        quiet=len(quiet),
        entered=sum(b.in_lane for b in quiet),
        mean=_mean(changes),
        worst=min(changes, default=0.0),
    )


def table(
    prompts: Sequence[Prompt],
    judge: Judge,
    disturbances: Iterable[Disturbance] = DISTURBANCES,
) -> dict[str, Flips]:
    """Each disturbance's name -> what it does to the prompts."""
    before = judge([prompt.text for prompt in prompts])
    found = {}
    for disturbance in disturbances:
        texts = [
            disturbance.change(prompt.text, random.Random(f"{disturbance.name} {place}"))
            for place, prompt in enumerate(prompts)
            if place % disturbance.every == 0
        ]
        kept = slice(None, None, disturbance.every)
        found[disturbance.name] = flips(prompts[kept], before[kept], judge(texts))
    return found


def attacks(
    prompts: Sequence[Prompt], judge: Judge, pieces: Sequence[str], budget: int = 300
) -> dict[str, dict[str, Any]]:
    """Words sought against each of SEARCHES found prompts, behind it and before it.

    Args:
        pieces: of which the POOL that score lowest alone may be used, and harmless sentences.
        budget: scores of each search.

    Returns:
        of each side: searches, how many prompts left the lane, the mean and the worst change of
        the log-odds, and what brought about the worst.
    """
    places = judge([prompt.text for prompt in prompts])
    found = [
        p.text for p, place in zip(prompts, places, strict=True) if p.sensitive and place.in_lane
    ]
    chance = random.Random(0)
    chosen = chance.sample(found, min(SEARCHES, len(found)))
    alone = [place.log_odds for place in judge(pieces)]
    pool = [*additions.lowest(pieces, alone, POOL), *(f" {sentence}" for sentence in HARMLESS)]
    return {side: _attack(chosen, judge, pool, join, budget) for side, join in SIDES.items()}


def _attack(
    texts: Sequence[str],
    judge: Judge,
    pool: Sequence[str],
    join: Callable[[str, str], str],
    budget: int,
) -> dict[str, Any]:
    changes, left, worst = [], 0, ""
    for place, text in enumerate(texts):

        def score(added: str, text: str = text) -> float:
            return judge([join(text, added)])[0].log_odds

        best = additions.search(score, pool, random.Random(place), budget=budget)
        before, after = judge([text, join(text, best.text)])
        changes.append(after.log_odds - before.log_odds)
        left += not after.in_lane
        worst = best.text if changes[-1] == min(changes) else worst
    return {
        "searches": len(texts),
        "left": left,
        "mean": _mean(changes),
        "worst": min(changes, default=0.0),
        "worst_text": worst,
    }


def odd(judge: Judge) -> dict[str, Place]:
    """Each of the odd texts -> where it goes: somewhere, always."""
    return dict(zip(ODD_TEXTS, judge([*ODD_TEXTS.values()]), strict=True))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def report(said: dict[str, Any]) -> str:
    """All that was measured, as text for people."""
    lines = [
        f"{'disturbance':24}{'prompts':>8}{'tier':>6}{'down':>6}{'leave lane':>12}"
        f"{'enter lane':>12}{'mean':>8}{'worst':>8}"
    ]
    for name, row in said["flips"].items():
        left, entered = f"{row['left']}/{row['found']}", f"{row['entered']}/{row['quiet']}"
        lines.append(
            f"{name:24}{row['prompts']:8}{row['tier']:6}{row['down']:6}{left:>12}{entered:>12}"
            f"{row['mean']:8.2f}{row['worst']:8.2f}"
        )
    lines += ["", f"{'odd text':24}{'tier':>9}{'lane':>6}{'log-odds':>10}"]
    lines += [
        f"{name:24}{row['tier']:>9}{'in' if row['in_lane'] else 'out':>6}{row['log_odds']:10.2f}"
        for name, row in said["odd"].items()
    ]
    lines += ["", f"{'sought words':24}{'leave lane':>12}{'mean':>8}{'worst':>8}"]
    for side in SIDES:
        row = said[side]
        left = f"{row['left']}/{row['searches']}"
        lines.append(f"{side:24}{left:>12}{row['mean']:8.2f}{row['worst']:8.2f}")
    return "\n".join(lines)


def main() -> None:
    settings = Settings.from_env()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classifier", type=Path, default=settings.classifier_dir)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    args = parser.parse_args()
    classifier = Classifier.load(args.classifier)
    judge = judge_of(classifier, load_policy(settings.policy_file))
    prompts = read()
    said = {
        "classifier": classifier.version,
        "flips": {name: asdict(row) for name, row in table(prompts, judge).items()},
        "odd": {name: asdict(place) for name, place in odd(judge).items()},
        **attacks(prompts, judge, additions.vocabulary(args.classifier / "tokenizer.json")),
    }
    print(report(said))
    if args.json:
        args.json.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
