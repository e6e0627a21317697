"""What was measured -> plots, each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fareway.policy import TIERS
from models.evaluation.compare import GRID

#: Router -> its line. The colours are Okabe and Ito's, which the colour-blind tell apart.
LINES: dict[str, dict[str, Any]] = {
    "fareway": {"color": "#0072B2", "linewidth": 2.4, "zorder": 5},
    "tf-idf": {"color": "#D55E00", "linewidth": 1.2},
    "MiniLM": {"color": "#009E73", "linewidth": 1.2},
    "length": {"color": "#CC79A7", "linewidth": 1.2},
    "random": {"color": "#888888", "linewidth": 1.2, "linestyle": (0, (4, 3))},
    "oracle": {"color": "#E69F00", "linewidth": 1.2, "linestyle": (0, (1, 1.5))},
}
#: Where the name of a tier's model stands beside its point: cheap and mid may be close.
LABELS: dict[str, Any] = {
    "cheap": {"ha": "left", "xytext": (8, -20)},
    "mid": {"ha": "left", "xytext": (8, -9)},
    "premium": {"ha": "right", "xytext": (4, 12)},
}
INK, GRID_INK = "#333333", "#E6E6E6"
STYLE: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "fareway",  # the same numbers make the same file
}


def tier_plot(tiers: Mapping[str, Any], out: Path) -> None:
    """Cost and mean outcome, a panel a source: our curve, what it has to beat, the policy's point.

    Args:
        tiers: source -> {"models": tier -> model, "measured": of tier_quality}.
        out: where to, without a suffix.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(tiers), 1, (5.6, 4.6))
        for axis, (source, found) in zip(axes, tiers.items(), strict=True):
            _tiers(axis, source, found["models"], found["measured"])
        axes[0].set_ylabel("mean outcome")
        _save(figure, axes[0], out)


def _tiers(axis: Axes, title: str, models: Mapping[str, str], found: Mapping[str, Any]) -> None:
    routers = found["routers"]
    for name, line in LINES.items():
        if "curve" in routers.get(name, {}):
            costs, (quality, low, high) = routers[name]["curve_cost"][0], routers[name]["curve"]
            axis.plot(_percent(costs), quality, label=name, **line)
            if name == "fareway":
                axis.fill_between(
                    _percent(costs), low, high, color=line["color"], alpha=0.14, linewidth=0
                )
    for tier in TIERS:
        always = routers[f"always-{tier}"]
        x, y = 100 * always["cost"][0], always["quality"][0]
        axis.plot(x, y, "s", color=INK, markersize=5, zorder=6)
        axis.annotate(
            f"always {tier}: {models[tier]}",
            (x, y),
            textcoords="offset points",
            fontsize=7.5,
            **LABELS[tier],
        )
    oracle, ours = routers["oracle"], routers["fareway"]
    axis.plot(
        100 * oracle["cost"][0],
        oracle["quality"][0],
        "*",
        color=LINES["oracle"]["color"],
        markersize=12,
        label="oracle",
        linestyle="none",
    )
    axis.errorbar(
        100 * ours["cost"][0],
        ours["quality"][0],
        xerr=_arms(ours["cost"], 100),
        yerr=_arms(ours["quality"], 1),
        fmt="o",
        color=LINES["fareway"]["color"],
        markersize=8,
        markeredgecolor="white",
        capsize=2,
        zorder=7,
        label="the policy's cuts",
    )
    parts = zip(found["shares"], TIERS, strict=True)
    shares = ", ".join(f"{share:.0%} {tier}" for share, tier in parts)
    _title(axis, f"{title}: {found['prompts']:,} prompts\n{shares}")
    axis.set_xlabel("cost, % of always premium")
    axis.set_xlim(left=0)
    axis.margins(y=0.09)


def pair_plot(pairs: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Calls to the strong model against the recovered quality gap, a panel a source.

    Args:
        pairs: source -> pair -> of cost_quality; the gaps of a source's pairs are added up.
        out: where to, without a suffix.
    """
    with mpl.rc_context(STYLE):
        rows = 2 if len(pairs) > 3 else 1
        figure, axes = _panels(-(-len(pairs) // rows), rows, (3.9, 3.4))
        for axis, (source, found) in zip(axes, pairs.items(), strict=False):
            _gap(axis, source, list(found.values()))
        for axis in axes[len(pairs) :]:
            axis.remove()
        _save(figure, axes[0], out)


def _gap(axis: Axes, title: str, pairs: list[Mapping[str, Any]]) -> None:
    wide = [pair for pair in pairs if pair["quality"][0] < pair["quality"][1]]
    told = [pair["routers"] for pair in wide]
    gaps = [pair["quality"][1] - pair["quality"][0] for pair in wide]
    for name, line in LINES.items():
        if told and all(name in routers for routers in told):
            curves = [routers[name]["curve"] for routers in told]
            value, low, high = np.average(curves, axis=0, weights=gaps)
            axis.plot(_percent(GRID), _percent(value), label=name, **line)
            if name == "fareway":
                axis.fill_between(
                    _percent(GRID),
                    _percent(low),
                    _percent(high),
                    color=line["color"],
                    alpha=0.14,
                    linewidth=0,
                )
    _title(axis, f"{title}\n{pairs[0]['prompts']:,} prompts")
    axis.set(xlabel="calls to the strong model, %", ylabel="quality gap recovered, %")
    axis.set(xlim=(0, 100), ylim=(0, 140))


def reliability_plot(reliability: Mapping[str, list[list[float]]], out: Path) -> None:
    """What is said against what is, a panel a head; a point's area is how many prompts it is.

    Args:
        reliability: head -> bins of [said, true, prompts].
    """
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(reliability), 1, (3.4, 3.4))
        for axis, (head, bins) in zip(axes, reliability.items(), strict=True):
            said, true, count = np.array(bins).T
            axis.plot((0, 1), (0, 1), label="calibrated", **LINES["random"])
            axis.plot(said, true, color=LINES["fareway"]["color"], linewidth=1.2)
            axis.scatter(said, true, 12 + 160 * count / count.max(), LINES["fareway"]["color"])
            _title(axis, f"{head}: {int(count.sum()):,} prompts")
            axis.set(xlabel="said", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        axes[0].set_ylabel("true")
        _save(figure, axes[0], out)


def _panels(columns: int, rows: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(columns * size[0], rows * size[1] + 0.5), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axis in axes:
        axis.grid(color=GRID_INK, linewidth=0.7)
        axis.set_axisbelow(True)
    return figure, axes


def _title(axis: Axes, text: str) -> None:
    axis.set_title(text, fontsize=9, loc="left")


def _save(figure: Figure, first: Axes, out: Path) -> None:
    handles, names = first.get_legend_handles_labels()
    columns = int(figure.get_figwidth() / 1.3)  # a name and its line take about so many inches
    figure.legend(handles, names, loc="outside lower center", ncols=columns)
    for suffix in ("png", "svg"):
        metadata = {"Date": None} if suffix == "svg" else {}
        figure.savefig(out.with_suffix(f".{suffix}"), dpi=150, metadata=metadata)


def _percent(shares: Any) -> Any:
    return 100 * np.asarray(shares, float)


def _arms(interval: list[float], scale: float) -> Any:
    value, low, high = interval
    return [[scale * max(value - low, 0)], [scale * max(high - value, 0)]]
