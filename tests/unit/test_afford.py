"""What a request may go to when the key's budget runs out."""

from dataclasses import replace
from decimal import Decimal

import pytest

from fareway.afford import afford
from fareway.asks import Bounds, Needs
from fareway.decide import decide, estimate_usd, pass_through
from fareway.errors import BudgetExceeded
from fareway.record import Asked, Routed
from fareway.verdicts import Found
from fareway.wire import parse_chat
from tests.builders import a_caller, a_chat, a_policy, a_verdict, raw

POLICY = a_policy()
BOTH = ("tokenmix", "openrouter")


class Purse:
    """A budget with so much left; it remembers what was asked of it."""

    def __init__(self, left):
        self.left, self.asked = Decimal(left), []

    async def reserve(self, caller, estimate_usd, *, over=False):
        self.asked.append((estimate_usd, over))
        if estimate_usd > self.left and not over:
            raise BudgetExceeded("nothing left", left_usd=self.left)
        return "held"


async def afforded(left, complexity=5, bounds=None, model=None, limit=None, **allowance):
    asked = Asked(
        parse_chat(raw(a_chat())),
        a_caller(**{"daily_usd": 1} | allowance),
        bounds or Bounds(),
        None,
        0.0,
        60.0,
    )
    needs = Needs(frozenset(), 100, limit)
    verdict = None if model else a_verdict(complexity)
    decision = (
        pass_through(POLICY, BOTH, model)
        if model
        else decide(POLICY, BOTH, verdict, asked.bounds, needs)
    )
    routed = Routed("dec_1", decision, "p", needs, Found(verdict, "none"))
    purse = Purse(left)
    after, held = await afford(POLICY, BOTH, purse, asked, routed)
    assert held == "held"
    return after.decision, purse, decision


async def test_the_dearest_that_may_be_called_is_reserved_for():
    decision, purse, before = await afforded(1, complexity=1, limit=1000)
    assert decision == before
    dearest = max(
        estimate_usd(POLICY, c.price, Needs(frozenset(), 100, 1000)) for c in before.candidates
    )
    assert purse.asked == [(dearest, False)]


async def test_a_cheap_prompt_is_not_refused_because_a_dear_model_stands_behind():
    decision, purse, before = await afforded("0.05", complexity=1, limit=50_000)
    assert {c.tier for c in before.candidates} == {"cheap", "mid", "premium"}
    assert decision.candidates[0] == before.candidates[0]
    assert "premium" not in {c.tier for c in decision.candidates}
    assert "over budget for claude-haiku-4.5, gpt-5" in decision.reason
    assert purse.asked[-1][0] <= Decimal("0.05") < purse.asked[0][0]


async def test_a_key_over_its_budget_is_refused():
    with pytest.raises(BudgetExceeded):
        await afforded("0.000001")


@pytest.mark.parametrize("complexity", [1, 5])
async def test_or_degraded_to_the_cheap_tier_and_counted(complexity):
    decision, purse, _ = await afforded(0, complexity, over_budget="degrade")
    assert {c.tier for c in decision.candidates} == {"cheap"}
    assert "over budget" in decision.reason
    assert ("over budget: degraded to cheap" in decision.reason) is (complexity == 5)
    assert purse.asked[-1][1] is True


async def test_a_degraded_sensitive_prompt_stays_in_its_lane():
    verdict = a_verdict(5, 0.99)
    asked = Asked(
        parse_chat(raw(a_chat())),
        a_caller(daily_usd=1, over_budget="degrade"),
        Bounds(),
        None,
        0.0,
        60.0,
    )
    needs = Needs(frozenset(), 100, None)
    decision = decide(POLICY, BOTH, verdict, Bounds(), needs)
    routed = Routed("d", decision, "p", needs, Found(verdict, "none"))
    after, _ = await afford(POLICY, BOTH, Purse(0), asked, routed)
    assert after.decision.lane == "sensitive"
    assert {c.model for c in after.decision.candidates} == set(POLICY.tiers["cheap"].sensitive)


async def test_a_model_of_ones_own_is_degraded_too():
    decision, _, before = await afforded(0, model="gpt-5", over_budget="degrade")
    assert before.lane == "direct"
    assert {c.tier for c in decision.candidates} == {"cheap"}


async def test_an_unpriced_model_is_taken_to_cost_what_the_baseline_does():
    _, purse, _ = await afforded(1, model="nobody/knows-this")
    needs = Needs(frozenset(), 100, None)
    assert purse.asked == [(estimate_usd(POLICY, POLICY.baseline_price(), needs), False)]


@pytest.mark.parametrize(
    "bounds",
    [Bounds(min_tier="mid"), Bounds(max_cost_usd=Decimal("0.000000001"))],
    ids=["least tier", "highest cost"],
)
async def test_what_the_request_itself_forbids_is_not_degraded_to(bounds):
    purse, needs = Purse(0), Needs(frozenset(), 100, None)
    caller = a_caller(daily_usd=1, over_budget="degrade")
    asked = Asked(parse_chat(raw(a_chat())), caller, bounds, None, 0.0, 60.0)
    decision = decide(POLICY, BOTH, a_verdict(5), replace(bounds, max_cost_usd=None), needs)
    routed = Routed("dec_1", decision, "p", needs, Found(a_verdict(5), "none"))
    with pytest.raises(BudgetExceeded):
        await afford(POLICY, BOTH, purse, asked, routed)
    assert not any(over for _, over in purse.asked)
