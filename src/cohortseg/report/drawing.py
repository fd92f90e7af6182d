"""The one way to draw: fixed style, no global figure, and the same bytes for the same data."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohortseg.report.style import colour

FONT_PT = 8.5

STYLE: dict[str, object] = {
    "axes.edgecolor": colour("frame"),
    "axes.labelcolor": colour("muted"),
    "axes.labelsize": FONT_PT,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": FONT_PT,
    "figure.facecolor": colour("paper"),
    "axes.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": FONT_PT,
    "grid.color": colour("rule"),
    "grid.linewidth": 0.6,
    "path.simplify": True,
    "savefig.facecolor": colour("paper"),
    "svg.fonttype": "none",
    "svg.hashsalt": "cohortseg",
    "text.color": colour("ink"),
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": colour("frame"),
    "xtick.labelcolor": colour("muted"),
    "xtick.labelsize": FONT_PT,
    "xtick.major.width": 0.7,
    "ytick.color": colour("frame"),
    "ytick.labelcolor": colour("muted"),
    "ytick.labelsize": FONT_PT,
    "ytick.major.width": 0.7,
}
"""Names are data: `text.parse_math` is off, so that a dollar sign in one draws itself."""


@contextmanager
def drawing_style() -> Iterator[None]:
    """The fixed style, whatever the user's own matplotlib settings are; those come back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
        yield


def svg_of(draw: Callable[[Axes], None], *, width_in: float, height_in: float) -> bytes:
    """SVG of one pair of axes: made in the fixed style, filled by `draw`, without date or program in it."""
    with drawing_style():
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return buffer.getvalue()
