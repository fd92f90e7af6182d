"""All methods on the same slice: a tile for each, best first, with its outline and its score."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cohortseg.report.drawing import drawing_style
from cohortseg.report.numbers import number
from cohortseg.report.style import OUTLINE_ONE, OUTLINES
from cohortseg.volume import Array

COLUMNS = 6
PERCENTILES = (1.0, 99.5)
PIXELS_PER_LINE = 300


@dataclass(frozen=True)
class Tile:
    """One method on the slice.

    Parameters
    ----------
    name : str
    label : int array, shape (y, x)
        Class numbers, or ids of objects.
    score : float
        Of the whole case; NaN where it is not defined.
    """

    name: str
    label: Array
    score: float


def borders(label: Array) -> npt.NDArray[np.bool_]:
    """The pixels of each number that have a neighbour (up, down, left, right) of another one; none of the background.

    Parameters
    ----------
    label : int array, shape (y, x)
        The end of the image is no border.
    """
    values = np.pad(np.asarray(label), 1, mode="edge")
    middle = values[1:-1, 1:-1]
    around = (values[:-2, 1:-1], values[2:, 1:-1], values[1:-1, :-2], values[1:-1, 2:])
    differs = np.stack([middle != other for other in around]).any(axis=0)
    return np.asarray((middle > 0) & differs, dtype=np.bool_)


def thick(edge: npt.NDArray[np.bool_], label: Array) -> npt.NDArray[np.bool_]:
    """Borders, inwards so many pixels wide that they are seen in a tile: one for each 300 of the image's width."""
    for _ in range(1, max(1, round(edge.shape[1] / PIXELS_PER_LINE))):
        wide = np.pad(edge, 1)
        around = (wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:])
        edge = (edge | np.stack(around).any(axis=0)) & (np.asarray(label) > 0)
    return edge


def panel(
    image: Array,
    reference: Array,
    tiles: list[Tile],
    *,
    aspect: float = 1.0,
    objects: bool = False,
    window: tuple[float, float] | None = None,
) -> Figure:
    """The slice with the reference, then each method, in the order given.

    Parameters
    ----------
    image, reference : array, shape (y, x)
    tiles : list of Tile
    aspect : float
        Height of a pixel over its width.
    objects : bool
        Numbers are ids of objects; else they are classes, each with a colour of its own.
    window : (float, float), optional
        Intensities drawn black and white; default: percentiles of the slice.
    """
    columns = min(COLUMNS, 1 + len(tiles))
    rows = math.ceil((1 + len(tiles)) / columns)
    height = 1.55 * aspect * image.shape[0] / image.shape[1]
    with drawing_style():
        tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
        figure = Figure(figsize=(1.6 * columns, (height + 0.28) * rows), layout=tight)
        grid = figure.subplots(rows, columns, squeeze=False)
    low, high = window or np.percentile(image, PERCENTILES)
    grey = np.clip((np.asarray(image, dtype=float) - low) / max(float(high - low), 1e-9), 0, 1)
    shown = [Tile("reference", reference, math.nan), *tiles]
    for place, axes in enumerate(grid.flat):
        axes.set_axis_off()
        if place < len(shown):
            _draw(axes, grey, shown[place], aspect, is_reference=place == 0, objects=objects)
    return figure


def _draw(axes: Axes, grey: Array, tile: Tile, aspect: float, *, is_reference: bool, objects: bool) -> None:
    picture = np.repeat(grey[..., None], 3, axis=2)
    edge = thick(borders(tile.label), tile.label)
    if objects or int(tile.label.max(initial=0)) < 2:
        picture[edge] = to_rgb(OUTLINE_ONE[0] if is_reference else OUTLINE_ONE[1])
    else:
        for value in range(1, int(tile.label.max()) + 1):
            picture[edge & (tile.label == value)] = to_rgb(OUTLINES[(value - 1) % len(OUTLINES)][0])
    axes.imshow(picture, interpolation="nearest", aspect=aspect)
    score = "" if is_reference else f" {number(tile.score, 2)}"
    axes.set_title(f"{tile.name}{score}", fontsize=6.5, pad=2)
