"""The batch machine's definition: whole, patient, and given what it asks for."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fareway import errors
from fareway.batch.upload import IN
from fareway.batch_steps import LEASE_S
from local.cloud import ROOT
from tests.template.test_house_rules import Resources, as_list

Machine = dict[str, Any]
DEFINITION = ROOT / "statemachines" / "batch.asl.json"
FUNCTIONS = {
    "ClassifyFunction": "BatchClassifyFunction",
    "SubmitFunction": "BatchSubmitFunction",
    "CollectFunction": "BatchCollectFunction",
}


@pytest.fixture(scope="module")
def machine() -> Machine:
    return dict(json.loads(DEFINITION.read_text(encoding="utf-8")))


def machines(machine: Machine) -> Iterator[Machine]:
    """The machine and those within it."""
    yield machine
    for state in machine["States"].values():
        for inner in [*state.get("Branches", []), *filter(None, [state.get("ItemProcessor")])]:
            yield from machines(inner)


def states(machine: Machine) -> Iterator[tuple[str, dict[str, Any]]]:
    for inner in machines(machine):
        yield from inner["States"].items()


def follow(state: dict[str, Any]) -> set[str]:
    """The states that may come after one."""
    ways = [state, *state.get("Choices", []), *state.get("Catch", [])]
    named = {way["Next"] for way in ways if "Next" in way}
    return named | ({state["Default"]} if "Default" in state else set())


def test_every_state_can_be_come_to_and_left(machine: Machine) -> None:
    for inner in machines(machine):
        reached, new = set(), {inner["StartAt"]}
        while new:
            reached |= new
            new = {after for name in new for after in follow(inner["States"][name])} - reached
        assert reached == set(inner["States"])
        for name, state in inner["States"].items():
            assert follow(state) or state["Type"] in ("Succeed", "Fail") or state["End"], name


def test_every_task_is_a_function_of_the_template(machine: Machine, resources: Resources) -> None:
    given = resources["BatchMachine"]["Properties"]["DefinitionSubstitutions"]
    for name, function in FUNCTIONS.items():
        assert given[name] == {"Ref": f"{function}.Alias"}
    tasks = [state for _, state in states(machine) if state["Type"] == "Task"]
    called = {task["Parameters"]["FunctionName"][2:-1] for task in tasks}
    assert called == set(FUNCTIONS)
    text = DEFINITION.read_text(encoding="utf-8")
    assert all(f"${{{name}}}" in text for name in given)
    assert text.count("${") == sum(text.count(f"${{{name}}}") for name in given)


def test_every_task_is_tried_again_but_not_what_a_person_must_mend(machine: Machine) -> None:
    for name, state in states(machine):
        if state["Type"] != "Task":
            continue
        mended, rest = state["Retry"]
        assert mended["MaxAttempts"] == 0, name
        assert all(hasattr(errors, error) for error in mended["ErrorEquals"]), name
        assert rest["ErrorEquals"] == ["States.ALL"], name
        assert rest["MaxAttempts"] >= 6, name
        assert rest["BackoffRate"] > 1, name
        assert rest["JitterStrategy"] == "FULL", name


def test_whatever_fails_leaves_its_reason(machine: Machine) -> None:
    """A task or map of the machine itself catches everything; `Failed` is not come to untold."""
    for name, state in machine["States"].items():
        if state["Type"] in ("Task", "Parallel", "Map"):
            (caught,) = state["Catch"]
            assert caught["ErrorEquals"] == ["States.ALL"], name
            told = {"TellWhy": "Failed", "Record": "IsToldWhy"}
            assert caught["Next"] == told.get(name, "TellWhy")


def test_a_task_waits_longer_than_its_function_runs_and_a_claim_as_long(
    machine: Machine, resources: Resources
) -> None:
    for function in FUNCTIONS.values():
        assert resources[function]["Properties"]["Timeout"] == LEASE_S
    tasks = [state for _, state in states(machine) if state["Type"] == "Task"]
    assert all(task["TimeoutSeconds"] > LEASE_S for task in tasks)


def test_the_map_is_distributed_over_the_slices(machine: Machine) -> None:
    state = machine["States"]["Classify"]
    assert state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert state["ItemReader"]["Resource"].endswith("s3:listObjectsV2")
    assert state["ItemReader"]["Parameters"] == {"Bucket": "${Bucket}", "Prefix.$": "$.job.rows"}
    assert state["ResultPath"] is None


def test_an_upload_of_either_format_starts_it(resources: Resources) -> None:
    rule = resources["BatchUploadRule"]["Properties"]
    keys = [matcher["wildcard"] for matcher in rule["EventPattern"]["detail"]["object"]["key"]]
    assert keys == [f"{IN}*.csv", f"{IN}*.jsonl"]
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Ref": "BatchMachine"}
    assert target["InputPath"] == "$.detail.object"
    bucket = resources["BatchBucket"]["Properties"]["NotificationConfiguration"]
    assert bucket == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}


def test_the_machine_may_do_just_this(resources: Resources) -> None:
    (policy,) = resources["BatchMachineRole"]["Properties"]["Policies"]
    own = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}"
    allowed = {
        (action, next(iter(target.values())) if isinstance(target, dict) else target)
        for statement in policy["PolicyDocument"]["Statement"]
        for action in as_list(statement["Action"])
        for target in map(_hashable, as_list(statement["Resource"]))
    }
    assert allowed == {
        *(("lambda:InvokeFunction", f"{function}.Alias") for function in FUNCTIONS.values()),
        ("s3:ListBucket", "BatchBucket.Arn"),
        ("states:StartExecution", own + ":stateMachine:${AWS::StackName}-batch"),
        ("states:DescribeExecution", own + ":execution:${AWS::StackName}-batch:*"),
        ("states:StopExecution", own + ":execution:${AWS::StackName}-batch:*"),
    }


def _hashable(target: dict[str, Any]) -> str:
    value = next(iter(target.values()))
    return ".".join(value) if isinstance(value, list) else str(value)


def test_answers_are_kept_apart_from_the_ledger(resources: Resources) -> None:
    """Whoever reads the ledger reads no prompts: only the batch functions touch their bucket."""
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role" and "BatchBucket" in json.dumps(resource):
            assert name.startswith("Batch"), name
