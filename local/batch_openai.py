"""OpenAI's Files and Batches, simulated.

Sources: the `openai` SDK's types/batch.py and file_object.py; platform.openai.com/docs/guides/batch
(2026-11).
"""

from __future__ import annotations

import json
import time
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from local.batch_simulation import (
    Job,
    Miss,
    Simulation,
    answer_to,
    jsonl,
    page,
    prompt_of,
    usage_of,
)

CREATED = 1_795_000_000


def routes(simulation: Simulation) -> APIRouter:
    """The API, under `/openai/v1`."""
    router = APIRouter(prefix="/openai/v1")

    @router.post("/files")
    async def upload(request: Request) -> Response:
        form = _form(request.headers["content-type"], await request.body())
        if form.get("purpose", ("", b""))[1] != b"batch" or "file" not in form:
            return _refused("purpose and file are required")
        name, content = form["file"]
        id_ = f"file-{len(simulation.files):06}"
        simulation.files[id_] = content
        return JSONResponse(
            {
                "id": id_,
                "object": "file",
                "bytes": len(content),
                "created_at": int(time.time()),
                "filename": name,
                "purpose": "batch",
                "status": "processed",
            }
        )

    @router.get("/files/{id_}/content")
    async def content(id_: str) -> Response:
        if id_ not in simulation.files:
            return _refused("No such File object", 404)
        return Response(simulation.files[id_], media_type="application/octet-stream")

    @router.post("/batches")
    async def create(request: Request) -> Response:
        return _create(simulation, await request.json())

    @router.get("/batches")
    async def listed(limit: int = 20, after: str = "") -> Response:
        return JSONResponse(
            page(simulation.made("openai"), limit, after, lambda j: _openai_batch(simulation, j))
        )

    @router.get("/batches/{id_}")
    async def retrieve(id_: str) -> Response:
        if id_ not in simulation.jobs:
            return _refused("No such batch", 404)
        simulation.look(simulation.jobs[id_])
        return JSONResponse(_openai_batch(simulation, simulation.jobs[id_]))

    @router.post("/batches/{id_}/cancel")
    async def cancel(id_: str) -> Response:
        simulation.jobs[id_].cancelling = True
        return JSONResponse(_openai_batch(simulation, simulation.jobs[id_]))

    return router


def _form(kind: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """A multipart form -> field -> (file name, content)."""
    message = BytesParser(policy=HTTP).parsebytes(f"content-type: {kind}\r\n\r\n".encode() + body)
    return {
        str(part.get_param("name", header="content-disposition")): (
            part.get_filename() or "",
            bytes(part.get_payload(decode=True)),
        )
        for part in message.iter_parts()
    }


def _create(simulation: Simulation, told: dict[str, Any]) -> Response:
    if told.get("endpoint") != "/v1/chat/completions" or told.get("completion_window") != "24h":
        return _refused("endpoint and completion_window are required")
    if told.get("input_file_id") not in simulation.files:
        return _refused("No such File object")
    metadata = told.get("metadata") or {}
    if any(len(k) > 64 or len(v) > 512 for k, v in metadata.items()):
        return _refused("metadata is too long")
    lines = simulation.files[told["input_file_id"]].splitlines()
    job = simulation.begin("batch_", [json.loads(line) for line in lines])
    job.metadata, job.input_file = metadata, told["input_file_id"]
    if simulation.no_room:
        simulation.no_room -= 1
        job.fate, job.looks, job.error = "failed", 0, "token_limit_exceeded"
    elif fault := _openai_fault(lines, job.requests):
        job.fate, job.looks, job.error = "failed", 0, fault
    return JSONResponse(_openai_batch(simulation, job))


def _openai_fault(lines: list[bytes], requests: list[dict[str, Any]]) -> str:
    """What the validation of a whole file finds."""
    if len(requests) > 50_000 or sum(map(len, lines)) > 200_000_000:
        return "file_too_large"
    if len({r["custom_id"] for r in requests}) < len(requests):
        return "duplicate_custom_id"
    if len({r["body"]["model"] for r in requests}) > 1:
        return "mismatched_model"
    if any(r["method"] != "POST" or r["url"] != "/v1/chat/completions" for r in requests):
        return "invalid_url"
    return ""


def _openai_batch(simulation: Simulation, job: Job) -> dict[str, Any]:
    status = job.state if job.state != "in_progress" or not job.cancelling else "cancelling"
    over = job.state in ("completed", "expired", "cancelled")
    good = [r for r, miss in job.outcomes if miss is None]
    bad = [(r, miss) for r, miss in job.outcomes if miss is not None]
    output, errors = f"file-out-{job.id}", f"file-err-{job.id}"
    if over and output not in simulation.files:
        simulation.files[output] = jsonl(_openai_answer(r) for r in good)
        simulation.files[errors] = jsonl(_openai_error(r, m, job.state) for r, m in bad)
    fault = job.error if job.state == "failed" else None
    now = int(time.time())
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "errors": fault
        and {"object": "list", "data": [{"code": fault, "message": fault, "line": None}]},
        "input_file_id": job.input_file,
        "completion_window": "24h",
        "status": status,
        "output_file_id": output if over and good else None,
        "error_file_id": errors if over and bad else None,
        "created_at": int(job.created_at),
        "completed_at": now if job.state == "completed" else None,
        "expired_at": now if job.state == "expired" else None,
        "cancelled_at": now if job.state == "cancelled" else None,
        "failed_at": now if job.state == "failed" else None,
        "request_counts": {
            "total": len(job.requests),
            "completed": len(good),
            "failed": len(bad),
        },
        "metadata": job.metadata,
    }


def _openai_answer(request: dict[str, Any]) -> dict[str, Any]:
    prompt = prompt_of(request)
    asked, said = usage_of(prompt)
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": CREATED,
        "model": request["body"]["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer_to(prompt)},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }
    return {
        "id": "batch_req_1",
        "custom_id": request["custom_id"],
        "response": {"status_code": 200, "request_id": "req_1", "body": body},
        "error": None,
    }


def _openai_error(request: dict[str, Any], miss: Miss, state: str) -> dict[str, Any]:
    told: dict[str, Any] = {"id": "batch_req_1", "custom_id": request["custom_id"]}
    if miss == "expired":
        code = f"batch_{state if state != 'completed' else 'expired'}"
        return told | {"response": None, "error": {"code": code, "message": f"{code}."}}
    status, code = (400, "invalid_value") if miss == "invalid" else (500, "server_error")
    body = {"error": {"message": f"told to fail: {miss}", "type": code, "code": code}}
    response = {"status_code": status, "request_id": "req_1", "body": body}
    return told | {"response": response, "error": None}


def _refused(message: str, status: int = 400) -> JSONResponse:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status)
