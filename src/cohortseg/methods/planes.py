"""A function of one (y, x) plane becomes a method: planes do not see each other, and one is held at a time."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array, Volume

Pixels: TypeAlias = npt.NDArray[np.float64]
Spacing: TypeAlias = tuple[float, float]
InPlane: TypeAlias = Callable[[Pixels, Spacing], npt.NDArray[Any]]
"""Plane (y, x) as float64 and its spacing_mm (y, x) -> label of the plane."""


def by_plane(function: InPlane) -> Callable[[Volume], npt.NDArray[np.uint8]]:
    """The segmenter that applies a function to each plane; a plane of one value is background without a call."""

    def segment(volume: Volume) -> npt.NDArray[np.uint8]:
        spacing_mm = (volume.grid.spacing_mm[1], volume.grid.spacing_mm[2])
        out = np.zeros(volume.grid.shape, np.uint8)
        for z in range(len(out)):
            plane: Array = np.asarray(volume.array[z], dtype=np.float64)
            if plane.min() < plane.max():
                out[z] = function(plane, spacing_mm)
        return out

    return segment


def unit_range(plane: Pixels, low: float = 0.5, high: float = 99.5) -> Pixels:
    """The plane scaled so that two percentiles are 0 and 1, clipped; all 0 where they are equal."""
    bottom, top = np.percentile(plane, [low, high])
    if top <= bottom:
        bottom, top = plane.min(), plane.max()
    if top <= bottom:
        return np.zeros(plane.shape)
    return np.asarray(np.clip((plane - bottom) / (top - bottom), 0.0, 1.0), dtype=np.float64)
