"""Where a contour starts: a centred ellipse or box, or what is brighter than Otsu's threshold."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.methods.planes import Pixels

Start = Literal["ellipse", "box", "otsu"]
Mask = npt.NDArray[np.bool_]


def check_size(size: float) -> None:
    """A start must lie in the plane.

    Raises
    ------
    SettingsError
        When its size is no share above 0 and at most 1.
    """
    if not 0 < size <= 1:
        raise SettingsError(f"start_size must be above 0 and at most 1, got {size}")


def start_mask(plane: Pixels, start: Start, size: float) -> Mask:
    """The pixels a contour starts round.

    Parameters
    ----------
    plane : float array, shape (y, x)
    start : {'ellipse', 'box', 'otsu'}
    size : float
        Axes of the ellipse or sides of the box as a share of the plane's sides.
    """
    if start == "otsu":
        from skimage.filters import threshold_otsu

        return np.asarray(plane > threshold_otsu(plane))
    y, x = np.ogrid[: plane.shape[0], : plane.shape[1]]
    far_y, far_x = (np.abs((axis - (n - 1) / 2) / (n * size / 2)) for axis, n in zip((y, x), plane.shape, strict=True))
    return np.asarray((far_y <= 1) & (far_x <= 1) if start == "box" else far_y**2 + far_x**2 <= 1)
