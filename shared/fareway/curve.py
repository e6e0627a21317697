"""A tuning -> its cost-quality curve as SVG: no library, no external asset."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fareway.appraise import Point
from fareway.tune import Tuning

WIDTH, HEIGHT, EDGE = 720, 440, 84
_INK, _CURVE, _PRESENT, _PROPOSED = "#333", "#4477aa", "#333", "#228833"

#: A cost and a quality -> where they are drawn.
Place = Callable[[float, float], tuple[float, float]]


def curve_svg(found: Tuning) -> str:
    """Share of satisfied answers against USD of 1,000 requests, with 90 % intervals.

    Args:
        found: with a present point.
    """
    assert found.present is not None
    marked = [(found.present, "present", _PRESENT)]
    marked += [(found.proposal, "proposal", _PROPOSED)] if found.proposal else []
    points = [*found.curve, *(point for point, _, _ in marked)]
    costs = [point.usd_per_1000.value for point in points]
    qualities = [q for p in points for q in (p.quality.low, p.quality.high)]
    place = _scale(min(costs), max(costs), min(qualities), max(qualities))
    body = [
        *_axes(place, costs, qualities),
        *(line for point in found.curve for line in _bar(place, point, _CURVE, 0.35)),
        *_line(place, found.curve),
        *(line for point, name, ink in marked for line in _mark(place, point, name, ink)),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="13">'
        "<title>Satisfied answers against cost, by cuts</title>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(body)}</svg>'
    )


def _scale(least: float, most: float, low: float, high: float) -> Place:
    across, up = (most - least) or 1.0, (high - low) or 1.0

    def place(cost: float, quality: float) -> tuple[float, float]:
        x = EDGE + (cost - least) / across * (WIDTH - 2 * EDGE)
        y = HEIGHT - EDGE - (quality - low) / up * (HEIGHT - 2 * EDGE)
        return round(x, 1), round(y, 1)

    return place


def _axes(place: Place, costs: list[float], qualities: list[float]) -> Iterator[str]:
    bottom, left, middle = HEIGHT - EDGE + 18, EDGE - 12, HEIGHT / 2
    for cost in (min(costs), (min(costs) + max(costs)) / 2, max(costs)):
        x, _ = place(cost, min(qualities))
        yield f'<text x="{x}" y="{bottom + 6}" text-anchor="middle">{cost:.3f}</text>'
    for quality in (min(qualities), (min(qualities) + max(qualities)) / 2, max(qualities)):
        _, y = place(min(costs), quality)
        yield f'<text x="{left}" y="{y + 4}" text-anchor="end">{quality:.1%}</text>'
    yield (
        f'<text x="{WIDTH / 2}" y="{bottom + 34}" text-anchor="middle">USD of 1,000 requests</text>'
    )
    yield (
        f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">'
        "satisfied answers</text>"
    )


def _line(place: Place, points: tuple[Point, ...]) -> Iterator[str]:
    at = " ".join("{},{}".format(*place(p.usd_per_1000.value, p.quality.value)) for p in points)
    yield f'<polyline points="{at}" fill="none" stroke="{_CURVE}" stroke-width="2"/>'


def _bar(place: Place, point: Point, ink: str, opacity: float = 1.0) -> Iterator[str]:
    x, low = place(point.usd_per_1000.value, point.quality.low)
    _, high = place(point.usd_per_1000.value, point.quality.high)
    yield (
        f'<line x1="{x}" x2="{x}" y1="{low}" y2="{high}" stroke="{ink}" opacity="{opacity}" '
        'stroke-width="2"/>'
    )


def _mark(place: Place, point: Point, name: str, ink: str) -> Iterator[str]:
    yield from _bar(place, point, ink)
    x, y = place(point.usd_per_1000.value, point.quality.value)
    yield f'<circle cx="{x}" cy="{y}" r="6" fill="{ink}"/>'
    yield f'<text x="{x + 10}" y="{y + 20}" fill="{_INK}">{name}</text>'
