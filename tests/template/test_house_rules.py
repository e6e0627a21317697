"""What every resource of the deployment has to keep to."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from fareway.cost import COLUMNS
from fareway.lake import FEEDBACK_COLUMNS, FEEDBACK_PREFIX, ROLLUP_COLUMNS, ROLLUP_PREFIX
from local import named_queries
from local.cloud import ROOT, TOOLS

Resources = dict[str, dict[str, Any]]

#: What may have a star: a prefix of a bucket, executions of our machine, what SAM names itself.
NARROW = re.compile(
    r"\$\{(Ledger|Batch)Bucket\.Arn\}(/[a-z-]+)+/\*$"
    r"|:execution:\$\{AWS::StackName\}-batch:\*$"
    r"|deploymentgroup:\$\{AWS::StackName\}-ServerlessDeploymentApplication-\*/\*$"
)
#: Where CloudFormation knows no tags.
UNTAGGED = {
    "AWS::Athena::NamedQuery",
    "AWS::CloudWatch::Dashboard",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogStream",
    "AWS::S3::BucketPolicy",
    "AWS::Serverless::LayerVersion",
}


def of_type(resources: Resources, kind: str) -> dict[str, Any]:
    found = {n: r["Properties"] for n, r in resources.items() if r["Type"] == kind}
    assert found, f"no {kind}"
    return found


def statements(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("flags", [(), ("--lint",)], ids=["validate", "lint"])
def test_sam_finds_it_valid(flags: tuple[str, ...]) -> None:
    done = subprocess.run(
        [TOOLS / "sam", "validate", "--region", "us-east-1", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_function_has_a_log_group_that_forgets(resources: Resources) -> None:
    groups = of_type(resources, "AWS::Logs::LogGroup")
    for function in of_type(resources, "AWS::Serverless::Function").values():
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups
    assert all("RetentionInDays" in group for group in groups.values())


def test_every_function_has_a_role_written_out(resources: Resources) -> None:
    roles = of_type(resources, "AWS::IAM::Role")
    for function in of_type(resources, "AWS::Serverless::Function").values():
        assert function["Role"]["Fn::GetAtt"][0] in roles
    assert not any("ManagedPolicyArns" in role for role in roles.values())


def test_no_permission_is_wider_than_its_use(resources: Resources) -> None:
    for role, statement in statements(resources):
        assert statement["Effect"] == "Allow"
        for action in as_list(statement["Action"]):
            assert "*" not in action, role
        for target in as_list(statement["Resource"]):
            assert isinstance(target, dict), f"{role}: {target} is no resource of ours"
            text = str(next(iter(target.values())))
            assert "*" not in text or NARROW.search(text), role


def test_a_request_may_do_just_this(resources: Resources) -> None:
    allowed = {
        (action, str(next(iter(target.values()))))
        for role, statement in statements(resources)
        if role == "ApiFunctionRole"
        for action in as_list(statement["Action"])
        for target in as_list(statement["Resource"])
    }
    assert allowed == {
        ("logs:CreateLogStream", "['ApiFunctionLogGroup', 'Arn']"),
        ("logs:PutLogEvents", "['ApiFunctionLogGroup', 'Arn']"),
        ("dynamodb:GetItem", "['Keys', 'Arn']"),
        ("dynamodb:UpdateItem", "['Spend', 'Arn']"),
        ("dynamodb:BatchGetItem", "['DecisionCache', 'Arn']"),
        ("dynamodb:BatchWriteItem", "['DecisionCache', 'Arn']"),
        ("dynamodb:UpdateItem", "['DecisionCache', 'Arn']"),
        ("dynamodb:BatchGetItem", "['Sessions', 'Arn']"),
        ("dynamodb:GetItem", "['Sessions', 'Arn']"),
        ("dynamodb:PutItem", "['Sessions', 'Arn']"),
        ("dynamodb:BatchWriteItem", "['Decisions', 'Arn']"),
        ("dynamodb:GetItem", "['Decisions', 'Arn']"),
        ("dynamodb:BatchGetItem", "['Circuits', 'Arn']"),
        ("dynamodb:PutItem", "['Circuits', 'Arn']"),
        ("dynamodb:UpdateItem", "['Circuits', 'Arn']"),
        ("dynamodb:DeleteItem", "['Circuits', 'Arn']"),
        ("secretsmanager:GetSecretValue", "UpstreamSecret"),
        ("firehose:PutRecord", "['LedgerStream', 'Arn']"),
        ("s3:PutObject", "${LedgerBucket.Arn}/ledger-fallback/*"),
        ("s3:PutObject", "${LedgerBucket.Arn}/feedback/*"),
        ("s3:GetObject", "${LedgerBucket.Arn}/policies/*"),
        ("s3:ListBucket", "['LedgerBucket', 'Arn']"),
        # the savings page's questions:
        *((f"athena:{action}", _arn("athena", "workgroup/${Workgroup}")) for action in ATHENA),
        *((f"glue:{action}", _arn("glue", what)) for action in GLUE for what in LAKE),
        ("s3:GetBucketLocation", "['LedgerBucket', 'Arn']"),
        ("s3:ListBucketMultipartUploads", "['LedgerBucket', 'Arn']"),
        ("s3:GetObject", "${LedgerBucket.Arn}/events/*"),
        ("s3:GetObject", "${LedgerBucket.Arn}/feedback/*"),
        ("s3:GetObject", "${LedgerBucket.Arn}/rollup/*"),
        ("s3:AbortMultipartUpload", "${LedgerBucket.Arn}/athena-results/*"),
        ("s3:GetObject", "${LedgerBucket.Arn}/athena-results/*"),
        ("s3:ListMultipartUploadParts", "${LedgerBucket.Arn}/athena-results/*"),
        ("s3:PutObject", "${LedgerBucket.Arn}/athena-results/*"),
    }


ATHENA = ("GetQueryExecution", "GetQueryResults", "StartQueryExecution", "StopQueryExecution")
GLUE = ("GetDatabase", "GetPartitions", "GetTable")
LAKE = (
    "catalog",
    "database/${LakeDatabase}",
    *(f"table/${{LakeDatabase}}/${{{table}}}" for table in ("CostEvents", "Feedback", "Rollups")),
)


def _arn(service: str, what: str) -> str:
    return f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{what}"


def test_the_tuner_reads_the_ledger_and_applies_nothing(resources: Resources) -> None:
    written = {
        str(next(iter(target.values())))
        for role, statement in statements(resources)
        if role == "TuneFunctionRole" and "s3:PutObject" in as_list(statement["Action"])
        for target in as_list(statement["Resource"])
    }
    assert written == {"${LedgerBucket.Arn}/proposals/*", "${LedgerBucket.Arn}/athena-results/*"}


def test_buckets_are_private_encrypted_and_speak_tls_only(resources: Resources) -> None:
    policies = {
        policy["Bucket"]["Ref"]: policy["PolicyDocument"]["Statement"]
        for policy in of_type(resources, "AWS::S3::BucketPolicy").values()
    }
    for name, bucket in of_type(resources, "AWS::S3::Bucket").items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert any(
            statement["Effect"] == "Deny"
            and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            for statement in policies[name]
        )


def test_tables_are_encrypted(resources: Resources) -> None:
    for table in of_type(resources, "AWS::DynamoDB::Table").values():
        assert table["SSESpecification"] == {"SSEEnabled": True}


@pytest.mark.parametrize("name", ["Keys", "LedgerBucket", "BatchBucket"])
def test_what_cannot_be_made_again_outlives_the_stack(resources: Resources, name: str) -> None:
    assert resources[name]["DeletionPolicy"] == "Retain"
    assert resources[name]["UpdateReplacePolicy"] == "Retain"


def test_whatever_can_be_tagged_is(resources: Resources) -> None:
    for name, resource in resources.items():
        if resource["Type"] in UNTAGGED:
            continue
        tags = resource["Properties"]["Tags"]
        if isinstance(tags, list):
            tags = {tag["Key"]: tag["Value"] for tag in tags}
        assert tags == {"Application": "fareway", "Stage": {"Ref": "Stage"}}, name


def test_a_new_layer_is_a_new_version(resources: Resources) -> None:
    for function in of_type(resources, "AWS::Serverless::Function").values():
        assert function["AutoPublishAlias"] == "live"
        assert function["AutoPublishAliasAllProperties"] is True
    layers = of_type(resources, "AWS::Serverless::LayerVersion").values()
    assert all(layer["PublishLambdaVersion"] is True for layer in layers)


def test_paths_and_methods_are_explicit(resources: Resources) -> None:
    assert {(method, path) for path, method, _ in routes(resources)} == {
        ("post", "/v1/chat/completions"),
        ("post", "/v1/responses"),
        ("post", "/v1/embeddings"),
        ("post", "/v1/route"),
        ("post", "/v1/feedback"),
        ("get", "/v1/decisions/{id}"),
        ("get", "/v1/models"),
        ("get", "/v1/models/{model+}"),
        ("get", "/v1/admin/savings/{part}"),
        ("get", "/dashboard"),
        ("get", "/dashboard/{file}"),
        ("get", "/healthz"),
    }


def routes(resources: Resources) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method, and what it leads to."""
    for path, methods in resources["Api"]["Properties"]["DefinitionBody"]["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation["x-amazon-apigateway-integration"]


@pytest.mark.parametrize(("door", "waits_s"), [(0, 300), (1, 29)], ids=["streaming", "buffered"])
def test_the_function_gives_up_before_it_is_cut_off(
    resources: Resources, door: int, waits_s: int
) -> None:
    function = resources["ApiFunction"]["Properties"]
    deadline_ms = function["Environment"]["Variables"]["FAREWAY_DEADLINE_MS"]["Fn::If"][1 + door]
    timeout_s = function["Timeout"]["Fn::If"][1 + door]
    assert int(deadline_ms) / 1000 <= timeout_s - 2
    for *_, integration in routes(resources):
        assert integration["timeoutInMillis"]["Fn::If"][1 + door] == waits_s * 1000
        assert timeout_s <= waits_s


def test_the_functions_names_are_all_known_to_settings(resources: Resources) -> None:
    known = (ROOT / "shared" / "fareway" / "settings.py").read_text(encoding="utf-8")
    for function in of_type(resources, "AWS::Serverless::Function").values():
        for name in function["Environment"]["Variables"]:
            adapters = name.startswith(("AWS_LWA_", "AWS_LAMBDA_EXEC_WRAPPER"))
            assert name in known or name.endswith("_BASE_URL") or adapters, name


@pytest.mark.parametrize(
    ("table", "stated"),
    [("CostEvents", COLUMNS), ("Feedback", FEEDBACK_COLUMNS), ("Rollups", ROLLUP_COLUMNS)],
)
def test_the_lakes_columns_are_the_rows(
    resources: Resources, table: str, stated: dict[str, str]
) -> None:
    columns = resources[table]["Properties"]["TableInput"]["StorageDescriptor"]["Columns"]
    assert [(c["Name"], c["Type"]) for c in columns] == list(stated.items())


@pytest.mark.parametrize(
    ("table", "prefix"), [("Feedback", FEEDBACK_PREFIX), ("Rollups", ROLLUP_PREFIX)]
)
def test_rows_land_where_their_table_looks(resources: Resources, table: str, prefix: str) -> None:
    parameters = resources[table]["Properties"]["TableInput"]["Parameters"]
    where = parameters["storage.location.template"]["Fn::Sub"]
    assert where == f"s3://${{LedgerBucket}}/{prefix}dt=${{!dt}}/"


def test_the_named_queries_are_the_files() -> None:
    text = named_queries.TEMPLATE.read_text(encoding="utf-8")
    assert named_queries.written(text) == named_queries.resources(), (
        "run: python -m local.named_queries"
    )


def test_the_local_cloud_is_asked_for_no_named_query(
    resources: Resources, template: dict[str, Any]
) -> None:
    conditions = {
        resource.get("Condition")
        for resource in resources.values()
        if resource["Type"] == "AWS::Athena::NamedQuery"
    }
    assert conditions == {"HasNamedQueries"}
    unless_local = {"Fn::Not": [{"Fn::Equals": [{"Ref": "Stage"}, "local"]}]}
    assert template["Conditions"]["HasNamedQueries"] == unless_local


def test_events_land_where_the_table_looks(resources: Resources) -> None:
    table = resources["CostEvents"]["Properties"]["TableInput"]
    stream = resources["LedgerStream"]["Properties"]["ExtendedS3DestinationConfiguration"]
    where = table["Parameters"]["storage.location.template"]["Fn::Sub"]
    assert where == "s3://${LedgerBucket}/events/dt=${!dt}/"
    assert stream["Prefix"] == "events/dt=!{timestamp:yyyy-MM-dd}/"
    assert table["Parameters"]["projection.dt.format"] == "yyyy-MM-dd"
