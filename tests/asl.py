"""A state machine's definition, walked in this process: as much of the language as ours uses.

Waits are noted and not waited for; a retry comes at once. Source: states-language.net/spec.html.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

State = dict[str, Any]


class Failed(Exception):
    """A state, or the whole execution, ended in an error."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause


@dataclass
class Machine:
    """Executions of one definition.

    Args:
        call: a function's name as the definition has it, and a payload -> its answer.
        keys: a prefix -> the keys in the bucket that begin so.
        waited: called with the seconds of each wait.
        entered: the states that were entered, in order.
    """

    definition: State
    call: Callable[[str, Any], Any]
    keys: Callable[[str], list[str]]
    waited: Callable[[float], None] = lambda seconds: None
    entered: list[str] = field(default_factory=list)

    def run(self, data: State) -> Any:
        """Input -> output. Raises Failed; and whatever is no Exception, as a machine that dies."""
        return self._run(self.definition, data, {})

    def _run(self, machine: State, data: Any, context: State) -> Any:
        name: str | None = machine["StartAt"]
        while name:
            state = machine["States"][name]
            self.entered.append(name)
            match state["Type"]:
                case "Succeed":
                    return data
                case "Fail":
                    raise Failed(_at(data, state["ErrorPath"]), state["Cause"])
                case "Choice":
                    name = _chosen(state, data)
                case "Wait":
                    self.waited(_at(data, state["SecondsPath"]))
                    name = state["Next"]
                case _:
                    data, name = self._work(state, data, context)
        return data

    def _work(self, state: State, data: Any, context: State) -> tuple[Any, str | None]:
        tried: dict[int, int] = {}
        while True:
            try:
                result = self._once(state, data, context)
            except Failed as failure:
                if _again(state, failure, tried):
                    continue
                for catcher in state.get("Catch", []):
                    if _named(failure, catcher):
                        told = {"Error": failure.error, "Cause": failure.cause}
                        return _put(data, catcher["ResultPath"], told), catcher["Next"]
                raise
            if selector := state.get("ResultSelector"):
                result = _filled(selector, result, {})
            data = _put(data, state.get("ResultPath", "$"), result)
            return _at(data, state.get("OutputPath", "$")), state.get("Next")

    def _once(self, state: State, data: Any, context: State) -> Any:
        given = _filled(state["Parameters"], data, context) if "Parameters" in state else data
        if state["Type"] == "Parallel":
            return [self._run(b, copy.deepcopy(given), context) for b in state["Branches"]]
        if state["Type"] == "Map":
            prefix = _filled(state["ItemReader"]["Parameters"], data, context)["Prefix"]
            items = [{"Map": {"Item": {"Value": {"Key": key}}}} for key in self.keys(prefix)]
            inputs = [_filled(state["ItemSelector"], data, item) for item in items]
            return [self._run(state["ItemProcessor"], i, context) for i in inputs]
        assert state["Resource"].endswith("states:::lambda:invoke")
        payload = json.loads(json.dumps(given["Payload"]))
        assert len(json.dumps(payload)) < 256 * 1024
        try:
            answer = self.call(given["FunctionName"], payload)
        except Exception as error:
            told = {"errorType": type(error).__name__, "errorMessage": str(error)}
            raise Failed(type(error).__name__, json.dumps(told)) from error
        return {"StatusCode": 200, "Payload": json.loads(json.dumps(answer))}


def _again(state: State, failure: Failed, tried: dict[int, int]) -> bool:
    for number, retrier in enumerate(state.get("Retry", [])):
        if _named(failure, retrier):
            tried[number] = tried.get(number, 0) + 1
            return tried[number] <= int(retrier.get("MaxAttempts", 3))
    return False


def _named(failure: Failed, handler: State) -> bool:
    return bool({failure.error, "States.ALL"} & set(handler["ErrorEquals"]))


def _chosen(state: State, data: Any) -> str:
    for rule in state["Choices"]:
        if "IsPresent" in rule:
            met = rule["Variable"].removeprefix("$.") in data
        else:
            met = _at(data, rule["Variable"]) is rule["BooleanEquals"]
        if met:
            return str(rule["Next"])
    return str(state["Default"])


def _at(data: Any, path: str) -> Any:
    for part in path.split(".")[1:]:
        data = data[part]
    return data


def _put(data: Any, path: str | None, result: Any) -> Any:
    if path is None:
        return data
    return result if path == "$" else data | {path.removeprefix("$."): result}


def _filled(template: Any, data: Any, context: State) -> Any:
    if not isinstance(template, dict):
        return template
    filled = {}
    for key, value in template.items():
        if key.endswith(".$"):
            source = context if value.startswith("$$") else data
            filled[key[:-2]] = _at(source, value)
        else:
            filled[key] = _filled(value, data, context)
    return filled
