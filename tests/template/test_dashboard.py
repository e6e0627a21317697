"""The dashboard: JSON that CloudWatch takes, with every metric that is written and every alarm."""

import json
import re
from typing import Any

import pytest

from fareway.metrics import NAMESPACE, UNITS


@pytest.fixture(scope="module")
def widgets(resources: dict[str, Any]) -> list[dict[str, Any]]:
    return json.loads(resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])["widgets"]


def metrics(widgets: list[dict[str, Any]]) -> list[list[Any]]:
    return [metric for widget in widgets for metric in widget["properties"].get("metrics", [])]


def test_every_metric_of_ours_is_on_it_and_no_other(widgets: list[dict[str, Any]]) -> None:
    assert {name for namespace, name, *_ in metrics(widgets) if namespace == NAMESPACE} == set(
        UNITS
    )


def test_all_are_of_this_stage(widgets: list[dict[str, Any]]) -> None:
    for namespace, _, *dimensions in metrics(widgets):
        if namespace == NAMESPACE:
            assert dimensions[:2] == ["Stage", "${Stage}"]


def test_every_alarm_that_is_always_there_is_on_it(
    widgets: list[dict[str, Any]], resources: dict[str, Any]
) -> None:
    always = {
        name
        for name, resource in resources.items()
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Condition" not in resource
    }
    (shown,) = [w["properties"]["alarms"] for w in widgets if w["type"] == "alarm"]
    assert {arn.removeprefix("${").removesuffix(".Arn}") for arn in shown} == always


def test_widgets_lie_side_by_side(widgets: list[dict[str, Any]]) -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets:
        assert widget["x"] + widget["width"] <= 24  # CloudWatch's grid
        cells = {
            (widget["x"] + right, widget["y"] + down)
            for right in range(widget["width"])
            for down in range(widget["height"])
        }
        assert not cells & taken, widget["properties"]["title"]
        taken |= cells


def test_what_is_filled_in_is_there(resources: dict[str, Any]) -> None:
    body = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for name in re.findall(r"\$\{([A-Za-z0-9]+)(?:\.Arn)?\}", body):
        assert name in resources or name == "Stage", name
