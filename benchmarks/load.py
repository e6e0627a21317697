"""Requests over N kept-alive connections, each sending its next when it has its answer.

One thread and a selector over plain sockets, with requests made beforehand but for a number: about
20 microseconds of its own a request, and every latency is kept. No prompt is sent twice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import randrange
from typing import Any

#: 60 tokens of the classifier's; the code, of letters that no two requests share more than by
#: chance, makes each prompt a new one and none a derivative.
PROMPT = (
    "Hello, my order {code}, placed two weeks ago, has not arrived. The tracking page has not "
    "changed since Monday and the parcel service does not answer. I need the shoes for a wedding "
    "on Saturday: can you find out where they are now, please?"
)
PATIENCE_S = 30
_NUMBERS = itertools.count(randrange(10**6, 5 * 10**6))
_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class WrongAnswer(Exception):
    """An answer that is not what is to be measured."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked, and how.

    Args:
        proofs: what each answer must have in its head, lower case; a figure of anything else
            (an error, an answer out of a cache, an unclassified prompt) would be no figure.
    """

    port: int
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    proofs: tuple[bytes, ...] = ()

    def requests(self, **extra: Any) -> Iterator[bytes]:
        """Endless HTTP requests, each of a new prompt.

        Args:
            extra: fields of the body beside model and messages.
        """
        message = {"role": "user", "content": PROMPT}
        body = json.dumps({"model": self.model, "messages": [message]} | extra)
        before, after = body.split("{code}")
        headers = {"host": f"127.0.0.1:{self.port}", "content-type": "application/json"}
        lines = [f"{k}: {v}\r\n" for k, v in (headers | dict(self.headers)).items()]
        head = "POST /v1/chat/completions HTTP/1.1\r\n" + "".join(lines)
        for number in _NUMBERS:
            code = hashlib.md5(b"%d" % number).hexdigest()[:8].translate(_LETTERS)
            text = f"{before}{code}{after}".encode()
            yield f"{head}content-length: {len(text)}\r\n\r\n".encode() + text


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    sent_at: float = 0.0
    received: bytes = b""

    def send(self, request: bytes) -> None:
        self.received = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Takes what is there; True once the answer is whole."""
        data = self.socket.recv(65536)
        if not data:
            raise WrongAnswer("the connection was closed")
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return False
        if length := _LENGTH.search(head):
            return len(body) >= int(length[1])
        return body.endswith(b"0\r\n\r\n")


def latencies(target: Target, connections: int, seconds: float) -> tuple[list[float], float]:
    """Asks for as long as told -> (milliseconds of each answer, requests a second).

    Raises:
        WrongAnswer: one that is no 200 or lacks a proof.
    """
    requests, found = target.requests(), list[float]()
    with selectors.DefaultSelector() as selector, ExitStack() as open_sockets:
        pool = []
        for _ in range(connections):
            made = open_sockets.enter_context(
                socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE_S)
            )
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pool.append(_Connection(made))
            selector.register(made, selectors.EVENT_READ, pool[-1])
        begun = time.perf_counter()
        for connection in pool:
            connection.send(next(requests))
        while (now := time.perf_counter()) - begun < seconds:
            ready = selector.select(PATIENCE_S)
            if not ready:
                raise WrongAnswer(f"no answer within {PATIENCE_S} s")
            for key, _ in ready:
                connection = key.data
                if connection.receive():
                    found.append((time.perf_counter() - connection.sent_at) * 1000)
                    _check(connection.received, target.proofs)
                    connection.send(next(requests))
    return found, len(found) / (now - begun)


def _check(answer: bytes, proofs: tuple[bytes, ...]) -> None:
    head = answer.partition(b"\r\n\r\n")[0].lower()
    if not head.startswith(b"http/1.1 200") or b'"choices"' not in answer:
        raise WrongAnswer(answer[:1500].decode(errors="replace"))
    for proof in proofs:
        if proof not in head:
            raise WrongAnswer(f"{proof.decode()} is not in {head.decode(errors='replace')}")
