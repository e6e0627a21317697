"""Fixed values that tests start from; no randomness."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from fareway.cache import prompt_hash
from fareway.caller import Allowance, Caller
from fareway.cost import CostEvent
from fareway.policy import Policy, load_policy
from fareway.verdict import Verdict
from fareway.verdicts import Prompt

ROOT = Path(__file__).parents[1]
POLICY_FILE = ROOT / "shared" / "fareway" / "policy.toml"


def a_policy() -> Policy:
    return load_policy(POLICY_FILE)


def a_verdict(complexity: int = 1, sensitivity: float = 0.01) -> Verdict:
    """A verdict that is certain of one complexity."""
    p = tuple(1.0 if c == complexity else 0.0 for c in range(1, 6))
    return Verdict(p, sensitivity, "test-1")  # type: ignore[arg-type]


def a_chat(prompt: str = "What is the capital of France?", **fields) -> dict:
    return {
        "model": "fareway/auto",
        "messages": [{"role": "user", "content": prompt}],
        **fields,
    }


def a_completion(model: str = "deepseek-v4-flash", **fields) -> dict:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Paris."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
        **fields,
    }


def a_caller(key_id: str = "k1", **allowance) -> Caller:
    return Caller(key_id, "acme", Allowance(**allowance))


def a_prompt(prompt: str = "What is the capital of France?", **fields) -> Prompt:
    body = a_chat(prompt, **fields)
    return Prompt("acme", body, prompt_hash("acme", body))


def raw(body: object) -> bytes:
    return json.dumps(body).encode()


def an_event(**fields) -> CostEvent:
    values = {
        "decision_id": "dec_1",
        "occurred_at": "2026-11-24T12:00:00.000+00:00",
        "tenant_hash": "t" * 16,
        "key_id": "k1",
        "tags": None,
        "session_hash": None,
        "prompt_hash": "p" * 32,
        "p1": 0.9,
        "p2": 0.1,
        "p3": 0.0,
        "p4": 0.0,
        "p5": 0.0,
        "score": 1.1,
        "complexity": 1,
        "sensitivity": 0.01,
        "tier": "cheap",
        "lane": "standard",
        "reason": "complexity 1 (score 1.10)",
        "cache_hit": "none",
        "raised": None,
        "follow_up": None,
        "session_floor": None,
        "escalated": False,
        "propensity": None,
        "explored": False,
        "shadow_policy": None,
        "shadow_tier": None,
        "requested_model": "fareway/auto",
        "served_model": "deepseek-v4-flash",
        "aggregator": "tokenmix",
        "attempts": 1,
        "failovers": 0,
        "stream": False,
        "prompt_tokens": 1000,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "completion_tokens": 500,
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "cost_usd": Decimal("0.000450000"),
        "cost_source": "price_table",
        "baseline_usd": Decimal("0.006250000"),
        "classifier_ms": 1.5,
        "cache_ms": 3.0,
        "first_token_ms": None,
        "upstream_ms": 120.0,
        "total_ms": 126.0,
        "status": 200,
        "policy_version": "2026-11-24",
        "classifier_version": "test-1",
        "price_version": "genai-prices-test",
    }
    return CostEvent(**(values | fields))
