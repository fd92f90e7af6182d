"""Figures for a paper, each a function from tables or arrays to a matplotlib figure; written as PNG and SVG.

They follow the figures of published chains: learning rate, loss and Dice over epochs, rows of slices with their masks,
results by slice thickness and by tumour size as boxes with tests, curves, tables, contours, maps and differences.
"""

import itertools
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from cohortseg.report.content import HISTORY_COLUMNS, with_columns
from cohortseg.report.drawing import drawing_style
from cohortseg.report.numbers import SHARES, metric_look, number, p_value
from cohortseg.report.style import colour, series
from cohortseg.volume import Array

BLUE, RED = "#1f6fb4", "#c02f2f"
DPI = 200
MOST_SLICES = 20
PALETTE = ("#000000", "#3fe0ff", "#ffb21a", "#ff7ad1", "#8dff5a", "#b9a2ff", "#ff6b57", "#fff35c", "#5cffc9")
Groups = Mapping[str, Sequence[float]]
Window = tuple[float, float] | None


def encoded(figure: Figure) -> dict[str, bytes]:
    """The figure as PNG and SVG, without date or program in them: the same data give the same bytes."""
    found = {}
    with drawing_style():
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
            found[kind] = buffer.getvalue()
    return found


def new_figure(
    rows: int = 1, columns: int = 1, *, width_in: float = 4.5, height_in: float = 3.2
) -> tuple[Figure, Array]:
    """A figure with a grid of axes, in the style of the figures."""
    with drawing_style():
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def learning_rate(history: pd.DataFrame) -> Figure:
    """The learning rate over the epochs: a blue line on a dotted grid."""
    table = with_columns(history, HISTORY_COLUMNS)
    figure, ((axes,),) = new_figure()
    points = table[["epoch", "learning_rate"]].dropna().astype(float)
    axes.plot(points["epoch"], points["learning_rate"], color=BLUE)
    axes.grid(visible=True, linestyle=":")
    axes.set_xlabel("epoch")
    axes.set_ylabel("learning rate")
    return figure


def training(history: pd.DataFrame, *, curve: str) -> Figure:
    """Loss (`loss`) or Dice (`dice`) over the epochs: training blue, validation red.

    The legend is at the upper right for the loss, at the lower right for Dice. Dice is measured in validation only.
    """
    table = with_columns(history, HISTORY_COLUMNS)
    lines = {"loss": (("training", "loss", BLUE), ("validation", "validation_loss", RED))}.get(
        curve, (("validation", "dice", RED),)
    )
    figure, ((axes,),) = new_figure()
    for name, column, shade in lines:
        points = table[["epoch", column]].dropna().astype(float).groupby("epoch").mean()
        axes.plot(points.index, points[column], color=shade, label=name)
    axes.legend(loc="upper right" if curve == "loss" else "lower right", frameon=False)
    axes.grid(visible=True, linestyle=":")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss" if curve == "loss" else "Dice")
    return figure


def boxes(groups: Groups, *, metric: str, title: str) -> Figure:
    """Results by group: box and points of each, and the Mann-Whitney tests between them, Bonferroni-corrected.

    Groups without a value keep their place.
    """
    kept = {name: [float(value) for value in values if value == value] for name, values in groups.items()}
    figure, ((axes,),) = new_figure(width_in=1.6 + 1.3 * max(1, len(kept)), height_in=3.6)
    for place, values in enumerate(kept.values()):
        if values:
            axes.boxplot(
                [values], positions=[place], widths=0.5, showfliers=False, medianprops={"color": colour("ink")}
            )
            spread = (np.arange(1, len(values) + 1) * 0.618) % 1 - 0.5
            axes.plot(place + 0.3 * spread, np.sort(values), "o", markersize=2.6, color=series(place).colour, alpha=0.7)
            median = number(float(np.median(values)), 3)
            axes.annotate(f"{median}, n={len(values)}", (place, 1.01), xycoords=("data", "axes fraction"), ha="center")
    axes.set_xticks(range(len(kept)), list(kept))
    axes.set_xlim(-0.6, len(kept) - 0.4)
    if metric in SHARES:
        axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel(metric_look(metric).title)
    tested = [f"{a} vs {b}: p {p_value(p)}" for (a, b), p in mann_whitney(kept).items()]
    axes.set_xlabel("\n".join([title, *tested]))
    return figure


def mann_whitney(groups: Groups) -> dict[tuple[str, str], float]:
    """Two-sided Mann-Whitney p of each two groups with values, times the number of tests (Bonferroni), at most 1."""
    from scipy.stats import mannwhitneyu

    pairs = list(itertools.combinations([name for name, values in groups.items() if len(values)], 2))
    return {
        (a, b): min(1.0, len(pairs) * float(mannwhitneyu(groups[a], groups[b], alternative="two-sided").pvalue))
        for a, b in pairs
    }


