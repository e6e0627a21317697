"""Which AWS calls code makes and from where, and which it may make by the template."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3.s3.inject
import botocore.session
import pytest
from aiobotocore.client import AioBaseClient
from botocore import xform_name
from botocore.client import BaseClient

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "shared" / "fareway"
SERVICES = ("athena", "codedeploy", "dynamodb", "firehose", "lambda", "s3", "secretsmanager")
#: What boto3 does by several calls, in threads of its own.
TRANSFERS = ("copy", "download_fileobj", "upload_fileobj")
#: The rights of calls that have another name.
#: docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html, and mpuoverview
ACTIONS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:CopyObject": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:UploadPart": "s3:PutObject",
    "s3:UploadPartCopy": "s3:PutObject",
}
#: A table of the lake: its resource, and its folder in the ledger's bucket.
LAKE = {
    "cost_events": ("CostEvents", "events/"),
    "feedback": ("Feedback", "feedback/"),
    "rollups": ("Rollups", "rollup/"),
}

#: An action and what it is done to: a resource by its name in the template, and what is in it.
Right = tuple[str, str]


@dataclass
class Calls:
    """What was called while it listened.

    Args:
        rights: each call as the right that it needs.
        sites: where in the package each was made: `module.function:operation`.
    """

    rights: set[Right] = field(default_factory=set)
    sites: set[str] = field(default_factory=set)

    def note(self, service: str, operation: str, params: Mapping[str, Any]) -> None:
        call = f"{service}:{operation}"
        self.rights |= {(ACTIONS.get(call, call), to) for to in _targets(service, params)}
        if "CopySource" in params:
            source = params["CopySource"]
            self.rights.add(("s3:GetObject", f"{source['Bucket']}/{source['Key']}"))
        if call == "athena:StartQueryExecution":
            self.rights |= set(_athena(params["QueryString"]))
        self.note_site(xform_name(operation))

    def note_site(self, operation: str) -> None:
        if site := _site():
            self.sites.add(f"{site}:{operation}")


def _targets(service: str, params: Mapping[str, Any]) -> list[str]:
    """What a call is done to, by the names that IAM's resources have."""
    if service == "dynamodb":
        return list(params.get("RequestItems") or [params["TableName"]])
    if service == "s3":
        return [f"{params['Bucket']}/{params['Key']}" if "Key" in params else params["Bucket"]]
    if service == "athena":
        return [params.get("WorkGroup", "Workgroup")]  # of a query's id IAM knows the workgroup
    if service == "codedeploy":  # and of a deployment's id its group, to which SAM gives its name
        return ["StackName-ServerlessDeploymentApplication-1/ApiFunctionDeploymentGroup"]
    name = {
        "firehose": "DeliveryStreamName",
        "lambda": "FunctionName",
        "secretsmanager": "SecretId",
    }[service]
    return [params[name]]


def _athena(sql: str) -> Iterator[Right]:
    """What Athena does with the rights of whoever asks: the tables' columns and rows, the results.

    Source: docs.aws.amazon.com/athena/latest/ug: s3-permissions and
    fine-grained-access-to-glue-resources.
    """
    tables = [LAKE[name] for name in re.findall(r"\b(?:FROM|JOIN) (\w+)", sql) if name in LAKE]
    assert tables, f"a query of no table that is known:\n{sql}"
    for action in ("GetBucketLocation", "ListBucket", "ListBucketMultipartUploads"):
        yield f"s3:{action}", "ledgerbucket"
    for action in ("AbortMultipartUpload", "GetObject", "ListMultipartUploadParts", "PutObject"):
        yield f"s3:{action}", "ledgerbucket/athena-results/x.csv"
    for resource, folder in tables:
        yield "s3:GetObject", f"ledgerbucket/{folder}dt=2026-11-24/x"
        for action in ("GetDatabase", "GetPartitions", "GetTable"):
            for target in ("catalog", "database/LakeDatabase", f"table/LakeDatabase/{resource}"):
                yield f"glue:{action}", target


