"""The figures of the report as SVG: strip plot, size plot and training curves. (The cohort flow is text: flow.py.)"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogFormatter, MaxNLocator

from cohortseg.report.content import HISTORY_COLUMNS, ROW_COLUMNS, last_stage, with_columns
from cohortseg.report.drawing import svg_of
from cohortseg.report.numbers import SHARES, metric_look, number
from cohortseg.report.style import Series, colour, series

PANEL_WIDTH_IN = 4.1
CURVE_WIDTH_IN = 3.5
MOST_VECTOR_POINTS = 400
"""More dots than this in one figure are drawn as a picture, so that a cohort of 20,000 cases fits on a page."""

MOST_CURVE_POINTS = 300
LONGEST_NAME = 20
GOLDEN = (5**0.5 - 1) / 2
Curve = Literal["loss", "dice", "learning_rate"]

CURVE_TITLES: dict[str, str] = {"loss": "Loss", "dice": "Dice (validation)", "learning_rate": "Learning rate"}


def strip_plot(rows: pd.DataFrame, metric: str, *, label: str, axis_title: str = "") -> bytes:
    """SVG: every case as a dot over a box of the quartiles, one line per experiment and stage, of one label.

    Raw results are hollow, post-processed ones are filled. Each line says its median and its counts, undefined values
    among them.

    Parameters
    ----------
    rows : DataFrame
        Columns of metrics_by_case.csv; may be empty.
    metric : str
        Column to show; NaN counts as undefined.
    label : str
        The label whose rows are shown.
    axis_title : str
        Text under the axis, with the unit.
    """
    table = with_columns(rows, [*ROW_COLUMNS, metric])
    looks = {name: series(k) for k, name in enumerate(sorted(table["experiment"].dropna().unique()))}
    chosen = table[table["label"] == label]
    groups = [(key, frame[metric]) for key, frame in chosen.groupby(["experiment", "stage"], sort=False)]
    groups.sort(key=lambda group: (group[0][0], group[0][1] != "raw"))

    def draw(axes: Axes) -> None:
        is_many = len(chosen) > MOST_VECTOR_POINTS
        for line, ((experiment, stage), values) in enumerate(groups):
            name = f"{_short(str(experiment))} · {stage}"
            _strip(axes, -line, values, metric, name=name, is_many=is_many)
            _dots(axes, -line, values, looks[experiment], is_filled=stage != "raw", is_many=is_many)
        _value_axis(axes, metric, axis_title or metric_look(metric).title, n_lines=len(groups))

    return svg_of(draw, width_in=PANEL_WIDTH_IN, height_in=0.55 + 0.62 * max(1, len(groups)))


def _short(name: str) -> str:
    """A name cut to the width of the figure, in its middle: the ends tell experiments apart."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"


def _strip(axes: Axes, y: float, values: pd.Series, metric: str, *, name: str, is_many: bool) -> None:
    """Box of the quartiles with median and whiskers (1.5 interquartile ranges), headed by name and numbers."""
    defined = values.dropna().to_numpy(dtype=float)
    n_undefined = len(values) - len(defined)
    axes.text(0, y + 0.38, name, transform=axes.get_yaxis_transform(), va="bottom", ha="left")
    counts = f"n={number(len(defined), 0)}" + (f", {number(n_undefined, 0)} undefined" if n_undefined else "")
    if len(defined):
        q1, median, q3 = np.quantile(defined, [0.25, 0.5, 0.75])
        inside = defined[(defined >= q1 - 1.5 * (q3 - q1)) & (defined <= q3 + 1.5 * (q3 - q1))]
        grey = colour("frame")
        axes.plot([inside.min(), q1], [y, y], [q3, inside.max()], [y, y], color=grey, linewidth=0.9, zorder=1)
        box = Rectangle((q1, y - 0.2), q3 - q1, 0.4, edgecolor=grey, facecolor=colour("rule"), linewidth=0.8)
        box.set_zorder(2)
        if is_many:  # a cloud of dots would cover the box: the box goes on top, empty
            box.set(facecolor="none", edgecolor=colour("ink"), zorder=4)
        axes.add_patch(box)
        axes.plot([median, median], [y - 0.26, y + 0.26], color=colour("ink"), linewidth=1.8, zorder=4)
        counts = f"{number(median, metric_look(metric).decimals)}, {counts}"
    head = axes.text(1, y + 0.38, counts, transform=axes.get_yaxis_transform(), va="bottom", ha="right")
    head.set_color(colour("muted"))


def _dots(axes: Axes, y: float, values: pd.Series, look: Series, *, is_filled: bool, is_many: bool) -> None:
    """The cases, spread evenly up and down in the order of their values: no chance, so the same bytes each time."""
    defined = np.sort(values.dropna().to_numpy(dtype=float))
    spread = (np.arange(1, len(defined) + 1) * GOLDEN) % 1 - 0.5
    axes.plot(
        defined,
        y + spread * 0.34,
        linestyle="none",
        marker="o",
        markersize=2.2 if is_many else 3.8,
        markerfacecolor=look.colour if is_filled else ("none" if is_many else colour("paper")),
        markeredgecolor=look.colour,
        markeredgewidth=0.9,
        alpha=0.4 if is_many else None,
        rasterized=is_many,
        zorder=3,
    )


def _value_axis(axes: Axes, metric: str, title: str, *, n_lines: int) -> None:
    axes.set_ylim(-max(1, n_lines) + 0.58, 0.76)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x", zorder=0)
    axes.set_axisbelow(True)
    axes.set_xlabel(title)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    if metric in SHARES:
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])


