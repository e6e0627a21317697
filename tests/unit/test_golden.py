"""150 prompts whose tiers were written down before the classifier was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fareway.classify import Classifier
from fareway.policy import load_policy
from fareway.render import render_prompt
from fareway.settings import PACKAGE

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "models" / "golden.jsonl"


@pytest.fixture(scope="module")
def judged() -> list[dict[str, Any]]:
    """Each prompt with the tier that it would take."""
    prompts = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    policy = load_policy(PACKAGE / "policy.toml")
    classifier = Classifier.load(ROOT / "models" / "classifier")
    for prompt in prompts:
        verdict = classifier.score(render_prompt(prompt["text"]))
        prompt["flagged"] = verdict.sensitivity >= policy.sensitivity.threshold
        tier = policy.tier(policy.complexity(verdict.score))
        prompt["went"] = policy.sensitivity.tier if prompt["flagged"] else tier
        prompt["sensitivity"], prompt["score"] = verdict.sensitivity, verdict.score
    return prompts


def test_the_set_is_what_it_was_agreed_to_be(judged: list[dict[str, Any]]) -> None:
    assert len(judged) == 150
    assert len({prompt["language"] for prompt in judged}) >= 10
    assert len({prompt["task"] for prompt in judged}) == 9


def test_four_of_five_go_to_the_right_tier(judged: list[dict[str, Any]]) -> None:
    right = sum(prompt["went"] == prompt["tier"] for prompt in judged)
    assert right / len(judged) >= 0.8


def test_no_sensitive_prompt_is_missed(judged: list[dict[str, Any]]) -> None:
    assert [p["text"] for p in judged if p["sensitive"] and not p["flagged"]] == []


def test_most_harmless_prompts_stay_out_of_the_sensitive_lane(
    judged: list[dict[str, Any]],
) -> None:
    harmless = [prompt for prompt in judged if not prompt["sensitive"]]
    assert sum(prompt["flagged"] for prompt in harmless) / len(harmless) <= 0.15
