"""What the classifier says of a prompt. Pure values; no model here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the classifier says: how hard a prompt is, and how sensitive.

    Args:
        probabilities: of complexity 1, 2, 3, 4 and 5; they sum to 1.
        sensitivity: probability, 0 to 1, that the prompt is sensitive or safety-critical.
        classifier: version of the classifier that said it.
        complexity: 1 to 5 where it was named as such, by a teacher; else the policy's cuts on the
            score decide.
    """

    probabilities: tuple[float, float, float, float, float]
    sensitivity: float
    classifier: str
    complexity: int | None = None

    @property
    def score(self) -> float:
        """The expected complexity, 1.0 to 5.0."""
        return sum(c * p for c, p in enumerate(self.probabilities, start=1))
