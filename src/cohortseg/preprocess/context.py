"""Coarser model space where a patch would else see less than what is labelled and its surroundings.

A network that sees only the inside of a large tumour, or none of it, cannot tell it from other tissue. So while the
labelled structures are large and compact, resolution is given up for context: as far as a patch needs, no further than
the smallest of them bears.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cohortseg.preprocess.drift import Fingerprint

SURROUNDINGS = 3.0
"""Edge of a patch over that of the box about the labelled voxels: as much on every side, where the image goes on."""
VOXELS_ACROSS = 12.0
"""Voxels across the small structures of a cohort that must be left."""
COMPACT = 0.05
"""Share of the labelled voxels in their box below which they are scattered lesions, whose size is not known."""


def with_context(
    spacing: dict[str, Any], fingerprints: Sequence[Fingerprint], dims: int, patch_voxels: int
) -> dict[str, Any]:
    """The planned voxel size, made coarser if a patch needs that to hold the labelled box and its surroundings.

    Parameters
    ----------
    spacing : dict
        ``value`` (z, y, x; z is None in 2D) and ``because``.
    fingerprints : sequence of dict
        Those without labelled voxels have no say.
    dims : {2, 3}
        Axes of the network.
    patch_voxels : int
        Upper bound of the voxels in a patch.

    Returns
    -------
    dict
        The same where nothing is labelled, or the labelled voxels are scattered, or a patch holds enough. Else the
        finest axes are made coarser, first one and then together, so that their voxels stay as nearly cubes as before.
    """
    labelled = [f for f in fingerprints if f["foreground_box"] is not None]
    if not labelled:
        return spacing
    axes = slice(3 - dims, 3)
    boxes_mm = np.array([_box_mm(f)[axes] for f in labelled])
    images_mm = np.array([_image_mm(f)[axes] for f in labelled])
    fill = float(np.median([_fill(f) for f in labelled]))
    fine = np.array(spacing["value"][axes], float)
    wanted_mm = np.minimum(np.median(images_mm, axis=0), SURROUNDINGS * np.median(boxes_mm, axis=0))
    if fill < COMPACT or np.prod(wanted_mm / fine) <= patch_voxels:
        return spacing
    small_mm = min(_small_mm(labelled, dims, number) for number in _classes(labelled))
    voxel_mm = min(_fitting(fine, wanted_mm, patch_voxels), small_mm / VOXELS_ACROSS)
    coarse = np.maximum(fine, voxel_mm)
    if not (coarse > fine).any():
        return spacing
    edges = " x ".join(f"{edge:.0f}" for edge in wanted_mm)
    why = (
        f"{spacing['because']}; but at least {voxel_mm:.3g} mm, so that a patch of {patch_voxels} voxels sees the "
        f"labelled structures and as much again on every side, or the whole image ({edges} mm), with "
        f"{small_mm / voxel_mm:.0f} voxels left across the small ones ({small_mm:.0f} mm)"
    )
    return {"value": [*spacing["value"][: 3 - dims], *(float(n) for n in coarse)], "because": why}


def _fitting(fine: Any, wanted_mm: Any, patch_voxels: int) -> float:
    """The smallest least voxel size with which a box fits into the patch."""
    low, high = float(fine.min()), float(max(fine.max(), (np.prod(wanted_mm) / patch_voxels) ** (1 / len(fine))))
    for _ in range(50):
        middle = (low + high) / 2.0
        if np.prod(wanted_mm / np.maximum(fine, middle)) <= patch_voxels:
            high = middle
        else:
            low = middle
    return high


def _box_mm(fingerprint: Fingerprint) -> Any:
    first, stop = np.array(fingerprint["foreground_box"])
    return (stop - first) * np.array(fingerprint["spacing_mm"])


def _image_mm(fingerprint: Fingerprint) -> Any:
    return np.array(fingerprint["shape"]) * np.array(fingerprint["spacing_mm"])


def _fill(fingerprint: Fingerprint) -> float:
    first, stop = np.array(fingerprint["foreground_box"])
    return float(sum(fingerprint["voxels"][1:]) / np.prod(stop - first))


def _classes(labelled: Sequence[Fingerprint]) -> list[int]:
    return sorted({number for f in labelled for number, n in enumerate(f["voxels"]) if n and number})


def _small_mm(labelled: Sequence[Fingerprint], dims: int, number: int) -> float:
    """Diameter of a disc or ball as large as the small ones (10th percentile) of a class."""
    sizes = []
    for fingerprint in labelled:
        if not fingerprint["voxels"][number]:
            continue
        _, y_mm, x_mm = fingerprint["spacing_mm"]
        if dims == 3:
            sizes.append((6.0 * 1000.0 * fingerprint["volume_ml"][number] / math.pi) ** (1 / 3))
        else:
            first, stop = fingerprint["foreground_box"]
            area = fingerprint["voxels"][number] / (stop[0] - first[0]) * y_mm * x_mm
            sizes.append(math.sqrt(4.0 * area / math.pi))
    return float(np.percentile(sizes, 10))
