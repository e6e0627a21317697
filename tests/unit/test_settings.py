import pytest

from fareway.errors import ConfigError
from fareway.settings import Settings


def test_nothing_set_is_a_local_run_without_aws():
    settings = Settings.from_env({})
    assert (settings.stage, settings.cache_table, settings.keys_table) == ("local", "", "")
    assert settings.policy_file.is_file()


def test_aggregators_are_read_by_their_names():
    settings = Settings.from_env(
        {
            "OPENROUTER_API_KEY": " sk-1 ",
            "TOKENMIX_API_KEY": "",
            "FAREWAY_API_KEY": "fw-1",
            "FAREWAY_TOKENMIX_BASE_URL": "http://here/v1",
        }
    )
    assert settings.upstream_keys == {"openrouter": "sk-1"}
    assert settings.base_urls == {"tokenmix": "http://here/v1"}


def test_every_wrong_number_is_named():
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({"FAREWAY_DEADLINE_MS": "soon", "FAREWAY_CACHE_BUDGET_MS": "-1"})
    assert len(caught.value.faults) == 2
