"""A circuit breaker per candidate and per aggregator: failures in a row -> a rest."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    closed_again_at: float = 0.0


@dataclass(slots=True)
class Breakers:
    """Who is resting. After the cooldown one call is let through: it closes or opens again.

    Args:
        failures: failures in a row that open a circuit.
        cooldown_s: how long it stays open, seconds.
    """

    failures: int
    cooldown_s: float
    _circuits: dict[str, _Circuit] = field(default_factory=dict)

    def allows(self, name: str, now: float) -> bool:
        """Whether a call may go to `name` at `now` (seconds on any steady clock).

        The first that asks after a cooldown becomes the probe: the others keep waiting for
        another cooldown, unless the probe succeeds.
        """
        circuit = self._circuits.get(name)
        if circuit is None or circuit.failures < self.failures:
            return True
        if now < circuit.closed_again_at:
            return False
        circuit.closed_again_at = now + self.cooldown_s
        return True

    def is_open(self, name: str) -> bool:
        """Whether `name` rests, or a call to it is a probe."""
        circuit = self._circuits.get(name)
        return circuit is not None and circuit.failures >= self.failures

    def failed(self, name: str, now: float) -> bool:
        """Counts a failure; True when it opens the circuit, or keeps it open after a probe."""
        circuit = self._circuits.setdefault(name, _Circuit())
        circuit.failures += 1
        if circuit.failures < self.failures:
            return False
        circuit.closed_again_at = now + self.cooldown_s
        return True

    def opened_elsewhere(self, name: str, closed_again_at: float) -> None:
        """Another process's circuit is open until then."""
        circuit = self._circuits.setdefault(name, _Circuit())
        circuit.failures = max(circuit.failures, self.failures)
        circuit.closed_again_at = max(circuit.closed_again_at, closed_again_at)

    def succeeded(self, name: str) -> bool:
        """Closes the circuit; True where it was open."""
        circuit = self._circuits.pop(name, None)
        return circuit is not None and circuit.failures >= self.failures
