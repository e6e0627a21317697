"""What batch endpoints have in common: a job's states, a row's outcomes, calls that are retried.

A call that may have been done although nobody said so is told apart (`Uncertain`): whoever made it
has to look whether it was before it makes it again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Protocol, TypeVar

from aiohttp import ClientResponse, ClientTimeout

from fareway.errors import ProviderError
from fareway.log import log
from fareway.providers.aggregator import FAULTS, failure_of, lost
from fareway.providers.http import Http

T = TypeVar("T")
State = Literal["in_progress", "ended", "expired", "cancelled", "failed"]
Status = Literal["succeeded", "errored", "expired", "cancelled"]
#: Opens the file of requests; each try reads it from its beginning.
Opened = Callable[[], IO[bytes]]
CONNECT_S = 20.0
READ_S = 120.0  # of silence
_BLOCK = 1 << 18


class Uncertain(Exception):
    """A call that must not be made twice got no answer: it may have been done."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch job at a provider.

    Args:
        state: all but `in_progress` are final; each of them may have results.
        total, done: requests of it.
        ended_at: ISO 8601; None while it goes on.
        results: where its results are: file ids, or paths.
        error: why the whole of it failed.
        refused: it failed for want of room, so that it may be sent again later.
    """

    id: str
    state: State
    total: int = 0
    done: int = 0
    ended_at: str | None = None
    results: tuple[str, ...] = ()
    error: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request.

    Args:
        usage: as the provider tells it.
        error: what went wrong, for people.
        retryable: whether the same request may well succeed another time.
    """

    custom_id: str
    status: Status
    answer: str = ""
    model: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str = ""
    error: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may hold."""

    requests: int
    bytes: int


class BatchProvider(Protocol):
    """A provider's batch endpoint. What calls it raises ProviderError."""

    @property
    def name(self) -> str: ...
    @property
    def limits(self) -> Limits: ...
    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A chat request as a line of a batch."""

    async def submit(self, opened: Opened, name: str) -> Batch:
        """Makes a batch of a file's lines. Raises Uncertain where it may have been made."""

    async def find(
        self, name: str, since: float, total: int, others: Collection[str]
    ) -> Batch | None:
        """The batch that an earlier `submit` of this name made, if it did.

        Args:
            since: it was made after this, seconds since the epoch.
            total: requests in it.
            others: ids of batches that are known to be something else.
        """

    async def get(self, id_: str) -> Batch: ...
    async def cancel(self, id_: str) -> None: ...
    def results(self, batch: Batch) -> AsyncIterator[Outcome]:
        """The outcomes of a batch that is over, in no order."""


@dataclass(slots=True)
class Client:
    """Calls one provider; what fails for the moment is tried again after a jittered wait.

    Args:
        headers: the key among them.
        tries: of one call.
        longest_s: the longest wait between two of them, seconds; who is told to wait longer
            comes again later.
    """

    base_url: str
    headers: Mapping[str, str]
    http: Http
    tries: int = 6
    longest_s: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    async def json(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        """A call that can be repeated -> its JSON object.

        Args:
            sent: as `ClientSession.request` takes it: `json`, `data`, `headers`.
        """
        return await self.trying(lambda: self.call(method, path, **sent))

    async def once(self, call: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """A call that must not be done twice: it is repeated only where it was surely not done.

        Raises:
            Uncertain: it may have been done.
        """

        async def told() -> dict[str, Any]:
            try:
                return await call()
            except ProviderError as failure:
                sure = failure.kind == "unreachable" or 400 <= (failure.upstream_status or 0) < 500
                if sure:
                    raise
                raise Uncertain(failure.kind) from failure

        return await self.trying(told)

    async def trying(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call, again while its failures are of the moment."""
        for number in range(1, self.tries + 1):
            try:
                return await call()
            except ProviderError as failure:
                passing = failure.retryable or failure.kind == "timeout"
                asked_s = failure.retry_after_s or 0.0
                if number == self.tries or not passing or asked_s > self.longest_s:
                    raise
                wait_s = min(2.0**number, self.longest_s) * self.jitter()
                log("warning", "batch call failed", outcome=failure.kind, tries=number)
                await self.sleep(max(wait_s, asked_s))
        raise AssertionError("unreachable: `tries` is at least 1")

    async def lines(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """The JSON lines of a file, streamed. Lines that are no objects are passed over."""
        async with self._open("GET", path, {}) as response:
            rest = b""
            try:
                async for block in response.content.iter_chunked(_BLOCK):
                    *whole, rest = (rest + block).split(b"\n")
                    for line in whole:
                        if (entry := _object(line)) is not None:
                            yield entry
            except FAULTS as error:
                raise lost(error, "connection_lost") from error
            if (entry := _object(rest)) is not None:
                yield entry

    async def call(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        """One try of a call."""
        async with self._open(method, path, sent) as response:
            try:
                answer = _object(await response.read())
            except FAULTS as error:
                raise lost(error, "connection_lost") from error
            if answer is None:
                raise ProviderError("bad_body", status=200, retryable=True)
            return answer

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, sent: Mapping[str, Any]
    ) -> AsyncIterator[ClientResponse]:
        """The response, of which only the head was read; its status is good."""
        headers = {**self.headers, **sent.get("headers", {})}
        url = self.base_url.rstrip("/") + path
        patience = ClientTimeout(sock_connect=CONNECT_S, sock_read=READ_S)
        try:
            response = await self.http.session().request(
                method,
                url,
                **{**sent, "headers": headers},
                timeout=patience,
                allow_redirects=False,
            )
        except FAULTS as error:
            raise lost(error, "connection_lost") from error
        async with response:
            if not 200 <= response.status < 300:
                try:
                    answer = _object(await response.read())
                except FAULTS:
                    answer = None
                raise failure_of(response.status, answer, response.headers)
            yield response


#: What reading a form that nobody documents ends in.
_ODD = (AttributeError, KeyError, IndexError, TypeError, ValueError)


def batch_of(told: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Batch]) -> Batch:
    """A batch as its provider tells of it. Raises ProviderError where that makes no sense."""
    try:
        return read(told)
    except _ODD as error:
        raise ProviderError("bad_body", status=200, retryable=True) from error


def outcome_of(told: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Outcome]) -> Outcome:
    """A line of results -> what it says; one that makes no sense fails its own row alone."""
    try:
        return read(told)
    except _ODD:
        error = "the provider's answer has another form than it documents"
        return Outcome(told["custom_id"], "errored", error=error, retryable=True)


def reason(failure: ProviderError) -> str:
    """A failure for people: the provider's own words, if it said any."""
    return failure.rejected.message if failure.rejected else failure.kind


def words_of(error: object) -> str:
    """An `error` object of either provider -> one line for people."""
    if not isinstance(error, Mapping):
        return str(error or "unknown error")
    kind = error.get("code") or error.get("type")
    message = str(error.get("message") or "")
    return ": ".join(str(part) for part in (kind, message) if part) or "unknown error"


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
