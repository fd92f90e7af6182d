"""Geodesic active contours by morphological operators: a balloon that stops at edges."""

import numpy as np

from cohortseg.methods import Segment
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
        The balloon rests where the stopping image is below; chosen by scikit-image when left out.

    Notes
    -----
    Source: Caselles, Kimmel & Sapiro 1997, IJCV 22(1); morphological: Marquez-Neila et al. 2014, IEEE TPAMI 36(1).
    """
    check_size(start_size)

    def plane(image: Pixels, spacing_mm: Spacing) -> Mask:
        from skimage.segmentation import inverse_gaussian_gradient, morphological_geodesic_active_contour

        del spacing_mm
        stopping = inverse_gaussian_gradient(unit_range(image), alpha=steepness, sigma=scale)
        found = morphological_geodesic_active_contour(
            stopping,
            iterations,
            start_mask(image, start, start_size).astype(np.int8),
            smoothing=smoothing,
            threshold="auto" if stop_below is None else stop_below,
            balloon=balloon,
        )
        return np.asarray(found > 0)

    return by_plane(plane)
