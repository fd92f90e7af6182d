"""From clusters and regions to classes: brightness levels, darkest first, and which of them are objects.

A method that divides an image without a reference cannot know which part is wanted. All of them sort what they find by
brightness into levels 1, 2, …; the settings name the levels that become class 1, 2, …
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.volume import Array

Labels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

MAX_LEVELS = 16


def check_objects(objects: Sequence[int] | None, n_levels: int) -> tuple[int, ...]:
    """The levels that become class 1, 2, …; the brightest where none are named.

    Raises
    ------
    SettingsError
        When there are fewer than 2 or too many levels, or an object is no level or named twice.
    """
    if not 2 <= n_levels <= MAX_LEVELS:
        raise SettingsError(f"levels must be from 2 to {MAX_LEVELS}, got {n_levels}")
    wanted = (n_levels,) if objects is None else tuple(objects)
    if not wanted or len(set(wanted)) < len(wanted) or min(wanted) < 1 or max(wanted) > n_levels:
        raise SettingsError(f"objects must be different levels from 1 to {n_levels}, got {list(wanted)}")
    return wanted


def chosen(levels: Labels, objects: Sequence[int]) -> Labels:
    """Class numbers from levels: the first of `objects` is class 1; all other levels, and level 0, are background."""
    classes = np.zeros(levels.shape, np.uint8)
    for number, level in enumerate(objects, start=1):
        classes += (levels == level).view(np.uint8) * np.uint8(number)
    return classes


def level_of(values: Array, limits: Floats) -> Labels:
    """The number (from 1) of the part of the scale that a value lies in; a value on a limit belongs to the darker part.

    Parameters
    ----------
    values : array
        Of any shape; read as it is.
    limits : float array, shape (levels - 1,)
        Ascending and finite.
    """
    read = np.asarray(values)
    whole = read.dtype.kind in "iu"
    out = np.full(read.shape, limits.size + 1, np.uint8)
    for limit in limits:  # integers are compared as such: many at a time, and none is converted
        out -= (read <= (math.floor(limit) if whole else limit)).view(np.uint8)
    return out


def nearest_level(values: Array, centres: Floats) -> Labels:
    """The number (from 1) of the nearest of ascending centres; a value in the middle goes to the darker.

    Parameters
    ----------
    values : array
        Of any shape; read as it is.
    centres : float array, shape (levels,)
        Ascending.
    """
    return level_of(values, (centres[1:] + centres[:-1]) / 2)


def lloyd(values: Floats, weights: Floats, n_levels: int, starts: Floats, *, iterations: int = 300) -> Floats:
    """Centres of k-means on weighted numbers, from given starts, until nothing moves.

    Parameters
    ----------
    values, weights : float array, shape (n,)
        Ascending values and how often each stands: a histogram gives the same centres as its voxels.
    n_levels : int
        Number of centres.
    starts : float array, shape (levels,)
        Ascending first centres.
    iterations : int
        Upper bound.

    Returns
    -------
    float array, shape (levels,)
        Ascending. A level that no value is nearest to keeps its centre.
    """
    mass = np.concatenate([[0.0], np.cumsum(weights)])
    moment = np.concatenate([[0.0], np.cumsum(weights * values)])
    centres = np.sort(starts.astype(np.float64))
    for _ in range(iterations):
        cuts = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2, side="right")
        edges = np.concatenate([[0], cuts, [values.size]])
        masses, moments = np.diff(mass[edges]), np.diff(moment[edges])
        moved = np.sort(np.where(masses > 0, moments / np.maximum(masses, 1e-300), centres))
        if np.array_equal(moved, centres):
            break
        centres = moved
    assert centres.size == n_levels
    return centres


def spread_starts(values: Floats, weights: Floats, n_levels: int) -> Floats:
    """Quantiles in the middle of equal shares of the voxels, moved apart where a value fills several."""
    shares = np.cumsum(weights) / weights.sum()
    at = np.minimum(np.searchsorted(shares, (np.arange(n_levels) + 0.5) / n_levels), values.size - 1)
    starts = values[at]
    if np.unique(starts).size < n_levels:
        starts = np.linspace(values[0], values[-1], n_levels)
    return np.asarray(starts, dtype=np.float64)


def best_centres(values: Floats, weights: Floats, n_levels: int, *, seed: int = 0, n_starts: int = 1) -> Floats:
    """The centres with the smallest sum of squares among those from the quantiles and from `n_starts - 1` random draws.

    Source: Lloyd 1982, IEEE Trans. Inf. Theory 28(2); the sum of squares is that of MacQueen 1967.
    """
    random = np.random.default_rng(seed)
    tries = [spread_starts(values, weights, n_levels)]
    for _ in range(n_starts - 1 if np.count_nonzero(weights) >= n_levels else 0):
        tries.append(np.sort(random.choice(values, n_levels, replace=False, p=weights / weights.sum())))
    found = [lloyd(values, weights, n_levels, starts) for starts in tries]
    costs = [float(weights @ (values - centres[nearest_level(values, centres) - 1]) ** 2) for centres in found]
    return found[int(np.argmin(costs))]


def levels_of_regions(regions: Array, image: Array, n_levels: int) -> Labels:
    """The level of each region by its mean: k-means on the means, weighted by the size of the regions.

    Parameters
    ----------
    regions : int array
        Region numbers from 0; each voxel belongs to one.
    image : number array of the same shape

    Returns
    -------
    uint8 array of the same shape
        1 (darkest) to `n_levels`; all 1 where there are fewer regions with different means than levels.
    """
    sizes = np.bincount(regions.ravel()).astype(np.float64)
    sums = np.bincount(regions.ravel(), weights=np.asarray(image, dtype=np.float64).ravel())
    means = sums / np.maximum(sizes, 1)
    used = sizes > 0
    values, inverse = np.unique(means[used], return_inverse=True)
    if values.size < n_levels:
        return np.ones(regions.shape, np.uint8)
    weights = np.asarray(np.bincount(inverse, weights=sizes[used]), dtype=np.float64)
    centres = best_centres(values, weights, n_levels)
    return nearest_level(means, centres)[regions]
