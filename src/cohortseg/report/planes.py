"""The three planes a body is looked at in: how an array is turned for them, and which slices are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from cohortseg.volume import Array

PLANES = ("axial", "coronal", "sagittal")
"""Slices across the first, second and third axis of an array that was turned by `Turn`."""

LEAST_CROP_MM = 80.0
"""A crop shows at least this much along each axis, so that small lesions keep their surroundings."""

Box: TypeAlias = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""First and one past the last index along each axis."""


@dataclass(frozen=True)
class Turn:
    """How an array (z, y, x) becomes one whose axes run from head to foot, front to back, and right to left.

    Pictures of such an array are what a radiologist is used to: the patient's right is on the left of an axial and
    of a coronal slice, the nose on the left of a sagittal one.

    Parameters
    ----------
    order : (int, int, int)
        Which axis of the array comes first, second and third.
    is_flipped : (bool, bool, bool)
        Whether each of the new axes runs the other way than in the array.
    """

    order: tuple[int, int, int]
    is_flipped: tuple[bool, bool, bool]

    def __call__(self, array: Array) -> Array:
        """The turned array, a view."""
        turned = array.transpose(self.order)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.is_flipped)]

    def numbers(self, values: Sequence[float]) -> tuple[float, float, float]:
        """Numbers of the axes (z, y, x) in the order of the turned array."""
        return values[self.order[0]], values[self.order[1]], values[self.order[2]]

    def place(self, axis: int, index: int, length: int) -> int:
        """The index in the array as it is stored, of an index along an axis of the turned one."""
        return length - 1 - index if self.is_flipped[axis] else index


def turn_of(axes: Sequence[Sequence[float]]) -> Turn:
    """The turn for a grid whose axes z, y, x run along these unit vectors (LPS).

    Each axis of the array goes to the world axis it is closest to; of an oblique grid the planes are tilted as the
    slices are.
    """
    cosines = np.asarray(axes, dtype=float)
    order, flips, free = [], [], {0, 1, 2}
    for world, sign in ((2, -1.0), (1, 1.0), (0, 1.0)):  # head to foot, front to back, right to left
        axis = max(free, key=lambda k: abs(cosines[k, world]))
        free.remove(axis)
        order.append(axis)
        flips.append(bool(cosines[axis, world] * sign < 0))
    return Turn((order[0], order[1], order[2]), (flips[0], flips[1], flips[2]))


def box_around(found: Sequence[tuple[int, int]] | None, shape: Sequence[int], spacing_mm: Sequence[float]) -> Box:
    """The part of an array to show: what was found with a margin, at least 80 mm an axis; all where nothing was.

    Parameters
    ----------
    found : pairs of int or None
        First and last labelled index along each axis.
    shape : three int
        Shape of the array.
    spacing_mm : three float
        Distance of voxel centres along the same axes.
    """
    if found is None:
        return ((0, shape[0]), (0, shape[1]), (0, shape[2]))
    ranges = []
    for (first, last), length, spacing in zip(found, shape, spacing_mm, strict=True):
        size_mm = (last - first + 1) * spacing
        wanted = max(size_mm * 1.5, size_mm + 30.0, LEAST_CROP_MM) / spacing
        middle = (first + last + 1) / 2
        low = max(0, int(np.floor(middle - wanted / 2)))
        ranges.append((low, min(length, int(np.ceil(middle + wanted / 2)))))
    return (ranges[0], ranges[1], ranges[2])


def places(box: tuple[int, int], key: int, n_wanted: int) -> list[int]:
    """At most `n_wanted` indices spread evenly over the box, the key slice among them; ascending.

    Parameters
    ----------
    box : (int, int)
        First and one past the last index.
    key : int
        The slice that must be among them; moved into the box where it lies outside.
    n_wanted : int
        At least 1.
    """
    low, high = box
    key = min(max(key, low), high - 1)
    if n_wanted >= high - low:
        return list(range(low, high))
    if n_wanted == 1:
        return [key]
    spread = np.unique(np.round(np.linspace(low, high - 1, n_wanted)).astype(int))
    spread[int(np.abs(spread - key).argmin())] = key
    return [int(place) for place in spread]


def sizes_px(lengths_mm: Sequence[float], longest_px: int) -> list[tuple[int, int]]:
    """Height and width in pixels of an axial, a coronal and a sagittal slice of a box, all at one scale.

    Parameters
    ----------
    lengths_mm : three float
        Size of the box along the turned axes.
    longest_px : int
        Pixels of the longest of them; no side is below 8.
    """
    scale = longest_px / max(lengths_mm)
    tall, deep, wide = (max(8, round(length * scale)) for length in lengths_mm)
    return [(deep, wide), (tall, wide), (tall, deep)]
