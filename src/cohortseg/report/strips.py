"""Slices of one plane below each other in one picture: the page moves it behind a window to leaf through them.

The image is one picture and the outlines are others, so that two experiments on one case share the image and a reader
can take the outlines off.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from contourpy import contour_generator
from PIL import Image, ImageDraw

from cohortseg.ignored import IGNORE, is_labelled
from cohortseg.report.style import OUTLINES
from cohortseg.volume import Array

FINE = 2
"""Outlines are drawn this many times larger and made smaller again: smooth lines."""

LINE_PX = 1.5
DASH_PX = (5.0, 3.5)
"""Length of a dash and of the gap after it."""

IMAGE_QUALITY = 50
HALO = (0, 0, 0, 130)


def image_strip(slices: Sequence[Array], *, window: tuple[float, float], size_px: tuple[int, int]) -> bytes:
    """WebP of grey slices below each other.

    Parameters
    ----------
    slices : number arrays, shape (row, column)
        Row 0 is on top; NaN is black.
    window : (float, float)
        Intensities drawn black and white; with an empty range everything above `low` is white.
    size_px : (int, int)
        Height and width of each slice in the picture.
    """
    height, width = size_px
    strip = Image.new("L", (width, height * len(slices)))
    for number, piece in enumerate(slices):
        strip.paste(
            Image.fromarray(_grey(piece, window)).resize((width, height), _filter(piece, size_px)), (0, height * number)
        )
    return _webp(strip, quality=IMAGE_QUALITY)


def _filter(piece: Array, size_px: tuple[int, int]) -> Image.Resampling:
    """Averaging where pixels are fewer than voxels, else linear."""
    is_smaller = size_px[0] < piece.shape[0] or size_px[1] < piece.shape[1]
    return Image.Resampling.BOX if is_smaller and min(piece.shape) >= 2 * min(size_px) else Image.Resampling.BILINEAR


def _grey(piece: Array, window: tuple[float, float]) -> Array:
    low, high = window
    span = max(high - low, float(np.finfo(np.float32).tiny))
    values = (np.nan_to_num(np.asarray(piece, dtype=np.float32), nan=low, posinf=high, neginf=low) - low) / span
    grey: Array = np.round(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)
    return grey


def outline_strip(
    slices: Sequence[Array],
    *,
    size_px: tuple[int, int],
    colours: Mapping[int, str],
    is_dashed: bool,
) -> bytes:
    """WebP, transparent but for the outlines of each label; empty bytes where no slice holds a label.

    Parameters
    ----------
    slices : integer arrays, shape (row, column)
        Labels; 0 is the background. Voxels of `IGNORE` have no outline.
    size_px : (int, int)
        Height and width of each slice in the picture.
    colours : mapping
        Label: colour, `#rrggbb`.
    is_dashed : bool
        Dashed lines (predictions) or solid ones (references).
    """
    if not any(is_labelled(piece).any() for piece in slices):
        return b""
    height, width = size_px
    strip = Image.new("RGBA", (width, height * len(slices)))
    for number, piece in enumerate(slices):
        if is_labelled(piece).any():
            strip.paste(_outlines(piece, size_px, colours, is_dashed=is_dashed), (0, height * number))
    return _webp(strip, quality=70)


def _outlines(piece: Array, size_px: tuple[int, int], colours: Mapping[int, str], *, is_dashed: bool) -> Image.Image:
    height, width = size_px
    canvas = Image.new("RGBA", (width * FINE, height * FINE))
    pen = ImageDraw.Draw(canvas)
    lines = [
        (line, colours.get(int(number), OUTLINES[int(number) % len(OUTLINES)][0]))
        for number in np.unique(piece)
        if number not in (0, IGNORE)
        for line in _contours(np.asarray(piece) == number, size_px, is_dashed=is_dashed)
    ]
    for line, _ in lines:
        pen.line(line, fill=HALO, width=round((LINE_PX + 1.4) * FINE))
    for line, colour in lines:
        pen.line(line, fill=colour, width=round(LINE_PX * FINE), joint="curve")
    return canvas.resize((width, height), Image.Resampling.BOX)


def _contours(mask: Array, size_px: tuple[int, int], *, is_dashed: bool) -> list[list[tuple[float, float]]]:
    """The outline of a mask in pixels of the canvas, half-way between inside and outside; cut into dashes if asked."""
    padded = np.pad(mask, 1).astype(np.float32)
    scale = np.array([size_px[1] / mask.shape[1], size_px[0] / mask.shape[0]]) * FINE
    found = [(np.asarray(line) - 0.5) * scale for line in contour_generator(z=padded).lines(0.5)]
    pieces = [piece for line in found for piece in (_dashes(line) if is_dashed else [line])]
    return [[(float(x), float(y)) for x, y in piece] for piece in pieces]


def _dashes(line: Array) -> list[Array]:
    """A line cut into dashes by its length."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    dash, period = DASH_PX[0] * FINE, sum(DASH_PX) * FINE
    pieces = []
    for start in np.arange(0.0, along[-1], period):
        end = min(start + dash, along[-1])
        inside = along[(along > start) & (along < end)]
        at = np.concatenate([[start], inside, [end]])
        pieces.append(np.stack([np.interp(at, along, line[:, k]) for k in (0, 1)], axis=1))
    return pieces


def _webp(strip: Image.Image, *, quality: int) -> bytes:
    buffer = BytesIO()
    strip.save(buffer, format="WEBP", quality=quality, method=4)
    return buffer.getvalue()
