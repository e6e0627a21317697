"""A text -> the scorer's verdict, within its budget, by the shortest way that is open.

The shortest is a process of its own, where the server has one. Else a text that nothing else has
to wait for is scored on the spot, as in a Lambda, and others in a thread.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from fareway.bill import four_bytes
from fareway.errors import ClassifierUnavailable
from fareway.log import log
from fareway.verdict import Verdict

#: A verdict, and the milliseconds that it took.
Timed = tuple[Verdict | None, float]


class Scorer(Protocol):
    version: str

    def count(self, text: str) -> int: ...
    def score(self, text: str) -> Verdict: ...


class Apart(Protocol):
    """A scorer in a process of its own; see `fareway.scorer_process`."""

    def score(self, text: str) -> asyncio.Future[Timed] | None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class Scoring:
    """The ways to a verdict.

    Args:
        scorer: None where the classifier could not be loaded: requests go on, unclassified.
        budget_s: how long a classification may take, seconds.
        process: None where the scorer has no process of its own.
    """

    scorer: Scorer | None
    budget_s: float
    process: Apart | None = None

    def count(self, text: str) -> int:
        """How many tokens a text is; about four bytes each where no tokenizer was loaded."""
        return self.scorer.count(text) if self.scorer else four_bytes(text)

    def begin(self, text: str, *, on_the_spot: bool) -> asyncio.Future[Timed]:
        """Sets the scorer to work.

        Args:
            on_the_spot: nothing else has to be waited for, so that a thread would be a detour.
        """
        if self.process is not None and (scoring := self.process.score(text)) is not None:
            return scoring
        if self.scorer is not None and not on_the_spot:
            return self._in_thread(text)
        scored: asyncio.Future[Timed] = asyncio.get_running_loop().create_future()
        try:
            scored.set_result(self._timed(text))
        except Exception as error:
            scored.set_exception(error)
        return scored

    async def verdict(self, scoring: asyncio.Future[Timed], text: str) -> Timed:
        """What was begun, within its budget; None when there is no verdict to have.

        One that was lost with its process is made in a thread, within as much again.
        """
        try:
            try:
                return await self._in_time(scoring)
            except ClassifierUnavailable:
                return await self._in_time(self._in_thread(text))
        except Exception as error:  # whatever fails in a model, the request goes on without it
            log("error", "classifier failed", error=type(error).__name__)
            return None, self.budget_s * 1000

    def close(self) -> None:
        """Ends the process; what comes later is scored here."""
        if self.process is not None:
            self.process.close()

    async def _in_time(self, scoring: asyncio.Future[Timed]) -> Timed:
        try:
            # `wait_for` would look at the clock alone, and throw away a verdict that is there when
            # it is the loop that was held up.
            done, _ = await asyncio.wait({scoring}, timeout=self.budget_s)
            if not done:
                raise TimeoutError
            return scoring.result()
        finally:
            scoring.cancel()

    def _in_thread(self, text: str) -> asyncio.Future[Timed]:
        scoring = asyncio.get_running_loop().run_in_executor(None, self._timed, text)
        time.sleep(0)  # hands the interpreter to the thread, which hands it back soon
        return scoring

    def _timed(self, text: str) -> Timed:
        begun = time.monotonic()
        verdict = self.scorer.score(text) if self.scorer else None
        return verdict, (time.monotonic() - begun) * 1000
