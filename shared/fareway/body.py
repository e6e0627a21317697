"""Bytes -> one JSON object within limits; and what is wrong with a field of it, for its sender."""

from __future__ import annotations

import json
from math import isinf
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fareway.errors import BadRequest, PayloadTooLarge

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64


def parse_object(raw: bytes) -> dict[str, Any]:
    """A body of UTF-8 JSON -> its object, within the limits on size and depth.

    Raises:
        PayloadTooLarge: over `MAX_BODY_BYTES`.
        BadRequest: it is not one JSON object, or nested deeper than `MAX_DEPTH`.
    """
    if len(raw) > MAX_BODY_BYTES:
        raise PayloadTooLarge(
            f"The request body is over the limit of {MAX_BODY_BYTES} bytes. "
            "Shorten 'messages', or send files by reference."
        )
    too_deep = BadRequest(
        f"The JSON body is nested more than {MAX_DEPTH} levels deep. Flatten it.",
        code="json_too_deep",
    )
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The request body is not UTF-8 (byte {error.start}).", code="invalid_json"
        ) from error
    except RecursionError as error:
        raise too_deep from error
    except ValueError as error:
        raise BadRequest(f"The request body is not JSON: {error}.", code="invalid_json") from error
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    if _depth(body) > MAX_DEPTH:
        raise too_deep
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    """`1e999` is infinite to Python, which would send it on as `Infinity`: no JSON."""
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _depth(body: object) -> int:
    depth, layer = 0, [body]
    while layer:
        depth += 1
        layer = [
            child
            for node in layer
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    return depth


def missing(path: str) -> BadRequest:
    return BadRequest(
        f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter"
    )


def field_error(error: ValidationError) -> BadRequest:
    """The first fault, under the path that the caller wrote: `messages[3].content`."""
    faults = error.errors(include_url=False, include_input=False)
    # A union reports a fault for each of its branches; the deepest is the one that was meant.
    branches = [f for f in faults if _path(f) == _path(faults[0])] + [
        f for f in faults if len(f["loc"]) > len(faults[0]["loc"]) and _same_field(f, faults[0])
    ]
    first = max(branches, key=lambda fault: len(fault["loc"]))
    path = _path(first)
    if first["type"] == "missing":
        return missing(path)
    reasons = dict.fromkeys(f["msg"] for f in branches if len(f["loc"]) == len(first["loc"]))
    return BadRequest(
        f"Invalid value for '{path}': {', or: '.join(reasons)}.", param=path, code="invalid_value"
    )


def _path(fault: ErrorDetails) -> str:
    """Where a fault is, as the caller wrote it; a union's branch names are left out."""
    path = ""
    for step in fault["loc"]:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "str" and not step.startswith(("list[", "constrained-")):
            path += f".{step}" if path else step
    return path


def _same_field(fault: ErrorDetails, other: ErrorDetails) -> bool:
    return _path(fault).startswith(_path(other))
