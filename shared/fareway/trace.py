"""Trace headers of a request -> its Trace, and the headers that carry it on to an upstream.

Source: W3C Trace Context, w3.org/TR/trace-context. Fareway records no spans: it makes one id of
its own for the request, so that an upstream's spans hang beneath it and the logs can be joined.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
#: API Gateway names its own trace so. Source: docs.aws.amazon.com/xray/latest/devguide/
#: xray-concepts.html#xray-concepts-tracingheader.
_XRAY_ROOT = re.compile(r"(?:^|;)\s*Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?:;|$)")
_SAMPLED = 1
#: What the specification asks to be passed on, in characters and list members.
_STATE_CHARACTERS, _STATE_MEMBERS, _LONG_MEMBER = 512, 32, 128


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request stands in a distributed trace.

    Args:
        trace_id: 32 hex digits, the same on every hop.
        span_id: 16 hex digits, this request's own: the upstream's parent.
        sampled: whether the caller says that it records the trace.
        state: the caller's `tracestate`; empty without one.
    """

    trace_id: str
    span_id: str
    sampled: bool = False
    state: str = ""

    @classmethod
    def of(
        cls, headers: Mapping[str, str], random_hex: Callable[[int], str] = secrets.token_hex
    ) -> Trace:
        """The trace that a request's headers go on with, or a new one. Never raises.

        An invalid `traceparent` is as none, and its `tracestate` is left; without one the trace
        that API Gateway began is taken, so that its logs can be joined too.

        Args:
            headers: by lower-case name; one sent twice as one value, with a comma between.
            random_hex: number of bytes -> that many random bytes in hex.
        """
        span_id = random_hex(8)
        known = _parse(headers.get("traceparent", "").strip())
        if known is not None:
            trace_id, sampled = known
            return cls(trace_id, span_id, sampled, _state(headers.get("tracestate", "")))
        if root := _XRAY_ROOT.search(headers.get("x-amzn-trace-id", "")):
            return cls("".join(root.groups()), span_id)
        return cls(random_hex(16), span_id)

    @classmethod
    def new(cls) -> Trace:
        """A trace that begins here."""
        return cls.of({})

    def headers(self) -> dict[str, str]:
        """What an upstream is sent."""
        sent = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"}
        return sent | {"tracestate": self.state} if self.state else sent


def _parse(traceparent: str) -> tuple[str, bool] | None:
    """Trace id and sampled flag; None where the header is invalid.

    A later version may have more fields behind a dash, which are not looked at.
    """
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return trace_id, bool(int(flags, 16) & _SAMPLED)


def _state(tracestate: str) -> str:
    """The list as it came; empty if it is invalid. One that is too long loses whole members."""
    members = [m for m in (m.strip(" \t") for m in tracestate.split(",")) if m]
    if len(members) > _STATE_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return ""
    if len(",".join(members)) > _STATE_CHARACTERS:
        members = [m for m in members if len(m) <= _LONG_MEMBER]
    while len(",".join(members)) > _STATE_CHARACTERS:
        members.pop()
    return ",".join(members)
