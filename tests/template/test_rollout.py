"""A new version's way to traffic, as SAM makes it of the template: preflight, canary, alarms."""

import json
import subprocess
import tomllib
from typing import Any

import pytest

from local.cloud import ROOT, TOOLS

#: Template and parameters -> what SAM's translator makes of them, in the environment that has it.
TRANSLATE = """
import json, sys
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.translator import Translator
from samtranslator.parser.parser import Parser
template, parameters = yaml_parse(open(sys.argv[1]).read()), json.loads(sys.argv[2])
for name, resource in template["Resources"].items():
    for uri in ("CodeUri", "ContentUri", "DefinitionUri"):
        if uri in resource.get("Properties", {}):
            resource["Properties"][uri] = "s3://bucket/key"
print(json.dumps(Translator({}, Parser()).translate(template, parameters)))
"""


def translated(stage: str) -> dict[str, Any]:
    """The resources of a stage of samconfig.toml."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    overrides = config[stage]["deploy"]["parameters"]["parameter_overrides"]
    parameters = dict(pair.split("=", 1) for pair in overrides)
    done = subprocess.run(
        [TOOLS / "python", "-c", TRANSLATE, ROOT / "template.yaml", json.dumps(parameters)],
        env={"AWS_DEFAULT_REGION": "us-east-1", "HOME": "/tmp"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["Resources"]


@pytest.fixture(scope="module", params=["dev", "prod"])
def rolled_out(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return request.param, translated(request.param)


def test_a_version_gets_all_traffic_at_once_in_dev_and_a_tenth_first_in_prod(
    rolled_out: tuple[str, dict[str, Any]],
) -> None:
    stage, resources = rolled_out
    group = resources["ApiFunctionDeploymentGroup"]["Properties"]
    name, values = group["DeploymentConfigName"]["Fn::Sub"]
    assert (name, values["ConfigName"]) == (
        "CodeDeployDefault.Lambda${ConfigName}",
        {"dev": "AllAtOnce", "prod": "Canary10Percent10Minutes"}[stage],
    )
    assert set(group["AutoRollbackConfiguration"]["Events"]) >= {
        "DEPLOYMENT_FAILURE",
        "DEPLOYMENT_STOP_ON_ALARM",
    }


def test_our_own_failures_and_latency_take_it_back(
    rolled_out: tuple[str, dict[str, Any]],
) -> None:
    _, resources = rolled_out
    group = resources["ApiFunctionDeploymentGroup"]["Properties"]
    watched = [alarm["Name"]["Ref"] for alarm in group["AlarmConfiguration"]["Alarms"]]
    assert group["AlarmConfiguration"]["Enabled"] is True
    metrics = {resources[name]["Properties"]["MetricName"] for name in watched}
    assert metrics == {"Failures5xx", "OverheadMs"}
    for name in watched:
        alarm = resources[name]["Properties"]
        # it has to call while the canary has its tenth
        assert alarm["Period"] * alarm["EvaluationPeriods"] <= 300
        assert float(alarm["Threshold"]) < 0.1 or alarm["MetricName"] == "OverheadMs"


def test_the_preflight_comes_before_any_traffic(rolled_out: tuple[str, dict[str, Any]]) -> None:
    _, resources = rolled_out
    update = resources["ApiFunctionAliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update["BeforeAllowTrafficHook"] == {"Ref": "PreflightFunction"}
    hook = resources["PreflightFunction"]["Properties"]
    # CodeDeploy's role, as SAM makes it, may invoke functions of this name alone
    assert hook["FunctionName"]["Fn::Sub"].startswith("CodeDeployHook_")
    version = hook["Environment"]["Variables"]["FAREWAY_NEW_VERSION"]["Ref"]
    assert resources[version]["Type"] == "AWS::Lambda::Version"
    assert resources["ApiFunctionAliaslive"]["Properties"]["FunctionVersion"]["Fn::GetAtt"] == [
        version,
        "Version",
    ]
    assert "PreflightFunctionDeploymentGroup" not in resources


def test_the_local_stack_has_no_codedeploy() -> None:
    resources = translated("local")
    assert not [n for n, r in resources.items() if r["Type"].startswith("AWS::CodeDeploy::")]
    assert "UpdatePolicy" not in resources["ApiFunctionAliaslive"]


def test_the_preflight_may_do_just_this(resources: dict[str, Any]) -> None:
    (policy,) = resources["PreflightFunctionRole"]["Properties"]["Policies"]
    allowed = {}
    for statement in policy["PolicyDocument"]["Statement"]:
        actions, target = statement["Action"], statement["Resource"]
        for action in actions if isinstance(actions, list) else [actions]:
            allowed[action] = str(next(iter(target.values())))
    assert {name for name in allowed if not name.startswith("logs:")} == {
        "lambda:InvokeFunction",
        "dynamodb:DeleteItem",
        "dynamodb:PutItem",
        "codedeploy:PutLifecycleEventHookExecutionStatus",
    }
    assert allowed["lambda:InvokeFunction"] == "ApiFunction.Version"


def test_published_versions_start_from_a_snapshot(rolled_out: tuple[str, dict[str, Any]]) -> None:
    _, resources = rolled_out
    function = resources["ApiFunction"]["Properties"]
    snapshot = {
        "Fn::If": ["HasSnapStart", {"ApplyOn": "PublishedVersions"}, {"Ref": "AWS::NoValue"}]
    }
    assert function["SnapStart"] == snapshot
    # what SnapStart supports: docs.aws.amazon.com/lambda/latest/dg/snapstart.html
    assert function["Runtime"] == "python3.13"
    assert not {"EphemeralStorage", "FileSystemConfigs", "ImageUri"} & set(function)
    alias = resources["ApiFunctionAliaslive"]["Properties"]
    assert "ProvisionedConcurrencyConfig" not in alias
