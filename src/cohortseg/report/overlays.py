"""One slice of a case as a PNG: the image in grey, the reference as solid and the prediction as dashed outline."""

from collections.abc import Mapping
from io import BytesIO
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from PIL import Image

from cohortseg.report.drawing import drawing_style
from cohortseg.report.style import OUTLINES
from cohortseg.volume import Array

SCALE_BARS_MM = (500, 200, 100, 50, 20, 10, 5, 2, 1)
LARGEST_BAR_SHARE = 0.3
"""The longest round length below this share of the picture's width becomes the scale bar."""

LEAST_CROP_MM = 60.0
"""A crop shows at least this much along each axis, so that small lesions keep their surroundings."""

SHORTEST_SIDE_PX = 48
LINE_PX = 2.0
Slices: TypeAlias = tuple[slice, slice]


def key_slice(reference: Array | None, prediction: Array | None) -> int:
    """The slice to show: the first with the largest labelled area of the reference, else of the prediction.

    Parameters
    ----------
    reference, prediction : bool or integer array, shape (z, y, x), or None

    Returns
    -------
    int
        Index along z; the middle slice when both are empty.

    Raises
    ------
    ValueError
        When both are None.
    """
    labels = [label for label in (reference, prediction) if label is not None]
    if not labels:
        raise ValueError("key_slice needs a reference or a prediction")
    for label in labels:
        area = np.count_nonzero(label, axis=(1, 2))
        if area.any():
            return int(area.argmax())
    return int(labels[0].shape[0] // 2)


def crop_around(
    reference: Array | None,
    prediction: Array | None,
    *,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    margin_mm: float,
) -> Slices:
    """Where (y, x) the labelled pixels lie, with a margin; the whole slice when there are none.

    Parameters
    ----------
    reference, prediction : bool or integer array, shape (y, x), or None
    shape : (int, int)
        Shape of the slice.
    spacing_mm : (float, float)
        Pixel size (y, x).
    margin_mm : float
        Border around the labelled pixels; both sides of the crop are at least 60 mm or the whole slice.
    """
    labelled = np.zeros(shape, dtype=bool)
    for mask in (reference, prediction):
        if mask is not None:
            labelled |= np.asarray(mask) != 0
    if not labelled.any():
        return slice(0, shape[0]), slice(0, shape[1])
    ranges = []
    for axis, spacing in enumerate(spacing_mm):
        hit = np.flatnonzero(labelled.any(axis=1 - axis))
        length = max((hit[-1] - hit[0] + 1) * spacing + 2 * margin_mm, LEAST_CROP_MM) / spacing
        centre = (hit[0] + hit[-1] + 1) / 2
        start = max(0, int(np.floor(centre - length / 2)))
        ranges.append(slice(start, min(shape[axis], int(np.ceil(centre + length / 2)))))
    return ranges[0], ranges[1]


def overlay_png(
    image: Array,
    reference: Array | None,
    prediction: Array | None,
    *,
    window: tuple[float, float],
    spacing_mm: tuple[float, float],
    label_colours: Mapping[int, tuple[str, str]],
    scale_px: int = 360,
) -> bytes:
    """PNG of one slice with the outlines of each label, in the true proportions, with a scale bar.

    Parameters
    ----------
    image : number array, shape (y, x)
        Row 0 is drawn on top; NaN is drawn black.
    reference, prediction : bool or integer array, shape (y, x), or None
        Labels on the grid of the image; None or empty draws no outline. The outlines run half-way between the
        centres of the last pixel inside and the first outside.
    window : (float, float)
        Intensities drawn black and white; with an empty range everything above `low` is white.
    spacing_mm : (float, float)
        Pixel size (y, x).
    label_colours : mapping
        Label: colours (reference, prediction), from `style.label_colours`.
    scale_px : int
        Length of the longer side.

    Raises
    ------
    ValueError
        When the image is not 2D or a label has another shape.
    """
    _check_shapes(image, reference, prediction)
    with drawing_style():
        figure, axes = _canvas(image, spacing_mm=spacing_mm, scale_px=scale_px)
        low, high = window
        grey = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=low, posinf=high, neginf=low)
        axes.imshow(grey, cmap="gray", vmin=low, vmax=max(high, np.nextafter(low, np.inf)), aspect="auto")
        for number in _labels(reference, prediction):
            colours = label_colours.get(number, OUTLINES[number % len(OUTLINES)])
            _outline(axes, reference, number, colour=colours[0], is_dashed=False)
            _outline(axes, prediction, number, colour=colours[1], is_dashed=True)
        _scale_bar(axes, width_px=image.shape[1], spacing_mm=spacing_mm[1])
        return _png(figure)


