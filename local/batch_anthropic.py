"""Anthropic's Message Batches, simulated.

Sources: the `anthropic` SDK's types/messages/message_batch*.py;
docs.anthropic.com/en/docs/build-with-claude/batch-processing (2026-11).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
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


def routes(simulation: Simulation) -> APIRouter:
    """The API, under `/anthropic/v1`."""
    router = APIRouter(prefix="/anthropic/v1")

    @router.post("/messages/batches")
    async def create(request: Request) -> Response:
        if request.headers.get("anthropic-version") != "2026-10-21":
            return _anthropic_refused("anthropic-version: header is required")
        if request.headers.get("content-type") != "application/json":
            return _anthropic_refused("content-type must be application/json")
        requests = json.loads(await request.body())["requests"]
        if fault := _anthropic_fault(requests):
            return _anthropic_refused(fault)
        job = simulation.begin("msgbatch_", requests)
        return JSONResponse(_anthropic_batch(request, job))

    @router.get("/messages/batches")
    async def listed(request: Request, limit: int = 20, after_id: str = "") -> Response:
        listing = page(
            simulation.made("anthropic"), limit, after_id, lambda j: _anthropic_batch(request, j)
        )
        return JSONResponse(listing)

    @router.get("/messages/batches/{id_}")
    async def retrieve(request: Request, id_: str) -> Response:
        simulation.look(simulation.jobs[id_])
        return JSONResponse(_anthropic_batch(request, simulation.jobs[id_]))

    @router.post("/messages/batches/{id_}/cancel")
    async def cancel(request: Request, id_: str) -> Response:
        simulation.jobs[id_].cancelling = True
        return JSONResponse(_anthropic_batch(request, simulation.jobs[id_]))

    @router.get("/messages/batches/{id_}/results")
    async def results(id_: str) -> Response:
        job = simulation.jobs[id_]
        lines = jsonl(_anthropic_result(r, miss, job.state) for r, miss in job.outcomes)
        return Response(lines, media_type="application/x-jsonl")

    return router


def _anthropic_fault(requests: list[dict[str, Any]]) -> str:
    if not 0 < len(requests) <= 100_000:
        return "requests: 1 to 100000"
    ids = {request["custom_id"] for request in requests}
    if len(ids) < len(requests):
        return "custom_id: must be unique"
    if not all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", id_) for id_ in ids):
        return "custom_id: must match ^[a-zA-Z0-9_-]{1,64}$"
    for request in requests:
        params = request["params"]
        if not isinstance(params.get("max_tokens"), int) or params["max_tokens"] < 1:
            return "max_tokens: Field required"
        if any(m["role"] not in ("user", "assistant") for m in params["messages"]):
            return 'messages: Unexpected role "system"'
        if unknown := params.keys() - {"model", "max_tokens", "messages", "system"}:
            return f"{min(unknown)}: Extra inputs are not permitted"
    return ""


def _anthropic_batch(request: Request, job: Job) -> dict[str, Any]:
    over = job.state != "in_progress"
    counts = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    if not over:
        counts["processing"] = len(job.requests)
    for _, miss in job.outcomes:
        counts[_ANTHROPIC.get(miss, "errored") if miss != "expired" else _late(job.state)] += 1
    base = str(request.base_url).rstrip("/")
    ended = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    created = datetime.fromtimestamp(job.created_at, UTC).isoformat().replace("+00:00", "Z")
    going = "canceling" if job.cancelling else "in_progress"
    return {
        "id": job.id,
        "type": "message_batch",
        "processing_status": "ended" if over else going,
        "request_counts": counts,
        "created_at": created,
        "ended_at": ended if over else None,
        "expires_at": created,
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": f"{base}/anthropic/v1/messages/batches/{job.id}/results" if over else None,
    }


_ANTHROPIC = {None: "succeeded"}


def _late(state: str) -> str:
    return "canceled" if state == "cancelled" else "expired"


def _anthropic_result(request: dict[str, Any], miss: Miss | None, state: str) -> dict[str, Any]:
    prompt = prompt_of(request)
    asked, said = usage_of(prompt)
    if miss == "expired":
        result: dict[str, Any] = {"type": _late(state)}
    elif miss is not None:
        kind = "invalid_request_error" if miss == "invalid" else "api_error"
        error = {"type": kind, "message": f"told to fail: {miss}"}
        result = {"type": "errored", "error": {"type": "error", "error": error}}
    else:
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": request["params"]["model"],
            "content": [{"type": "text", "text": answer_to(prompt)}],
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": asked,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": said,
                "service_tier": "batch",
            },
        }
        result = {"type": "succeeded", "message": message}
    return {"custom_id": request["custom_id"], "result": result}


def _anthropic_refused(message: str) -> JSONResponse:
    error = {"type": "invalid_request_error", "message": message}
    return JSONResponse({"type": "error", "error": error}, 400)