def binned(values: pd.Series, metric: pd.Series, bins: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    """The metric of the cases whose value lies in each half-open range [low, high)."""
    return {
        name: [float(x) for x in metric[(values >= low) & (values < high)].dropna()]
        for name, (low, high) in bins.items()
    }


THICKNESS_MM = {"[0; 2.5) mm": (0.0, 2.5), "[2.5; 5) mm": (2.5, 5.0), "[5; 7.5) mm": (5.0, 7.5)}
VOLUME_ML = {"< 20 ml": (0.0, 20.0), "20–150 ml": (20.0, 150.0000001), "> 150 ml": (150.0000001, float("inf"))}
"""The ranges of the source publications."""


def precision_recall(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Precision over recall of each experiment, with the average precision in the legend."""
    figure, ((axes,),) = new_figure(height_in=3.6)
    for k, (name, (recall, precision)) in enumerate(sorted(curves.items())):
        area = number(average_precision(recall, precision), 3)
        axes.plot(recall, precision, color=series(k).colour, label=f"{name} (AP {area})")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(visible=True, linestyle=":")
    if curves:
        axes.legend(loc="lower left", frameon=False)
    return figure


def average_precision(recall: Sequence[float], precision: Sequence[float]) -> float:
    """Sum of precision times the step of recall, points in the order of rising recall; NaN for none."""
    order = np.argsort(np.asarray(recall, dtype=float), kind="stable")
    steps = np.diff(np.concatenate([[0.0], np.asarray(recall, dtype=float)[order]]))
    return float(steps @ np.asarray(precision, dtype=float)[order]) if len(order) else float("nan")


def metric_table(values: pd.DataFrame, *, decimals: int = 3) -> Figure:
    """A table as a figure: a row per method, a column per metric; undefined values are dashes."""
    rows, columns = values.shape
    figure, ((axes,),) = new_figure(width_in=2.2 + 1.1 * columns, height_in=0.6 + 0.3 * rows)
    axes.set_axis_off()
    texts = [[number(cell, decimals) for cell in line] for line in values.to_numpy(dtype=object)]
    names = [metric_look(str(name)).title for name in values.columns]
    table = axes.table(texts, rowLabels=[str(name) for name in values.index], colLabels=names, loc="center")
    table.scale(1, 1.4)
    return figure


def slices(image: Array, reference: Array, prediction: Array, *, window: Window = None) -> Figure:
    """The first slices (at most 20), one row each: image, reference, image, prediction; all in grey.

    Parameters
    ----------
    image, reference, prediction : arrays, shape (z, y, x)
    window : (float, float), optional
        Intensities of the image drawn black and white; default: the lowest and highest of each slice.
    """
    shown = min(MOST_SLICES, len(image))
    figure, axes = new_figure(shown, 4, width_in=5.0, height_in=1.3 * shown)
    titles = ("image", "reference", "image", "prediction")
    for row in range(shown):
        for column, volume in enumerate((image, reference, image, prediction)):
            _grey(axes[row, column], volume[row], window if volume is image else None)
            if row == 0:
                axes[row, column].set_title(titles[column])
    return figure


def _grey(axes: Axes, piece: Array, window: Window = None) -> None:
    low, high = window or (None, None)
    axes.imshow(piece, cmap="gray", interpolation="nearest", vmin=low, vmax=high)
    axes.set_axis_off()


def contours(image: Array, reference: Array, predictions: Mapping[str, Array], *, window: Window = None) -> Figure:
    """One slice with the contour of the reference (white) and of each method in its colour, on boundaries alone."""
    figure, ((axes,),) = new_figure(height_in=4.5)
    _grey(axes, image, window)
    for name, mask, shade in [
        ("reference", reference, "#ffffff"),
        *((name, mask, series(k).colour) for k, (name, mask) in enumerate(sorted(predictions.items()))),
    ]:
        if np.any(mask):
            axes.contour(np.asarray(mask) != 0, levels=[0.5], colors=[shade], linewidths=1.2)
        axes.plot([], [], color=shade, label=name)
    axes.legend(loc="upper right", facecolor="#303030", labelcolor="white", framealpha=0.8)
    return figure


def label_map(label: Array, *, names: Sequence[str]) -> Figure:
    """One slice of labels, each number in a colour of its own.

    Raises
    ------
    ValueError
        When there are more labels than colours that can be told apart.
    """
    if len(names) >= len(PALETTE):
        raise ValueError(f"{len(names)} labels, {len(PALETTE) - 1} colours")
    figure, ((axes,),) = new_figure(height_in=4.0)
    shown = ListedColormap(PALETTE[: len(names) + 1])
    axes.imshow(label, cmap=shown, vmin=-0.5, vmax=len(names) + 0.5, interpolation="nearest")
    axes.set_axis_off()
    for number_of, name in enumerate(names, start=1):
        axes.plot([], [], "s", color=PALETTE[number_of], label=name)
    axes.legend(loc="upper right", facecolor="#303030", labelcolor="white")
    return figure


def difference(
    a: Array,
    b: Array,
    *,
    titles: tuple[str, str] = ("original", "segmented"),
    unit: str = "",
    window: Window = None,
) -> Figure:
    """Two slices side by side and their difference (first less second) with a colour bar."""
    figure, ((left, middle, right),) = new_figure(1, 3, width_in=7.5, height_in=2.8)
    for axes, piece, title in ((left, a, titles[0]), (middle, b, titles[1])):
        _grey(axes, piece, window)
        axes.set_title(title)
    change = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    largest = float(np.nanmax(np.abs(change))) or 1.0
    drawn = right.imshow(change, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    right.set_axis_off()
    right.set_title("difference")
    figure.colorbar(drawn, ax=right, shrink=0.8, label=unit)
    return figure
