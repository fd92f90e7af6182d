"""A made image against the real one: one row of numbers for each region of a case."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.columns import IMAGE_COLUMNS
from cohortseg.metrics.regression import WINDOW, ssim_map
from cohortseg.volume import Array

Row = dict[str, float | int | str]
EQUAL, EMPTY, THIN = "equal_images", "empty_region", "too_thin"
"""Why numbers are undefined: PSNR of equal images is infinite; a region without voxels; no window of SSIM fits."""


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
    real, made = (np.clip(image, low, high).astype(np.float32) for image in (reference, prediction))
    likeness = ssim_map(real, made, data_range=high - low) if _is_thick(real) else None
    return {name: _row(real, made, inside, likeness, peak=high - low, bits=bits) for name, inside in regions.items()}


def _is_thick(image: Array) -> bool:
    lengths = [n for n in image.shape if n > 1]
    return bool(lengths) and min(lengths) >= WINDOW


def _row(
    real: Array, made: Array, inside: npt.NDArray[np.bool_], likeness: Array | None, *, peak: float, bits: int
) -> Row:
    row: Row = {**dict.fromkeys(IMAGE_COLUMNS, math.nan), "n_voxels": int(inside.sum()), "missing": ""}
    if not row["n_voxels"]:
        return row | {"missing": EMPTY}
    difference = made[inside].astype(np.float64) - real[inside]
    mae, mse = float(np.abs(difference).mean()), float(np.square(difference).mean())
    row |= {
        "mae": mae,
        "bias": float(difference.mean()),
        "rmse": math.sqrt(mse),
        "mae_grey": mae / peak * (2**bits - 1),
    }
    found = np.empty(0) if likeness is None else likeness[inside]
    found = found[np.isfinite(found)]
    if found.size:
        row["ssim"] = float(found.mean(dtype=np.float64))
    else:
        row["missing"] = THIN
    if mse:
        row["psnr_db"] = 10.0 * math.log10(peak**2 / mse)
    else:
        row["missing"] = EQUAL
    return row
