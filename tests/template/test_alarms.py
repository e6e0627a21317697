"""The alarms: each stands on a metric that exists, and tells someone where someone is named."""

from typing import Any

import pytest

from fareway.metrics import NAMESPACE, UNITS

Alarms = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def alarms(resources: dict[str, dict[str, Any]]) -> Alarms:
    return {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def ours(alarms: Alarms) -> Alarms:
    return {name: alarm for name, alarm in alarms.items() if alarm["Namespace"] == NAMESPACE}


def test_what_must_call_a_person_does(alarms: Alarms) -> None:
    assert {alarm["MetricName"] for alarm in alarms.values()} == {
        "Failures5xx",
        "OverheadMs",
        "LedgerFallbacks",
        "BreakerOpens",
        "Unpriced",
        "Unclassified",
        "Errors",
        "Throttles",
        "ExecutionsFailed",
    }


def test_our_alarms_stand_on_metrics_that_are_written(alarms: Alarms) -> None:
    for name, alarm in ours(alarms).items():
        assert alarm["MetricName"] in UNITS, name
        assert alarm["Dimensions"] == [{"Name": "Stage", "Value": {"Ref": "Stage"}}], name


def test_an_average_is_a_share_and_so_its_threshold(alarms: Alarms) -> None:
    for name, alarm in ours(alarms).items():
        if alarm.get("Statistic") == "Average":
            assert UNITS[alarm["MetricName"]] == "Count", name
            assert 0 < float(alarm["Threshold"]) < 1, name


def test_the_other_alarms_are_of_functions_and_the_batch_machine(alarms: Alarms) -> None:
    told = set()
    for alarm in alarms.values():
        if alarm["Namespace"] != NAMESPACE:
            ((name, of),) = [(d["Name"], d["Value"]["Ref"]) for d in alarm["Dimensions"]]
            assert (alarm["Namespace"], name) in {
                ("AWS/Lambda", "FunctionName"),
                ("AWS/States", "StateMachineArn"),
            }
            told.add((of, alarm["MetricName"]))
    assert told == {
        ("ApiFunction", "Errors"),
        ("ApiFunction", "Throttles"),
        ("TuneFunction", "Errors"),
        ("BatchMachine", "ExecutionsFailed"),
        ("RollupFunction", "Errors"),
    }


def test_a_quiet_hour_raises_no_alarm(alarms: Alarms) -> None:
    assert {alarm["TreatMissingData"] for alarm in alarms.values()} == {"notBreaching"}


def test_an_alarm_tells_the_topic_where_there_is_one(
    template: dict[str, Any], alarms: Alarms
) -> None:
    assert template["Parameters"]["AlarmEmail"]["Default"] == ""
    assert template["Resources"]["AlarmTopic"]["Condition"] == "HasAlarmEmail"
    told = {"Fn::If": ["HasAlarmEmail", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == told


def test_the_function_writes_the_metrics_as_it_is_deployed(template: dict[str, Any]) -> None:
    function = template["Resources"]["ApiFunction"]["Properties"]
    assert function["Environment"]["Variables"]["FAREWAY_METRICS"] == "emf"
    assert function["LoggingConfig"]["LogFormat"] == "Text"
