"""A simulated reply in an aggregator's own words: one object, or server-sent events."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from local.invoice import Name, Usage
from local.simulation import Mode, Reply


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply in the aggregator's own words."""

    name: Name
    model: str
    reply: Reply
    seed: str

    @property
    def _is_openrouter(self) -> bool:
        return self.name == "openrouter"

    @property
    def id(self) -> str:
        """The completion's."""
        kind = "gen-" if self._is_openrouter else "chatcmpl-"
        return kind + hashlib.sha256(self.seed.encode()).hexdigest()[:24]

    @property
    def headers(self) -> dict[str, str]:
        return {"x-generation-id" if self._is_openrouter else "x-request-id": self.id}

    def _frame(self, kind: str) -> dict[str, Any]:
        frame = {"id": self.id, "object": kind, "created": int(time.time()), "model": self.model}
        return frame | ({"provider": "Simulated"} if self._is_openrouter else {})

    def _finish(self, reason: str | None) -> dict[str, Any]:
        extra = {"native_finish_reason": reason} if self._is_openrouter else {}
        return {"finish_reason": reason} | extra

    def usage(self) -> dict[str, Any]:
        """Tokens, and at OpenRouter what was charged."""
        usage, cost = self.reply.usage, float(self.reply.cost_usd)
        charged = {"cost": cost, "cost_details": {"upstream_inference_cost": cost}}
        return {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.prompt + usage.completion,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        } | (charged if self._is_openrouter else {})

    def completion(self, choices: int) -> dict[str, Any]:
        """The whole answer as one object."""
        reply = self.reply
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
        if reply.calls:
            message |= {"content": None, "tool_calls": reply.calls}
        end = self._finish(reply.finish_reason) | {"logprobs": reply.logprobs}
        return self._frame("chat.completion") | {
            "choices": [{"index": i, "message": message} | end for i in range(choices)],
            "usage": self.usage(),
        }

    async def stream(
        self,
        choices: int,
        include_usage: bool,
        broken: Mode | None,
        bill: Callable[[str, Usage, bool], None],
    ) -> AsyncIterator[bytes]:
        """The answer as server-sent events; OpenRouter tells usage whether asked or not.

        Args:
            bill: given the id, what was sent and whether that is a part, however it ends.
        """
        told = include_usage or self._is_openrouter
        frame = self._frame("chat.completion.chunk") | ({"usage": None} if told else {})

        def data(said: list[dict[str, Any]], **over: Any) -> bytes:
            return b"data: " + json.dumps(frame | {"choices": said} | over).encode() + b"\n\n"

        def deltas(delta: Mapping[str, Any], reason: str | None = None, **more: Any) -> bytes:
            end = self._finish(reason) | {"logprobs": None} | more
            return data([{"index": i, "delta": delta} | end for i in range(choices)])

        pieces, sent = list(self._deltas()), 0
        try:
            if self._is_openrouter:
                yield b": OPENROUTER PROCESSING\n\n"
            yield deltas({"role": "assistant", "content": ""})
            if broken == "lost":
                sent = len(pieces)
                raise ConnectionError("the connection is lost here, as ordered")
            for sent, delta in enumerate(pieces, start=1):
                yield deltas(delta, logprobs=None if sent > 1 else self.reply.logprobs)
                if broken == "drop":
                    raise ConnectionError("the connection is lost here, as ordered")
                if broken is not None:
                    error = {"message": "Provider returned error", "code": 502}
                    yield data([{"index": 0, "delta": {}} | self._finish("error")], error=error)
                    return
                await asyncio.sleep(0)
            yield deltas({}, self.reply.finish_reason)
            if told:
                yield data([], usage=self.usage())
            yield b"data: [DONE]\n\n"
        finally:
            bill(self.id, self._part(sent, len(pieces)), sent < len(pieces))

    def _part(self, sent: int, pieces: int) -> Usage:
        """What is charged for the beginning of an answer; its reasoning came before."""
        whole = self.reply.usage
        said = round((whole.completion - whole.reasoning) * sent / pieces)
        return replace(whole, completion=whole.reasoning + said)

    def _deltas(self) -> Iterator[dict[str, Any]]:
        """Eight words each; or each call's name, and its arguments in two pieces."""
        for index, call in enumerate(self.reply.calls):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            begun = call | {"index": index, "function": {"name": name, "arguments": ""}}
            yield {"tool_calls": [begun]}
            half = len(arguments) // 2
            for piece in (arguments[:half], arguments[half:]):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
        words = [] if self.reply.calls else self.reply.text.split(" ")
        for i in range(0, len(words), 8):
            yield {"content": " ".join(words[i : i + 8]) + (" " if i + 8 < len(words) else "")}
