"""OpenAI's Files and Batches.

Sources: the `openai` SDK's types/batch.py, batch_create_params.py, file_create_params.py;
platform.openai.com/docs/guides/batch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import FormData

from fareway.errors import ProviderError
from fareway.providers.batch_api import (
    Batch,
    Client,
    Limits,
    Opened,
    Outcome,
    State,
    batch_of,
    outcome_of,
    words_of,
)

URL = "https://api.openai.com/v1"
LIMITS = Limits(50_000, 200_000_000)
ENDPOINT = "/v1/chat/completions"
#: Clocks differ: a batch made up to so many seconds before we meant to make it may be ours.
SKEW_S = 300
_STATES: Mapping[str, State] = {
    "completed": "ended",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}
#: What a whole batch fails with that has no room in the account's queue.
_NO_ROOM = ("token_limit_exceeded", "rate_limit_exceeded", "request_limit_exceeded")


@dataclass(frozen=True, slots=True)
class OpenAIBatch:
    """The batch endpoint over a client whose base URL ends in `/v1`."""

    client: Client
    name: str = "openai"
    limits: Limits = LIMITS

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": dict(body)}

    async def submit(self, opened: Opened, name: str) -> Batch:
        """Uploads the file, then makes the batch, which has its name in `metadata`."""

        async def upload() -> str:
            with closing(opened()) as file:
                form = FormData({"purpose": "batch"})
                form.add_field(
                    "file",
                    file,
                    filename=f"{name.replace('/', '-')}.jsonl",
                    content_type="application/jsonl",
                )
                told = await self.client.call("POST", "/files", data=form)
            if not isinstance(id_ := told.get("id"), str):
                raise ProviderError("bad_body", status=200, retryable=True)
            return id_

        uploaded = await self.client.trying(upload)
        job = {
            "input_file_id": uploaded,
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": {"fareway": name},
        }
        made = await self.client.once(lambda: self.client.call("POST", "/batches", json=job))
        return batch_of(made, _batch)

    async def find(
        self, name: str, since: float, total: int, others: Collection[str]
    ) -> Batch | None:
        """By its `metadata`; the list has the newest first."""
        after = ""
        while True:
            page = await self.client.json("GET", f"/batches?limit=100{after}")
            batches = page.get("data") or []
            for told in batches:
                if (told.get("metadata") or {}).get("fareway") == name and told["id"] not in others:
                    return batch_of(told, _batch)
            if not page.get("has_more") or not batches:
                return None
            if batches[-1].get("created_at", 0) < since - SKEW_S:
                return None
            after = f"&after={batches[-1]['id']}"

    async def get(self, id_: str) -> Batch:
        return batch_of(await self.client.json("GET", f"/batches/{id_}"), _batch)

    async def cancel(self, id_: str) -> None:
        await self.client.json("POST", f"/batches/{id_}/cancel")

    async def results(self, batch: Batch) -> AsyncIterator[Outcome]:
        """Of the output file and of the error file."""
        for file in batch.results:
            async for told in self.client.lines(f"/files/{file}/content"):
                if isinstance(told.get("custom_id"), str):
                    yield outcome_of(told, _outcome)


def _batch(told: Mapping[str, Any]) -> Batch:
    state = _STATES.get(str(told.get("status")), "in_progress")
    counts = told.get("request_counts") or {}
    faults = (told.get("errors") or {}).get("data") or []
    ended = told.get("completed_at") or told.get("expired_at") or told.get("cancelled_at")
    ended = ended or told.get("failed_at") or told.get("created_at") or 0
    files = (told.get("output_file_id"), told.get("error_file_id"))
    return Batch(
        id=str(told["id"]),
        state=state,
        total=counts.get("total") or 0,
        done=(counts.get("completed") or 0) + (counts.get("failed") or 0),
        ended_at=None if state == "in_progress" else _iso(ended),
        results=tuple(str(file) for file in files if file),
        error="; ".join(words_of(fault) for fault in faults[:3]),
        refused=any(fault.get("code") in _NO_ROOM for fault in faults),
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _outcome(told: Mapping[str, Any]) -> Outcome:
    response = told.get("response") or {}
    status, body = response.get("status_code"), response.get("body") or {}
    if status == 200 and not told.get("error"):
        choice = body["choices"][0]
        message = choice["message"]
        return Outcome(
            custom_id=told["custom_id"],
            status="succeeded",
            answer=message.get("content") or message.get("refusal") or "",
            model=str(body.get("model") or ""),
            usage=body.get("usage") or {},
            finish_reason=str(choice.get("finish_reason") or ""),
        )
    error = told.get("error") or body.get("error")
    code = error.get("code") if isinstance(error, Mapping) else None
    if code in ("batch_expired", "batch_cancelled"):
        state: Any = code.removeprefix("batch_")
        return Outcome(told["custom_id"], state, error=words_of(error), retryable=True)
    retryable = not isinstance(status, int) or status in (408, 409, 429) or status >= 500
    return Outcome(told["custom_id"], "errored", error=words_of(error), retryable=retryable)
