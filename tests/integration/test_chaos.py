"""A few scenarios of `make chaos` in small, and processes whose clocks are apart."""

from __future__ import annotations

import httpx
import pytest

from benchmarks.chaos import SCENARIOS, play
from benchmarks.cloud import cloud
from benchmarks.rig import TABLES, aws_settings
from fareway.app import create_app
from fareway.settings import Settings
from fareway.wiring import build
from local.aggregator import create_app as create_simulator
from local.serving import serve
from tests.builders import a_chat
from tests.unit.test_app import FixedScorer

CHOSEN = ("all of AWS down", "killed under load", "corrupt model", "starts without Secrets Manager")


@pytest.mark.parametrize("name", CHOSEN)
def test_what_was_promised_is_held(name: str) -> None:
    (scenario,) = (s for s in SCENARIOS if s.name == name)
    outcome = play(scenario, 24)
    assert outcome.broken == []
    assert outcome.answered > 0


def test_a_damaged_policy_of_the_package_starts_nothing_and_is_named() -> None:
    (scenario,) = (s for s in SCENARIOS if s.name == "corrupt policy of the package")
    assert play(scenario, 0).broken == []


@pytest.mark.parametrize("apart_s", [-86_400, -600, 600, 86_400])
async def test_clocks_that_are_apart_share_tables_and_serve(apart_s: float, monkeypatch) -> None:
    """A breaker that opened at a fast clock rests a cooldown at most; what is kept is found."""
    with cloud(TABLES) as sky, serve(create_simulator("tokenmix", 0)) as url:
        for name, value in aws_settings(sky.url).items():
            monkeypatch.setenv(name, value)
        settings = Settings(
            api_key="fw-skewed",
            upstream_keys={"tokenmix": "k"},
            base_urls={"tokenmix": f"{url}/v1"},
            cache_budget_ms=10_000,
            **{f"{name}_table": name for name in ("cache", "sessions", "decisions", "circuits")},
        )
        gateways = [build(settings) for _ in range(2)]
        for gateway in gateways:
            gateway.scoring.scorer = FixedScorer()  # type: ignore[assignment]
            gateway.router.dispatcher.circuits.budget_s = 10  # type: ignore[attr-defined]
        fast = gateways[1].router
        now = fast.judge.verdicts.memory.now
        for part in (
            fast.judge.verdicts.memory,
            fast.remembering.sessions,
            fast.remembering.decisions,
            fast.dispatcher.circuits,  # type: ignore[attr-defined]
        ):
            part.now = lambda: now() + apart_s  # type: ignore[union-attr,assignment]
        # what one of them finds down rests at both
        circuits = fast.dispatcher.circuits  # type: ignore[attr-defined]
        for _ in range(gateways[1].policy.attempts.breaker_failures):
            circuits.failed("tokenmix/deepseek-v4-flash")
        await circuits.settled()
        for gateway in gateways:
            transport = httpx.ASGITransport(create_app(gateway))
            headers = {"authorization": "Bearer fw-skewed"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://f/v1", headers=headers, timeout=60
            ) as client:
                for _ in range(2):
                    answer = await client.post("/chat/completions", json=a_chat("Hello there"))
                    assert answer.status_code == 200
            shared = gateway.router.dispatcher.circuits  # type: ignore[attr-defined]
            await shared.settled()
            rests = shared.breakers._circuits.values()
            cooldown_s = shared.breakers.cooldown_s
            assert all(c.closed_again_at - shared.clock() <= cooldown_s for c in rests)
        for gateway in gateways:
            await gateway.close()
