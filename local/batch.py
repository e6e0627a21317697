"""Simulated batch endpoints over HTTP: OpenAI's Files and Batches, Anthropic's Message Batches.

They check what they are sent as strictly as the originals, work through a batch a step at each
look, answer in an order of their own, and fail as they are told to. They run no model: the words of
an answer are the hash of its prompt, so that a test can tell whose answer it is.

Sources: the `openai` SDK's types/batch.py and file_object.py; the `anthropic` SDK's
types/messages/message_batch*.py; platform.openai.com/docs/guides/batch,
docs.anthropic.com/en/docs/build-with-claude/batch-processing (2026-11).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

Fate = Literal["completed", "expired", "failed"]
#: Of one request.
Miss = Literal["server_error", "invalid", "expired", "missing"]
CREATED = 1_795_000_000.0


@dataclass(slots=True)
class Job:
    """One batch.

    Args:
        looks: how often it is still said to be going on.
        share_done: of an expired or cancelled batch, how much of it has results.
    """

    id: str
    requests: list[dict[str, Any]]
    created_at: float
    looks: int
    fate: Fate
    share_done: float
    metadata: dict[str, str] = field(default_factory=dict)
    input_file: str = ""
    cancelling: bool = False
    state: str = "in_progress"
    outcomes: list[tuple[dict[str, Any], Miss | None]] = field(default_factory=list)


@dataclass(slots=True)
class Fault:
    """A call that goes wrong, so many times.

    Args:
        call: `METHOD /path`, as a regular expression.
        after: it is done all the same, and only its answer is lost.
        cut: the answer breaks off in its middle.
    """

    call: str
    status: int = 503
    times: int = 1
    retry_after: float | None = None
    after: bool = False
    cut: bool = False


@dataclass(slots=True)
class Simulation:
    """The state of both providers, and what goes wrong.

    Args:
        looks: at a batch before it is over.
        fates: of the next batches, in order; then all are completed.
        misses: what becomes of a request whose prompt matches; (pattern, miss, times).
        no_room: so many batches are refused for want of room.
    """

    looks: int = 1
    share_done: float = 0.5
    fates: list[Fate] = field(default_factory=list)
    misses: list[tuple[str, Miss, int]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    no_room: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def made(self, provider: str) -> list[Job]:
        """The batches of a provider, `openai` or `anthropic`, in order."""
        mark = "batch_" if provider == "openai" else "msgbatch_"
        return [job for id_, job in self.jobs.items() if id_.startswith(mark)]

    def begin(self, mark: str, requests: list[dict[str, Any]]) -> Job:
        fate = self.fates.pop(0) if self.fates else "completed"
        id_ = f"{mark}{len(self.jobs):06}"
        job = Job(id_, requests, time.time(), self.looks, fate, self.share_done)
        self.jobs[id_] = job
        return job

    def look(self, job: Job) -> None:
        """A batch goes a step on at each look."""
        if job.state != "in_progress":
            return
        if job.looks > 0 and not job.cancelling:
            job.looks -= 1
            return
        self._settle(job)

    def _settle(self, job: Job) -> None:
        job.state = "cancelled" if job.cancelling else job.fate
        if job.state == "failed":
            return
        done = len(job.requests)
        if job.state in ("expired", "cancelled"):
            done = int(done * job.share_done)
        for number, request in enumerate(job.requests):
            miss = self._miss(request) if number < done else "expired"
            if miss != "missing":
                job.outcomes.append((request, miss))
        self.chance.shuffle(job.outcomes)

    def _miss(self, request: dict[str, Any]) -> Miss | None:
        prompt = prompt_of(request)
        for number, (pattern, miss, times) in enumerate(self.misses):
            if times > 0 and re.search(pattern, prompt):
                self.misses[number] = (pattern, miss, times - 1)
                return miss
        return None


def prompt_of(request: dict[str, Any]) -> str:
    """The last turn's text of a request of either shape."""
    body = request.get("body") or request.get("params") or {}
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else json.dumps(content)


def answer_to(prompt: str) -> str:
    """The answer to a prompt: its hash."""
    return f"answer {hashlib.sha256(prompt.encode()).hexdigest()[:16]}"


def usage_of(prompt: str) -> tuple[int, int]:
    """Prompt and completion tokens of an answer."""
    return len(prompt) // 4 + 1, 20 + len(prompt) % 50


def create_app() -> FastAPI:
    """Both providers; their `Simulation` is at `app.state.simulation`."""
    app = FastAPI(title="simulated batch endpoints", openapi_url=None)
    simulation = app.state.simulation = Simulation()

    @app.middleware("http")
    async def disturb(request: Request, handle: Any) -> Response:
        call = f"{request.method} {request.url.path}"
        simulation.calls.append(call)
        fault = next((f for f in simulation.faults if f.times and re.fullmatch(f.call, call)), None)
        if fault is None:
            return await handle(request)
        fault.times -= 1
        if fault.cut:
            return await _cut(await handle(request))
        if fault.after:
            await handle(request)
        wait = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
        error = {"type": "api_error", "message": "told to fail", "code": None}
        return JSONResponse({"error": error}, fault.status, wait)

    _openai(app, simulation)
    _anthropic(app, simulation)
    return app


