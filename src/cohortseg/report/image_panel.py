"""Input, real image, made image and their difference on one slice of a case, a row for each experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohortseg.report.drawing import drawing_style
from cohortseg.report.numbers import number
from cohortseg.volume import Array

TILE_IN = 1.75
DPI = 110
PERCENTILES = (1.0, 99.5)
LARGEST_SHARE = 0.15
"""Share of the range at which the colours of the difference end."""


@dataclass(frozen=True)
class Made:
    """What one experiment made of a slice.

    Parameters
    ----------
    name : str
    image : float array, shape (y, x)
        In the unit of the target.
    mae : float
        Of the whole case, in the body; NaN where it is not known.
    """

    name: str
    image: Array
    mae: float


def difference(made: Array, real: Array) -> Array:
    """The panel of the difference: made - real, above 0 where too much was made."""
    return np.asarray(made, dtype=np.float32) - np.asarray(real, dtype=np.float32)


def image_panel(
    source: tuple[str, Array],
    target: tuple[str, Array],
    made: Sequence[Made],
    *,
    window: tuple[float, float],
    span: float,
    unit: str,
    aspect: float = 1.0,
) -> Figure:
    """The figure; grey tiles of real and made images share one window, the differences one colour bar.

    Parameters
    ----------
    source, target : (str, array of shape (y, x))
        Names and slices of the input and of the real image.
    made : sequence of Made
        At least one.
    window : (float, float)
        Values of the target shown black and white.
    span : float
        Width of the range of the target, of which the colours of the difference show a share.
    unit : str
        Of the target, for the colour bar.
    aspect : float
        Height of a pixel over its width.
    """
    height = TILE_IN * aspect * target[1].shape[0] / target[1].shape[1]
    with drawing_style():
        figure = Figure(figsize=(4 * TILE_IN + 0.8, (height + 0.25) * len(made)), layout="constrained")
        grid = figure.subplots(len(made), 4, squeeze=False)
        end = LARGEST_SHARE * span
        colours = []
        own = tuple(float(value) for value in np.percentile(source[1], PERCENTILES))
        for row, each in zip(grid, made, strict=True):
            _grey(row[0], source[1], (own[0], max(own[1], own[0] + 1e-9)), f"input: {source[0]}", aspect)
            _grey(row[1], target[1], window, f"real: {target[0]}", aspect)
            error = f", MAE {number(each.mae, 1)}" if np.isfinite(each.mae) else ""
            _grey(row[2], each.image, window, f"{each.name}{error}", aspect)
            found = difference(each.image, target[1])
            colours.append(
                row[3].imshow(found, cmap="RdBu_r", vmin=-end, vmax=end, interpolation="nearest", aspect=aspect)
            )
            row[3].set_axis_off()
            row[3].set_title("made − real", fontsize=6.5, pad=2)
        figure.colorbar(colours[0], ax=grid[:, 3].tolist(), label=unit or "value", shrink=0.9)
    return figure


def _grey(axes: Axes, image: Array, window: tuple[float, float], title: str, aspect: float) -> None:
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], interpolation="nearest", aspect=aspect)
    axes.set_axis_off()
    axes.set_title(title, fontsize=6.5, pad=2)


def png_of(figure: Figure) -> bytes:
    """The figure as PNG, without date or program in it."""
    buffer = BytesIO()
    with drawing_style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
