"""Distance regularised level set evolution: an edge-based contour that needs no re-initialisation."""

import numpy as np

from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.planes import Pixels, Spacing, by_plane, unit_range
from cohortseg.methods.starts import Mask, Start, check_size, start_mask

HEIGHT = 2.0
"""The start is a step of -2 inside and 2 outside (c0)."""
DIRAC_WIDTH = 1.5
GREY = 255.0
"""The edge indicator is defined for 8-bit images: planes are scaled to 0..255."""


def build(
    *,
    start: Start = "box",
    start_size: float = 0.8,
    scale: float = 1.5,
    step: float = 5.0,
    regularisation: float = 0.2,
    length: float = 5.0,
    area: float = 1.5,
    iterations: int = 200,
    refine: int = 10,
) -> Segment:
    """A segmenter by a level set in each plane; what lies inside the contour is class 1.

    Parameters
    ----------
    start, start_size
        Shape of the start and its share of the plane's sides.
    scale : float
        Standard deviation in pixels of the Gaussian before the gradient.
    step : float
        Time step dt.
    regularisation : float
        mu times dt; stable below 0.25. At 0 the level set loses its shape.
    length, area : float
        Weights of the contour's length on edges (lambda) and of the area inside (alpha; above 0 shrinks, below grows).
    iterations, refine : int
        Steps, and steps without the area at the end.

    Raises
    ------
    SettingsError
        For an unstable regularisation, or a start outside the plane.

    Notes
    -----
    Source: Li, Xu, Gui & Fox 2010, IEEE Trans. Image Process. 19(12), with the double-well potential.
    """
    check_size(start_size)
    if not 0 <= regularisation < 0.25:
        raise SettingsError(f"regularisation (mu dt) must be from 0 and below 0.25, got {regularisation}")

    def plane(image: Pixels, spacing_mm: Spacing) -> Mask:
        del spacing_mm
        scaled = GREY * unit_range(image)
        phi = np.where(start_mask(image, start, start_size), -HEIGHT, HEIGHT)
        indicator = edge_indicator(scaled, scale)
        options = {"step": step, "regularisation": regularisation, "length": length}
        phi = evolve(phi, indicator, area=area, iterations=iterations, **options)
        return evolve(phi, indicator, area=0.0, iterations=refine, **options) < 0

    return by_plane(plane)


def edge_indicator(image: Pixels, scale: float) -> Pixels:
    """G = 1 / (1 + |grad (G * I)|^2): 1 in even areas, near 0 on edges."""
    from scipy import ndimage

    slopes = np.gradient(ndimage.gaussian_filter(image, scale, mode="nearest"))
    return np.asarray(1.0 / (1.0 + slopes[0] ** 2 + slopes[1] ** 2))


def evolve(
    phi: Pixels,
    indicator: Pixels,
    *,
    step: float,
    regularisation: float,
    length: float,
    area: float,
    iterations: int,
) -> Pixels:
    """The level set after some steps of gradient flow (equation 30 of the paper); negative inside.

    Parameters
    ----------
    phi, indicator : float array, shape (y, x)
    step, regularisation, length, area, iterations
        As in `build`.
    """
    g_y, g_x = np.gradient(indicator)
    phi = phi.copy()
    for _ in range(iterations):
        _neumann(phi)
        p_y, p_x = (np.asarray(slope) for slope in np.gradient(phi))
        size = np.sqrt(p_y**2 + p_x**2)
        n_y, n_x = p_y / (size + 1e-10), p_x / (size + 1e-10)
        curvature = _divergence(n_y, n_x)
        dirac = np.where(np.abs(phi) <= DIRAC_WIDTH, (1 + np.cos(np.pi * phi / DIRAC_WIDTH)) / (2 * DIRAC_WIDTH), 0.0)
        edge = dirac * (g_y * n_y + g_x * n_x + indicator * curvature)
        phi += regularisation * distance_term(phi, p_y, p_x, size)
        phi += step * (length * edge + area * dirac * indicator)
    return phi


def distance_term(phi: Pixels, p_y: Pixels, p_x: Pixels, size: Pixels) -> Pixels:
    """div(d_p grad phi) with d_p(s) = p'(s) / s: diffuses forth or back until |grad phi| is 1, or 0 far away.

    The part with d_p = 1 is a compact Laplacian: central differences twice would not see a checkerboard.
    """
    from scipy import ndimage

    slope = np.where(size <= 1, np.sin(2 * np.pi * size) / (2 * np.pi), size - 1)
    rate = np.where(slope == 0, 1.0, slope) / np.where(size == 0, 1.0, size)
    laplacian = ndimage.laplace(phi, mode="nearest")
    return np.asarray(_divergence((rate - 1) * p_y, (rate - 1) * p_x) + laplacian)


def _divergence(y: Pixels, x: Pixels) -> Pixels:
    return np.asarray(np.gradient(y, axis=0) + np.gradient(x, axis=1))


def _neumann(phi: Pixels) -> None:
    """No slope across the border of the plane: what lies on it equals what lies two pixels in."""
    if min(phi.shape) < 3:
        return
    phi[0], phi[-1] = phi[2].copy(), phi[-3].copy()
    phi[:, 0], phi[:, -1] = phi[:, 2].copy(), phi[:, -3].copy()
