"""Figures -> inline SVG: columns over days, and bars by name. Pure; no script, no other file.

Colours are classes (`c0`, `c1`, ...), which the page's style sheet sets for light and dark. A
screen reader is told a chart's title; the figures stand in a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 720, 220
_LEFT, _BOTTOM, _TOP = 64, 28, 12
_BAR = 26


def columns(
    title: str, labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], unit: str
) -> str:
    """Stacked columns.

    Args:
        labels: below the columns; where they are many, only some are written.
        series: name -> a value of at least 0 for each label; the first is at the bottom.
        unit: said after a value.
    """
    totals = [sum(values[i] for _, values in series) for i in range(len(labels))]
    top = _nice(max(totals, default=0))
    plot_w, plot_h = _WIDTH - _LEFT - 8, _HEIGHT - _BOTTOM - _TOP
    step = plot_w / max(1, len(labels))
    every = -(-len(labels) // 10)
    parts = [_gridline(top * n / 4, top, plot_h) for n in range(5)]
    for i, label in enumerate(labels):
        x, y = _LEFT + i * step, float(_TOP + plot_h)
        for place, (name, values) in enumerate(series):
            height = plot_h * values[i] / top
            y -= height
            parts.append(
                f'<rect class="c{place}" x="{x + step * 0.12:.1f}" y="{y:.1f}" '
                f'width="{step * 0.76:.1f}" height="{height:.1f}">'
                f"<title>{escape(f'{label}: {name} {values[i]:.6g} {unit}')}</title></rect>"
            )
        if i % every == 0:
            parts.append(
                f'<text x="{x + step / 2:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">'
                f"{escape(label)}</text>"
            )
    return _svg(title, _WIDTH, _HEIGHT, parts) + _legend([name for name, _ in series])


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """One bar below the other.

    Args:
        rows: name, a value of at least 0, and the value as it is written.
    """
    top = max((value for _, value, _ in rows), default=0) or 1.0
    name_w, text_w = 210, 110
    plot_w = _WIDTH - name_w - text_w
    parts = []
    for i, (name, value, text) in enumerate(rows):
        y, width = i * _BAR + 4, plot_w * value / top
        parts.append(
            f'<text x="{name_w - 8}" y="{y + 14}" text-anchor="end">{escape(_short(name))}</text>'
            f'<rect class="c0" x="{name_w}" y="{y}" width="{width:.1f}" height="{_BAR - 8}">'
            f"<title>{escape(name)}: {escape(text)}</title></rect>"
            f'<text x="{name_w + width + 6:.1f}" y="{y + 14}">{escape(text)}</text>'
        )
    return _svg(title, _WIDTH, len(rows) * _BAR + 6, parts)


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _gridline(value: float, top: float, plot_h: float) -> str:
    y = _TOP + plot_h * (1 - value / top)
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
    )


def _legend(names: Sequence[str]) -> str:
    entries = (f'<li><i class="c{i}"></i>{escape(name)}</li>' for i, name in enumerate(names))
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _nice(value: float) -> float:
    """The least round number that is not below a value, and is round in quarters too."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        step * power for step in (1, 1.2, 1.6, 2, 3.2, 4, 6, 8, 10) if step * power >= value
    )


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:29] + "…"
