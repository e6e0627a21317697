"""Sessions go up after complaints, down after peace, and never past what a request allows."""

from dataclasses import replace

import pytest

from fareway.asks import Bounds, Needs
from fareway.decide import Lift, decide
from fareway.escalate import Answered, Session, Turn, after_rating, after_turn, lift, stay
from fareway.policy_tables import Escalation
from tests.builders import a_policy, a_verdict

RULES = Escalation()
MINUTE = 60.0
NOW = 1_800_000_000.0
NEEDS = Needs(frozenset(), 50, None)


def an_answer(tier="cheap", id_="dec_1", **fields):
    values = {
        "aggregator": "tokenmix",
        "model": "deepseek-v4-flash",
        "prompt_tokens": 100,
        "completion_tokens": 100,
        "warm_tokens": 0,
    }
    return Answered(id_, tier, **(values | fields))


def talk(*said, base="cheap", session=None, every_s=MINUTE):
    """Turns, each answered at its floor -> the floors."""
    session = session or Session()
    floors = []
    for number, one in enumerate(said):
        turn = Turn(one, f"t{number}", base, NOW + number * every_s)
        session = after_turn(session, turn, RULES)
        floors.append(session.floor)
        tier = session.floor or base
        session = replace(session, last=an_answer(tier, f"dec_{number}"))
    return floors


def test_a_support_conversation():
    said = [None, "complaint", "complaint", "satisfied", "neutral", "neutral", "neutral", "neutral"]
    assert talk(*said) == [None, "mid", "premium", "mid", "mid", None, None, None]


def test_one_complaint_lifts_one_tier_over_what_failed():
    assert talk(None, "complaint", base="mid") == [None, "premium"]
    assert talk(None, "complaint", base="premium") == [None, "premium"]


def test_a_complaint_without_a_known_answer_lifts_over_what_the_turn_would_get():
    assert talk("complaint") == ["mid"]


def test_a_turn_that_is_sent_again_is_counted_once():
    turn = Turn("complaint", "t", "cheap", NOW)
    once = after_turn(Session(last=an_answer()), turn, RULES)
    assert after_turn(once, replace(turn, at=NOW + 5), RULES) == once


def test_idle_time_lets_a_session_down_a_tier_at_a_time():
    raised = Session(floor="premium", at=NOW)
    for minutes, floor in [(29, "premium"), (30, "mid"), (59, "mid"), (60, None), (9999, None)]:
        turn = Turn("neutral", "t", "cheap", NOW + minutes * MINUTE)
        assert after_turn(raised, turn, RULES).floor == floor


def test_an_agents_own_steps_are_neither_peace_nor_complaint():
    assert talk(None, "complaint", None, None, None, None)[-1] == "mid"


def test_an_answer_is_counted_once_by_whatever_way_its_user_complains():
    session = Session(last=an_answer(), at=NOW)
    rated = after_rating(session, an_answer(), False, NOW, RULES)
    assert rated.floor == "mid"
    assert after_rating(rated, an_answer(), False, NOW, RULES).floor == "mid"
    said = after_turn(rated, Turn("complaint", "t", "cheap", NOW), RULES)
    assert said.floor == "mid"
    other = after_rating(said, an_answer(id_="dec_2"), False, NOW, RULES)
    assert other.floor == "premium"


def test_praise_lets_down_what_a_complaint_lifted_and_lifts_nothing():
    raised = Session(floor="premium", at=NOW)
    praised = after_rating(raised, an_answer(), True, NOW, RULES)
    assert praised.floor == "mid"
    assert after_rating(praised, an_answer(), True, NOW, RULES).floor == "mid"
    assert after_rating(Session(at=NOW), an_answer(), True, NOW, RULES).floor is None


def test_who_thinks_better_of_a_rating_takes_it_back():
    session, one = Session(last=an_answer(), at=NOW), an_answer()
    praised = after_rating(session, one, True, NOW, RULES)
    down = after_rating(praised, one, False, NOW, RULES)
    assert down.floor == "mid"
    assert after_turn(down, Turn("complaint", "t", "cheap", NOW), RULES).floor == "mid"
    up = after_rating(down, one, True, NOW, RULES)
    assert up.floor is None
    assert after_rating(up, one, False, NOW, RULES).floor == "mid"


