"""Split and merge: a plane is quartered until its squares are even, then even neighbours are united."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.levels import Labels, check_objects, chosen, levels_of_regions
from cohortseg.methods.partition import Numbers, Sets, borders
from cohortseg.methods.planes import Pixels, Spacing, by_plane, unit_range


def build(*, spread: float = 0.2, smallest: int = 1, levels: int = 2, objects: Sequence[int] | None = None) -> Segment:
    """A segmenter by split and merge of each plane; the regions are sorted into brightness levels.

    Parameters
    ----------
    spread : float
        Largest difference of two pixels in an even region, as a share of the range of the plane (0.5th to 99.5th
        percentile).
    smallest : int
        Side of the smallest square, a power of two.
    levels, objects
        Brightness levels of the regions; those that become class 1, 2, … (default: the brightest).

    Raises
    ------
    SettingsError
        For a smallest square that is no power of two.

    Notes
    -----
    Source: Horowitz & Pavlidis 1976, J. ACM 23(2).
    """
    wanted = check_objects(objects, levels)
    if smallest < 1 or smallest & (smallest - 1):
        raise SettingsError(f"smallest must be a power of two, got {smallest}")

    def plane(image: Pixels, spacing_mm: Spacing) -> Labels:
        del spacing_mm
        scaled = unit_range(image)
        regions = merge(scaled, split(scaled, spread, smallest), spread)
        return chosen(levels_of_regions(regions, image, levels), wanted)

    return by_plane(plane)


def split(image: Pixels, spread: float, smallest: int = 1) -> Numbers:
    """The quadtree's leaves: the largest squares whose pixels differ by at most `spread`.

    Parameters
    ----------
    image : float array, shape (y, x)
        Any shape: the tree stands on the next power of two, and what lies outside counts for nothing.
    spread : float
        Largest minus smallest value of a leaf, except of the smallest squares.
    smallest : int
        Side of the smallest square.

    Returns
    -------
    int array, shape (y, x)
        Leaf numbers from 0.
    """
    side = 1 << max(0, int(max(image.shape) - 1).bit_length())
    side = max(side, smallest)
    low, high = np.full((side, side), np.inf), np.full((side, side), -np.inf)
    low[: image.shape[0], : image.shape[1]] = high[: image.shape[0], : image.shape[1]] = image
    low, high = _blocks(low, smallest, np.min), _blocks(high, smallest, np.max)
    sizes = np.full((side, side), smallest)
    size = smallest
    while size < side:
        size *= 2
        low, high = _blocks(low, 2, np.min), _blocks(high, 2, np.max)
        even = (high - low <= spread) | np.isinf(low)
        sizes = np.where(np.repeat(np.repeat(even, size, 0), size, 1), size, sizes)
    y, x = np.ogrid[:side, :side]
    corner = (y // sizes * sizes) * side + x // sizes * sizes
    # a square lies within an even one of double size only if that is a leaf: sizes are written from small to large
    inner = corner[: image.shape[0], : image.shape[1]]
    numbers = np.unique(inner, return_inverse=True)[1]
    return np.asarray(numbers.reshape(image.shape), dtype=np.int64)


def merge(image: Pixels, leaves: Numbers, spread: float) -> Numbers:
    """Unite neighbouring regions, those with the nearest means first, as long as the union is even.

    Returns
    -------
    int array, shape (y, x)
        Region numbers from 0.
    """
    n = int(leaves.max()) + 1
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, leaves, image)
    np.maximum.at(high, leaves, image)
    _, _, pairs = borders(leaves)
    edges = np.unique(pairs, axis=0)
    means = np.bincount(leaves.ravel(), image.ravel()) / np.bincount(leaves.ravel())
    order = np.argsort(np.abs(means[edges[:, 0]] - means[edges[:, 1]]), kind="stable")
    sets, lows, highs = Sets(n), low.tolist(), high.tolist()
    for i, j in edges[order].tolist():
        a, b = sets.root(i), sets.root(j)
        if a == b:
            continue
        bottom, top = min(lows[a], lows[b]), max(highs[a], highs[b])
        if top - bottom <= spread:
            keep, _ = sets.unite(a, b)
            lows[keep], highs[keep] = bottom, top
    return sets.numbers()[leaves]


def _blocks(values: npt.NDArray[np.float64], size: int, reduce: np.ufunc | object) -> npt.NDArray[np.float64]:
    """One value for each square of a side."""
    n = values.shape[0] // size
    squares = values.reshape(n, size, n, size)
    return np.asarray(reduce(squares, axis=(1, 3)))  # type: ignore[operator]
