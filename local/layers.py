"""uv.lock -> layers/*.txt: what each layer installs, at the versions that the tests ran with.

Written by `python -m local.layers`; a test keeps the files in step with uv.lock.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.markers import Marker

ROOT = Path(__file__).parents[1]

#: Layer -> what the function imports; all that these need follows from the lock.
LAYERS = {
    "dependencies": ("aioboto3", "boto3", "certifi", "fastapi", "mangum", "pydantic", "uvicorn"),
    "inference": ("numpy", "onnxruntime", "tokenizers"),
}

#: Required by the packages above, but never imported by what we call.
LEFT_OUT = {
    "huggingface-hub": "Tokenizer.from_pretrained alone downloads; the model ships in a layer",
    "flatbuffers": "onnxruntime's model tools, which are pruned",
    "protobuf": "onnxruntime's model tools, which are pruned",
    "packaging": "onnxruntime's model tools, which are pruned",
}

#: Where the functions run.
LAMBDA = {
    "python_version": "3.13",
    "python_full_version": "3.13.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
}


def requirements(layer: str) -> list[str]:
    """Every package of a layer as `name==version`, sorted."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    packages = {package["name"]: package for package in lock["package"]}
    wanted: dict[str, str] = {}
    todo: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in LAYERS[layer]]
    while todo:
        name, extras = todo.pop()
        package = packages[name]
        if name not in wanted:
            wanted[name] = package["version"]
            todo += _needs(package.get("dependencies", []))
        for extra in extras:
            todo += _needs(package.get("optional-dependencies", {}).get(extra, []))
    return [f"{name}=={version}" for name, version in sorted(wanted.items())]


def _needs(dependencies: list[Mapping[str, Any]]) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (need["name"], tuple(need.get("extra", ())))
        for need in dependencies
        if need["name"] not in LEFT_OUT
        if "marker" not in need or Marker(need["marker"]).evaluate(LAMBDA)
    ]


def text(layer: str) -> str:
    """The requirement file's text."""
    return "# From uv.lock by `python -m local.layers`.\n" + "\n".join(requirements(layer)) + "\n"


if __name__ == "__main__":
    for name in LAYERS:
        (ROOT / "layers" / f"{name}.txt").write_text(text(name), encoding="utf-8")
        print(f"wrote layers/{name}.txt")
