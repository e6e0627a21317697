"""The OpenAI-compatible routes: parse, authenticate, frame, map errors. Nothing is decided here."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from fareway.asks import Bounds
from fareway.decide import AUTO, ROUTED_MODELS
from fareway.door import EventStream, unless_left
from fareway.errors import BadRequest, FarewayError, PayloadTooLarge
from fareway.keys import Caller
from fareway.log import log
from fareway.record import Asked, Routed, climbed
from fareway.relay import Relay
from fareway.route import Answer
from fareway.wire import (
    MAX_BODY_BYTES,
    ChatRequest,
    parse_chat,
    parse_embeddings,
    parse_object,
)
from fareway.wire import Request as Parsed
from fareway.wiring import Gateway

R = TypeVar("R", bound=Parsed)
#: Kept back from the Lambda's remaining time, to record and answer in; milliseconds.
RESERVE_MS = 1_500


def create_app(gateway: Gateway) -> FastAPI:
    """The ASGI app over a built gateway; the same under Mangum and uvicorn."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await gateway.close()

    app = FastAPI(
        title="Fareway", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    app.add_exception_handler(FarewayError, _fareway_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)

    async def asked(request: Request, parse: Callable[[bytes], R]) -> Asked[R]:
        begun = time.monotonic()
        caller = await gateway.keys.caller(request.headers.get("authorization"))
        parsed = parse(await _body(request))
        return Asked(
            request=parsed,
            caller=caller,
            bounds=Bounds.of(request.headers),
            session_hash=_session_hash(request, caller, parsed.body),
            begun=begun,
            deadline=begun + _time_left_ms(request, gateway.settings.deadline_ms) / 1000,
        )

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        asking = await asked(request, parse_chat)
        if asking.request.stream:
            relay = await unless_left(request, gateway.router.stream(asking))
            return EventStream(relay, _stream_headers(relay))
        answer = await unless_left(request, gateway.router.complete(asking))
        return _json(answer.completion, _headers(answer.routed, answer))

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        asking = await asked(request, parse_embeddings)
        answer = await unless_left(request, gateway.router.embed(asking))
        return _json(answer.completion, _headers(answer.routed, answer))

    @app.post("/v1/route")
    async def route(request: Request) -> Response:
        routed = await gateway.router.route(await asked(request, _parse_unnamed))
        return _json(_explained(routed), _headers(routed))

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        await gateway.keys.caller(request.headers.get("authorization"))
        owners = dict.fromkeys(ROUTED_MODELS, "fareway") | {
            name: next(iter(m.ids.values())).partition("/")[0]
            if "/" in next(iter(m.ids.values()))
            else "upstream"
            for name, m in gateway.policy.models.items()
        }
        data = [
            {"id": n, "object": "model", "created": 0, "owned_by": o} for n, o in owners.items()
        ]
        return _json({"object": "list", "data": data})

    @app.get("/healthz")
    async def healthz() -> Response:
        classifier = gateway.router.classifier
        healthy = classifier is not None and bool(gateway.router.aggregators)
        return _json(
            {
                "status": "ok" if healthy else "degraded",
                "classifier": classifier,
                "policy": gateway.policy.version,
                "prices": gateway.policy.prices.version,
                "aggregators": list(gateway.router.aggregators),
            }
        )

    return app


async def _body(request: Request) -> bytes:
    """The body, never more of it than the limit.

    Raises:
        PayloadTooLarge: as soon as the limit is passed.
    """
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise PayloadTooLarge(
                f"The request body is over the limit of {MAX_BODY_BYTES} bytes. "
                "Shorten 'messages', or send files by reference."
            )
    return bytes(raw)


def _parse_unnamed(raw: bytes) -> ChatRequest:
    """A chat request that may leave its model to us."""
    body = parse_object(raw)
    return parse_chat(raw if "model" in body else json.dumps(body | {"model": AUTO}).encode())


def _time_left_ms(request: Request, deadline_ms: int) -> float:
    """Our own deadline, or what the Lambda has left less a reserve, whichever is sooner."""
    context = request.scope.get("aws.context")
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is not None:
        return min(float(deadline_ms), max(0.0, float(remaining()) - RESERVE_MS))
    adapter = request.headers.get("x-amzn-lambda-context")
    if adapter is None:
        return deadline_ms
    try:
        until_ms = float(json.loads(adapter)["deadline"])  # as the Lambda Web Adapter tells it
    except (ValueError, TypeError, KeyError):
        return deadline_ms
    return min(float(deadline_ms), max(0.0, until_ms - time.time() * 1000 - RESERVE_MS))


def _session_hash(request: Request, caller: Caller, body: Mapping[str, Any]) -> str | None:
    session = request.headers.get("x-fareway-session") or body.get("user")
    if not session:
        return None
    named = f"{caller.tenant}|{session}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(named).hexdigest()[:16]


def _headers(routed: Routed, answer: Answer | None = None) -> dict[str, str]:
    """What a caller may want to know of its request; a value not known is left out."""
    decision = routed.decision
    values: dict[str, object | None] = {
        "decision-id": routed.decision_id,
        "complexity": decision.complexity,
        "tier": decision.tier,
        "lane": decision.lane,
        "cache": routed.cache_hit,
        "reason": decision.reason,
    }
    if answer is not None:
        event = answer.event
        values |= {
            "tier": event.tier,
            "reason": event.reason,
            "served-model": event.served_model,
            "aggregator": event.aggregator,
            "attempts": event.attempts,
            "cost-usd": _usd(event.cost_usd),
            "saving-usd": _usd(event.saving_usd),
        }
    return {f"x-fareway-{k}": _header_value(v) for k, v in values.items() if v is not None}


def _stream_headers(relay: Relay) -> dict[str, str]:
    """As `_headers`; what a stream costs is known only at its end, in the ledger."""
    tier, reason = climbed(relay.routed.decision, relay.candidate)
    values = {
        "tier": tier,
        "reason": reason,
        "served-model": relay.upstream.served_model,
        "aggregator": relay.candidate.aggregator,
        "attempts": relay.attempts,
    }
    told = {f"x-fareway-{k}": _header_value(v) for k, v in values.items() if v is not None}
    return _headers(relay.routed) | told


def _usd(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _header_value(value: object) -> str:
    """Printable ASCII alone: part of a value may come from an upstream."""
    return re.sub(r"[^\x20-\x7e]", "?", str(value))[:1000]


def _explained(routed: Routed) -> dict[str, Any]:
    decision, verdict = routed.decision, routed.verdict
    return {
        "object": "fareway.decision",
        "decision_id": routed.decision_id,
        "tier": decision.tier,
        "complexity": decision.complexity,
        "score": round(verdict.score, 4) if verdict else None,
        "probabilities": [round(p, 4) for p in verdict.probabilities] if verdict else None,
        "sensitivity": round(verdict.sensitivity, 4) if verdict else None,
        "lane": decision.lane,
        "reason": decision.reason,
        "cache_hit": routed.cache_hit,
        "candidates": [
            {"aggregator": c.aggregator, "model": c.model, "id": c.id, "tier": c.tier}
            for c in decision.candidates
        ],
    }


def _json(
    content: Mapping[str, Any], headers: dict[str, str] | None = None, status: int = 200
) -> Response:
    text = json.dumps(content, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json")


async def _fareway_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, FarewayError)
    headers = {}
    if error.decision_id:
        headers["x-fareway-decision-id"] = error.decision_id
    if error.retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if error.status >= 500:
        log("error", "request failed", status=error.status, code=error.code)
    return _json(error.body(), headers, error.status)


async def _http_error(request: Request, error: Exception) -> Response:
    """An unknown path or a wrong method, in OpenAI's shape as well."""
    assert isinstance(error, HTTPException)
    what = BadRequest(
        f"{request.method} {request.url.path} is not served here. There are POST "
        "/v1/chat/completions, POST /v1/embeddings, POST /v1/route, GET /v1/models and "
        "GET /healthz.",
        code="unknown_url" if error.status_code == 404 else "method_not_allowed",
    )
    return _json(what.body(), dict(error.headers or {}), error.status_code)


async def _bug(_: Request, error: Exception) -> Response:
    """What nobody foresaw: the type goes to the log, nothing of it to the caller."""
    log("error", "unexpected error", error=type(error).__name__)
    body = FarewayError("Something failed inside Fareway. The request can be retried.").body()
    return _json(body, status=500)
