"""Anthropic's Message Batches.

Sources: the `anthropic` SDK's types/messages/message_batch.py, batch_create_params.py,
message_batch_individual_response.py (2.14.0); platform.claude.com/docs/en/api/messages/batches.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from io import SEEK_END
from typing import IO, Any

from fareway.providers.batch_api import (
    Batch,
    Client,
    Limits,
    Opened,
    Outcome,
    batch_of,
    outcome_of,
    words_of,
)

URL = "https://api.anthropic.com/v1"
LIMITS = Limits(100_000, 256_000_000)
#: The version of the API: platform.claude.com/docs/en/api/migration-2026-10-21.
VERSION = "2026-10-21"
SKEW_S = 300
#: A completion's limit where the request has none: here one has to be given.
MAX_TOKENS = 4_096
_DATA = "data:"
#: What is the request's own fault, and would be again.
_FINAL = ("invalid_request_error", "authentication_error", "permission_error", "not_found_error")
_HEAD, _TAIL = b'{"requests":[', b"]}"
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class AnthropicBatch:
    """The batch endpoint over a client whose base URL ends in `/v1`."""

    client: Client
    name: str = "anthropic"
    limits: Limits = LIMITS

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"custom_id": custom_id, "params": params(body)}

    async def submit(self, opened: Opened, name: str) -> Batch:
        async def create() -> dict[str, Any]:
            with closing(opened()) as file:
                size = file.seek(0, SEEK_END) + len(_HEAD) + len(_TAIL) - 1
                file.seek(0)
                told = {"content-type": "application/json", "content-length": str(size)}
                data = _wrapped(file)
                return await self.client.call("POST", "/messages/batches", data=data, headers=told)

        return batch_of(await self.client.once(create), _batch)

    async def find(
        self, name: str, since: float, total: int, others: Collection[str]
    ) -> Batch | None:
        """A batch has no name here: one made since then, of as many requests, may be it.

        Whether it is, its results tell: their `custom_id`s are ours or not.
        """
        after = ""
        while True:
            page = await self.client.json("GET", f"/messages/batches?limit=100{after}")
            batches = page.get("data") or []
            for told in batches:
                if _made(told) < since - SKEW_S:
                    return None
                if told["id"] not in others and batch_of(told, _batch).total == total:
                    return batch_of(told, _batch)
            if not page.get("has_more") or not batches:
                return None
            after = f"&after_id={page.get('last_id') or batches[-1]['id']}"

    async def get(self, id_: str) -> Batch:
        return batch_of(await self.client.json("GET", f"/messages/batches/{id_}"), _batch)

    async def cancel(self, id_: str) -> None:
        await self.client.json("POST", f"/messages/batches/{id_}/cancel")

    async def results(self, batch: Batch) -> AsyncIterator[Outcome]:
        for path in batch.results:
            async for told in self.client.lines(path):
                if isinstance(told.get("custom_id"), str):
                    yield outcome_of(told, _outcome)


def params(body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat request of texts and pictures -> the parameters of a message.

    The system's words go to the top; turns of one role in a row are the API's own business.
    """
    system, turns = [], []
    for message in body["messages"]:
        if message["role"] in ("system", "developer"):
            system += [part["text"] for part in _blocks(message["content"]) if "text" in part]
        else:
            content = message["content"]
            told = content if isinstance(content, str) else _blocks(content)
            turns.append({"role": message["role"], "content": told})
    sent = {
        "model": body["model"],
        "max_tokens": body.get("max_tokens") or body.get("max_completion_tokens") or MAX_TOKENS,
        "messages": turns or [{"role": "user", "content": "\n\n".join(system)}],
    }
    return {**sent, "system": "\n\n".join(system)} if system and turns else sent


def _blocks(content: object) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    parts: Sequence[Mapping[str, Any]] = content if isinstance(content, list) else []
    return [_block(part) for part in parts]


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part.get("text") or ""}
    image = part.get("image_url")
    url = str(image.get("url") if isinstance(image, Mapping) else image)
    if not url.startswith(_DATA):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, _, data = url.removeprefix(_DATA).partition(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


async def _wrapped(file: IO[bytes]) -> AsyncIterator[bytes]:
    """JSON lines -> one JSON object, `{"requests": [...]}`, in blocks."""
    block = _HEAD
    between = b""
    for line in file:
        block += between + line.rstrip(b"\n")
        between = b","
        if len(block) >= _BLOCK:
            yield block
            block = b""
    yield block + _TAIL


def _made(told: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(str(told["created_at"])).timestamp()


def _batch(told: Mapping[str, Any]) -> Batch:
    counts = told.get("request_counts") or {}
    ended = told.get("processing_status") == "ended"
    total = sum(n for n in counts.values() if isinstance(n, int))
    return Batch(
        id=str(told["id"]),
        state="ended" if ended else "in_progress",
        total=total,
        done=total - (counts.get("processing") or 0),
        ended_at=str(told.get("ended_at") or told["created_at"]) if ended else None,
        # not its `results_url`: the key goes to no other host than the one that it is for
        results=(f"/messages/batches/{told['id']}/results",) if ended else (),
    )


def _outcome(told: Mapping[str, Any]) -> Outcome:
    result = told.get("result") or {}
    custom_id = told["custom_id"]
    match result.get("type"):
        case "succeeded":
            message = result["message"]
            blocks = message.get("content") or []
            return Outcome(
                custom_id=custom_id,
                status="succeeded",
                answer="".join(b.get("text") or "" for b in blocks if b.get("type") == "text"),
                model=str(message.get("model") or ""),
                usage=message.get("usage") or {},
                finish_reason=str(message.get("stop_reason") or ""),
            )
        case "expired":
            return Outcome(custom_id, "expired", error="expired", retryable=True)
        case "canceled":
            return Outcome(custom_id, "cancelled", error="cancelled", retryable=True)
    error = result.get("error") or {}
    error = error.get("error") or error  # the API's error response holds the error
    kind = error.get("type") if isinstance(error, Mapping) else None
    return Outcome(custom_id, "errored", error=words_of(error), retryable=kind not in _FINAL)
