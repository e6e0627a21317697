"""The savings page: its files, and the figures that it asks for with an admin's key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fareway.savings import PARTS, days_asked
from fareway.wiring import Gateway

#: Nothing from elsewhere, nothing inline, and no text that becomes markup or script. A form is
#: never sent: the page's script takes it.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file of the page; `etag` is its content's."""

    content: bytes
    type: str
    etag: str


def load_files() -> dict[str, File]:
    """The files in `page/` by name."""
    loaded = {}
    for entry in files("fareway").joinpath("page").iterdir():
        suffix = "." + entry.name.rpartition(".")[2]
        if suffix in TYPES:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            loaded[entry.name] = File(content, TYPES[suffix], etag)
    return loaded


def add_page(app: Starlette, gateway: Gateway) -> None:
    """Serves the page at `/dashboard`; its figures are behind an admin's key, its files are not."""
    page = load_files()

    async def file(request: Request) -> Response:
        return _file(request, page, request.path_params.get("file", "dashboard.html"))

    async def savings(request: Request) -> Response:
        name = request.path_params["part"]
        if name not in PARTS:
            raise HTTPException(404)
        caller = await gateway.keys.caller(request.headers.get("authorization"))
        caller.allowance.check_admin()
        asked = request.query_params
        first, last = days_asked(asked.get("from"), asked.get("to"), datetime.now(UTC).date())
        figures = await gateway.savings.figures(name, first, last)
        return Response(
            json.dumps(figures, separators=(",", ":")),
            headers=HEADERS | {"cache-control": "no-store"},
            media_type="application/json",
        )

    app.add_route("/dashboard", file, methods=["GET"])
    app.add_route("/dashboard/{file}", file, methods=["GET"])
    app.add_route("/v1/admin/savings/{part}", savings, methods=["GET"])


def _file(request: Request, page: Mapping[str, File], name: str) -> Response:
    """It, or 304 where the browser has it. It asks each time: a deployment shows at once."""
    found = page.get(name)
    if found is None:
        raise HTTPException(404)
    headers = HEADERS | {"cache-control": "no-cache", "etag": found.etag}
    known = request.headers.get("if-none-match", "")
    if found.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers | {"content-type": found.type})