def _site() -> str | None:
    """The innermost function of the package on the stack."""
    frame = sys._getframe(2)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            parts = frame.f_code.co_qualname.split(".")
            return ".".join((_module(file), *(p for p in parts if not p.startswith("<"))))
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _module(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


@contextmanager
def listening(calls: Calls | None = None) -> Iterator[Calls]:
    """Every AWS call of this process, of either SDK, until the `with` block ends.

    Args:
        calls: what was heard before, to be gone on with.
    """
    calls = calls or Calls()

    def heard(made: Any) -> Any:
        def call(self: Any, operation: str, params: Any) -> Any:
            calls.note(self.meta.service_model.service_name, operation, params)
            return made(self, operation, params)

        return call

    def seen(name: str, made: Any) -> Any:
        def transfer(*args: Any, **options: Any) -> Any:
            calls.note_site(name)
            return made(*args, **options)

        return transfer

    with pytest.MonkeyPatch.context() as patch:
        for kind in (BaseClient, AioBaseClient):
            patch.setattr(kind, "_make_api_call", heard(kind.__dict__["_make_api_call"]))
        for name in TRANSFERS:  # of clients that are made from now on
            patch.setattr(boto3.s3.inject, name, seen(name, getattr(boto3.s3.inject, name)))
        yield calls


def written_sites() -> set[str]:
    """Every call that stands in the package, made or not."""
    session = botocore.session.get_session()
    operations = {
        xform_name(name)
        for service in SERVICES
        for name in session.get_service_model(service).operation_names
    }
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for where, call in _calls(ast.parse(file.read_text(encoding="utf-8")), ()):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if name == "get_paginator" and isinstance(call.args[0], ast.Constant):
                name = str(call.args[0].value)
            if name in operations or (name in TRANSFERS and call.args):  # no dict's copy()
                found.add(f"{_module(file)}.{'.'.join(where)}:{name}")
    return found


def _calls(node: ast.AST, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ast.Call]]:
    """Calls, each with the names of what stands around it."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        where = (*where, node.name)
    if isinstance(node, ast.Call):
        yield where, node
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, where)


# What the template allows.


def allowed(resources: Mapping[str, Any], function: str) -> set[Right]:
    """The rights of a function's role, logs apart: those are of Lambda itself."""
    role = resources[function]["Properties"]["Role"]["Fn::GetAtt"][0]
    return {
        (action, _name(target))
        for policy in resources[role]["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in _listed(statement["Action"])
        for target in _listed(statement["Resource"])
        if not action.startswith("logs:")
    }


def _name(target: Mapping[str, Any]) -> str:
    """`!GetAtt Keys.Arn` -> Keys; `${LedgerBucket.Arn}/feedback/*` -> LedgerBucket/feedback/*."""
    ((form, value),) = target.items()
    if form == "Fn::GetAtt":
        return str(value[0])
    if form == "Ref":
        return str(value)
    if value.startswith("${"):
        return str(value).replace(".Arn}", "}").replace("${", "").replace("}", "")
    value = str(value).replace("${AWS::", "${")
    return value.split(":")[-1].replace("${", "").replace("}", "")  # an ARN written out


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def covers(right: Right, call: Right) -> bool:
    """Whether a right is enough for a call."""
    (action, target), (called, to) = right, call
    target = _in_s3(target.replace("workgroup/", ""))
    return action == called and fnmatchcase(to, target)


def _in_s3(text: str) -> str:
    """With buckets' names as they can be: without capitals."""
    return re.sub(r"\w+Bucket\b", lambda found: found[0].lower(), text)


def environment(
    resources: Mapping[str, Any], function: str, parameters: Mapping[str, str]
) -> dict[str, str]:
    """A function's environment, where each resource is called what it is in the template.

    Args:
        parameters: values of the template's parameters; conditions are taken as false.
    """
    said = resources[function]["Properties"]["Environment"]["Variables"]
    values = {name: _value(value, parameters) for name, value in said.items()}
    return {name: value for name, value in values.items() if value is not None}


def _value(value: Any, parameters: Mapping[str, str]) -> str | None:
    if isinstance(value, str):
        return value
    ((form, inner),) = value.items()
    if form == "Fn::If":
        return _value(inner[2], parameters)
    if form == "Ref" and inner == "AWS::NoValue":
        return None
    if form == "Ref":
        return _in_s3(parameters.get(inner, inner))
    assert form == "Fn::Sub", value
    return _in_s3(str(inner).replace("${", "").replace("}", ""))
