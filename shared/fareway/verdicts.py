"""A prompt -> its verdict: from the cache or the classifier; with a teacher, its complexity."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Protocol

from fareway.bill import four_characters
from fareway.cache import Hit, cache_key
from fareway.log import log
from fareway.render import render
from fareway.verdict import Verdict

#: A prompt of at most so many characters is short: some 250 tokens.
SHORT = 1_000


class Scorer(Protocol):
    version: str

    def count(self, text: str) -> int: ...
    def score(self, text: str) -> Verdict: ...


class Teacher(Protocol):
    def version(self, classifier: str) -> str: ...
    async def complexity(self, text: str) -> int | None: ...
    def sign(self, verdict: Verdict, complexity: int | None) -> Verdict: ...


class Memory(Protocol):
    @property
    def remote(self) -> bool: ...
    def get_local(self, key: str) -> Verdict | None: ...
    async def get(self, key: str) -> Verdict | None: ...
    async def put(self, key: str, verdict: Verdict) -> None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict, None where there is none to have.

    Args:
        hit: where it was found; `none`: it was made.
        key: where the verdict is new and worth keeping.
    """

    verdict: Verdict | None
    hit: Hit
    cache_ms: float = 0.0
    classifier_ms: float = 0.0
    key: str | None = None


#: Of a request that was not to be classified.
NOTHING = Found(None, "none")


@dataclass(slots=True)
class Verdicts:
    """What is known of prompts.

    Args:
        scorer: None where the classifier could not be loaded: requests go on, unclassified.
        budget_s: how long a classification may take, seconds.
        teacher: an LLM that says the complexity instead of the scorer, where the policy has one.
    """

    policy_version: str
    scorer: Scorer | None
    memory: Memory
    budget_s: float
    teacher: Teacher | None = None

    @property
    def classifier(self) -> str | None:
        """The version of what classifies, as verdicts carry it; None where nothing does."""
        if self.scorer is None:
            return None
        version = self.scorer.version
        return self.teacher.version(version) if self.teacher else version

    async def keep(self, found: Found) -> None:
        """Keeps a verdict that is new."""
        if found.key and found.verdict:
            await self.memory.put(found.key, found.verdict)

    def count(self, text: str) -> int:
        """How many tokens a text is; about four characters each where no tokenizer was loaded."""
        return self.scorer.count(text) if self.scorer else four_characters(text)

    async def of(
        self, messages: list[dict[str, Any]], hashed: str, *, alone: bool = False
    ) -> Found:
        """The verdict, from the cache or the classifier; they run side by side.

        A teacher costs money: it is asked once the cache does not know. A verdict that had to do
        without it is not kept.

        Args:
            alone: no other request is being served here. A short prompt is then scored on the
                spot where nothing else has to be waited for: a thread would be a detour.
        """
        version = self.classifier
        key = cache_key(hashed, self.policy_version, version or "none")
        begun = time.monotonic()
        if (known := self.memory.get_local(key)) is not None:
            return Found(known, "local", _ms_since(begun))
        text = render(messages)
        if alone and len(text) <= SHORT and self.teacher is None and not self.memory.remote:
            verdict, classifier_ms = self._score_now(text)
            return Found(verdict, "none", 0.0, classifier_ms, key if verdict else None)
        scoring = asyncio.create_task(self._score(text))
        known = await self.memory.get(key)
        cache_ms = _ms_since(begun)
        if known is not None:
            scoring.cancel()
            return Found(known, "table", cache_ms)
        verdict, classifier_ms = await self._taught(text, scoring)
        kept = key if verdict and verdict.classifier == version else None
        return Found(verdict, "none", cache_ms, classifier_ms, kept)

    async def _taught(
        self, text: str, scoring: asyncio.Task[tuple[Verdict | None, float]]
    ) -> tuple[Verdict | None, float]:
        """The classifier's verdict; with a teacher, asked meanwhile, the complexity is its."""
        if self.teacher is None or self.scorer is None:
            return await scoring
        begun = time.monotonic()
        (verdict, _), complexity = await asyncio.gather(scoring, self.teacher.complexity(text))
        return verdict and self.teacher.sign(verdict, complexity), _ms_since(begun)

    def _score_now(self, text: str) -> tuple[Verdict | None, float]:
        """The same, in this thread; as long as it takes, which is a few milliseconds."""
        begun = time.monotonic()
        try:
            verdict = self.scorer.score(text) if self.scorer else None
        except Exception as error:
            _log_failure(error)
            return None, _ms_since(begun)
        return verdict, _ms_since(begun)

    async def _score(self, text: str) -> tuple[Verdict | None, float]:
        """The classifier's verdict within its budget; None when it has none to give."""
        if self.scorer is None:
            return None, 0.0
        begun = time.monotonic()
        scoring = asyncio.get_running_loop().run_in_executor(None, self.scorer.score, text)
        try:
            # `wait_for` would look at the clock alone, and throw away a verdict that is there when
            # it is the loop that was held up.
            done, _ = await asyncio.wait({scoring}, timeout=self.budget_s)
            if not done:
                raise TimeoutError
            verdict = scoring.result()
        except Exception as error:
            _log_failure(error)
            return None, _ms_since(begun)
        finally:
            scoring.cancel()
        return verdict, _ms_since(begun)


def _log_failure(error: Exception) -> None:
    """Whatever fails in a model, the request goes on without it."""
    log("error", "classifier failed", error=type(error).__name__)


def _ms_since(begun: float) -> float:
    return (time.monotonic() - begun) * 1000
