"""Forest plot: the mean of each group of cases with its interval, one line per group, one mark per experiment."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from cohortseg.report.drawing import svg_of
from cohortseg.report.numbers import SHARES, interval, is_number, metric_look, number
from cohortseg.report.style import Series, colour

FOREST_WIDTH_IN = 8.4
LINE_IN = 0.24
LONGEST_GROUP = 34


@dataclass(frozen=True)
class ForestLine:
    """One mark: the group it stands for, how many cases, the mean and its interval (NaN where undefined).

    Parameters
    ----------
    group : str
        What the cases have in common.
    look : Series
        Colour and shape of the experiment.
    n : int
        Number of cases behind the mean.
    mean, low, high : float
        Mean and its interval.
    is_small : bool
        Fewer cases than a conclusion needs: drawn pale.
    """

    group: str
    look: Series
    n: int
    mean: float
    low: float
    high: float
    is_small: bool = False


def forest_plot(
    lines: Sequence[ForestLine], metric: str, *, axis_title: str, overall: Sequence[tuple[Series, float]]
) -> bytes:
    """SVG: the lines from top to bottom; a name is written once for the lines of one group.

    Parameters
    ----------
    lines : sequence of ForestLine
        Lines of one group stand together.
    metric : str
        Gives decimals and the range of the axis.
    axis_title : str
        Text under the axis, with the unit.
    overall : sequence of (Series, float)
        Mean over all cases of each experiment: a thin upright line.
    """
    decimals = metric_look(metric).decimals
    starts = [k for k, line in enumerate(lines) if k == 0 or lines[k - 1].group != line.group]

    def draw(axes: Axes) -> None:
        for look, mean in overall:
            if is_number(mean):
                axes.axvline(mean, color=look.colour, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
        for k, line in enumerate(lines):
            y = -k - 0.45 * sum(start <= k for start in starts)
            if k in starts:
                text = axes.text(
                    -0.01, y, _short(line.group), transform=axes.get_yaxis_transform(), ha="right", va="center"
                )
                text.set_color(colour("ink"))
            _mark(axes, line, y)
            words = f"{number(line.mean, decimals)} ({interval(line.low, line.high, decimals)}), n={number(line.n, 0)}"
            text = axes.text(1.01, y, words, transform=axes.get_yaxis_transform(), ha="left", va="center")
            text.set_color(colour("muted"))
        axes.set_ylim(-len(lines) - 0.45 * len(starts) + 0.2, 0.3)
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
        axes.set_axisbelow(True)
        axes.set_xlabel(axis_title)
        if metric in SHARES:
            axes.set_xlim(-0.02, 1.02)

    height = 0.6 + LINE_IN * (len(lines) + 0.45 * len(starts))
    return svg_of(draw, width_in=FOREST_WIDTH_IN, height_in=height)


def _mark(axes: Axes, line: ForestLine, y: float) -> None:
    alpha = 0.45 if line.is_small else 1.0
    if is_number(line.low) and is_number(line.high):
        axes.plot([line.low, line.high], [y, y], color=line.look.colour, linewidth=1.6, alpha=alpha, zorder=2)
    if is_number(line.mean):
        axes.plot(
            [line.mean], [y], marker=line.look.marker, markersize=5, color=line.look.colour, alpha=alpha, zorder=3
        )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_GROUP else f"{name[: LONGEST_GROUP - 1]}…"
