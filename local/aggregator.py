"""A simulated aggregator over HTTP: `python -m local.aggregator --name openrouter --port 4601`.

It speaks as OpenRouter or TokenMix do, keeps an invoice, and fails when it is told to. It runs no
model: the words of its answers say nothing.

Sources: openrouter.ai/docs/api/reference/errors-and-debugging, /docs/api_reference/streaming,
tokenmix.ai/docs/chat-completions, /docs/error-codes (2026-11).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, get_args

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel

from local.answer import Answer
from local.invoice import Name, UnknownModel, Usage
from local.simulation import Failure, Mode, Simulation, embeddings

HOLD_S = 60.0  # how long `timeout` keeps a caller waiting that does not give up
BAD_KEY = "bad-key"


class FailOrder(BaseModel):
    """The body of POST /_sim/fail; see `Failure`."""

    mode: Mode
    models: list[str] | None = None
    times: int | None = None
    retry_after: float | None = None
    seconds: float = 2.0


def create_app(name: Name, latency_scale: float = 1.0) -> FastAPI:
    """The simulator as an app; its `Simulation` is at `app.state.simulation`.

    Args:
        latency_scale: 1.0 answers within 60 to 250 ms, 0 at once.
    """
    app = FastAPI(title=f"simulated {name}", openapi_url=None)
    simulation = app.state.simulation = Simulation(name)
    _add_routes(app, simulation, latency_scale)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok", "name": name}

    @app.get("/_sim/invoice")
    async def invoice() -> dict[str, Any]:
        return simulation.invoice.told()

    @app.get("/_sim/generations")
    async def generations() -> list[dict[str, Any]]:
        return simulation.invoice.generations()

    @app.get("/_sim/requests")
    async def requests() -> list[dict[str, Any]]:
        return list(simulation.requests)

    @app.post("/_sim/fail")
    async def fail(order: FailOrder) -> dict[str, int]:
        simulation.failures.append(Failure(**order.model_dump()))
        return {"failures": len(simulation.failures)}

    @app.post("/_sim/reset")
    async def reset() -> dict[str, str]:
        simulation.reset()
        return {"status": "ok"}

    return app


def _add_routes(app: FastAPI, simulation: Simulation, latency_scale: float) -> None:
    """The aggregator's own API, as against what orders its failures."""

    async def complete(request: Request) -> Response:
        return await _complete(simulation, latency_scale, request)

    async def models(request: Request) -> Response:
        if _refused_key(request):
            return _error(simulation, 401, "No auth credentials found")
        return JSONResponse(simulation.models())

    async def embed(request: Request) -> Response:
        body = json.loads(await request.body())
        if failure := simulation.failure(body["model"]):
            return await _fail(simulation, failure, request)
        answer = embeddings(body)
        used = Usage(answer["usage"]["prompt_tokens"], 0, 0, 0)
        try:
            simulation.invoice.add("", body["model"], used)
        except UnknownModel:
            return _error(simulation, 400, f"{body['model']} is not a valid model ID")
        return JSONResponse(answer)

    prefix = "/api/v1" if simulation.name == "openrouter" else "/v1"
    # OpenRouter's base is /api/v1; /v1 answers as well, so that one setting fits both in a test.
    for base in {prefix, "/v1"}:
        app.add_api_route(f"{base}/chat/completions", complete, methods=["POST"])
        app.add_api_route(f"{base}/embeddings", embed, methods=["POST"])
        app.add_api_route(f"{base}/models", models, methods=["GET"])


def _refused_key(request: Request) -> bool:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return scheme != "Bearer" or key.strip() in ("", BAD_KEY)


