"""Around the app: each request's trace, and its one line once it is over."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fareway.errors import FarewayError
from fareway.log import log
from fareway.metrics import Facts, request_line
from fareway.relay import CALLER_LEFT
from fareway.trace import Trace

#: Health checks and the savings page: they would thin out the failures.
UNCOUNTED = ("/healthz", "/dashboard", "/v1/admin/")
_BUG = FarewayError("Something failed inside Fareway. The request can be retried.")
TRACE_HEADERS = ("traceparent", "tracestate", "x-amzn-trace-id")


class Observed:
    """ASGI middleware that gives a request its `state.trace`, `.facts`, and whether it is `.alone`.

    It stands outside of the error handlers, so that what was refused and what crashed is counted
    too. A stream is over when its last byte is out, or its client gone. What is UNCOUNTED has no
    line.

    A bug ends here: its type and place go to the log. Servers would write its traceback, and an
    exception's text may be a prompt.

    Args:
        stage: which deployment this is.
        emf: whether lines are written, to stdout; see `fareway.metrics`.
    """

    def __init__(self, app: ASGIApp, stage: str, emf: bool) -> None:
        self.app = app
        self.stage = stage
        self.emf = emf
        self._serving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun = time.monotonic()
        given = Headers(scope=scope)
        trace = Trace.of({name: ",".join(given.getlist(name)) for name in TRACE_HEADERS})
        facts = Facts()
        alone = not self._serving
        scope.setdefault("state", {}).update(trace=trace, facts=facts, alone=alone)
        self._serving += 1
        status = CALLER_LEFT  # until there is an answer
        begun_answering = False

        async def sending(message: Message) -> None:
            nonlocal status, begun_answering
            if message["type"] == "http.response.start":
                status, begun_answering = message["status"], True
                MutableHeaders(scope=message)["x-fareway-trace-id"] = trace.trace_id
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            status, facts.error = 500, type(error).__name__
            log("error", "unexpected error", error=facts.error, at=_place(error))
            if begun_answering:
                raise FarewayError(f"The answer broke off: {facts.error}") from None
            await JSONResponse(_BUG.body(), status)(scope, receive, sending)
        finally:
            self._serving -= 1
            path = getattr(scope.get("route"), "path", "unknown")
            if self.emf and not scope["path"].startswith(UNCOUNTED):
                if facts.event is not None:
                    status = max(status, facts.event.status)  # a stream may fail after its 200
                _write(
                    request_line(
                        self.stage,
                        trace,
                        facts,
                        path=path,
                        status=status,
                        total_ms=(time.monotonic() - begun) * 1000,
                        ended_at=time.time(),
                    )
                )


def _place(error: BaseException) -> str:
    """`route.py:120`, where it was raised."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()
