"""2D cohorts: pictures and masks as PNG, TIFF, JPEG or BMP -> arrays (z, rows, columns), z being 1 but for stacks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.bitmaps import read_bitmap
from cohortseg.io.instances import of_classes, to_instances
from cohortseg.io.values import to_classes
from cohortseg.volume import Array, Grid, Shape

INT16 = np.iinfo(np.int16)
WHITE = (255, 65535)
"""What drawing programs write for "inside"."""


def read_picture(
    path: str | Path, *, colour: Literal["grey", "rgb"], stack: bool = False
) -> tuple[list[Array], dict[str, Any]]:
    """A picture as one or three channels.

    Parameters
    ----------
    path : str or Path
        PNG, TIFF, JPEG or BMP of 1 to 32 bits: grey, RGB or palette, with or without transparency.
    colour : {'grey', 'rgb'}
        One channel or three. Colour becomes grey by its luminance, 0.299 red + 0.587 green + 0.114 blue, rounded
        (ITU-R BT.601-7, 2.5.1); three equal channels become grey exactly; grey becomes three equal channels.
    stack : bool
        Take the pages of a TIFF as slices.

    Returns
    -------
    channels : list of array, shape (1, rows, columns), or (pages, rows, columns)
        All int16 when all numbers are integers that fit, else all float32 (whole numbers exact up to 16,777,216).
        Numbers as stored: 1 bit gives 0 and 1. The orientation that a JPEG or TIFF asks for is applied.
    facts : dict
        `format`, `bits`, `pages`, `stored` ('grey', 'equal channels' or 'colour'); `transparency_dropped` where it was
        more than opaque; `turned`; `resolution_mm` (rows, columns) and `slice_mm`, where the file says them. A TIFF or
        PNG of unknown scale often says 72 or 96 dots per inch: the caller decides. No other metadata leaves the file.

    Raises
    ------
    Rejected
        UNREADABLE, TRUNCATED, SOURCE_CHANGED (vanished), NOT_A_NUMBER, UNSUPPORTED_PIXELS (CMYK, LAB, channels of
        unknown meaning, several pages, more than 200 megapixels).
    SettingsError
        For another `colour`.
    """
    if colour not in ("grey", "rgb"):
        raise SettingsError(f"colour must be 'grey' or 'rgb', got {colour!r}")
    bitmap = read_bitmap(path, stack=stack, stored=False)
    facts, pixels = dict(bitmap.facts), bitmap.pixels
    if bitmap.has_transparency:
        if not _is_opaque(pixels[..., -1]):
            facts["transparency_dropped"] = True
        pixels = pixels[..., :-1]
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise Rejected("NOT_A_NUMBER", f"{int((~np.isfinite(pixels)).sum())} numbers are NaN or infinite")
    facts["stored"] = "grey" if pixels.shape[-1] == 1 else "equal channels" if _is_grey(pixels) else "colour"
    if colour == "grey":
        channels = [_luminance(pixels) if facts["stored"] == "colour" else pixels[..., 0]]
    else:
        channels = [pixels[..., place % pixels.shape[-1]] for place in range(3)]
    dtype = _narrow(channels)
    return [np.ascontiguousarray(channel, dtype) for channel in channels], facts


def picture_grid(shape: Shape, pixel_mm: float | tuple[float, float], *, slice_mm: float = 1.0) -> Grid:
    """The grid of a picture: rows go down along y, columns right along x, slices along z.

    Parameters
    ----------
    shape : (int, int, int)
        Slices, rows, columns.
    pixel_mm : float or (float, float)
        Size of a pixel; with two numbers the distance of rows, then of columns.
    slice_mm : float
        Thickness: a picture has none, 1 mm makes its area in mm² its volume in mm³.

    Returns
    -------
    Grid
        With the centre of the first pixel at (0, 0, 0).

    Raises
    ------
    SettingsError
        For sizes that are not positive.
    """
    rows_mm, columns_mm = pixel_mm if isinstance(pixel_mm, tuple) else (pixel_mm, pixel_mm)
    if not all(0 < length < np.inf for length in (slice_mm, rows_mm, columns_mm)):
        raise SettingsError(f"the size of a pixel must be positive, got {(slice_mm, rows_mm, columns_mm)} mm")
    return Grid(shape, (float(slice_mm), float(rows_mm), float(columns_mm)), (0.0, 0.0, 0.0))


def read_picture_label(
    path: str | Path, shape: Shape, values: Mapping[str, int], *, instances: bool, divisor: int | None = None
) -> tuple[Array, npt.NDArray[np.int32] | None, dict[str, Any]]:
    """A mask as a label on its picture.

    Parameters
    ----------
    path : str or Path
        Grey or palette file; the numbers of a palette are the values, not its colours. Three equal channels are grey.
    shape : (int, int, int)
        Slices, rows, columns of the picture. With several slices the pages of a TIFF.
    values : mapping of str to int
        Class name to its value in the file; classes count 1, 2, … in this order. 0 is background. For a single class
        of value 1 the file may hold 255 (or 65535) instead.
    instances : bool
        Every value above 0 is an object of the one class; `values` gives its name only.
    divisor : int, optional
        With `instances`, for several classes: see `io.instances.of_classes`.

    Returns
    -------
    label : uint8 array, shape as given
    instances : int32 array or None
        Ids of the objects as stored.
    facts : dict
        `n_voxels` for each class; `white` where 255 or 65535 was taken for 1; for instances those of `to_instances`.

    Raises
    ------
    Rejected
        LABEL_UNREADABLE, TRUNCATED, SOURCE_CHANGED (vanished), LABEL_OFF_GRID (another size), LABEL_VALUES (values that
        no class names, colours, a mask in the transparency), UNSUPPORTED_PIXELS (as in `read_picture`).
    SettingsError
        For instances of several classes.
    """
    if instances and divisor is None and len(values) != 1:
        raise SettingsError(f"instances belong to one class, the settings name {len(values)}")
    bitmap = read_bitmap(path, stack=shape[0] > 1, stored=True, broken="LABEL_UNREADABLE")
    if bitmap.pixels.shape[:3] != tuple(shape):
        raise Rejected("LABEL_OFF_GRID", f"shape {bitmap.pixels.shape[:3]}, the image's is {tuple(shape)}")
    if bitmap.has_transparency and not _is_opaque(bitmap.pixels[..., -1]):
        raise Rejected("LABEL_VALUES", "the mask is partly transparent: its values are not all that is drawn")
    pixels = bitmap.pixels[..., :-1] if bitmap.has_transparency else bitmap.pixels
    if pixels.shape[-1] == 3 and not _is_grey(pixels):
        raise Rejected("LABEL_VALUES", "the mask is coloured; one grey value for each class is needed")
    stored = pixels[..., 0]
    (name, *_) = values
    if instances:
        label, ids, n_voxels = of_classes(to_instances(stored)[0], values, divisor)
        return label, ids, {"n_voxels": n_voxels, **to_instances(ids)[1]}
    white = int(stored.max()) if list(values.values()) == [1] and stored.max() in WHITE else None
    label, n_voxels = to_classes(stored, values if white is None else {name: white})
    return label, None, {"n_voxels": n_voxels} | ({} if white is None else {"white": white})


def _is_opaque(transparency: Array) -> bool:
    most = np.iinfo(transparency.dtype).max if transparency.dtype.kind in "iu" else 1.0
    return bool((transparency == most).all())


def _is_grey(pixels: Array) -> bool:
    return all(np.array_equal(pixels[..., 0], pixels[..., place]) for place in (1, 2))


def _luminance(pixels: Array) -> Array:
    if pixels.dtype.kind == "f":
        weighted: Array = pixels @ np.array([0.299, 0.587, 0.114], pixels.dtype)
        return weighted
    # In thousandths and by slice: exact, and halves go up.
    made = np.empty(pixels.shape[:3], np.int64)
    for plane, source in zip(made, pixels, strict=True):
        red, green, blue = (source[..., place].astype(np.int64) for place in range(3))
        plane[:] = (299 * red + 587 * green + 114 * blue + 500) // 1000
    return made


def _narrow(channels: list[Array]) -> np.dtype[Any]:
    """int16 when the numbers of all channels are integers that fit, else float32."""
    fits = all(
        channel.dtype.kind in "iu" and channel.min() >= INT16.min and channel.max() <= INT16.max for channel in channels
    )
    return np.dtype(np.int16 if fits else np.float32)
