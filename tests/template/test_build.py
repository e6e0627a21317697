"""`sam build` output: small enough for Lambda, and complete without this machine."""

import json
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from local.cloud import ROOT
from local.stack import runtime_python

MIB = 2**20
#: Lambda's own limit for a function with its layers, unzipped, is 250.
LIMIT_MIB = 220


def size_mib(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / MIB


@pytest.fixture(scope="module")
def layers(built: Path, resources: dict[str, Any]) -> list[Path]:
    """Ours; the web adapter's is AWS's."""
    named = resources["ApiFunction"]["Properties"]["Layers"]
    return [built / layer["Ref"] for layer in named if "Ref" in layer]


def run(layers: list[Path], built: Path, code: str) -> str:
    """Runs code with the standard library, the function and its layers, and nothing else."""
    paths = [str(built / "ApiFunction"), *(str(layer / "python") for layer in layers)]
    done = subprocess.run(
        # -I -S: neither this folder, nor the environment, nor any site-packages.
        [runtime_python(), "-I", "-S", "-c", f"import sys; sys.path += {paths}\n{code}"],
        cwd=built,
        env={"FAREWAY_API_KEY": "k", "AWS_DEFAULT_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_function_with_its_layers_fits(built: Path, layers: list[Path]) -> None:
    sizes = {folder.name: size_mib(folder) for folder in (built / "ApiFunction", *layers)}
    assert sum(sizes.values()) < LIMIT_MIB, sizes


def test_the_code_layer_holds_the_package_and_nothing_else(layers: list[Path]) -> None:
    assert [entry.name for entry in (layers[0] / "python").iterdir()] == ["fareway"]


def test_every_module_is_compiled(layers: list[Path]) -> None:
    for layer in layers:
        for source in (layer / "python").rglob("*.py"):
            assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")), source


def test_the_built_function_answers(built: Path, layers: list[Path]) -> None:
    event = {
        "resource": "/healthz",
        "path": "/healthz",
        "httpMethod": "GET",
        "headers": {"Host": "localhost"},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"stage": "local", "identity": {"sourceIp": "127.0.0.1"}},
        "body": None,
        "isBase64Encoded": False,
    }
    code = textwrap.dedent(f"""
        import json
        from handler import handler
        print("ANSWER", json.dumps(handler({event!r}, None)))
    """)
    answers = [
        json.loads(line.removeprefix("ANSWER "))
        for line in run(layers, built, code).splitlines()
        if line.startswith("ANSWER ")
    ]
    assert answers[0]["statusCode"] == 200


def test_the_streaming_door_has_all_that_it_imports(built: Path, layers: list[Path]) -> None:
    assert "ready" in run(layers, built, "import stream; print('ready')")


def test_the_pruned_sdk_still_knows_our_services(built: Path, layers: list[Path]) -> None:
    code = textwrap.dedent("""
        import asyncio, aioboto3, boto3
        async def clients():
            session = aioboto3.Session()
            for service in ("dynamodb", "firehose", "s3"):
                async with session.client(service) as client:
                    print(client.meta.endpoint_url)
        asyncio.run(clients())
        for service in ("secretsmanager", "lambda", "codedeploy"):
            print(boto3.client(service).meta.endpoint_url)
    """)
    assert run(layers, built, code).split() == [
        "https://dynamodb.eu-west-1.amazonaws.com",
        "https://firehose.eu-west-1.amazonaws.com",
        "https://s3.eu-west-1.amazonaws.com",
        "https://secretsmanager.eu-west-1.amazonaws.com",
        "https://lambda.eu-west-1.amazonaws.com",
        "https://codedeploy.eu-west-1.amazonaws.com",
    ]


def test_the_classifier_ships(layers: list[Path]) -> None:
    shipped = layers[3] / "python" / "fareway_classifier"
    for name in ("model.onnx", "tokenizer.json", "manifest.json"):
        source = ROOT / "models" / "classifier" / name
        assert (shipped / name).read_bytes() == source.read_bytes()