def decided(lifts, complexity=1, sensitivity=0.0, bounds=None, pin=None):
    verdict = a_verdict(complexity, sensitivity)
    return decide(a_policy(), ["tokenmix"], verdict, bounds or Bounds(), NEEDS, pin, lifts)


def test_a_lift_raises_says_so_and_never_lowers():
    decision = decided([Lift("mid", "because")])
    assert (decision.tier, decision.escalated) == ("mid", True)
    assert decision.reasons == ("complexity 1 (score 1.00)", "because")
    assert decided([Lift("mid", "because")], complexity=5).tier == "premium"
    assert not decided([Lift("mid", "because")], complexity=5).escalated


def test_a_lift_stays_within_the_requests_bounds_and_moves_no_pin():
    held = decided([Lift("premium", "because")], bounds=Bounds(max_tier="mid"))
    assert held.tier == "mid"
    assert "held at x-fareway-max-tier mid" in held.reason
    assert decided([Lift("premium", "because")], pin="cheap").tier == "cheap"


def test_nothing_that_is_remembered_keeps_a_prompt_out_of_the_sensitive_lane():
    decision = decided([Lift("mid", "because")], sensitivity=0.9, pin="cheap")
    assert (decision.tier, decision.lane) == ("premium", "sensitive")


def test_a_lift_says_whether_it_is_of_now():
    session = Session(floor="mid")
    assert "the last answer" in lift(session, "complaint").reason
    assert "earlier" in lift(session, "neutral").reason
    assert lift(Session(), "complaint") is None


def warm(prompt=60_000, tokens=50_000, completion=100, at=NOW, model="gpt-5", sensitive=False):
    """A premium answer, cached by the provider; the next turn would go to mid."""
    last = an_answer(
        "premium", model=model, warm_tokens=tokens, completion_tokens=completion, at=at
    )
    needs = Needs(frozenset(), prompt, None)
    session = Session(at=NOW, last=last)
    return stay(a_policy(), ["tokenmix"], session, "mid", sensitive, needs, NOW)


def test_a_long_cached_prefix_keeps_the_model_where_moving_down_would_cost_more():
    found = warm()
    assert found.tier == "premium"
    assert "50000 tokens in gpt-5's prompt cache" in found.reason
    assert decided([found], complexity=3).tier == "premium"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"tokens": 0}, id="the provider has nothing of it"),
        pytest.param({"at": NOW - 301}, id="too long ago"),
        pytest.param({"prompt": 100}, id="another conversation"),
        pytest.param({"tokens": 1000}, id="a short prefix"),
        pytest.param({"completion": 100_000}, id="what is dear is the completion"),
        pytest.param({"model": "gpt-4o"}, id="it would not be asked again anyway"),
        pytest.param({"sensitive": True}, id="nor in this lane"),
    ],
)
def test_else_a_turn_moves_down(fields):
    assert warm(**fields) is None


def test_praise_that_is_sent_again_does_not_count_idle_time_twice():
    raised = after_rating(Session(floor="premium", at=NOW), an_answer(), True, NOW, RULES)
    assert raised.floor == "mid"
    raised = replace(raised, floor="premium")
    later = NOW + 30 * MINUTE
    for _ in range(3):
        raised = after_rating(raised, an_answer(), True, later, RULES)
        assert raised.floor == "mid"


def test_a_rating_does_not_keep_the_providers_cache_warm():
    last = an_answer("premium", model="gpt-5", warm_tokens=50_000, at=NOW)
    rated = after_rating(Session(at=NOW, last=last), last, False, NOW + 290, RULES)
    needs = Needs(frozenset(), 60_000, None)
    assert stay(a_policy(), ["tokenmix"], rated, "mid", False, needs, NOW + 290) is not None
    assert stay(a_policy(), ["tokenmix"], rated, "mid", False, needs, NOW + 580) is None
