"""What results cost: each method's metric against its seconds and its memory, with the methods that nothing beats."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from cohortseg.report.drawing import drawing_style
from cohortseg.report.numbers import SHARES, metric_look, number
from cohortseg.report.style import colour, series

COST_COLUMNS = ("experiment", "kind", "n_cases", "value", "seconds_case", "seconds_train", "memory_mb")
KINDS: Mapping[str, str] = {"classical": "o", "learnt without a network": "s", "network": "^"}
"""Kind of a method: its marker."""
LINE = 0.05
"""Largest height of a line of the legend, as a share of the figure."""
AXES: Mapping[str, str] = {
    "seconds_case": "CPU seconds to predict a case (median)",
    "memory_mb": "peak memory of prediction (MB)",
}


def on_front(value: npt.NDArray[np.float64], cost: npt.NDArray[np.float64], *, higher: bool) -> npt.NDArray[np.bool_]:
    """Whether no other is at least as good and as cheap, and better in one of the two (Pareto).

    Parameters
    ----------
    value, cost : float array, shape (n,)
        Metric and cost. What lacks one of them is not on the front.
    higher : bool
        Whether a higher metric is better.
    """
    good = value if higher else -value
    known = np.isfinite(good) & np.isfinite(cost)
    found = known.copy()
    for place in np.flatnonzero(known):
        better = known & (good >= good[place]) & (cost <= cost[place])
        found[place] = not (better & ((good > good[place]) | (cost < cost[place]))).any()
    return found


def pareto(costs: pd.DataFrame, *, metric: str, title: str, higher: bool = True) -> Figure:
    """Metric against seconds and against memory, both logarithmic; methods are numbered by rank, the front is a line.

    Parameters
    ----------
    costs : DataFrame
        Columns `COST_COLUMNS`; `kind` is a key of `KINDS`. May be empty.
    metric, title : str
        Name of the metric, for the axis, and what it was measured on.
    higher : bool
        Whether a higher metric is better.
    """
    ranked = costs.sort_values(["value", "experiment"], ascending=[not higher, True], ignore_index=True)
    with drawing_style():
        figure = Figure(figsize=(10.2, max(4.2, 0.6 + 0.17 * len(ranked))), layout="constrained")
        left, right, names = figure.subplots(1, 3, width_ratios=[1, 1, 0.62])
    for axes, column in ((left, "seconds_case"), (right, "memory_mb")):
        _points(axes, ranked, column, higher=higher)
        if metric in SHARES or metric.endswith("quality"):
            axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel(f"mean {metric_look(metric).title}")
    _legend(names, ranked, title)
    return figure


def _points(axes: Axes, ranked: pd.DataFrame, column: str, *, higher: bool) -> None:
    cost = np.maximum(ranked[column].to_numpy(np.float64), 1e-3)
    value = ranked["value"].to_numpy(np.float64)
    front = on_front(value, cost, higher=higher)
    line = np.flatnonzero(front)[np.argsort(cost[front], kind="stable")]
    axes.step(cost[line], value[line], where="post", color=colour("frame"), linewidth=1.0, zorder=1)
    for place, kind in enumerate(ranked["kind"]):
        look = series(list(KINDS).index(kind))
        face = look.colour if front[place] else "none"
        axes.plot(cost[place], value[place], KINDS[kind], color=look.colour, markerfacecolor=face, markersize=5)
        axes.annotate(
            str(place + 1), (cost[place], value[place]), xytext=(4, 2), textcoords="offset points", fontsize=6.5
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda at, _: f"{at:g}")
    axes.grid(visible=True)
    axes.set_xlabel(AXES[column])


def _legend(axes: Axes, ranked: pd.DataFrame, title: str) -> None:
    """The methods by rank, in the colour of their kind."""
    axes.set_axis_off()
    lines = [(f"{title}; filled: on the front", colour("ink"))]
    lines += [(f"{mark} {kind}", series(k).colour) for k, (kind, mark) in enumerate(zip(KINDS, "●■▲", strict=True))]
    for place, (name, kind, value) in enumerate(
        zip(ranked["experiment"], ranked["kind"], ranked["value"], strict=True), start=1
    ):
        lines.append((f"{place}  {name}  {number(value, 3)}", series(list(KINDS).index(str(kind))).colour))
    step = min(1 / len(lines), LINE)
    for place, (text, shade) in enumerate(lines):
        axes.text(0, 1 - (place + 0.5) * step, text, color=shade, va="center", fontsize=7)
