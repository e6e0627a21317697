"""Simulated batch endpoints over HTTP: `uvicorn --factory local.batch:create_app`.

OpenAI's Files and Batches are under `/openai/v1`, Anthropic's Message Batches under
`/anthropic/v1`. They check what they are sent as strictly as the originals, are a step further at
each look, answer in an order of their own, and fail as they are told to. They run no model: the
words of an answer are the hash of its prompt, so that a test can tell whose answer it is.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from local import batch_anthropic, batch_openai
from local.batch_simulation import Simulation


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

    app.include_router(batch_openai.routes(simulation))
    app.include_router(batch_anthropic.routes(simulation))
    return app


async def _cut(response: Any) -> Response:
    body = b"".join([part async for part in response.body_iterator])

    async def half() -> Any:
        yield body[: len(body) // 2]

    return StreamingResponse(half(), headers={"content-length": str(len(body))})
