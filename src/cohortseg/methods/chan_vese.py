"""Active contours without edges (Chan-Vese), global and local, by morphological operators."""

from collections.abc import Sequence

import numpy as np

from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.curvature import smoothed
from cohortseg.methods.planes import Pixels, Spacing, by_plane, unit_range
from cohortseg.methods.starts import Mask, Start, check_size, start_mask


def build(
    *,
    start: Start = "ellipse",
    start_size: float = 0.6,
    iterations: int = 100,
    smoothing: int = 1,
    local_mm: float = 0.0,
    local_weight: float = 1.0,
) -> Segment:
    """A segmenter by two regions of different mean in each plane; class 1 is the brighter.

    Parameters
    ----------
    start, start_size
        Shape of the start and its share of the plane's sides.
    iterations, smoothing : int
        Steps; smoothings of the contour in each.
    local_mm : float
        Above 0: a second channel, the image minus its mean over so many mm (standard deviation of a Gaussian), takes
        part, which an uneven illumination does not reach.
    local_weight : float
        Its share of the force, 0 to 1.

    Raises
    ------
    SettingsError
        For a share beyond 0..1.

    Notes
    -----
    Source: Chan & Vese 2001, IEEE Trans. Image Process. 10(2); morphological: Marquez-Neila et al. 2014, IEEE TPAMI
    36(1); local: Wang, Huang & Xu 2010, Pattern Recognit. 43(3).
    """
    check_size(start_size)
    if not 0 <= local_weight <= 1:
        raise SettingsError(f"local_weight must be from 0 to 1, got {local_weight}")

    def plane(image: Pixels, spacing_mm: Spacing) -> Mask:
        scaled = unit_range(image)
        channels, weights = [scaled], [1.0]
        if local_mm > 0 and local_weight > 0:
            channels.append(difference(scaled, local_mm, spacing_mm))
            weights = [1 - local_weight, local_weight]
        found = evolve(
            channels, weights, start_mask(image, start, start_size), iterations=iterations, smoothing=smoothing
        )
        judge = channels[int(np.argmax(weights))]
        if found.all() or not found.any() or judge[found].mean() >= judge[~found].mean():
            return found
        return ~found

    return by_plane(plane)


def difference(image: Pixels, local_mm: float, spacing_mm: Spacing) -> Pixels:
    """The plane minus its local mean."""
    from scipy import ndimage

    sigma = [local_mm / size for size in spacing_mm]
    return np.asarray(image - ndimage.gaussian_filter(image, sigma, mode="reflect"))


def evolve(
    channels: Sequence[Pixels], weights: Sequence[float], inside: Mask, *, iterations: int, smoothing: int
) -> Mask:
    """The region after some steps; its border moves to where the weighted squared distances to the means are smaller.

    Parameters
    ----------
    channels, weights
        Planes and their part in the force.
    inside : bool array, shape (y, x)
        The start.
    """
    now = inside.copy()
    turn = 0
    for _ in range(iterations):
        before = now
        slopes = np.gradient(now.astype(np.int8))
        border = np.abs(slopes[0]) + np.abs(slopes[1]) > 0
        force = np.zeros(now.shape)
        for channel, weight in zip(channels, weights, strict=True):
            within = channel[now].sum() / (now.sum() + 1e-8)
            without = channel[~now].sum() / ((~now).sum() + 1e-8)
            force += weight * ((channel - within) ** 2 - (channel - without) ** 2)
        now = np.where(border & (force != 0), force < 0, now)
        now = smoothed(now, smoothing, turn)
        turn += smoothing
        if turn % 2 == 0 and np.array_equal(now, before):
            break
    return now
