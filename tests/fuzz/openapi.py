"""What each route takes, as OpenAPI: made of the models that check it, so that it cannot differ."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from fareway.asks import Bounds
from fareway.embeddings import _EmbeddingsBody
from fareway.feedback import Opinion
from fareway.policy import TIERS
from fareway.responses.request import _Body as ResponsesBody
from fareway.wire import _ChatBody

BODIES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": _ChatBody,
    "/v1/route": _ChatBody,
    "/v1/responses": ResponsesBody,
    "/v1/embeddings": _EmbeddingsBody,
    "/v1/feedback": Opinion,
}
#: `Bounds.of` reads these.
HEADERS = {
    "x-fareway-min-tier": {"type": "string", "enum": list(TIERS)},
    "x-fareway-max-tier": {"type": "string", "enum": list(TIERS)},
    "x-fareway-max-cost-usd": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?$"},
    "x-fareway-session": {"type": "string", "pattern": r"^[ -~]{0,64}$"},
}
assert Bounds.of({}) == Bounds()


def document() -> dict[str, Any]:
    """The API as an OpenAPI 3.1 document."""
    used = [(model, "validation") for model in dict.fromkeys(BODIES.values())]
    names, schemas = models_json_schema(used, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    headers = [{"name": n, "in": "header", "schema": schema} for n, schema in HEADERS.items()]
    paths: dict[str, Any] = {
        path: {
            "post": {
                "parameters": headers,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": names[model, "validation"]}},
                },
                "responses": {"default": {"description": "an answer or an error"}},
            }
        }
        for path, model in BODIES.items()
    }
    told = {"responses": {"default": {"description": "an answer or an error"}}}
    id_ = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    paths |= {
        "/v1/decisions/{id}": {"get": {"parameters": [id_], **told}},
        "/v1/models": {"get": told},
        "/v1/models/{id}": {"get": {"parameters": [id_], **told}},
        "/healthz": {"get": told},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fareway", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }
