"""The OpenAI-compatible routes: parse, authenticate, frame, map errors. Nothing is decided here."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import Scope

from fareway.asks import Bounds
from fareway.body import parse_object
from fareway.conversation import HEADER, conversation
from fareway.decide import AUTO, ROUTED_MODELS
from fareway.door import EventStream, read_body, time_left_ms, unless_left
from fareway.embeddings import parse_embeddings
from fareway.errors import BadRequest, FarewayError, ModelNotFound
from fareway.explain import explained
from fareway.feedback import parse_opinion
from fareway.log import log
from fareway.observe import Observed
from fareway.page import add_page
from fareway.record import Asked
from fareway.relay import CALLER_LEFT, ChatFrames
from fareway.responses.events import ResponseEvents
from fareway.responses.frames import ResponseFrames
from fareway.responses.output import response_id, response_of
from fareway.responses.request import parse_response
from fareway.told import headers, stream_headers
from fareway.wire import ChatRequest, parse_chat
from fareway.wire import Request as Parsed
from fareway.wiring import Gateway

R = TypeVar("R", bound=Parsed)
_COMPACT = json.JSONEncoder(separators=(",", ":"))


def create_app(gateway: Gateway) -> FastAPI:
    """The ASGI app over a built gateway; the same under Mangum and uvicorn."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await gateway.close()

    app = FastAPI(
        title="Fareway", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    settings = gateway.settings
    app.add_middleware(Observed, stage=settings.stage, emf=settings.metrics == "emf")
    app.add_exception_handler(FarewayError, _fareway_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _left)

    _answering(app, gateway)
    _telling(app, gateway)
    add_page(app, gateway)
    return app


def _answering(app: FastAPI, gateway: Gateway) -> None:
    """The routes that call a model."""
    router = gateway.router

    async def chat_completions(request: Request) -> Response:
        asking = await _asked(gateway, request, parse_chat)
        if asking.request.stream:
            relay = await unless_left(request, router.stream(asking))
            voice = ChatFrames(asking.request.include_usage)
            return EventStream(relay, voice, request.state.rate | stream_headers(relay))
        answer = await unless_left(request, router.complete(asking))
        return _json(answer.completion, request.state.rate | headers(answer.routed, answer))

    async def responses(request: Request) -> Response:
        asking = await _asked(gateway, request, parse_response)
        asks, now = asking.request, int(time.time())
        if asks.stream:
            relay = await unless_left(request, router.stream(asking))
            events = ResponseEvents(asks, response_id(relay.routed.decision_id), now)
            return EventStream(
                relay, ResponseFrames(events), request.state.rate | stream_headers(relay)
            )
        answer = await unless_left(request, router.complete(asking))
        id_ = response_id(answer.routed.decision_id)
        body = response_of(asks, answer.completion, id_, now)
        return _json(body, request.state.rate | headers(answer.routed, answer))

    async def embeddings(request: Request) -> Response:
        asking = await _asked(gateway, request, parse_embeddings)
        answer = await unless_left(request, router.embed(asking))
        return _json(answer.completion, request.state.rate | headers(answer.routed, answer))

    app.router.routes += [
        _Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        _Route("/v1/responses", responses, methods=["POST"]),
        _Route("/v1/embeddings", embeddings, methods=["POST"]),
    ]


class _Route(Route):
    """Starlette's own: FastAPI would look for arguments and models, and there are none."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}  # as FastAPI's say it, for `observe`


def _telling(app: FastAPI, gateway: Gateway) -> None:
    """The routes that tell something of Fareway itself."""

    @app.post("/v1/route")
    async def route(request: Request) -> Response:
        asking = await _asked(gateway, request, _parse_unnamed)
        routed = await gateway.router.judge.route(asking)
        return _json(explained(routed, asking.bounds), request.state.rate | headers(routed))

    @app.get("/v1/decisions/{id}")
    async def decisions(request: Request) -> Response:
        caller = await gateway.keys.caller(request.headers.get("authorization"))
        # a typed argument would have FastAPI import pydantic's first version at the start
        return _json((await gateway.feedback.decision(caller, request.path_params["id"])).told)

    @app.post("/v1/feedback")
    async def feedback(request: Request) -> Response:
        caller = await gateway.keys.caller(request.headers.get("authorization"))
        rate = await gateway.rates.admit(caller)
        request.state.rate = rate.headers() if rate else {}
        opinion = parse_opinion(await read_body(request))
        return _json(await gateway.feedback.take(caller, opinion), request.state.rate)

    async def models_of(request: Request) -> list[dict[str, Any]]:
        caller = await gateway.keys.caller(request.headers.get("authorization"))
        owners = dict.fromkeys(ROUTED_MODELS, "fareway") | {
            name: next(iter(m.ids.values())).partition("/")[0]
            if "/" in next(iter(m.ids.values()))
            else "upstream"
            for name, m in gateway.policy.models.items()
        }
        return [
            {"id": n, "object": "model", "created": 0, "owned_by": o}
            for n, o in owners.items()
            if caller.allowance.allows(n)
        ]

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        return _json({"object": "list", "data": await models_of(request)})

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> Response:
        for told in await models_of(request):
            if told["id"] == name:
                return _json(told)
        raise ModelNotFound(f"There is no model '{name}' here, or not for this key.")

    @app.get("/healthz")
    async def healthz() -> Response:
        classifier = gateway.router.judge.verdicts.classifier
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


async def _asked(gateway: Gateway, request: Request, parse: Callable[[bytes], R]) -> Asked[R]:
    begun = time.monotonic()
    caller = await gateway.keys.caller(request.headers.get("authorization"))
    rate = await gateway.rates.admit(caller)
    request.state.rate = rate.headers() if rate else {}
    parsed = parse(await read_body(request))
    for model in parsed.named:
        caller.allowance.check(model)
    return Asked(
        request=parsed,
        caller=caller,
        bounds=Bounds.of(request.headers).within(caller.allowance.tiers),
        conversation=conversation(
            caller.tenant, request.headers.get(HEADER), parsed.body, caller.key_id
        ),
        begun=begun,
        deadline=begun + time_left_ms(request, gateway.settings.deadline_ms) / 1000,
        alone=request.state.alone,
        trace=request.state.trace,
        facts=request.state.facts,
    )


def _parse_unnamed(raw: bytes) -> ChatRequest:
    """A chat request that may leave its model to us."""
    body = parse_object(raw)
    return parse_chat(raw if "model" in body else json.dumps(body | {"model": AUTO}).encode())


def _json(
    content: Mapping[str, Any], headers: dict[str, str] | None = None, status: int = 200
) -> Response:
    text = _COMPACT.encode(content)
    return Response(text, status, headers, media_type="application/json")


async def _fareway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FarewayError)
    request.state.facts.error = type(error).__name__
    headers = {**getattr(request.state, "rate", {}), **error.headers}
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
        f"{request.method} {request.url.path} is not served here. There are POST /v1/"
        "{chat/completions, responses, embeddings, route, feedback}, GET /v1/{models, "
        "decisions/ID, admin/savings/PART}, GET /dashboard and GET /healthz.",
        code="unknown_url" if error.status_code == 404 else "method_not_allowed",
    )
    return _json(what.body(), dict(error.headers or {}), error.status_code)


async def _left(_: Request, __: Exception) -> Response:
    """The caller is gone: nobody reads this, but it must not count as a failure of ours."""
    return Response(status_code=CALLER_LEFT)
