"""What failed in one request -> who is not to be asked any more, and what its caller is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from fareway.decide import Candidate
from fareway.errors import AllCandidatesFailed, ProviderError, UpstreamRejected


@dataclass(slots=True)
class Failures:
    """Of candidates, as they are tried.

    A model that finds the request wrong may only not know a field of it: where Fareway chose the
    model, one other is asked. If that finds it wrong too, the first one's word stands.
    """

    _met: list[ProviderError] = field(default_factory=list)
    _down: set[str] = field(default_factory=set)  # aggregators that failed as a whole
    _rejected: dict[str, UpstreamRejected] = field(default_factory=dict)  # by model
    _named: str | None = None  # the model, where it is the caller's choice

    def rule_out(self, candidate: Candidate) -> bool:
        """Whether it would fail as another has."""
        return candidate.aggregator in self._down or candidate.model in self._rejected

    def add(self, candidate: Candidate, failure: ProviderError) -> bool:
        """Takes note -> whether no other is to be asked."""
        self._named = None if candidate.tier else candidate.model
        if failure.rejected is not None:
            self._rejected[candidate.model] = failure.rejected
            return len(self._rejected) > 1 or self._named is not None
        self._met.append(failure)
        if failure.whole_aggregator:
            self._down.add(candidate.aggregator)
        return False

    def told(self, *, late: bool) -> UpstreamRejected | AllCandidatesFailed:
        """The caller's error: theirs, 429 if all were rate limited, 504 if late, else 502."""
        statuses = {failure.upstream_status for failure in self._met}
        if self._rejected:
            return next(iter(self._rejected.values()))
        if self._named and statuses == {404}:
            return _no_such_model(self._named)
        if statuses == {429}:
            waits = [f.retry_after_s for f in self._met if f.retry_after_s is not None]
            return AllCandidatesFailed(
                429,
                "Every upstream that could answer is rate limiting. Try again later.",
                retry_after_s=max(1.0, min(waits, default=1.0)),
            )
        kinds = dict.fromkeys(failure.kind for failure in self._met)
        return AllCandidatesFailed(
            504 if late or kinds.keys() <= {"timeout", "deadline"} else 502,
            f"No upstream answered ({', '.join(kinds) or 'none could be called'}). The request was "
            "not completed; it can be retried.",
        )


def _no_such_model(model: str) -> UpstreamRejected:
    """A 502 would have the client try again."""
    told = {
        "message": f"The model '{model}' does not exist at any upstream.",
        "param": "model",
        "code": "model_not_found",
    }
    return UpstreamRejected(404, told)