def _check_shapes(image: Array, *labels: Array | None) -> None:
    if image.ndim != 2:
        raise ValueError(f"an overlay needs a slice of shape (y, x), got {image.shape}")
    for label in labels:
        if label is not None and label.shape != image.shape:
            raise ValueError(f"image has shape {image.shape}, label {label.shape}")


def _canvas(image: Array, *, spacing_mm: tuple[float, float], scale_px: int) -> tuple[Figure, Axes]:
    """A figure of one point per pixel, in the proportions of the slice, and the axes that fill it."""
    size = np.array([image.shape[1] * spacing_mm[1], image.shape[0] * spacing_mm[0]])
    width, height = np.maximum(np.round(size / size.max() * scale_px), SHORTEST_SIDE_PX)
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def _labels(*labels: Array | None) -> list[int]:
    """The label numbers that occur, ascending, without the background."""
    present = [np.unique(np.asarray(label).astype(np.int64)) for label in labels if label is not None]
    return sorted({int(number) for numbers in present for number in numbers if number != 0})


def _outline(axes: Axes, label: Array | None, number: int, *, colour: str, is_dashed: bool) -> None:
    mask = None if label is None else np.asarray(label).astype(np.int64) == number
    if mask is None or not mask.any():
        return
    padded = np.pad(mask, 1).astype(np.float32)
    drawn = axes.contour(
        np.arange(-1, mask.shape[1] + 1),
        np.arange(-1, mask.shape[0] + 1),
        padded,
        levels=[0.5],
        colors=[colour],
        linewidths=[LINE_PX],
        linestyles=[(0, (3.2, 2.2)) if is_dashed else "solid"],
    )
    drawn.set_path_effects([withStroke(linewidth=LINE_PX + 1.2, foreground="#000000", alpha=0.5)])
    axes.set_xlim(-0.5, mask.shape[1] - 0.5)
    axes.set_ylim(mask.shape[0] - 0.5, -0.5)


def _scale_bar(axes: Axes, *, width_px: int, spacing_mm: float) -> None:
    """A bar of a round length at the lower left; none where even 1 mm would be too long."""
    width_mm = width_px * spacing_mm
    fitting = [length for length in SCALE_BARS_MM if length <= width_mm * LARGEST_BAR_SHARE]
    if not fitting:
        return
    share = fitting[0] / width_mm
    bar = Line2D([0.03, 0.03 + share], [0.035, 0.035], color="white", linewidth=1.6, transform=axes.transAxes)
    bar.set_path_effects([withStroke(linewidth=3.4, foreground="#000000", alpha=0.6)])
    axes.add_line(bar)
    text = axes.text(0.03, 0.055, f"{fitting[0]} mm", color="white", fontsize=9, transform=axes.transAxes)
    text.set_path_effects([withStroke(linewidth=2, foreground="#000000", alpha=0.6)])


def _png(figure: Figure) -> bytes:
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", dpi="figure", pil_kwargs={"compress_level": 0})
    Image.open(drawn).convert("RGB").save(small, format="PNG", optimize=True)
    return small.getvalue()
