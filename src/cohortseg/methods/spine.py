"""The axis of the spine, slice by slice, and the lungs mirrored about it.

A column of bone is bright when all rows of an axial slice are added up. That profile, its smoothing and what is read
off it are the chain of Primakov et al. 2022 in the words of its text; each step has a variant beside it, because on a
real scan the plain chain is farther from the spinal canal than the middle of the body.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.volume import Array

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = Literal["all", "posterior"]
Peak = Literal["highest", "centroid", "symmetry"]
Axis = Literal["smoothed", "mean", "raw", "body"]

BONE_HU = 100.0
MIDDLE = 0.3
"""The spine is sought in this middle share of the body's width."""
TAPS = 7


def profile(plane: Array, body: Array, rows: Rows = "all") -> Floats:
    """How much bone each column of an axial slice holds: its projection along the rows.

    Parameters
    ----------
    plane : number array, shape (y, x)
        HU; y grows to the back.
    body : bool array, shape (y, x)
        Where the body is: the couch is no bone.
    rows : {'all', 'posterior'}
        'posterior' leaves out the front half of the body: sternum and contrast-filled vessels.

    Returns
    -------
    float array, shape (x,)
    """
    bone = (np.asarray(plane) > BONE_HU) & body
    if rows == "posterior":
        seen = np.flatnonzero(body.any(axis=1))
        if seen.size:
            bone[: (seen[0] + seen[-1] + 1) // 2] = False
    return np.asarray(bone.sum(axis=0), dtype=np.float64)


def moving_average(values: Array, taps: int = TAPS) -> Floats:
    """Mean of so many neighbours; as long as the input, with nothing beyond the ends, so that a peak stays in place.

    Raises
    ------
    ValueError
        For an even or negative number of taps.
    """
    if taps < 1 or taps % 2 == 0:
        raise ValueError(f"taps must be odd, got {taps}")
    half = taps // 2
    padded = np.pad(np.asarray(values, dtype=np.float64), half)
    return np.convolve(padded, np.full(taps, 1.0 / taps), mode="valid")


def centre_of(values: Floats, body_columns: Array, peak: Peak = "highest") -> float:
    """Where the spine is in a profile: its highest value, the centroid of what is above half of that, or its symmetry.

    Parameters
    ----------
    values : float array, shape (x,)
        Smoothed profile.
    body_columns : bool array, shape (x,)
        Columns that hold body; only the middle share of them is searched.
    peak : {'highest', 'centroid', 'symmetry'}
        'symmetry' is the column about which the whole profile resembles its mirror image most: ribs help to find it.

    Returns
    -------
    float
        Column, to a half for 'symmetry'; NaN when there is no body or no bone.
    """
    seen = np.flatnonzero(body_columns)
    if not seen.size:
        return float("nan")
    middle, reach = (seen[0] + seen[-1]) / 2, (seen[-1] - seen[0] + 1) * MIDDLE / 2
    first, last = int(np.ceil(middle - reach)), int(np.floor(middle + reach))
    if peak == "symmetry":  # values about c overlap with their mirror image in the element 2c of their convolution
        alike = np.convolve(values, values)[2 * first : 2 * last + 1]
        return first + _middle_of_highest(alike) / 2
    part = values[first : last + 1]
    if not part.size or part.max() <= 0:
        return float("nan")
    if peak == "highest":
        return first + _middle_of_highest(part)
    weights = np.where(part >= part.max() / 2, part, 0.0)
    return first + float(weights @ np.arange(part.size) / weights.sum())


def _middle_of_highest(values: Floats) -> float:
    """Place of the highest value, of a plateau its middle; NaN when nothing is above 0."""
    if not values.size or values.max() <= 0:
        return float("nan")
    return float(np.flatnonzero(values >= values.max() * (1 - 1e-9)).mean())


def start_of(centres: Sequence[float], n: int = 5) -> float:
    """S0: the mean of the first n centres.

    The formula as printed adds n + 1 terms and divides by n; "the first five slices" of its text is meant. Slices
    without a centre (NaN) do not count; NaN when all are.
    """
    first = [centre for centre in centres[:n] if not np.isnan(centre)]
    return float(np.mean(first)) if first else float("nan")


def smoothed(centres: Sequence[float], start: float, alpha: float = 0.3) -> Floats:
    """Exponential smoothing: S_t = alpha x_t + (1 - alpha) S_(t-1), with S_0 = start.

    A slice without a centre (NaN) keeps the position before it.

    Examples
    --------
    >>> smoothed([10.0] * 3, 0.0).round(3).tolist()
    [3.0, 5.1, 6.57]
    """
    found, now = [], start
    for centre in centres:
        if not np.isnan(centre):
            now = centre if np.isnan(now) else alpha * centre + (1 - alpha) * now
        found.append(now)
    return np.array(found, dtype=np.float64)


def spine_axis(
    image: Array,
    body: Mask,
    slices: Array,
    *,
    rows: Rows = "posterior",
    peak: Peak = "symmetry",
    axis: Axis = "smoothed",
    taps: int = TAPS,
    first: int = 5,
    alpha: float = 0.3,
) -> Floats:
    """Column of the spine in each slice of a volume.

    Parameters
    ----------
    image : array-like, shape (z, y, x)
        HU, y to the back.
    body : bool array, shape (z, y, x)
    slices : bool array, shape (z,)
        Slices that hold lung; the smoothing begins at the first of them.
    rows, peak
        As in `profile` and `centre_of`.
    axis : {'smoothed', 'mean', 'raw', 'body'}
        Exponential smoothing over the slices; one mean for all; each slice's own centre; the middle of the body.
    taps, first, alpha
        Numbers of the moving average, of the slices of the start and of the smoothing.

    Returns
    -------
    float array, shape (z,)
        Slices outside the lungs take the value of the nearest slice within; all of them the middle of the image where
        no centre was found.

    Raises
    ------
    SettingsError
        For an even number of taps.
    """
    if taps < 1 or taps % 2 == 0:
        raise SettingsError(f"the moving average needs an odd number of taps, got {taps}")
    at = np.flatnonzero(slices)
    centres = []
    for z in at:
        columns = body[z].any(axis=0)
        if axis == "body":
            seen = np.flatnonzero(columns)
            centres.append(float(seen[0] + seen[-1]) / 2 if seen.size else float("nan"))
        else:
            centres.append(centre_of(moving_average(profile(image[z], body[z], rows), taps), columns, peak))
    found = np.array(centres, dtype=np.float64)
    out = np.full(image.shape[0], (image.shape[2] - 1) / 2)
    if not at.size or np.isnan(found).all():
        return out
    if axis == "smoothed":
        found = smoothed(centres, start_of(centres, first), alpha)
    elif axis == "mean":
        found = np.full(at.size, np.nanmean(found))
    known = ~np.isnan(found)
    return np.interp(np.arange(out.size), at[known], found[known])


def mirrored(mask: Mask, axis: Array) -> Mask:
    """The mask mirrored in each slice about a column: x' = 2 S - x, to the nearest half column.

    Twice gives the mask again, but for what left the image.

    Parameters
    ----------
    mask : bool array, shape (z, y, x)
    axis : float array, shape (z,)
        Column of the mirror in each slice.
    """
    out = np.zeros_like(mask)
    n = mask.shape[2]
    for z, column in enumerate(np.asarray(axis)):
        twice = round(2 * float(column))
        first, last = max(0, twice - n + 1), min(n - 1, twice)
        if first <= last:
            out[z, :, first : last + 1] = mask[z, :, twice - last : twice - first + 1][:, ::-1]
    return out


def symmetric(mask: Mask, axis: Array) -> Mask:
    """The union of a mask and its mirror image: a lung that is collapsed or full takes the place of the other."""
    return mask | mirrored(mask, axis)
