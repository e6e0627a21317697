"""A prompt -> its verdict: remembered or made; with a teacher, its complexity is the teacher's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from fareway.cache import cache_key, last_turn
from fareway.escalate import Session, highest
from fareway.fingerprint import Fingerprint, fingerprint
from fareway.memory import Entry, Hit, Recalled
from fareway.policy import Tier
from fareway.render import render
from fareway.scoring import Scoring, Timed
from fareway.verdict import Verdict

#: A prompt of at most so many characters is short: some 250 tokens.
SHORT = 1_000
#: A derivative's own verdict may be so far from the earlier one and no further: a sensitivity
#: apart, a score above. What it adds or changes would else count for nothing.
SENSITIVITY_APART, SCORE_ABOVE = 0.2, 0.5


class Teacher(Protocol):
    def version(self, classifier: str) -> str: ...
    async def complexity(self, text: str) -> int | None: ...
    def sign(self, verdict: Verdict, complexity: int | None) -> Verdict: ...


class Remembers(Protocol):
    @property
    def remote(self) -> bool: ...
    @property
    def secret(self) -> bytes: ...
    @property
    def ttl_s(self) -> float: ...
    def get_local(self, key: str) -> Entry | None: ...
    async def recall(
        self, key: str | None, prompt: Fingerprint | None, session: str | None
    ) -> Recalled: ...
    async def keep(self, key: str, prompt: Fingerprint | None, entry: Entry) -> bool: ...
    def keep_local(self, key: str, prompt: Fingerprint | None, entry: Entry) -> None: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, as far as a verdict is concerned.

    Args:
        body: the request.
        hashed: its prompt hash.
        session: key of its session's state; None where there is none.
    """

    tenant: str
    body: Mapping[str, Any]
    hashed: str
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict, None where there is none to have.

    Args:
        hit: where it was found; `none`: it was made.
        key: of the prompt's entry in memory.
        entry: what is remembered of it; `fresh`: it is new and worth keeping.
        fingerprint: by which derivatives may find it.
        raised: the tier that a correction asks for at least.
        session: what is remembered of the session.
        forgetful: memory did not answer.
    """

    verdict: Verdict | None
    hit: Hit = "none"
    cache_ms: float = 0.0
    classifier_ms: float = 0.0
    key: str | None = None
    entry: Entry | None = None
    fresh: bool = False
    fingerprint: Fingerprint | None = None
    raised: Tier | None = None
    session: Session | None = None
    forgetful: bool = False


#: Of a request that was not to be classified.
NOTHING = Found(None)


@dataclass(slots=True)
class Verdicts:
    """What is known of prompts.

    Args:
        teacher: an LLM that says the complexity instead of the scorer, where the policy has one.
    """

    policy_version: str
    scoring: Scoring
    memory: Remembers
    teacher: Teacher | None = None

    @property
    def classifier(self) -> str | None:
        """The version of what classifies, as verdicts carry it; None where nothing does."""
        if self.scoring.scorer is None:
            return None
        version = self.scoring.scorer.version
        return self.teacher.version(version) if self.teacher else version

    async def keep(self, found: Found) -> bool:
        """Keeps an entry that is new -> whether memory took it."""
        if not (found.fresh and found.key and found.entry):
            return True
        prompt = found.fingerprint if found.hit == "none" else None
        if found.forgetful:  # what the table has of it was not read, and may hold a correction
            self.memory.keep_local(found.key, prompt, found.entry)
            return True
        return await self.memory.keep(found.key, prompt, found.entry)

    async def of(self, prompt: Prompt, *, alone: bool = False) -> Found:
        """The verdict, remembered or made; the classifier works while memory is asked.

        The sensitivity is always that of the very prompt. Of another that it repeats with small
        changes it takes the complexity, and what feedback made of it. A teacher costs money: it
        is asked once memory does not know. A verdict that had to do without it is not kept.

        Args:
            alone: no other request is being served here. Without a scorer process a short prompt
                is then scored on the spot where nothing else has to be waited for: a thread would
                be a detour.
        """
        key = cache_key(prompt.hashed, self.policy_version, self.classifier or "none")
        begun = time.monotonic()
        if (known := self.memory.get_local(key)) is not None and known.verdict is not None:
            cache_ms = _ms_since(begun)
            recalled = await self._session(prompt)
            return self._exact(key, known, "local", cache_ms, recalled)
        text = render(prompt.body["messages"])
        spot = alone and len(text) <= SHORT and self.teacher is None and not self.memory.remote
        scoring = self.scoring.begin(text, on_the_spot=spot)
        repeated = self._fingerprint(prompt)
        recalled = await self.memory.recall(key, repeated, prompt.session)
        cache_ms = _ms_since(begun)
        if recalled.exact is not None and recalled.exact.verdict is not None:
            scoring.cancel()
            return self._exact(key, recalled.exact, "table", cache_ms, recalled)
        verdict, classifier_ms = await self.scoring.verdict(scoring, text)
        earlier = recalled.derivative
        if not (verdict and earlier and earlier.verdict and _agree(verdict, earlier.verdict)):
            earlier = None
            verdict, classifier_ms = await self._taught(text, verdict, classifier_ms)
        elif earlier.verdict:
            verdict = replace(earlier.verdict, sensitivity=verdict.sensitivity)
        raised = self._raised(earlier, recalled.exact)
        found = Found(
            verdict,
            "derivative" if earlier else "none",
            cache_ms,
            classifier_ms,
            key,
            fingerprint=repeated,
            raised=raised,
            session=recalled.session,
            forgetful=recalled.failed,
        )
        if verdict is None or verdict.classifier != self.classifier:
            return found
        expires_at = time.time() + self.memory.ttl_s
        entry = Entry(verdict, expires_at, root=key, bands=repeated.writes if repeated else ())
        if source := earlier or recalled.exact:
            entry = replace(
                entry,
                raised=source.raised,
                raised_until=source.raised_until,
                root=earlier.root if earlier else key,
                bands=earlier.bands if earlier else entry.bands,
            )
        return replace(found, entry=entry, fresh=True)

    async def _session(self, prompt: Prompt) -> Recalled:
        if prompt.session is None:
            return Recalled()
        return await self.memory.recall(None, None, prompt.session)

    def _exact(
        self, key: str, entry: Entry, hit: Hit, cache_ms: float, recalled: Recalled
    ) -> Found:
        return Found(
            entry.verdict,
            hit,
            cache_ms,
            key=key,
            entry=entry,
            raised=self._raised(entry, recalled.derivative),
            session=recalled.session,
            forgetful=recalled.failed,
        )

    def _raised(self, *entries: Entry | None) -> Tier | None:
        """The tier that corrections ask for, those of a prompt that this one repeats included."""
        now = time.time()
        raised = [e.raised for e in entries if e and e.raised and e.raised_until > now]
        return highest(*raised) if raised else None

    def _fingerprint(self, prompt: Prompt) -> Fingerprint | None:
        turn = last_turn(prompt.tenant, prompt.body)
        if turn is None:
            return None
        text, context = turn
        partition = cache_key(context, self.policy_version, self.classifier or "none")
        return fingerprint(text, partition, self.memory.secret)

    async def _taught(self, text: str, verdict: Verdict | None, classifier_ms: float) -> Timed:
        """The same verdict; with a teacher, the complexity is the teacher's."""
        if self.teacher is None or verdict is None:
            return verdict, classifier_ms
        begun = time.monotonic()
        complexity = await self.teacher.complexity(text)
        return self.teacher.sign(verdict, complexity), classifier_ms + _ms_since(begun)


def _agree(own: Verdict, earlier: Verdict) -> bool:
    """Whether a derivative's own verdict lets it take the earlier complexity."""
    apart = abs(own.sensitivity - earlier.sensitivity)
    return apart <= SENSITIVITY_APART and own.score <= earlier.score + SCORE_ABOVE


def _ms_since(begun: float) -> float:
    return (time.monotonic() - begun) * 1000