async def _complete(simulation: Simulation, latency_scale: float, request: Request) -> Response:
    """One chat completion, or what goes wrong with it."""
    if _refused_key(request):
        return _error(simulation, 401, "No auth credentials found")
    try:
        body = json.loads(await request.body())
        model, messages = body["model"], body["messages"]
        sound = isinstance(model, str) and isinstance(messages, list) and bool(messages)
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        return _error(simulation, 400, "model and messages are required")
    failure = simulation.failure(model)
    _note(simulation, request, body, failure)
    seed = f"{model}{simulation.asked}"
    streamed = bool(body.get("stream"))
    broken = failure.mode if failure and _breaks(failure.mode, streamed) else None
    if failure is not None and broken is None and failure.mode != "slow":
        return await _fail(simulation, failure, request)
    try:
        reply = simulation.reply(model, body)
    except UnknownModel:
        return _error(simulation, 400, f"{model} is not a valid model ID")
    slow_s = failure.seconds if failure is not None and failure.mode == "slow" else None
    await asyncio.sleep(reply.latency_ms * latency_scale / 1000 if slow_s is None else slow_s)
    answer = Answer(simulation.name, model, reply, seed)
    if streamed:
        include = bool((body.get("stream_options") or {}).get("include_usage"))

        def bill(id_: str, usage: Usage, cut: bool) -> None:
            simulation.invoice.add(id_, model, usage, cut=cut)

        events = answer.stream(body.get("n") or 1, include, broken, bill)
        return StreamingResponse(events, media_type="text/event-stream", headers=answer.headers)
    if broken != "drop":
        simulation.invoice.add(answer.id, model, reply.usage)
    if broken is not None:
        return StreamingResponse(_cut(), media_type="application/json", headers=_PROMISED)
    return JSONResponse(answer.completion(body.get("n") or 1), headers=answer.headers)


def _breaks(mode: Mode, streamed: bool) -> bool:
    """True for what goes wrong once the answer has begun."""
    return mode in ("drop", "lost") or (streamed and mode == "error_in_200")


def _note(
    simulation: Simulation, request: Request, body: dict[str, Any], failure: Failure | None
) -> None:
    """Remembers a request, without its key; only the last keeps its body."""
    simulation.asked += 1
    if simulation.requests:
        simulation.requests[-1].pop("body", None)
    simulation.requests.append(
        {
            "model": body["model"],
            "headers": {k: v for k, v in request.headers.items() if k != "authorization"},
            "messages": len(body["messages"]),
            "stream": bool(body.get("stream")),
            "failure": failure.mode if failure else None,
            "body": body,
        }
    )


async def _fail(simulation: Simulation, failure: Failure, request: Request) -> Response:
    match failure.mode:
        case "refuse_500":
            return _error(simulation, 500, "Internal Server Error")
        case "429":
            wait = failure.retry_after
            headers = {} if wait is None else {"retry-after": f"{wait:g}"}
            return _error(simulation, 429, "Rate limit exceeded", headers)
        case "timeout":
            give_up = time.monotonic() + HOLD_S
            while time.monotonic() < give_up and not await request.is_disconnected():
                await asyncio.sleep(0.02)
            return _error(simulation, 504, "Gateway Timeout")
        case "html_502":
            return HTMLResponse("<html><body><h1>502 Bad Gateway</h1></body></html>", 502)
        case "error_in_200":
            return _error(simulation, 502, "Provider returned error", sent_as=200)
        case "invalid_json":
            return Response('{"id": "gen-1", "choices": [{"mess', media_type="application/json")
        case "401":
            return _error(simulation, 401, "User not found")
        case _:
            return _error(simulation, 400, "Invalid request parameters")


def _error(
    simulation: Simulation,
    status: int,
    message: str,
    headers: dict[str, str] | None = None,
    sent_as: int | None = None,
) -> JSONResponse:
    """An error in the aggregator's own shape: OpenRouter's code is a number."""
    error: dict[str, Any] = {"message": message, "code": status}
    if simulation.name == "tokenmix":
        error |= {"type": "api_error", "param": None, "code": f"error_{status}"}
    return JSONResponse({"error": error}, sent_as or status, headers)


#: More than is sent: uvicorn then closes the connection in the middle of the answer.
_PROMISED = {"content-length": "4096"}


async def _cut() -> AsyncIterator[bytes]:
    yield b'{"id": "gen-1", "object": "chat.completion", "choices": [{"index": 0, '


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--name", choices=get_args(Name), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency-scale", type=float, default=1.0)
    chosen = parser.parse_args()
    app = create_app(chosen.name, chosen.latency_scale)
    uvicorn.run(app, host="127.0.0.1", port=chosen.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
