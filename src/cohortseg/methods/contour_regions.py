"""From contours to closed regions: a watershed of the contour strength, whose weak borders fall first."""

import heapq
from collections.abc import Sequence

import numpy as np

from cohortseg.methods import Segment
from cohortseg.methods.levels import Labels, check_objects, chosen, levels_of_regions
from cohortseg.methods.partition import Numbers, Sets, borders
from cohortseg.methods.planes import Pixels, Spacing, by_plane, unit_range


def build(
    *, scale_mm: float = 1.5, strength: float = 0.05, levels: int = 2, objects: Sequence[int] | None = None
) -> Segment:
    """A segmenter by regions between contours of each plane, sorted into brightness levels.

    Parameters
    ----------
    scale_mm : float
        Standard deviation of the Gaussian before the gradient.
    strength : float
        Borders whose mean strength is below this fall; in gradients per pixel of an image from 0 to 1.
    levels, objects
        Brightness levels of the regions; those that become class 1, 2, … (default: the brightest).

    Notes
    -----
    Source: Arbelaez et al. 2011, IEEE TPAMI 33(5), in its simple form: gradient magnitude in place of gPb.
    """
    wanted = check_objects(objects, levels)

    def plane(image: Pixels, spacing_mm: Spacing) -> Labels:
        contour = contour_strength(unit_range(image), scale_mm, spacing_mm)
        regions = regions_between(contour, strength)
        return chosen(levels_of_regions(regions, image, levels), wanted)

    return by_plane(plane)


def contour_strength(image: Pixels, scale_mm: float, spacing_mm: Spacing) -> Pixels:
    """Gradient magnitude of a smoothed plane, per pixel."""
    from scipy import ndimage

    sigma = [scale_mm / size for size in spacing_mm]
    return np.asarray(ndimage.gaussian_gradient_magnitude(image, sigma, mode="reflect"), dtype=np.float64)


def regions_between(contour: Pixels, strength: float) -> Numbers:
    """Closed regions: basins of the contour strength, united across borders weaker than a limit.

    The weakest border falls first; what two united regions share with a third becomes one border, whose strength is the
    mean over its pixels. A higher limit only unites: partitions are nested.

    Parameters
    ----------
    contour : float array, shape (y, x)
    strength : float

    Returns
    -------
    int array, shape (y, x)
        Region numbers from 0.
    """
    from skimage.segmentation import watershed

    basins = np.asarray(watershed(contour), dtype=np.int64) - 1
    return unite_weak(basins, contour, strength)[basins]


def unite_weak(basins: Numbers, contour: Pixels, strength: float) -> Numbers:
    """Region number of each basin after all borders weaker than the limit have fallen."""
    n = int(basins.max()) + 1
    first, second, pairs = borders(basins)
    flat = contour.ravel()
    edges, at = np.unique(pairs, axis=0, return_inverse=True)
    sums = np.bincount(at.ravel(), np.maximum(flat[first], flat[second]), minlength=len(edges))
    counts = np.bincount(at.ravel(), minlength=len(edges))
    near: list[dict[int, tuple[float, int]]] = [{} for _ in range(n)]
    queue: list[tuple[float, int, int]] = []
    for (i, j), total, length in zip(edges.tolist(), sums.tolist(), counts.tolist(), strict=True):
        near[i][j] = near[j][i] = (total, length)
        queue.append((total / length, i, j))
    heapq.heapify(queue)
    sets = Sets(n)
    while queue and queue[0][0] < strength:
        weak, i, j = heapq.heappop(queue)
        border = near[i].get(j)
        if border is None or border[0] / border[1] != weak:
            continue  # the border has fallen, or is part of a longer one by now
        keep, gone = sets.unite(i, j)
        del near[keep][gone], near[gone][keep]
        for other, (total, length) in near[gone].items():
            del near[other][gone]
            before = near[keep].get(other, (0.0, 0))
            total, length = total + before[0], length + before[1]
            near[keep][other] = near[other][keep] = (total, length)
            heapq.heappush(queue, (total / length, min(keep, other), max(keep, other)))
        near[gone] = {}
    return sets.numbers()
