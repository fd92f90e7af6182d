"""A made image against the real one: one row of numbers for each region of a case."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.columns import IMAGE_COLUMNS
from cohortseg.metrics.regression import WINDOW, ssim_map
from cohortseg.volume import Array

Row = dict[str, float | int | str]
EQUAL, EMPTY, THIN = "equal_images", "empty_region", "too_thin"
"""Why numbers are undefined: PSNR of equal images is infinite; a region without voxels; no window of SSIM fits."""
PARTS = ("n", "sum", "sum of sizes", "sum of squares", "n with a window", "sum of likeness")
SLAB_VOXELS = 1_000_000
"""Voxels that are worked on at a time: the memory that this takes beside the images and regions."""


def measure_image(
    reference: Array,
    prediction: Array,
    regions: Mapping[str, npt.NDArray[np.bool_]],
    *,
    low: float,
    high: float,
    bits: int,
) -> dict[str, Row]:
    """Error, PSNR and SSIM of a made image in each region.

    Parameters
    ----------
    reference, prediction : float array, shape (z, y, x)
        In the unit of the reference; both are clipped to the range first.
    regions : mapping of str to bool array, same shape
        What is measured in, by name.
    low, high : float
        Range of values that the study makes. Their difference is the peak of the PSNR and the range of the SSIM.
    bits : int
        `mae_grey` counts in grey levels of so many bits, 2^bits - 1 of which are the range.

    Returns
    -------
    dict
        Of each region the columns `IMAGE_COLUMNS`. A region without voxels: all NaN, `missing` says `empty_region`.
        Equal images: PSNR is infinite, which no mean survives, so it is NaN and `missing` says `equal_images`. No
        window of 7 voxels fits into the image or has its middle in the region: SSIM is NaN, `too_thin`.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference has shape {reference.shape}, prediction {prediction.shape}")
    sums = {name: np.zeros(len(PARTS)) for name in regions}
    is_thick = _is_thick(reference.shape)
    for first, stop, below, above in _slabs(reference.shape):
        real, made = (np.clip(image[below:above], low, high).astype(np.float32) for image in (reference, prediction))
        likeness = ssim_map(real, made, data_range=high - low) if is_thick else np.full(real.shape, np.nan)
        own = slice(first - below, stop - below)
        for name, inside in regions.items():
            part = inside[first:stop]
            sums[name] += _sums(real[own][part], made[own][part], likeness[own][part])
    return {name: _row(*found, peak=high - low, bits=bits) for name, found in sums.items()}


def _is_thick(shape: tuple[int, ...]) -> bool:
    lengths = [n for n in shape if n > 1]
    return bool(lengths) and min(lengths) >= WINDOW


def _slabs(shape: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """First and last plane of each slab, and of the planes that the windows of its voxels see."""
    depth = max(WINDOW, SLAB_VOXELS // (shape[1] * shape[2]))
    for first in range(0, shape[0], depth):
        stop, around = min(first + depth, shape[0]), WINDOW // 2
        # Near an end the window of a plane reaches beyond the image anyway; a slab thinner than one holds it all.
        below, above = max(0, first - around), min(shape[0], stop + around)
        if above - below < WINDOW and shape[0] >= WINDOW:
            below = max(0, above - WINDOW)
        yield first, stop, below, above


def _sums(real: Array, made: Array, likeness: Array) -> npt.NDArray[np.float64]:
    """What rows are made of: `PARTS` of the voxels of a region in a slab."""
    difference = made.astype(np.float64) - real
    known = likeness[np.isfinite(likeness)]
    absolute, squared = np.abs(difference).sum(), np.square(difference).sum()
    return np.array([real.size, difference.sum(), absolute, squared, known.size, known.sum(dtype=np.float64)])


def _row(  # noqa: PLR0913 (the parts, by name)
    n: float, total: float, absolute: float, squared: float, n_known: float, known: float, *, peak: float, bits: int
) -> Row:
    row: Row = {**dict.fromkeys(IMAGE_COLUMNS, math.nan), "n_voxels": int(n), "missing": ""}
    if not n:
        return row | {"missing": EMPTY}
    row |= {"mae": float(absolute / n), "bias": float(total / n), "rmse": math.sqrt(squared / n)}
    row["mae_grey"] = float(absolute / n) / peak * (2**bits - 1)
    if n_known:
        row["ssim"] = float(known / n_known)
    else:
        row["missing"] = THIN
    if squared:
        row["psnr_db"] = 10.0 * math.log10(peak**2 / (squared / n))
    else:
        row["missing"] = EQUAL
    return row
