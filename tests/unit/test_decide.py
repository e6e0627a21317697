from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fareway.asks import Bounds, Needs
from fareway.decide import decide, pass_through, pinned_tier
from fareway.errors import BadRequest, ModelNotFound
from fareway.policy import TIERS
from tests.builders import a_chat, a_policy, a_verdict

POLICY = a_policy()
BOTH = ("tokenmix", "openrouter")


def needs(**fields):
    return Needs.of(a_chat(**fields), fields.get("max_tokens"), 1)


def decided(verdict, bounds=None, asks=None, pin=None):
    return decide(POLICY, BOTH, verdict, bounds or Bounds(), asks or needs(), pin)


@pytest.mark.parametrize(
    ("complexity", "tier"), [(1, "cheap"), (2, "cheap"), (3, "mid"), (4, "mid"), (5, "premium")]
)
def test_complexity_chooses_the_tier(complexity, tier):
    decision = decided(a_verdict(complexity))
    assert (decision.tier, decision.complexity, decision.lane) == (tier, complexity, "standard")


def test_the_next_model_comes_before_the_next_aggregator():
    names = [c.name for c in decided(a_verdict(1)).candidates]
    cheap = POLICY.tiers["cheap"].models
    assert names[: 2 * len(cheap)] == [f"{a}/{m}" for a in BOTH for m in cheap]


def test_a_tier_that_is_down_climbs_and_never_drops():
    tiers = [c.tier for c in decided(a_verdict(3)).candidates]
    assert tiers == sorted(tiers, key=TIERS.index)
    assert set(tiers) == {"mid", "premium"}


def test_a_sensitive_prompt_goes_to_claude_however_simple():
    decision = decided(a_verdict(1, sensitivity=0.97))
    assert (decision.tier, decision.lane) == ("premium", "sensitive")
    claudes, others = decision.candidates[:4], decision.candidates[4:]
    assert [c.aggregator for c in claudes] == ["tokenmix", "openrouter"] * 2
    assert all("claude" in c.model for c in claudes)
    assert not any("claude" in c.model for c in others)  # once every Claude failed


def test_a_pin_does_not_lower_the_safety_floor():
    decision = decided(a_verdict(1, sensitivity=0.97), pin="cheap")
    assert (decision.tier, decision.lane) == ("premium", "sensitive")


def test_a_tier_that_the_key_lacks_is_climbed_over():
    decision = decided(a_verdict(3), Bounds().within(("cheap", "premium")))
    assert {c.tier for c in decision.candidates} == {"premium"}
    assert "moved from mid to premium" in decision.reason


def test_a_maximum_tier_holds_and_keeps_the_sensitive_lane():
    decision = decided(a_verdict(1, sensitivity=0.97), Bounds(max_tier="mid"))
    assert (decision.tier, decision.lane) == ("mid", "sensitive")
    assert all("claude" in c.model for c in decision.candidates)


def test_what_cannot_be_scored_takes_the_safe_way():
    decision = decided(None)
    assert (decision.tier, decision.lane, decision.complexity) == ("premium", "sensitive", None)


def test_a_pin_chooses_the_tier():
    assert decided(a_verdict(5), pin="cheap").tier == "cheap"
    assert decided(a_verdict(1), pin="premium").tier == "premium"


def test_bounds_raise_and_hold():
    assert decided(a_verdict(1), Bounds(min_tier="mid")).tier == "mid"
    assert decided(a_verdict(5), Bounds(max_tier="cheap")).tier == "cheap"
    assert {c.tier for c in decided(a_verdict(1), Bounds(max_tier="mid")).candidates} == {
        "cheap",
        "mid",
    }


@pytest.mark.parametrize(
    ("chat", "capability"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json_schema"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}
                ]
            },
            "vision",
        ),
    ],
)
def test_a_candidate_that_cannot_is_ruled_out_before_the_call(chat, capability):
    decision = decided(a_verdict(1), asks=needs(**chat))
    assert decision.candidates
    for candidate in decision.candidates:
        assert capability in POLICY.models[candidate.model].can


def test_a_prompt_too_long_for_a_model_rules_it_out():
    decision = decided(a_verdict(3), asks=needs(prompt="word " * 250_000))
    assert {POLICY.models[c.model].context > 300_000 for c in decision.candidates} == {True}
    assert "context" in decision.reason