async def _cut(response: Any) -> Response:
    body = b"".join([part async for part in response.body_iterator])

    async def half() -> Any:
        yield body[: len(body) // 2]

    return StreamingResponse(half(), headers={"content-length": str(len(body))})


# OpenAI


def _openai(app: FastAPI, simulation: Simulation) -> None:
    @app.post("/openai/v1/files")
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

    @app.get("/openai/v1/files/{id_}/content")
    async def content(id_: str) -> Response:
        if id_ not in simulation.files:
            return _refused("No such File object", 404)
        return Response(simulation.files[id_], media_type="application/octet-stream")

    @app.post("/openai/v1/batches")
    async def create(request: Request) -> Response:
        told = await request.json()
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
            job.fate, job.looks = "failed", 0
            job.metadata["_error"] = "token_limit_exceeded"
        elif fault := _openai_fault(lines, job.requests):
            job.fate, job.looks = "failed", 0
            job.metadata["_error"] = fault
        return JSONResponse(_openai_batch(simulation, job))

    @app.get("/openai/v1/batches")
    async def listed(limit: int = 20, after: str = "") -> Response:
        return JSONResponse(
            _page(simulation.made("openai"), limit, after, lambda j: _openai_batch(simulation, j))
        )

    @app.get("/openai/v1/batches/{id_}")
    async def retrieve(id_: str) -> Response:
        if id_ not in simulation.jobs:
            return _refused("No such batch", 404)
        simulation.look(simulation.jobs[id_])
        return JSONResponse(_openai_batch(simulation, simulation.jobs[id_]))

    @app.post("/openai/v1/batches/{id_}/cancel")
    async def cancel(id_: str) -> Response:
        simulation.jobs[id_].cancelling = True
        return JSONResponse(_openai_batch(simulation, simulation.jobs[id_]))


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
        simulation.files[output] = _jsonl(_openai_answer(r) for r in good)
        simulation.files[errors] = _jsonl(_openai_error(r, m, job.state) for r, m in bad)
    fault = job.metadata.get("_error") if job.state == "failed" else None
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
        "metadata": {k: v for k, v in job.metadata.items() if k != "_error"},
    }


def _openai_answer(request: dict[str, Any]) -> dict[str, Any]:
    prompt = prompt_of(request)
    asked, said = usage_of(prompt)
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(CREATED),
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


# Anthropic


def _anthropic(app: FastAPI, simulation: Simulation) -> None:
    @app.post("/anthropic/v1/messages/batches")
    async def create(request: Request) -> Response:
        if request.headers.get("anthropic-version") != "2023-06-01":
            return _anthropic_refused("anthropic-version: header is required")
        if request.headers.get("content-type") != "application/json":
            return _anthropic_refused("content-type must be application/json")
        requests = json.loads(await request.body())["requests"]
        if fault := _anthropic_fault(requests):
            return _anthropic_refused(fault)
        job = simulation.begin("msgbatch_", requests)
        return JSONResponse(_anthropic_batch(request, job))

    @app.get("/anthropic/v1/messages/batches")
    async def listed(request: Request, limit: int = 20, after_id: str = "") -> Response:
        page = _page(
            simulation.made("anthropic"), limit, after_id, lambda j: _anthropic_batch(request, j)
        )
        return JSONResponse(page)

    @app.get("/anthropic/v1/messages/batches/{id_}")
    async def retrieve(request: Request, id_: str) -> Response:
        simulation.look(simulation.jobs[id_])
        return JSONResponse(_anthropic_batch(request, simulation.jobs[id_]))

    @app.post("/anthropic/v1/messages/batches/{id_}/cancel")
    async def cancel(request: Request, id_: str) -> Response:
        simulation.jobs[id_].cancelling = True
        return JSONResponse(_anthropic_batch(request, simulation.jobs[id_]))

    @app.get("/anthropic/v1/messages/batches/{id_}/results")
    async def results(id_: str) -> Response:
        job = simulation.jobs[id_]
        lines = _jsonl(_anthropic_result(r, miss, job.state) for r, miss in job.outcomes)
        return Response(lines, media_type="application/x-jsonl")


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


def _page(jobs: list[Job], limit: int, after: str, shown: Any) -> dict[str, Any]:
    """The newest first, as both providers list."""
    newest = jobs[::-1]
    start = next((i + 1 for i, job in enumerate(newest) if job.id == after), 0)
    page = newest[start : start + limit]
    return {
        "object": "list",
        "data": [shown(job) for job in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": start + limit < len(newest),
    }


def _jsonl(entries: Iterator[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def _refused(message: str, status: int = 400) -> JSONResponse:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status)


def _anthropic_refused(message: str) -> JSONResponse:
    error = {"type": "invalid_request_error", "message": message}
    return JSONResponse({"type": "error", "error": error}, 400)
