"""Canny's edges, closed to contours and filled."""

import numpy as np

from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.planes import Pixels, Spacing, by_plane, unit_range
from cohortseg.methods.starts import Mask


def build(
    *,
    scale: float = 2.0,
    low: float = 0.8,
    high: float = 0.9,
    gap: int = 3,
    smallest_share: float = 0.001,
) -> Segment:
    """A segmenter by the areas that edges of a plane surround; they are class 1.

    Parameters
    ----------
    scale : float
        Standard deviation in pixels of the Gaussian.
    low, high : float
        Hysteresis as shares of all gradients: an edge begins above the quantile `high` and goes on above `low`.
    gap : int
        Contours with gaps up to about twice so many pixels are closed.
    smallest_share : float
        Areas below this share of the plane are left out.

    Raises
    ------
    SettingsError
        When low is not below high.

    Notes
    -----
    Source: Canny 1986, IEEE TPAMI 8(6).
    """
    if not 0 <= low < high <= 1:
        raise SettingsError(f"low must be below high, both from 0 to 1, got {low} and {high}")

    def plane(image: Pixels, spacing_mm: Spacing) -> Mask:
        del spacing_mm
        return filled(edges(image, scale, low, high), gap, max(1, round(smallest_share * image.size)))

    return by_plane(plane)


def edges(image: Pixels, scale: float, low: float, high: float) -> Mask:
    """Edges of one pixel: Gaussian, gradient, thinning across the edge, hysteresis."""
    from skimage.feature import canny

    found = canny(unit_range(image), scale, low_threshold=low, high_threshold=high, use_quantiles=True, mode="nearest")
    return np.asarray(found)


def filled(lines: Mask, gap: int, smallest: int) -> Mask:
    """The areas that closed lines surround, with the lines; open lines and small areas are left out.

    Parameters
    ----------
    lines : bool array, shape (y, x)
    gap : int
        Half the sides of the box that closes gaps.
    smallest : int
        Pixels an area must have.
    """
    import cc3d
    from scipy import ndimage

    wide = np.pad(lines, gap + 1)
    # a box, not a disk: the tip of a disk would slip through the gap of a line of one pixel
    closed = ndimage.binary_closing(wide, np.ones((2 * gap + 1, 2 * gap + 1), bool)) | wide
    solid = ndimage.binary_opening(ndimage.binary_fill_holes(closed), np.ones((3, 3), bool))[
        gap + 1 : gap + 1 + lines.shape[0], gap + 1 : gap + 1 + lines.shape[1]
    ]
    numbers = cc3d.connected_components(np.ascontiguousarray(solid[None]), connectivity=6)[0]
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= smallest)[numbers])
