"""Geodesic active contours by morphological operators: a balloon that stops at edges."""

import numpy as np

from cohortseg.methods import Segment
from cohortseg.methods.curvature import smoothed
from cohortseg.methods.planes import Pixels, Spacing, by_plane, unit_range
from cohortseg.methods.starts import Mask, Start, check_size, start_mask


def build(
    *,
    start: Start = "ellipse",
    start_size: float = 0.8,
    iterations: int = 150,
    smoothing: int = 1,
    balloon: int = -1,
    scale: float = 2.0,
    steepness: float = 100.0,
    stop_below: float | None = None,
) -> Segment:
    """A segmenter by a contour in each plane; what lies inside is class 1.

    Parameters
    ----------
    start, start_size
        Shape of the start and its share of the plane's sides.
    iterations, smoothing : int
        Steps; smoothings of the contour in each.
    balloon : int
        -1 shrinks, 1 grows, 0 follows edges only.
    scale, steepness : float
        The stopping image is 1 / sqrt(1 + steepness |grad (G_scale * I)|); scale in pixels, I from 0 to 1.
    stop_below : float, optional
        The balloon rests where the stopping image is below; the 40th percentile of that image when left out.

    Notes
    -----
    Source: Caselles, Kimmel & Sapiro 1997, IJCV 22(1); morphological: Marquez-Neila et al. 2014, IEEE TPAMI 36(1).
    """
    check_size(start_size)

    def plane(image: Pixels, spacing_mm: Spacing) -> Mask:
        from skimage.segmentation import inverse_gaussian_gradient

        del spacing_mm
        stopping = np.asarray(inverse_gaussian_gradient(unit_range(image), alpha=steepness, sigma=scale))
        limit = float(np.percentile(stopping, 40)) if stop_below is None else stop_below
        inside = start_mask(image, start, start_size)
        return evolve(inside, stopping, limit, balloon=balloon, iterations=iterations, smoothing=smoothing)

    return by_plane(plane)


def evolve(inside: Mask, stopping: Pixels, limit: float, *, balloon: int, iterations: int, smoothing: int) -> Mask:
    """The region after some steps: balloon where the stopping image is above the limit, attraction, smoothing.

    Parameters
    ----------
    inside : bool array, shape (y, x)
        The start.
    stopping : float array, shape (y, x)
        Near 0 on edges.
    limit, balloon, iterations, smoothing
        As in `build`.
    """
    from scipy import ndimage

    now, turn = inside.copy(), 0
    box = np.ones((3, 3), bool)
    slope_y, slope_x = np.gradient(stopping)
    free = stopping > limit
    for _ in range(iterations):
        before = now
        if balloon:
            moved = ndimage.binary_dilation(now, box) if balloon > 0 else ndimage.binary_erosion(now, box)
            now = np.where(free, moved, now)
        edge_y, edge_x = np.gradient(now.astype(np.float64))
        pull = slope_y * edge_y + slope_x * edge_x
        now = smoothed(np.where(pull != 0, pull > 0, now), smoothing, turn)
        turn += smoothing
        if turn % 2 == 0 and np.array_equal(now, before):
            break
    return now
