"""A tuning -> its files: the report, for people and programs, the curve, the policy proposed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from fareway.appraise import Estimate, Point, tier_cuts
from fareway.curve import curve_svg
from fareway.evidence import Evidence, Row, evidence
from fareway.policy import TIERS, Policy, load_policy
from fareway.tune import MARGIN, Tuning, tune


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the tuner leaves.

    Args:
        version: of the policy proposed; None where there is none.
        files: name -> text; `policy-<version>.toml` among them where a policy is proposed.
    """

    tuning: Tuning
    version: str | None
    files: Mapping[str, str]


def propose(rows: Iterable[Row], policy_file: Path, day: date, margin: float = MARGIN) -> Proposal:
    """Tunes a policy on the ledger's rows.

    Args:
        policy_file: the present policy.
        day: in the new version's name.

    Raises:
        ConfigError: the policy is faulty.
    """
    policy = load_policy(policy_file)
    seen = evidence(rows, policy)
    found = tune(seen, policy, margin)
    files = {}
    version = None
    if found.proposal:
        first, second = tier_cuts(policy, found.proposal.cuts)
        version = f"{day.isoformat()}-{first:g}-{second:g}"
        text = policy_file.read_text(encoding="utf-8")
        files[f"policy-{version}.toml"] = with_cuts(text, version, found.proposal.cuts)
    if found.present:
        files["curve.svg"] = curve_svg(found)
    files["report.json"] = json.dumps(_document(found, seen, policy, version, margin), indent=2)
    files["report.md"] = report(found, seen, policy, version, margin)
    return Proposal(found, version, files)


def with_cuts(text: str, version: str, cuts: Iterable[float]) -> str:
    """A policy's text with another version and other cuts; all else stays, comments too."""
    listed = ", ".join(f"{cut:g}" for cut in cuts)
    text, versions = re.subn(
        r"""(?m)^[ \t]*version\s*=\s*(?:"[^"\n]*"|'[^'\n]*')""", f'version = "{version}"', text
    )
    text, found = re.subn(r"(?m)^[ \t]*cuts\s*=\s*\[(?:#.*|[^\]#])*\]", f"cuts = [{listed}]", text)
    if (versions, found) != (1, 1):
        raise ValueError("a policy has one line `version = ...` and one `cuts = [...]`")
    return text


def report(
    found: Tuning, seen: Evidence, policy: Policy, version: str | None, margin: float
) -> str:
    """The report as Markdown."""
    lines = [
        "# Proposal: other cuts" if version else "# No proposal",
        "",
        found.why,
        "",
        f"Policy {policy.version}, {found.requests} requests of {seen.days:.1f} days that cuts "
        f"alone move, {found.explored} of them explored.",
        *(f"Left out: {count} {why}." for why, count in sorted(seen.left_out.items())),
    ]
    if found.gain:
        told = _span(found.gain, ".1%")
        lines += ["", f"To be saved at equal quality: {told} of the cost."]
    if found.present:
        lines += ["", *_table(found)]
        lines += ["", "![Quality against cost](curve.svg)"]
    if version:
        lines += [
            "",
            f"To apply it: `fareway policy apply policy-{version}.toml`; to go back: "
            "`fareway policy rollback`.",
        ]
    return "\n".join([*lines, "", *_limits(margin), ""])


def _table(found: Tuning) -> list[str]:
    assert found.present is not None
    named = [("present", found.present)]
    named += [("**proposal**", found.proposal)] if found.proposal else []
    named += [("", point) for point in found.curve]
    rows = [
        f"| {name} | {', '.join(f'{cut:g}' for cut in p.cuts)} "
        f"| {' / '.join(f'{share:.0%}' for share in p.shares)} "
        f"| {_span(p.quality, '.2%')} | {_span(p.usd_per_1000, '.4f')} "
        f"| {_span(p.quality_change, '+.2%')} | {_span(p.saving, '.1%')} |"
        for name, p in named
    ]
    return [
        f"| | cuts | {' / '.join(TIERS)} | satisfied | USD of 1,000 requests | change | saved |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]


def _span(figure: Estimate, form: str) -> str:
    return f"{figure.value:{form}} ({figure.low:{form}} to {figure.high:{form}})"


def _limits(margin: float) -> list[str]:
    """What the figures do not tell."""
    return [
        "In brackets are 90 % intervals. The curve is the model's choice of the best cuts for each "
        "cost. A proposal is the last on the way to equal quality whose satisfied share is shown "
        f"to fall by less than {margin:.1%}. There is none unless the present cuts are shown to "
        "waste: cuts that one half of the sessions chose have to save in the other half, at equal "
        "quality.",
        "",
        "- Satisfied is an answer that was rated up, or that neither a thumb down nor, where it "
        "was not rated, a complaint followed. A failure of which "
        "nobody speaks counts as satisfied, so that true losses are larger than those told here: "
        "twice as large where every second user says so.",
        "- Another tier's answer is taken to have as many tokens as the one that was given, and to "
        "come from its first model, uncached.",
        "- No request is moved by more than one tier: of more nothing is explored.",
        "- Only requests that cuts alone move are in the sums: not the sensitive lane, nor what is "
        "pinned, bounded or raised.",
    ]


def _document(
    found: Tuning, seen: Evidence, policy: Policy, version: str | None, margin: float
) -> dict[str, Any]:
    def told(point: Point | None) -> dict[str, Any] | None:
        return asdict(point) if point else None

    return {
        "object": "fareway.tuning",
        "policy_version": policy.version,
        "proposed_version": version,
        "why": found.why,
        "margin": margin,
        "requests": found.requests,
        "explored": found.explored,
        "days": round(seen.days, 2),
        "left_out": dict(seen.left_out),
        "usd": round(found.usd, 6),
        "gain": asdict(found.gain) if found.gain else None,
        "present": told(found.present),
        "proposal": told(found.proposal),
        "curve": [told(point) for point in found.curve],
    }
