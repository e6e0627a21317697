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


@pytest.mark.parametrize(("value", "metrics"), [(None, ""), ("", ""), ("emf", "emf")])
def test_metrics_are_written_where_they_are_asked_for(value, metrics):
    env = {} if value is None else {"FAREWAY_METRICS": value}
    assert Settings.from_env(env).metrics == metrics


def test_another_kind_of_metrics_is_refused():
    with pytest.raises(ConfigError, match="FAREWAY_METRICS must be 'emf' or empty"):
        Settings.from_env({"FAREWAY_METRICS": "statsd"})


def test_every_wrong_number_is_named():
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({"FAREWAY_DEADLINE_MS": "soon", "FAREWAY_CACHE_BUDGET_MS": "-1"})
    assert len(caught.value.faults) == 2
