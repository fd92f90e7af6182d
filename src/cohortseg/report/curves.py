"""Curves of the study from its tables: precision and recall, ROC, trimap, calibration, free-response ROC."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from cohortseg.report.content import ReportContent, last_stage, of_leading_split, with_columns
from cohortseg.report.drawing import svg_of
from cohortseg.report.style import colour, series

CURVE_IN = 3.4
MOST_LABELS = 4
MOST_POINTS = 200
CANDIDATES = "candidates"
"""Stage of the curve of a study that asks for detection; it is drawn instead of those of the labels."""


@dataclass(frozen=True)
class Curve:
    """What a curve is drawn from and how its axes are called.

    Parameters
    ----------
    title, x_title, y_title : str
        Heading and axes.
    table, kind : str
        Table, and the value of its column `curve`; empty where it has none.
    x, y : str
        Columns.
    is_unit : bool
        Whether x runs from 0 to 1; y always does.
    is_diagonal : bool
        Whether the diagonal is worth drawing: chance (ROC), or perfection (calibration).
    """

    title: str
    x_title: str
    y_title: str
    table: str
    kind: str
    x: str
    y: str
    is_unit: bool = True
    is_diagonal: bool = False


CURVES: dict[str, Curve] = {
    "precision_recall": Curve("Precision and recall", "recall", "precision", "curves", "precision_recall", "x", "y"),
    "roc": Curve("ROC over voxels", "1 − specificity", "sensitivity", "curves", "roc", "x", "y", is_diagonal=True),
    "case_roc": Curve(
        "ROC over cases", "1 − specificity", "sensitivity", "curves", "case_roc", "x", "y", is_diagonal=True
    ),
    "trimap": Curve(
        "Boundary band", "half width (mm)", "boundary Jaccard", "curves", "trimap", "x", "y", is_unit=False
    ),
    "calibration": Curve(
        *("Calibration", "predicted probability", "observed share", "calibration", ""),
        *("mean_probability", "observed"),
        is_diagonal=True,
    ),
    "froc": Curve(
        *("Free-response ROC", "false lesions per case", "lesion sensitivity", "froc", ""),
        *("false_per_case", "sensitivity"),
        is_unit=False,
    ),
}
"""Name: curve, in the order of the page."""


def curves(content: ReportContent) -> list[tuple[str, bytes]]:
    """Title and SVG of each curve of each label (the first four) that has a point, in the leading split."""
    drawn = []
    for name, curve in CURVES.items():
        table = points(content.tables, name)
        labels = [str(label) for label in table["label"].dropna().unique()]
        for label in labels[:MOST_LABELS]:
            title = f"{curve.title}: {label}" if len(labels) > 1 else curve.title
            drawn.append((title, curve_plot(table[table["label"] == label], curve, _names(content))))
    return drawn


def _names(content: ReportContent) -> list[str]:
    return sorted(with_columns(content.rows, ["experiment"])["experiment"].dropna().unique())


def points(tables: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
    """The points of one curve: leading split, last stage, both coordinates defined."""
    curve = CURVES[name]
    table = with_columns(tables.get(curve.table), ["experiment", "label", "stage", "split", "curve", curve.x, curve.y])
    if curve.kind:
        table = table[table["curve"] == curve.kind]
    if name == "froc" and (table["stage"] == CANDIDATES).any():
        table = table[table["stage"] == CANDIDATES]
    if name == "froc" and "score" in table.columns:
        table = _by_probability(table)
    table = table[table[[curve.x, curve.y]].notna().all(axis=1)]
    table = of_leading_split(table)
    return table[table["stage"].isna() | (table["stage"] == last_stage(table["stage"]))] if len(table) else table


def _by_probability(table: pd.DataFrame) -> pd.DataFrame:
    """Of each experiment the curve by probability where there is one, else that by volume."""
    best = table.groupby("experiment")["score"].transform("min")  # max_probability comes before volume_ml
    return table[table["score"] == best]


def curve_plot(table: pd.DataFrame, curve: Curve, names: list[str]) -> bytes:
    """SVG: one line per experiment in its colour.

    Parameters
    ----------
    table : DataFrame
        `experiment` and the two columns of the curve, in the order in which the points are joined.
    curve : Curve
        Columns and axes.
    names : list of str
        All experiments of the study in the order of their colours.
    """

    def draw(axes: Axes) -> None:
        if curve.is_diagonal:
            axes.plot([0, 1], [0, 1], color=colour("frame"), linewidth=0.7, linestyle=(0, (2, 3)))
        for experiment, part in table.groupby("experiment", sort=True):
            look = series(names.index(str(experiment)) if experiment in names else 0)
            shown = part.iloc[:: max(1, len(part) // MOST_POINTS)]
            marker = look.marker if len(shown) <= 24 else None
            axes.plot(shown[curve.x], shown[curve.y], color=look.colour, linewidth=1.3, marker=marker, markersize=3.2)
        axes.set_ylim(-0.02, 1.02)
        if curve.is_unit:
            axes.set_xlim(-0.02, 1.02)
        axes.grid(visible=True)
        axes.set_xlabel(curve.x_title)
        axes.set_ylabel(curve.y_title)

    return svg_of(draw, width_in=CURVE_IN, height_in=CURVE_IN * 0.8)
