"""Which AWS calls code makes and from where, and which it may make by the template."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from aiobotocore.client import AioBaseClient
from botocore import xform_name
from botocore.client import BaseClient

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "shared" / "fareway"
SERVICES = ("athena", "dynamodb", "firehose", "s3", "secretsmanager")

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
        self.rights |= {(f"{service}:{operation}", to) for to in _targets(service, params)}
        if site := _site():
            self.sites.add(f"{site}:{xform_name(operation)}")


def _targets(service: str, params: Mapping[str, Any]) -> list[str]:
    """What a call is done to, by the names that IAM's resources have."""
    if service == "dynamodb":
        return list(params.get("RequestItems") or [params["TableName"]])
    if service == "s3":
        return [f"{params['Bucket']}/{params['Key']}"]
    if service == "athena":
        return [params.get("WorkGroup", "Workgroup")]  # of a query's id IAM knows the workgroup
    return [params[{"firehose": "DeliveryStreamName", "secretsmanager": "SecretId"}[service]]]


def _site() -> str | None:
    """The innermost function of the package on the stack."""
    frame = sys._getframe(2)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            return f"{_module(file)}.{frame.f_code.co_qualname.split('.<locals>')[0]}"
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _module(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


@contextmanager
def listening() -> Iterator[Calls]:
    """Every AWS call of this process, of either SDK, until the `with` block ends."""
    calls = Calls()

    def heard(made: Any) -> Any:
        def call(self: Any, operation: str, params: Any) -> Any:
            calls.note(self.meta.service_model.service_name, operation, params)
            return made(self, operation, params)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for kind in (BaseClient, AioBaseClient):
            patch.setattr(kind, "_make_api_call", heard(kind.__dict__["_make_api_call"]))
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
            if name in operations:
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
    return str(value).split(":")[-1].replace("${", "").replace("}", "")  # an ARN written out


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def covers(right: Right, call: Right) -> bool:
    """Whether a right is enough for a call. A bucket's name has no capitals."""
    (action, target), (called, to) = right, call
    target = target.replace("workgroup/", "").replace("LedgerBucket", "ledgerbucket")
    return action == called and fnmatchcase(to, target)


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
        return parameters.get(inner, inner).replace("LedgerBucket", "ledgerbucket")
    assert form == "Fn::Sub", value
    return str(inner).replace("${", "").replace("}", "").replace("LedgerBucket", "ledgerbucket")
