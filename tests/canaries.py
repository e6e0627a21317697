"""Every prompt, answer and key of the whole suite is a canary: the session fails if one is logged.

Nothing has to be planted in a test. What comes in at the app's door, goes out of it, comes back
from an upstream, or opens an upstream is learned as it passes. Every line of the app's two logs,
and what else a test's code wrote to stdout, stderr or `logging`, is searched for it. Keys too short
to be looked for are replaced by longer ones on their way to the upstream.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fareway.settings import PACKAGE

#: Shorter words are in logs by chance.
SHORT = 16
KEY_SHORT = 6
#: Of a long text this is looked for, piece by piece, so that a part of it gives it away.
PIECE = 24
LOOKED_AT = 8_192
#: Words and pieces that are remembered: a leak is written soon after what leaks has come.
MOST_WORDS, MOST_PIECES = 1_000, 50_000
#: Names of a body's fields whose strings are what someone said, or who someone is.
PRIVATE = (
    "content", "text", "input", "instructions", "prompt", "arguments", "refusal", "reasoning",
    "reasoning_content", "user", "description", "url", "delta", "output_text", "transcript",
)  # fmt: skip


@dataclass
class Watch:
    """What must not be seen, and where it was.

    Args:
        keys: of callers and upstreams; all of the session's.
        words: short texts, each looked for as a whole.
        pieces: of longer texts.
        seen: `where: what`, for a person to read; the secret itself is shown in part.
    """

    keys: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    pieces: set[str] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)

    def key(self, value: str) -> None:
        if len(value) >= KEY_SHORT and "-" in value:  # as all have; `premium` is no key
            self.keys.add(value)

    def text(self, value: str) -> None:
        """A text as it is, and as JSON writes it."""
        if len(value) < SHORT or len(set(value)) < 4 or _our_own(value):
            return
        for held, most in ((self.words, MOST_WORDS), (self.pieces, MOST_PIECES)):
            if len(held) > most:
                held.clear()
        for form in {value[:LOOKED_AT], json.dumps(value[:LOOKED_AT])[1:-1]}:
            if len(form) < 2 * PIECE:
                self.words.add(form)
            for at in range(0, len(form) - PIECE + 1, PIECE):
                self.pieces.add(form[at : at + PIECE])

    def body(self, value: object, private: bool = False) -> None:
        """Every private string in a JSON body."""
        if isinstance(value, str):
            if private:
                self.text(value)
        elif isinstance(value, list):
            for item in value:
                self.body(item, private)
        elif isinstance(value, dict):
            for name, item in value.items():
                self.body(item, name in PRIVATE)

    def raw(self, data: bytes) -> None:
        """A body as it came: JSON, or server-sent events of JSON."""
        lines = data.splitlines() if data.startswith((b"data:", b"event:", b":")) else [data]
        for line in lines:
            try:
                self.body(json.loads(line.removeprefix(b"data:")))
            except (ValueError, RecursionError):
                continue

    def line(self, where: str, text: str) -> None:
        """Looks through what was logged."""
        for word in self.keys | self.words:
            if word in text:
                self.seen.append(f"{where}: {word[:40]!r} in {text[:200]!r}")
                return
        if any(text[at : at + PIECE] in self.pieces for at in range(len(text) - PIECE + 1)):
            self.seen.append(f"{where}: a part of a prompt or an answer in {text[:200]!r}")


def _our_own(word: str) -> bool:
    """Whether it is one word of the package's code, as Hypothesis likes to send: a log may have a
    field of that name."""
    return not word.count(" ") and word in _code()


@cache
def _code() -> str:
    return "\n".join(file.read_text("utf-8") for file in PACKAGE.rglob("*.py"))


WATCH = Watch()


# The taps; `pytest_configure` opens them for the whole session.


def _on_bodies() -> None:
    """Callers' keys, headers and bodies, and what they are answered."""
    from fareway.observe import Observed

    served = Observed.__call__

    async def tapped(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await served(self, scope, receive, send)
        headers = {k.lower(): v.decode("latin-1") for k, v in scope.get("headers", ())}
        WATCH.key(headers.get(b"authorization", "").rpartition(" ")[2])
        WATCH.text(headers.get(b"x-fareway-session", ""))
        taken, given = bytearray(), bytearray()

        async def receiving() -> Any:
            message = await receive()
            taken.extend(message.get("body", b""))
            if not message.get("more_body"):
                WATCH.raw(bytes(taken))
            return message

        async def sending(message: Any) -> None:
            given.extend(message.get("body", b""))
            if not message.get("more_body") and b'"error"' not in given[:12]:
                WATCH.raw(bytes(given))
            await send(message)

        await served(self, scope, receiving, sending)

    Observed.__call__ = tapped  # type: ignore[method-assign]


def _on_upstreams() -> None:
    """Keys on their way to an upstream, and what it answers, errors too."""
    from fareway import wiring
    from fareway.providers import aggregator

    opened, answered = wiring.aggregators_of, aggregator._json_object

    def keyed(settings: Any, policy: Any, keys: Mapping[str, str], http: Any) -> Any:
        long = {n: k if len(k) >= KEY_SHORT else f"sk-canary-of-{n}-{k}" for n, k in keys.items()}
        for key in long.values():
            WATCH.key(key)
        return opened(settings, policy, long, http)

    def answer(content: bytes) -> Any:
        WATCH.raw(content)
        return answered(content)

    wiring.aggregators_of = keyed
    aggregator._json_object = answer


def _on_logs() -> None:
    """The app's own lines, as they are written: a test may read its captured output itself."""
    from fareway import log, observe

    written = observe._write

    def logged(line: str, **to: Any) -> None:
        WATCH.line("log", line)
        print(line, **to)

    def request_line(line: dict[str, Any]) -> None:
        WATCH.line("request line", json.dumps(line))
        written(line)

    log.print = logged  # type: ignore[attr-defined]
    observe._write = request_line


def _on_libraries() -> None:
    """Whatever uvicorn, Mangum, the event loop and others log, tracebacks too."""
    handled, formatter = logging.Logger.callHandlers, logging.Formatter()

    def record(self: logging.Logger, record: logging.LogRecord) -> None:
        WATCH.line(f"logging, {record.name}", formatter.format(record))
        handled(self, record)

    logging.Logger.callHandlers = record  # type: ignore[method-assign]


def pytest_configure(config: Any) -> None:
    _on_bodies()
    _on_upstreams()
    _on_logs()
    _on_libraries()


def pytest_runtest_logreport(report: Any) -> None:
    """What a test that passed had written; one that fails shows its own values."""
    if report.passed:
        for title, text in report.sections:
            if "stdout" in title or "stderr" in title:
                for line in text.splitlines():
                    WATCH.line(f"{report.nodeid}, {title}", line)


def pytest_sessionfinish(session: Any) -> None:
    if WATCH.seen:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    seen = list(dict.fromkeys(WATCH.seen))
    if seen:
        terminalreporter.section("prompts, answers or keys in logs", red=True, bold=True)
        for line in seen[:50]:
            terminalreporter.write_line(line)
