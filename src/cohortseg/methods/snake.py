"""Snakes: a closed curve of points, pulled by edges and held by its own stiffness."""

import numpy as np
import numpy.typing as npt

from cohortseg.methods import Segment
from cohortseg.methods.planes import Pixels, Spacing, by_plane, unit_range
from cohortseg.methods.starts import Mask, check_size


def build(
    *,
    start_size: float = 0.7,
    points: int = 120,
    scale: float = 2.0,
    tension: float = 0.015,
    rigidity: float = 10.0,
    brightness: float = 0.0,
    edges: float = 1.0,
    step: float = 0.001,
    iterations: int = 2500,
) -> Segment:
    """A segmenter by one snake in each plane, from a centred ellipse; what lies inside is class 1.

    Parameters
    ----------
    start_size : float
        Axes of the first ellipse as a share of the plane's sides.
    points : int
        Points of the curve.
    scale : float
        Standard deviation in pixels of the Gaussian that draws edges wide.
    tension, rigidity : float
        Weights of the curve's length and of its bending (alpha, beta).
    brightness, edges : float
        Pull of bright places and of edges.
    step : float
        Time step (gamma).
    iterations : int
        Upper bound of the steps.

    Notes
    -----
    Source: Kass, Witkin & Terzopoulos 1988, IJCV 1(4).
    """
    check_size(start_size)

    def plane(image: Pixels, spacing_mm: Spacing) -> Mask:
        from scipy import ndimage
        from skimage.segmentation import active_contour

        del spacing_mm
        smooth = ndimage.gaussian_filter(unit_range(image), scale, mode="nearest")
        curve = active_contour(
            smooth,
            ellipse(image.shape, start_size, points),
            alpha=tension,
            beta=rigidity,
            w_line=brightness,
            w_edge=edges,
            gamma=step,
            max_num_iter=iterations,
        )
        return within(curve, image.shape)

    return by_plane(plane)


def ellipse(shape: tuple[int, ...], size: float, points: int) -> npt.NDArray[np.float64]:
    """Points (y, x) of a centred ellipse whose axes are a share of the sides of a plane."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    sides = np.stack([np.sin(angle), np.cos(angle)], axis=1) * np.array(shape) * size / 2
    return np.asarray(sides + (np.array(shape) - 1) / 2)


def within(curve: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Mask:
    """The pixels whose centres a closed curve surrounds."""
    from skimage.draw import polygon2mask

    return np.asarray(polygon2mask(shape, curve), dtype=bool)
