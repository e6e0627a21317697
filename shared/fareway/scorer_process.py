"""The classifier in a process of its own, beside a server's event loop.

In a thread it shares Python's interpreter lock with the loop, and each waits for the other
(docs/adr/0016). A text goes in as one line of JSON, its verdict comes out as one, in the same
order, over one socket that is the process's stdin and stdout:

    python -m fareway.scorer_process FOLDER THREADS
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET, socket, socketpair
from typing import Any

from fareway.classify import Classifier, ends
from fareway.errors import ClassifierUnavailable
from fareway.log import log
from fareway.scoring import Timed
from fareway.verdict import Verdict

#: Texts and bytes in the process at once; others find another way, sooner than they would wait
#: here. The socket has room for them: nothing that is sent ever blocks.
MOST_WAITING, MOST_BYTES, ROOM_BYTES = 16, 64 * 1024, 256 * 1024
#: Seconds after which a text without a verdict tells that the process hangs.
HANGS_S = 2.0
#: After its end, seconds until it is started again.
REST_S = 30.0


@dataclass(frozen=True, slots=True)
class _Text:
    """One that is being scored: its length in bytes, and when it was sent."""

    scoring: asyncio.Future[Timed]
    size: int
    sent_at: float


@dataclass(slots=True, eq=False)
class ScorerProcess:
    """Started on first use, and again some time after it ended.

    Args:
        folder: of the classifier.
        version: the classifier's; a process that has another is of no use.
        threads: of one inference.
    """

    folder: Path
    version: str
    threads: int = 1
    _process: subprocess.Popen[bytes] | None = None
    _socket: socket | None = None
    _ready: bool = False
    _rests_until: float = 0.0
    _waiting: deque[_Text] = field(default_factory=deque)
    _bytes: int = 0
    _received: bytes = b""

    def score(self, text: str) -> asyncio.Future[Timed] | None:
        """A text -> its verdict and the milliseconds it takes; None while it cannot be had here.

        The future raises ClassifierUnavailable where the process ends, or fails on the text.
        """
        now = time.monotonic()
        if self._socket is None:
            if now >= self._rests_until:
                self._start()
            return None
        if self._waiting and now - self._waiting[0].sent_at > HANGS_S:
            self._end("it hung")
            return None
        line = json.dumps(ends(text)).encode() + b"\n"
        full = len(self._waiting) >= MOST_WAITING or self._bytes + len(line) > MOST_BYTES
        if not self._ready or full:
            return None
        try:
            # not through the loop, which would send it once the request waits for something
            sent = self._socket.send(line)
        except OSError as error:
            self._end(type(error).__name__)
            return None
        scoring: asyncio.Future[Timed] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Text(scoring, len(line), now))
        self._bytes += len(line)
        if sent < len(line):
            self._end("it reads nothing")
        return scoring

    def close(self) -> None:
        """Ends the process; no more is scored here."""
        self._end(None)
        self._rests_until = float("inf")

    def _start(self) -> None:
        ours, its = socketpair()
        command = [sys.executable, "-m", __name__, str(self.folder), str(self.threads)]
        with its:
            try:
                self._process = subprocess.Popen(  # nosec B603
                    command, stdin=its.fileno(), stdout=its.fileno()
                )
            except OSError as error:
                ours.close()
                self._rest(type(error).__name__)
                return
        ours.setblocking(False)
        ours.setsockopt(SOL_SOCKET, SO_SNDBUF, ROOM_BYTES)
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours, self._receive)

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end("it ended")
            return
        *lines, self._received = (self._received + data).split(b"\n")
        try:
            for line in lines:
                self._said(json.loads(line))
        except (ValueError, TypeError, IndexError):  # nobody knows any longer what is whose
            self._end("it makes no sense" if self._ready else "it has another version")

    def _said(self, said: Any) -> None:
        if not self._ready:
            if said != self.version:
                raise ValueError(said)
            self._ready = True
            return
        text = self._waiting[0]
        timed = None
        if said:
            one, two, three, four, five, sensitivity, took_ms = map(float, said)
            verdict = Verdict((one, two, three, four, five), sensitivity, self.version)
            timed = verdict, took_ms
        self._waiting.popleft()
        self._bytes -= text.size
        if text.scoring.done():  # nobody waits any longer
            return
        if timed:
            text.scoring.set_result(timed)
        else:
            text.scoring.set_exception(ClassifierUnavailable("it failed on a text"))

    def _end(self, why: str | None) -> None:
        """Ends it, and whoever waits for it learns so.

        Args:
            why: None where that was wanted.
        """
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process, self._socket, self._ready = None, None, False
        self._bytes, self._received = 0, b""
        waiting, self._waiting = self._waiting, deque()
        for text in waiting:
            if not text.scoring.done():
                text.scoring.set_exception(ClassifierUnavailable("the scorer's process ended"))
        if why:
            self._rest(why)

    def _rest(self, why: str) -> None:
        log("warning", "scorer process lost", reason=why)
        self._rests_until = time.monotonic() + REST_S


def serve(folder: Path, threads: int) -> None:
    """The process: scores the lines of stdin until its end.

    Raises:
        ClassifierUnavailable: it cannot be loaded.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the server's own end ends this
    classifier = Classifier.load(folder, threads=threads)
    _say(classifier.version)
    for line in sys.stdin.buffer:
        begun = time.monotonic()
        try:
            verdict = classifier.score(json.loads(line))
            said = [*verdict.probabilities, verdict.sensitivity]
            said.append((time.monotonic() - begun) * 1000)
        except Exception:  # whatever fails in a model: the next text may fare better
            said = []
        _say(said)


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
