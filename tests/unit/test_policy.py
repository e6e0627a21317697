from decimal import Decimal

import pytest

from fareway.errors import ConfigError
from fareway.policy import load_policy
from fareway.prices import Usage
from tests.builders import POLICY_FILE, a_policy


def written(tmp_path, *changes):
    text = POLICY_FILE.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "policy.toml"
    file.write_text(text, encoding="utf-8")
    return file


def cuts_line():
    return next(line for line in POLICY_FILE.read_text().splitlines() if line.startswith("cuts = "))


def test_the_shipped_policy_is_sound_and_all_its_models_are_priced():
    policy = a_policy()
    for name, model in policy.models.items():
        for aggregator in model.ids:
            assert policy.price(name, aggregator).output > 0


def test_every_fault_is_named_at_once(tmp_path):
    file = written(
        tmp_path,
        (cuts_line(), "cuts = [1.5, 3.5, 2.5, 4.5]"),
        ("[tiers.mid]", "[tiers.middle]"),
        ('models = ["gpt-5", "claude-sonnet-5.5", "gpt-4o"]', "models = []"),
        ('tokenmix = "gpt-4o-mini"', 'tokenmix = "nobody-knows-me"'),
        ('baseline = "gpt-5"', 'baseline = "gpt-99"'),
        ('openrouter = "qwen/qwen3.8-flash"', 'elsewhere = "qwen/qwen3.8-flash"'),
    )
    with pytest.raises(ConfigError) as caught:
        load_policy(file)
    said = str(caught.value)
    for fault in (
        "complexity.cuts: must ascend",
        "tiers.middle: unknown tier",
        "tiers.mid: missing",
        "tiers.premium.models: empty",
        "no price is known for 'nobody-knows-me'",
        "baseline: unknown model 'gpt-99'",
        "unknown aggregator 'elsewhere'",
    ):
        assert fault in said


def test_a_wrong_shape_does_not_hide_the_other_faults(tmp_path):
    file = written(
        tmp_path,
        (cuts_line(), "cuts = [3.0, 2.0]"),
        ("tries = 2", 'tries = "two"'),
        ("[tiers.mid]", "[tiers.middle]"),
    )
    with pytest.raises(ConfigError) as caught:
        load_policy(file)
    said = str(caught.value)
    assert "attempts.tries" in said
    assert "complexity.cuts: must ascend" in said
    assert "tiers.middle: unknown tier" in said


@pytest.mark.parametrize("text", ["", "not toml [", "version = 3"])
def test_a_file_that_is_no_policy_is_refused(tmp_path, text):
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        load_policy(file)


def test_an_unknown_name_in_the_file_is_a_fault(tmp_path):
    with pytest.raises(ConfigError, match="treshold"):
        load_policy(written(tmp_path, ("[sensitivity]\n", "[sensitivity]\ntreshold = 0.1\n")))


def test_an_own_price_goes_before_the_list(tmp_path):
    line = 'ids = { tokenmix = "gpt-5", openrouter = "openai/gpt-5" }'
    own = line + '\nusd_per_mtok = { input = "1.1", output = "9" }'
    policy = load_policy(written(tmp_path, (line, own)))
    assert str(policy.price("gpt-5", "openrouter").input) == "1.1"
    assert str(policy.baseline_price().output) == "9"


def test_an_own_price_has_long_prompts_and_batches(tmp_path):
    line = 'ids = { tokenmix = "gpt-5", openrouter = "openai/gpt-5" }'
    own = line + (
        "\nusd_per_mtok = { input = 1, output = 8.5, batch = { input = 0.4, output = 3 },"
        " above = { 200_000 = { input = 2, output = 9 } } }"
    )
    policy = load_policy(written(tmp_path, (line, own)))
    served = policy.prices.find("openai/gpt-5-2025-08-07")
    assert served == policy.baseline_price()
    assert served.cost_usd(Usage(1000, 100)) == Decimal("0.00185")
    assert served.cost_usd(Usage(300_000, 100)) == Decimal("0.6009")
    assert served.cost_usd(Usage(1000, 100, batch=True)) == Decimal("0.0007")


def test_a_faulty_own_price_is_named_with_its_model(tmp_path):
    line = 'ids = { tokenmix = "gpt-5", openrouter = "openai/gpt-5" }'
    own = (
        line + '\nusd_per_mtok = { input = 1, output = 2, batch = { input = 1, output = "half" } }'
    )
    with pytest.raises(ConfigError, match="usd_per_mtok: batch: `output` is USD") as caught:
        load_policy(written(tmp_path, (line, own)))
    assert "models.gpt-5." in str(caught.value)
    assert "'half'" in str(caught.value)


def test_complexity_follows_the_cuts_at_their_very_edge():
    policy = a_policy()
    below, above = policy.cuts[1] - 1e-9, policy.cuts[1]
    assert (policy.complexity(below), policy.complexity(above)) == (2, 3)
    assert policy.complexity(1.0) == 1
    assert policy.complexity(5.0) == 5