def size_plot(rows: pd.DataFrame, *, label: str, metric: str = "dice", axis_title: str = "") -> bytes:
    """SVG: the metric of each case against the reference volume (log axis), post-processed where there is such.

    Cases whose reference is empty or whose metric is undefined have no place on the axes; how many is written above.

    Parameters
    ----------
    rows : DataFrame
        Columns of metrics_by_case.csv; may be empty.
    label : str
        The label whose rows are shown.
    metric : str
        Column for the vertical axis.
    axis_title : str
        Text beside the vertical axis, with the unit.
    """
    table = with_columns(rows, [*ROW_COLUMNS, metric])
    names = sorted(table["experiment"].dropna().unique())
    chosen = table[(table["label"] == label) & (table["stage"] == last_stage(table["stage"]))]
    volume, values = chosen["reference_ml"].astype(float), chosen[metric].astype(float)
    fits = (volume > 0) & values.notna()
    is_many = len(chosen) > MOST_VECTOR_POINTS

    def draw(axes: Axes) -> None:
        for k, name in enumerate(names):
            here = fits & (chosen["experiment"] == name)
            look = series(k)
            _mark_cases(axes, volume[here], values[here], look, is_many=is_many)
        if fits.any():
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            # The default writes small ticks as TeX, which an SVG of plain text shows as its source.
            axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1.5, 0.8)))
        if metric in SHARES:
            axes.set_ylim(-0.02, 1.02)
        axes.grid(visible=True)
        axes.set_xlabel("reference volume (ml, log axis)")
        axes.set_ylabel(axis_title or metric_look(metric).title)
        n_left_out = int((~fits).sum())
        if n_left_out:
            axes.set_title(f"{number(n_left_out, 0)} undefined or without volume: not shown", loc="right")
            axes.title.set_color(colour("muted"))

    return svg_of(draw, width_in=PANEL_WIDTH_IN, height_in=2.6)


def _mark_cases(axes: Axes, x: "pd.Series[float]", y: "pd.Series[float]", look: Series, *, is_many: bool) -> None:
    """The cases of one experiment: smaller, paler and as pixels where there are many."""
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=look.marker,
        markersize=2.2 if is_many else 4.4,
        color=look.colour,
        markeredgewidth=0,
        alpha=0.4 if is_many else 0.85,
        rasterized=is_many,
    )


def agreement_plot(rows: pd.DataFrame, *, label: str) -> bytes:
    """SVG: predicted less reference volume against the mean of both (Bland & Altman 1986), post-processed if there is.

    Each experiment has its mean difference and the limits of 1.96 sample deviations around it; a single case has none.

    Parameters
    ----------
    rows : DataFrame
        Columns of metrics_by_case.csv; may be empty.
    label : str
        The label whose rows are shown.
    """
    table = with_columns(rows, [*ROW_COLUMNS, "prediction_ml"])
    names = sorted(table["experiment"].dropna().unique())
    chosen = table[(table["label"] == label) & (table["stage"] == last_stage(table["stage"]))]
    is_many = len(chosen) > MOST_VECTOR_POINTS

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=colour("frame"), linewidth=0.7, zorder=1)
        for k, name in enumerate(names):
            here = chosen[chosen["experiment"] == name]
            volumes = here[["reference_ml", "prediction_ml"]].astype(float).dropna()
            difference = volumes["prediction_ml"] - volumes["reference_ml"]
            look = series(k)
            _mark_cases(axes, volumes.mean(axis=1), difference, look, is_many=is_many)
            if len(difference) > 1:
                middle, spread = difference.mean(), 1.96 * difference.std()
                axes.axhline(middle, color=look.colour, linewidth=1.0)
                for limit in (middle - spread, middle + spread):
                    axes.axhline(limit, color=look.colour, linewidth=0.8, linestyle="--")
        axes.grid(visible=True)
        axes.set_xlabel("mean of predicted and reference volume (ml)")
        axes.set_ylabel("predicted − reference (ml)")

    return svg_of(draw, width_in=PANEL_WIDTH_IN, height_in=2.6)


def training_curves(histories: Mapping[str, pd.DataFrame], *, curve: Curve) -> bytes:
    """SVG: loss (training solid, validation dashed), validation Dice or learning rate of each model over the steps.

    Long histories are drawn as the means of at most 300 blocks of steps.

    Parameters
    ----------
    histories : mapping
        Model: table with the columns step, epoch, learning_rate, loss, validation_loss, dice; NaN where not measured.
    curve : "loss", "dice" or "learning_rate"
        Which of them.
    """
    columns = {"loss": ["loss", "validation_loss"]}.get(curve, [curve])

    def draw(axes: Axes) -> None:
        for k, model in enumerate(sorted(histories)):
            table = with_columns(histories[model], HISTORY_COLUMNS)
            for column in columns:
                _curve(axes, table, column, series(k), is_sparse=column in ("validation_loss", "dice"))
        axes.grid(visible=True)
        axes.set_xlabel("step")
        axes.set_ylabel(CURVE_TITLES[curve])
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if curve == "dice":
            axes.set_ylim(-0.02, 1.02)
        elif curve == "learning_rate":
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")

    return svg_of(draw, width_in=CURVE_WIDTH_IN, height_in=2.3)


def _curve(axes: Axes, table: pd.DataFrame, column: str, look: Series, *, is_sparse: bool) -> None:
    """One column over the steps where it was measured; what is measured now and then carries markers."""
    points = table[["step", column]].dropna().astype(float)
    if len(points) > MOST_CURVE_POINTS:
        points = points.groupby(np.arange(len(points)) * MOST_CURVE_POINTS // len(points)).mean()
    axes.plot(
        points["step"],
        points[column],
        color=look.colour,
        linewidth=1.1,
        linestyle="--" if column == "validation_loss" else "-",
        marker=look.marker if is_sparse or len(points) == 1 else None,
        markersize=3.4,
        markevery=max(1, len(points) // 12),
    )
