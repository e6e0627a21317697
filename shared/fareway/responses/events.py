"""Chunks of a chat completion, one by one -> the events of a Responses stream.

Each item of the output is opened, grown and closed: a message with its parts, or the call of a
function. An event holds a copy of its item, which grows on. Events are numbered from 0.

Source: the `openai` SDK's types/responses/response_stream_event.py, and its accumulator
lib/streaming/responses/_responses.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from fareway.responses.output import (
    call_item,
    ending,
    envelope,
    logprobs_of,
    message_item,
    response_usage,
    text_part,
)
from fareway.responses.request import ResponsesRequest
from fareway.sse import objects

Event = dict[str, Any]


@dataclass(slots=True)
class _Open:
    """An item of the output that still grows: at `place`, by `pieces` not yet joined."""

    place: int
    item: dict[str, Any]
    pieces: list[str] = field(default_factory=list)

    @property
    def at(self) -> dict[str, Any]:
        return {"item_id": self.item["id"], "output_index": self.place}


@dataclass(slots=True)
class ResponseEvents:
    """Fed one chunk at a time: `feed` each, then `finish` once, or `fail` where it broke.

    Args:
        response_id: `resp_...`; the ids of its items are made from it.
        created_at: Unix seconds.
    """

    request: ResponsesRequest
    response_id: str
    created_at: int
    _sent: int = 0
    _output: list[dict[str, Any]] = field(default_factory=list)
    _message: _Open | None = None
    _calls: dict[int, _Open] = field(default_factory=dict)  # by the chunks' index of the call
    _model: str | None = None
    _finish_reason: object = None
    _usage: dict[str, Any] | None = None
    _service_tier: object = None

    def feed(self, chunk: Mapping[str, Any]) -> list[Event]:
        """One `chat.completion.chunk` -> the events that it makes, often one."""
        self._model = self._model or chunk.get("model")
        self._usage = response_usage(chunk.get("usage")) or self._usage
        self._service_tier = chunk.get("service_tier") or self._service_tier
        events = [*self._begun()]
        for choice in objects(chunk.get("choices")):
            if not choice.get("index"):
                events += self._grown(choice)
        return events

    def finish(self) -> list[Event]:
        """The upstream's stream ended as it should -> the events that close ours."""
        events = [*self._begun()]
        if not self._output:
            events += self._said("output_text", "", [])
        status, details = ending(self._finish_reason)
        events += self._closed(status)
        response = self._response(status, incomplete_details=details)
        return [*events, self._event(f"response.{status}", response=response)]

    def fail(self, error: Mapping[str, Any]) -> list[Event]:
        """The upstream's stream broke -> the events that close ours.

        Args:
            error: OpenAI's, as `FarewayError.body()["error"]`: message, type, code.
        """
        code = {
            "rate_limit_error": "rate_limit_exceeded",
            "invalid_request_error": "invalid_prompt",
        }.get(str(error.get("type")), "server_error")
        told = {"code": code, "message": str(error.get("message") or "The upstream failed.")}
        events = [*self._begun(), *self._closed("incomplete")]
        response = self._response("failed", error=told)
        return [*events, self._event("response.failed", response=response)]

    def _begun(self) -> Iterator[Event]:
        if not self._sent:
            yield self._event("response.created", response=self._response("in_progress"))
            yield self._event("response.in_progress", response=self._response("in_progress"))

    def _grown(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        delta = _table(choice.get("delta"))
        for name, kind in (("content", "output_text"), ("refusal", "refusal")):
            words = delta.get(name)
            if isinstance(words, str) and words:
                yield from self._said(kind, words, logprobs_of(choice.get("logprobs")))
        for call in objects(delta.get("tool_calls")):
            yield from self._called(call)
        if choice.get("finish_reason"):
            self._finish_reason = choice["finish_reason"]
            yield from self._closed(ending(self._finish_reason)[0])

    def _said(self, kind: str, words: str, logprobs: list[dict[str, Any]]) -> Iterator[Event]:
        """Words of the message, which is opened where none is, as is its part of that kind."""
        if self._message is None:
            self._message = self._opened(message_item(self.response_id, len(self._output), []))
            yield self._added(self._message)
        message = self._message
        parts = message.item["content"]
        if parts and parts[-1]["type"] != kind:
            yield from self._part_done(message)
        if not parts or parts[-1]["type"] != kind:
            part = text_part("", []) if kind == "output_text" else {"type": kind, "refusal": ""}
            parts.append(part)
            at = message.at | {"content_index": len(parts) - 1}
            yield self._event("response.content_part.added", **at, part=deepcopy(part))
        message.pieces.append(words)
        more: dict[str, Any] = {}
        if kind == "output_text":
            parts[-1]["logprobs"] += logprobs
            more["logprobs"] = logprobs
        at = message.at | {"content_index": len(parts) - 1}
        if words:
            yield self._event(f"response.{kind}.delta", **at, delta=words, **more)

    def _called(self, call: Mapping[str, Any]) -> Iterator[Event]:
        """A piece of a function call, which is opened where its index is new.

        Some upstreams give each parallel call the index 0: another id is another call.
        """
        index, function = call.get("index"), _table(call.get("function"))
        index = index if isinstance(index, int) else 0
        open_ = self._calls.get(index)
        if open_ is not None and call.get("id") not in (None, "", open_.item["call_id"]):
            yield from self._call_done(self._calls.pop(index), "completed")
            open_ = None
        if open_ is None:
            if self._message is not None:
                yield from self._message_done("completed")
            item = call_item(
                self.response_id, len(self._output), call.get("id"), function.get("name")
            )
            self._calls[index] = open_ = self._opened(item)
            yield self._added(open_)
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments:
            open_.pieces.append(arguments)
            yield self._event("response.function_call_arguments.delta", **open_.at, delta=arguments)

    def _closed(self, status: str) -> Iterator[Event]:
        """All that is still open, closed in the order of the output."""
        calls = sorted(self._calls.values(), key=lambda open_: open_.place)
        self._calls.clear()
        if self._message is not None:
            yield from self._message_done(status)
        for open_ in calls:
            yield from self._call_done(open_, status)

    def _message_done(self, status: str) -> Iterator[Event]:
        message, self._message = self._message, None
        assert message is not None
        yield from self._part_done(message)
        message.item["status"] = status
        yield self._event(
            "response.output_item.done", output_index=message.place, item=deepcopy(message.item)
        )

    def _part_done(self, message: _Open) -> Iterator[Event]:
        part = message.item["content"][-1]
        at = message.at | {"content_index": len(message.item["content"]) - 1}
        name = "text" if part["type"] == "output_text" else "refusal"
        part[name] = "".join(message.pieces)
        message.pieces.clear()
        said = {name: part[name]}
        if name == "text":
            said["logprobs"] = part["logprobs"]
        yield self._event(f"response.{part['type']}.done", **at, **said)
        yield self._event("response.content_part.done", **at, part=deepcopy(part))

    def _call_done(self, call: _Open, status: str) -> Iterator[Event]:
        call.item |= {"arguments": "".join(call.pieces), "status": status}
        yield self._event(
            "response.function_call_arguments.done",
            **call.at,
            name=call.item["name"],
            arguments=call.item["arguments"],
        )
        yield self._event(
            "response.output_item.done", output_index=call.place, item=deepcopy(call.item)
        )

    def _opened(self, item: dict[str, Any]) -> _Open:
        item["status"] = "in_progress"
        self._output.append(item)
        return _Open(len(self._output) - 1, item)

    def _added(self, open_: _Open) -> Event:
        return self._event(
            "response.output_item.added", output_index=open_.place, item=deepcopy(open_.item)
        )

    def _response(self, status: str, **fields: Any) -> dict[str, Any]:
        done = status != "in_progress"
        return envelope(
            self.request,
            self.response_id,
            self.created_at,
            model=self._model,
            status=status,
            output=deepcopy(self._output) if done else [],
            usage=self._usage if done else None,
            service_tier=self._service_tier,
            **fields,
        )

    def _event(self, kind: str, **fields: Any) -> Event:
        self._sent += 1
        return {"type": kind, "sequence_number": self._sent - 1, **fields}


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
