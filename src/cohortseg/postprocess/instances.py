"""From classes to objects: connected components, parted where the shape or the probability says that two touch."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.postprocess.components import components
from cohortseg.volume import Array, Triple

Ids: TypeAlias = npt.NDArray[np.int32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Rule: TypeAlias = Literal["components", "watershed", "probability"]
Part: TypeAlias = Callable[[Mask, tuple[slice, ...]], Ids]
"""A component and its box in the image -> ids from 1 inside the component."""


def objects_by_class(label: Array, n_classes: int, part: Callable[[int], Part]) -> Ids:
    """Number the objects of each class, component by component.

    Parameters
    ----------
    label : uint8 array, shape (z, y, x)
        Class numbers; 0 is the background.
    n_classes : int
        Without the background.
    part : callable
        How the components of a class are parted.

    Returns
    -------
    int32 array, shape (z, y, x)
        1, 2, … without a gap, class by class; 0 for the background. All 0 when there is none. Voxels that share a
        corner may belong together; an object never has voxels of two classes.
    """
    from scipy import ndimage

    found, n = np.zeros(label.shape, np.int32), 0
    for value in range(1, n_classes + 1):
        parts, _ = components(label == value)
        part_component = part(value)
        for number, box in enumerate(ndimage.find_objects(parts), start=1):
            # A rim of background where the image has one: an object at its border is not taken to end there.
            wide = tuple(slice(max(0, axis.start - 1), axis.stop + 1) for axis in box)
            mask = parts[wide] == number
            ids = part_component(mask, wide)
            found[wide][mask] = ids[mask] + n
            n += int(ids.max())
    return found


def whole(mask: Mask, _: tuple[slice, ...]) -> Ids:
    """Each component is one object."""
    return mask.astype(np.int32)


def by_distance(*, spacing_mm: Triple, depth_mm: float, smooth_mm: float = 0.0) -> Part:
    """Watershed of the distance to the border; where two swellings meet in a narrower waist, two objects touch.

    Parameters
    ----------
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    depth_mm : float
        The waist must be narrower than the smaller swelling by more than this, in half widths (mm).
    smooth_mm : float
        Standard deviation of a Gaussian that the distance is smoothed with: rough borders make false swellings.

    Notes
    -----
    Source: Meyer 1994 (marker-controlled watershed); markers are the regional maxima of height `depth_mm` (Soille 2004,
    6.3.4).
    """
    import edt
    from scipy import ndimage

    def part(mask: Mask, _: tuple[slice, ...]) -> Ids:
        if mask.all():
            return mask.astype(np.int32)
        distance = np.asarray(edt.edt(mask, anisotropy=spacing_mm, black_border=False, parallel=1), np.float64)
        if smooth_mm > 0:
            sigma = [smooth_mm / size if n > 1 else 0.0 for size, n in zip(spacing_mm, mask.shape, strict=True)]
            distance = ndimage.gaussian_filter(distance, sigma, mode="nearest") * mask
        return flooded(-distance, high_maxima(distance, depth_mm), mask)

    return part


def by_probability(probability: Array, *, marker: float) -> Part:
    """Watershed of the probability of a class: what is connected above `marker` is the core of one object.

    Parameters
    ----------
    probability : float array, shape (z, y, x)
        Of the class, on the grid of the label.
    marker : float
        A component without, or with a single, core is one object.
    """

    def part(mask: Mask, box: tuple[slice, ...]) -> Ids:
        here = np.asarray(probability[box], np.float32)
        cores, _ = components((here >= marker) & mask)
        return flooded(-here, cores.astype(np.int32), mask)

    return part


def high_maxima(surface: npt.NDArray[np.float64], depth: float) -> Ids:
    """Numbers of the maxima from which each way to a higher place goes down by more than `depth`; 0 elsewhere.

    Parameters
    ----------
    surface : float array, shape (z, y, x)
        Not negative; 0 outside.
    """
    from skimage.morphology import local_maxima, reconstruction

    if surface.max() <= depth:
        return np.zeros(surface.shape, np.int32)
    lowered = reconstruction(np.maximum(surface - depth, 0), surface, method="dilation")
    tops = local_maxima(lowered, connectivity=surface.ndim) & (surface > 0)
    return components(tops)[0].astype(np.int32)


def flooded(surface: Array, markers: Ids, mask: Mask) -> Ids:
    """Basins of the markers inside the mask; the whole mask where there is no marker, or one."""
    from skimage.segmentation import watershed

    if markers.max() < 2:
        return mask.astype(np.int32)
    found: Any = watershed(surface, markers, connectivity=np.ones((3,) * mask.ndim), mask=mask)
    return np.asarray(found, dtype=np.int32)
