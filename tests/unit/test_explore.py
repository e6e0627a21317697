"""Exploration and the shadow policy: who is drawn, how often, and who never is."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from fareway.asks import Bounds, Needs
from fareway.decide import Lift, decide
from fareway.dispatch import Trail
from fareway.errors import ConfigError
from fareway.explore import chances, explore, luck_of
from fareway.judge import Judge
from fareway.policy import TIERS, load_policy
from fareway.policy_tables import Exploration, Shadow
from fareway.record import Asked, Routed, Shadowed, cost_event
from fareway.wire import parse_chat
from fareway.wiring import load_shadow
from tests.builders import POLICY_FILE, a_caller, a_chat, a_policy, a_verdict, raw
from tests.unit.test_route import FixedScorer, a_judge, routed

SHARE = 0.05
POLICY = replace(a_policy(), exploration=Exploration(share=SHARE))
BOTH = ("tokenmix", "openrouter")
NEEDS = Needs.of(a_chat(), None, 1)
#: Lucks that fall on each of the ways of a request in the middle.
STAYS, UP_OR_DOWN = 0.5, (0.96, 0.99)


def explored(luck, complexity=3, *, policy=POLICY, bounds=None, needs=NEEDS, pin=None, lifts=(),
             **verdict):  # fmt: skip
    asks = (BOTH, a_verdict(complexity, **verdict), bounds or Bounds(), needs, pin, lifts)
    before = decide(policy, *asks)
    return before, explore(policy, before, luck, *asks)


def test_a_share_goes_a_tier_up_and_as_many_a_tier_down():
    lucks = [luck_of(f"dec_{n}", "explore") for n in range(4_000)]
    tiers = Counter(explored(luck)[1].tier for luck in lucks)
    assert tiers["cheap"] / 4_000 == pytest.approx(SHARE / 2, abs=0.01)
    assert tiers["premium"] / 4_000 == pytest.approx(SHARE / 2, abs=0.01)


@pytest.mark.parametrize("tier", TIERS)
def test_chances_sum_to_one_and_lead_no_further_than_one_tier(tier):
    ways = chances(tier, SHARE)
    assert sum(ways.values()) == pytest.approx(1)
    assert all(abs(TIERS.index(way) - TIERS.index(tier)) <= 1 for way in ways)


@pytest.mark.parametrize("luck", UP_OR_DOWN)
def test_a_decision_that_was_explored_says_so_and_calls_that_tiers_models(luck):
    before, after = explored(luck)
    assert after.explored
    assert after.propensity == SHARE / 2
    assert abs(TIERS.index(after.tier) - TIERS.index(before.tier)) == 1
    assert after.candidates[0].tier == after.tier
    assert after.reasons[-1] == f"explored: {after.tier} in place of mid, by lot"


def test_one_that_stays_has_its_chance_too():
    before, after = explored(STAYS)
    assert (after.tier, after.explored, after.propensity) == ("mid", False, 1 - SHARE)
    assert after.reasons == before.reasons
    assert explored(STAYS, 1)[1].propensity == 1 - SHARE / 2  # cheap has no tier below


@pytest.mark.parametrize(
    "held",
    [
        {"sensitivity": 0.9},
        {"pin": "mid"},
        {"bounds": Bounds(min_tier="mid")},
        {"bounds": Bounds(max_tier="mid")},
        {"bounds": Bounds(max_cost_usd=Decimal("1"))},
        {"bounds": Bounds().within(("cheap", "mid"))},
        {"lifts": [Lift("premium", "session raised to premium")]},
        {"lifts": [Lift("cheap", "a floor that the decision is above")]},
        {"policy": a_policy()},
    ],
)
@pytest.mark.parametrize("luck", UP_OR_DOWN)
def test_what_more_than_cuts_decide_is_never_explored(held, luck):
    before, after = explored(luck, **held)
    assert after == before
    assert after.propensity is None


def test_a_complexity_that_a_teacher_named_is_not_of_the_cuts():
    verdict = replace(a_verdict(3), complexity=3)
    asks = (BOTH, verdict, Bounds(), NEEDS, None, ())
    before = decide(POLICY, *asks)
    assert explore(POLICY, before, UP_OR_DOWN[0], *asks) == before


def test_a_tier_that_cannot_do_it_is_no_way():
    """No model of the cheap tier gives log probabilities; what is left of its part stays."""
    needs = Needs.of(a_chat(logprobs=True), None, 1)
    tiers = {explored(n / 200, needs=needs)[1].tier for n in range(200)}
    assert tiers == {"mid", "premium"}
    assert explored(STAYS, needs=needs)[1].propensity == 1 - SHARE / 2


def test_a_decision_has_one_luck_for_each_thing():
    assert luck_of("dec_1", "explore") == luck_of("dec_1", "explore")
    assert luck_of("dec_1", "explore") != luck_of("dec_1", "shadow")
    assert 0 <= luck_of("dec_1", "explore") < 1


def with_tables(tmp_path, tables):
    file = tmp_path / "policy.toml"
    text = POLICY_FILE.read_text(encoding="utf-8")
    kept = text[: text.index("[exploration]")] + text[text.index("[attempts]") :]
    file.write_text(kept + tables, encoding="utf-8")
    return file


def test_exploration_and_shadow_are_off_unless_asked_for(tmp_path):
    for policy in (a_policy(), load_policy(with_tables(tmp_path, ""))):
        assert (policy.exploration.share, policy.shadow.share) == (0, 0)


@pytest.mark.parametrize(
    "tables",
    ["[exploration]\nshare = 0.06\n", "[exploration]\nshare = -0.1\n", "[shadow]\nshare = 0.1\n"],
)
def test_more_than_a_twentieth_or_a_shadow_without_a_policy_is_refused(tmp_path, tables):
    with pytest.raises(ConfigError):
        load_policy(with_tables(tmp_path, tables))


def a_shadowing_judge(share):
    plain = a_judge(FixedScorer())
    policy = replace(plain.policy, shadow=Shadow(policy="other.toml", share=share))
    shadow = replace(plain.policy, version="other", cuts=(1.0, 1.5, 3.0, 4.0))
    return Judge(policy, plain.verdicts, plain.aggregators, shadow=shadow)


async def test_a_shadow_policy_decides_and_does_not_act():
    found = await routed(a_shadowing_judge(1.0))
    assert found.decision.tier == "cheap"
    assert (found.shadow.policy_version, found.shadow.tier) == ("other", "mid")


async def test_a_shadow_policy_without_a_share_does_nothing():
    assert (await routed(a_shadowing_judge(0.0))).shadow is None


def an_event_of(found, served):
    caller = a_caller()
    asked = Asked(parse_chat(raw(a_chat())), caller, Bounds(), None, 0.0, 60.0)
    routed_ = Routed("dec_1", found, "p", NEEDS, shadow=Shadowed("other", "mid"))
    return cost_event(POLICY, asked, routed_, Trail(), 200, served)


def test_the_ledger_has_the_chance_of_the_tier_that_served():
    _, after = explored(STAYS)
    event = an_event_of(after, after.candidates[0])
    assert (event.propensity, event.explored) == (1 - SHARE, False)
    assert (event.shadow_policy, event.shadow_tier) == ("other", "mid")


def test_of_a_tier_that_dispatch_climbed_to_no_chance_is_known():
    _, after = explored(STAYS)
    event = an_event_of(after, after.candidates[-1])
    assert (event.tier, event.propensity) == ("premium", None)


def test_a_shadow_policy_with_faults_is_told_and_left_out(tmp_path, logged):
    asking = replace(a_policy(), shadow=Shadow(policy="gone.toml", share=0.5))
    assert load_shadow(asking, tmp_path) is None
    assert logged()[0]["message"] == "shadow policy unavailable"
    assert load_shadow(a_policy(), tmp_path) is None
    assert load_shadow(replace(asking, shadow=Shadow(policy="policy.toml", share=0.5)),
                       POLICY_FILE.parent) == a_policy()  # fmt: skip
