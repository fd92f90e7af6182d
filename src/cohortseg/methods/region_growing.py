"""Region growing: from a seed to its neighbours, as long as they look like the region.

Regions grow in waves: all neighbours of the region that fit are taken at once, then the region's mean is new. The order
in which voxels lie in memory plays no part, so a turned image gives a turned region.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.levels import Labels, check_objects, chosen, levels_of_regions
from cohortseg.methods.threshold import histogram
from cohortseg.volume import Array, Volume

Criterion = Literal["running_mean", "seed", "confidence"]
Seed = Literal["first_and_modes", "mode", "brightest", "darkest", "centre"]
Mask = npt.NDArray[np.bool_]
Place = tuple[int, int, int]


def build(
    *,
    seeds: Seed = "first_and_modes",
    criterion: Criterion = "running_mean",
    tolerance: float = 0.1,
    deviations: float = 2.5,
    rounds: int = 4,
    connectivity: int = 1,
    regions: int = 32,
    levels: int = 2,
    objects: Sequence[int] | None = None,
) -> Segment:
    """A segmenter by growing one region, or as many as there are grey levels that are common.

    Parameters
    ----------
    seeds : str
        'first_and_modes': the first voxel; then, again and again, the first voxel of the most frequent grey level that
        is still free, up to `regions`; what is left joins the region with the nearest mean. The regions are sorted into
        brightness levels. 'mode', 'brightest', 'darkest', 'centre': one region from there is class 1.
    criterion : str
        'running_mean': differs by at most the tolerance from the mean of the region so far. 'seed': from the seed.
        'confidence': lies within so many standard deviations of the mean of the region, found again in each round.
    tolerance : float
        As a share of the range between the 1st and 99th percentile of the image.
    deviations, rounds
        For 'confidence'.
    connectivity : {1, 2, 3}
        Neighbours share a face, also an edge, also a corner.
    regions : int
        At most so many regions are grown.
    levels, objects
        Brightness levels of the regions; those that become class 1, 2, … (default: the brightest).

    Raises
    ------
    SettingsError
        For settings that cannot be.

    Notes
    -----
    Source: Adams & Bischof 1994, IEEE TPAMI 16(6); the seeds from sorted grey levels and their frequencies after Raja
    et al. 2018; confidence as ITK's ConfidenceConnectedImageFilter.
    """
    wanted = check_objects(objects, levels)
    if connectivity not in (1, 2, 3):
        raise SettingsError(f"connectivity must be 1, 2 or 3, got {connectivity}")

    def segment(volume: Volume) -> Labels:
        image = np.asarray(volume.array, dtype=np.float64)
        low, high = np.percentile(image, [1, 99])
        reach = tolerance * float(high - low if high > low else image.max() - image.min())
        if reach == 0:
            return np.zeros(image.shape, np.uint8)
        if seeds == "first_and_modes":
            found = all_regions(image, criterion, reach, deviations, rounds, connectivity, regions)
            return chosen(levels_of_regions(found, image, levels), wanted)
        start = seed_place(image, seeds)
        return region_from(image, start, criterion, reach, deviations, rounds, connectivity).astype(np.uint8)

    return segment


def region_from(
    image: Array,
    start: Place,
    criterion: Criterion,
    reach: float,
    deviations: float = 2.5,
    rounds: int = 4,
    connectivity: int = 1,
    free: Mask | None = None,
) -> Mask:
    """The region of one seed by one of the criteria; within `free` where that is given."""
    if criterion == "running_mean":
        return grow(image, start, reach, connectivity=connectivity, free=free)
    if criterion == "seed":
        value = float(image[start])
        return flood(image, start, value - reach, value + reach, connectivity=connectivity, free=free)
    return confidence(image, start, deviations, rounds, reach, connectivity=connectivity, free=free)


def flood(
    image: Array, start: Place, low: float, high: float, *, connectivity: int = 1, free: Mask | None = None
) -> Mask:
    """The voxels with low <= value <= high that are connected with the seed; empty when the seed is not among them."""
    fits = (image >= low) & (image <= high)
    if free is not None:
        fits &= free
    return connected(fits, start, connectivity)


def connected(mask: Mask, start: Place, connectivity: int) -> Mask:
    """The component of a mask that holds a voxel; empty when the voxel is not in the mask."""
    import cc3d

    if not mask[start]:
        return np.zeros(mask.shape, bool)
    numbers = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=(6, 18, 26)[connectivity - 1])
    same: Mask = numbers == numbers[start]
    return same


def confidence(
    image: Array,
    start: Place,
    deviations: float,
    rounds: int,
    reach: float,
    *,
    connectivity: int = 1,
    free: Mask | None = None,
) -> Mask:
    """Mean and deviation of the region give the limits of the next one; the first are seed and reach."""
    value = float(image[start])
    low, high = value - reach, value + reach
    found = flood(image, start, low, high, connectivity=connectivity, free=free)
    for _ in range(rounds):
        if not found.any():
            break
        inside = image[found]
        mean, deviation = float(inside.mean()), float(inside.std())
        low, high = min(value, mean - deviations * deviation), max(value, mean + deviations * deviation)
        again = flood(image, start, low, high, connectivity=connectivity, free=free)
        if np.array_equal(again, found):
            break
        found = again
    return found


def grow(image: Array, start: Place, reach: float, *, connectivity: int = 1, free: Mask | None = None) -> Mask:
    """Grow in waves while a neighbour differs by at most `reach` from the mean of the region.

    Parameters
    ----------
    image : array, shape (z, y, x)
    start : (int, int, int)
        The seed.
    reach : float
        Largest difference from the mean, in image units.
    connectivity : {1, 2, 3}
    free : bool array, optional
        Voxels that may be taken; the seed is taken in any case.

    Returns
    -------
    bool array, shape (z, y, x)
        Holds the seed.
    """
    shape = tuple(n + 2 for n in image.shape)
    values = np.pad(np.asarray(image, dtype=np.float64), 1).ravel()
    open_ = np.pad(np.ones(image.shape, bool) if free is None else free, 1).ravel()
    steps = _steps(shape, connectivity)
    at = int(np.ravel_multi_index(tuple(i + 1 for i in start), shape))
    taken = np.zeros(values.size, bool)
    taken[at], open_[at] = True, False
    total, n, border, front = values[at], 1, np.empty(0, np.intp), np.array([at])
    while front.size:
        near = np.unique((front[:, None] + steps).ravel())
        near = near[open_[near]]
        open_[near] = False  # seen once; waits in the border until it fits
        border = np.concatenate([border, near])
        fits = np.abs(values[border] - total / n) <= reach
        front, border = border[fits], border[~fits]
        taken[front] = True
        total, n = total + float(values[front].sum()), n + front.size
    inner = taken.reshape(shape)[1:-1, 1:-1, 1:-1]
    return np.ascontiguousarray(inner)


def all_regions(
    image: Array,
    criterion: Criterion,
    reach: float,
    deviations: float,
    rounds: int,
    connectivity: int,
    n_regions: int,
) -> npt.NDArray[np.int32]:
    """Region numbers from 0: the first voxel, then the most frequent free grey level, again and again.

    What is left after `n_regions` joins the region with the nearest mean.
    """
    numbers = np.full(image.shape, -1, np.int32)
    free, start, means = np.ones(image.shape, bool), (0, 0, 0), []
    for number in range(n_regions):
        found = region_from(image, start, criterion, reach, deviations, rounds, connectivity, free)
        found[start] = True
        numbers[found], free[found] = number, False
        means.append(float(image[found].mean()))
        if not free.any():
            break
        start = _first_of_mode(image, free)
    if free.any():
        far = np.abs(image[free][None, :] - np.array(means)[:, None])
        numbers[free] = far.argmin(axis=0)
    return numbers


def seed_place(image: Array, seeds: Seed) -> Place:
    """Where the one seed lies; of several voxels of a grey level the first in (z, y, x) order."""
    if seeds == "centre":
        z, y, x = (n // 2 for n in image.shape)
        return z, y, x
    if seeds == "mode":
        return _first_of_mode(image, np.ones(image.shape, bool))
    at = int(image.argmax() if seeds == "brightest" else image.argmin())
    z, y, x = (int(i) for i in np.unravel_index(at, image.shape))
    return z, y, x


def _first_of_mode(image: Array, free: Mask) -> Place:
    """The first free voxel whose grey level is the most frequent among the free ones (256 levels of the image)."""
    inside = image[free]
    counts, centres = histogram(inside.reshape(1, 1, -1), None)
    step = -(-counts.size // 256)
    grouped = np.add.reduceat(counts, np.arange(0, counts.size, step))
    mode = int(grouped.argmax())
    width = (centres[-1] - centres[0]) / max(1, counts.size - 1)
    low = centres[0] - width / 2 + mode * step * width
    fits = (inside >= low - 1e-9 * abs(low)) & (inside <= low + step * width)
    at = int(np.flatnonzero(free.ravel())[int(fits.argmax())])
    z, y, x = (int(i) for i in np.unravel_index(at, image.shape))
    return z, y, x


def _steps(shape: Sequence[int], connectivity: int) -> npt.NDArray[np.intp]:
    """Differences of flat indices between a voxel and its neighbours."""
    offsets = np.array([[z, y, x] for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)])
    distance = np.abs(offsets).sum(axis=1)
    near = offsets[(distance > 0) & (distance <= connectivity)]
    return np.asarray(near @ np.array([shape[1] * shape[2], shape[2], 1]), dtype=np.intp)
