"""Agreement close to the outline of the reference: what counts inside a narrow band, and how much would be redrawn.

The band of width w holds the voxels whose centre lies at most w mm from the centre of a surface voxel of the
reference (`surface.surface`), inside and outside of it. A wide band gives the plain Jaccard index, a narrow one tells
apart two masks that both have the bulk of a large organ right.
"""

import math

import numpy as np

from cohortseg.metrics.bits import Bits, Words, count, moved_down, moved_up
from cohortseg.metrics.surface import TOLERANCE_SLACK, surface
from cohortseg.volume import Triple


def within(bits: Bits, *, distance_mm: float, spacing_mm: Triple) -> Bits:
    """The voxels whose centre lies at most so far from that of a voxel of the mask.

    Parameters
    ----------
    bits : Bits
    distance_mm : float
        0 gives the mask itself; a distance equal to it is within it.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.

    Returns
    -------
    Bits
        Exact; empty for an empty mask. Bits beyond the image may be set.
    """
    limit = distance_mm * (1.0 + TOLERANCE_SLACK)
    far = [min(int(limit / size), n - 1) for size, n in zip(spacing_mm[:2], bits.shape[:2], strict=True)]
    steps: dict[int, list[tuple[int, int]]] = {}
    for z in range(-far[0], far[0] + 1):
        for y in range(-far[1], far[1] + 1):
            rest = limit**2 - (z * spacing_mm[0]) ** 2 - (y * spacing_mm[1]) ** 2
            if rest >= 0:
                steps.setdefault(int(math.sqrt(rest) / spacing_mm[2]), []).append((z, y))
    found, wide = np.zeros_like(bits.words), bits.words
    for half in range(max(steps) + 1):
        if half:
            wide = wide | moved_up(wide) | moved_down(wide)
        for z, y in steps.get(half, ()):
            _join(found, wide, z, y)
    return Bits(found, bits.shape, bits.corner)


def _join(target: Words, words: Words, z: int, y: int) -> None:
    """Add the bits moved by (z, y) voxels."""
    here, there = zip(*(_overlap(step, n) for step, n in zip((z, y), words.shape, strict=False)), strict=True)
    target[tuple(there)] |= words[tuple(here)]


def _overlap(step: int, n: int) -> tuple[slice, slice]:
    return slice(max(0, -step), n - max(0, step)), slice(max(0, step), n - max(0, -step))


def boundary_jaccard(reference: Bits, prediction: Bits, *, band_mm: float, spacing_mm: Triple) -> float:
    """Jaccard index of what lies in the band around the reference's surface, in [0, 1].

    The trimap evaluation of Kohli 2009 and Chen 2018 (DeepLab), for one class and with a width in mm. NaN without a
    reference, 0 without a prediction.
    """
    if not reference.words.any():
        return math.nan
    band = within(surface(reference), distance_mm=band_mm, spacing_mm=spacing_mm).words
    either = count((reference.words | prediction.words) & band)
    return count(reference.words & prediction.words & band) / either


def added_path_mm(reference: Bits, prediction: Bits, *, spacing_mm: Triple) -> float:
    """Added path length: outline of the reference, slice by slice, that the prediction's outline does not share.

    Vaassen 2020: pixels of the reference's contour that are not in the predicted contour, here with the outline of
    `surface` in each slice, times the mean of the pixel sizes along y and x. 0 without a reference.
    """
    return added_path(reference, prediction) * (spacing_mm[1] + spacing_mm[2]) / 2.0


def added_path(reference: Bits, prediction: Bits) -> int:
    """The same in pixels."""
    outlines = [surface(bits, axes=(1, 2)).words for bits in (reference, prediction)]
    return count(outlines[0] & ~outlines[1])