def test_an_unspaced_script_and_a_picture_have_their_tokens_counted():
    assert needs(prompt="word " * 100).prompt_tokens == 130
    assert needs(prompt="请帮我翻译这封信。" * 100).prompt_tokens > 600
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    seen = needs(messages=[{"role": "user", "content": [picture, picture]}])
    assert 1_000 <= seen.prompt_tokens <= 4_000
    schema = {"type": "json_schema", "json_schema": {"name": "x" * 4_000, "schema": {}}}
    assert needs(response_format=schema).prompt_tokens > 1_000


def test_what_no_model_can_do_is_the_callers_to_mend():
    audio = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]
    with pytest.raises(BadRequest, match="audio"):
        decided(a_verdict(1), asks=needs(messages=audio))


def test_a_cost_bound_moves_down_and_says_so():
    bound = Bounds(max_cost_usd=Decimal("0.002"))
    decision = decided(a_verdict(5), bound, needs(max_tokens=1000))
    assert decision.tier != "premium"
    assert "x-fareway-max-cost-usd" in decision.reason


def test_a_cost_bound_below_everything_is_refused_with_the_estimate():
    with pytest.raises(BadRequest) as caught:
        decided(a_verdict(1), Bounds(max_cost_usd=Decimal("0.0000001")))
    assert caught.value.param == "x-fareway-max-cost-usd"
    assert "USD" in caught.value.message


@pytest.mark.parametrize(
    "headers",
    [
        {"x-fareway-min-tier": "gold"},
        {"x-fareway-max-tier": ""},
        {"x-fareway-max-cost-usd": "cheap"},
        {"x-fareway-max-cost-usd": "-1"},
        {"x-fareway-max-cost-usd": "NaN"},
        {"x-fareway-max-cost-usd": "0"},
        {"x-fareway-max-cost-usd": "1e999999999"},  # in digits a gigabyte
        {"x-fareway-max-cost-usd": "1e-999999999"},
        {"x-fareway-min-tier": "premium", "x-fareway-max-tier": "cheap"},
    ],
)
def test_a_bound_that_makes_no_sense_is_named(headers):
    with pytest.raises(BadRequest) as caught:
        Bounds.of(headers)
    assert caught.value.param in headers


@pytest.mark.parametrize("model", ["fareway/gold", "fareway/", "fareway/AUTO"])
def test_an_unknown_fareway_model_names_those_there_are(model):
    with pytest.raises(ModelNotFound, match="fareway/auto, fareway/cheap"):
        pinned_tier(model)


def test_a_known_model_passes_through_to_every_aggregator_by_its_name_there():
    decision = pass_through(POLICY, BOTH, "gpt-5")
    assert [c.id for c in decision.candidates] == ["gpt-5", "openai/gpt-5"]
    assert (decision.tier, decision.lane) == (None, "direct")


def test_an_unknown_model_passes_through_as_it_is():
    assert [c.id for c in pass_through(POLICY, BOTH, "acme/llm-1").candidates] == ["acme/llm-1"] * 2


scores = st.floats(min_value=1, max_value=5)


@given(scores, scores)
def test_a_harder_prompt_never_goes_lower(a, b):
    low, high = (POLICY.tier(POLICY.complexity(s)) for s in sorted((a, b)))
    assert TIERS.index(low) <= TIERS.index(high)


@given(
    st.integers(1, 5),
    st.floats(0, 1),
    st.sampled_from(TIERS),
    st.sampled_from(TIERS),
    st.sampled_from([None, *TIERS]),
)
def test_no_candidate_is_ever_outside_the_bounds(complexity, sensitivity, one, other, pin):
    low, high = sorted((one, other), key=TIERS.index)
    decision = decided(a_verdict(complexity, sensitivity), Bounds(low, high), pin=pin)
    assert decision.candidates
    for candidate in decision.candidates:
        assert TIERS.index(low) <= TIERS.index(candidate.tier) <= TIERS.index(high)


@pytest.mark.parametrize(
    "needs", ["n>1", "logprobs", "logit_bias", "custom_tools", "tool_choice", "prefill", "vision"]
)
@pytest.mark.parametrize("complexity", [1, 3, 5])
@pytest.mark.parametrize("sensitivity", [0.01, 0.99])
def test_what_a_prompt_says_never_decides_whether_a_parameter_is_served(
    needs, complexity, sensitivity
):
    """A request that works with one prompt works with any."""
    verdict = a_verdict(complexity, sensitivity)
    asked = Needs(frozenset({needs}), 100, None)
    decision = decide(a_policy(), ("tokenmix", "openrouter"), verdict, Bounds(), asked)
    assert decision.candidates
    if sensitivity > 0.5:
        assert {c.tier for c in decision.candidates} == {"premium"}
