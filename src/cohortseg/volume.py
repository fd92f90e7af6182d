"""A voxel grid in space, and an array of voxels on it.

Arrays are always (z, y, x). World coordinates are always LPS, in mm, written (x, y, z) as DICOM does.
The order of the axes is turned round in one place only: io/itk.py.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, int, int]
Triple: TypeAlias = tuple[float, float, float]

ORTHOGONAL_TOLERANCE = 1e-4
"""Largest cosine between two axes of a grid that still counts as a right angle."""


@dataclass(frozen=True)
class Grid:
    """Where each voxel lies. Per-axis values are ordered (z, y, x).

    Parameters
    ----------
    shape : (int, int, int)
        Number of voxels along z, y, x.
    spacing_mm : (float, float, float)
        Distance of voxel centres along z, y, x.
    origin_mm : (float, float, float)
        World position (x, y, z; LPS) of the centre of voxel (0, 0, 0).
    axes : three unit vectors
        World direction of growing z, y and x index.

    Raises
    ------
    ValueError
        When a size is not positive, a number is not finite or the axes are not orthonormal.
    """

    shape: Shape
    spacing_mm: Triple
    origin_mm: Triple
    axes: tuple[Triple, Triple, Triple] = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.spacing_mm) <= 0:
            raise ValueError(f"shape and spacing_mm must be positive, got {self.shape} and {self.spacing_mm}")
        directions = np.asarray(self.axes, dtype=float)
        numbers = [*self.spacing_mm, *self.origin_mm, *directions.ravel()]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"grid numbers must be finite, got {self}")
        if np.abs(directions @ directions.T - np.eye(3)).max() > ORTHOGONAL_TOLERANCE:
            raise ValueError(f"axes must be orthonormal, got {self.axes}")

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Float array, shape (4, 4): voxel index (z, y, x, 1) to world (x, y, z, 1), LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = (np.asarray(self.axes) * np.asarray(self.spacing_mm)[:, None]).T
        matrix[:3, 3] = self.origin_mm
        return matrix

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return math.prod(self.spacing_mm) / 1000.0

    def world(self, index: tuple[float, float, float]) -> Triple:
        """World position (x, y, z; LPS mm) of a voxel index (z, y, x)."""
        x, y, z, _ = self.affine @ [*index, 1.0]
        return (float(x), float(y), float(z))

    def with_spacing(self, spacing_mm: Triple) -> "Grid":
        """The grid over the same outer box with another voxel size; at least one voxel an axis.

        The corner of the first voxel stays; the box may grow or shrink at the far side by half a voxel.
        """
        shape = tuple(
            max(1, round(n * old / new)) for n, old, new in zip(self.shape, self.spacing_mm, spacing_mm, strict=True)
        )
        shift = (np.asarray(spacing_mm) - np.asarray(self.spacing_mm)) / 2.0
        origin = np.asarray(self.origin_mm) + np.asarray(self.axes).T @ shift
        return Grid(
            (shape[0], shape[1], shape[2]),
            spacing_mm,
            (float(origin[0]), float(origin[1]), float(origin[2])),
            self.axes,
        )

    def matches(self, other: "Grid", tolerance_mm: float = 0.01) -> bool:
        """Whether both grids have the same shape and no voxel centre further apart than the tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array([[z, y, x, 1] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
        corners[:, :3] *= np.asarray(self.shape) - 1
        difference = corners @ (self.affine - other.affine).T
        return float(np.abs(difference).max()) <= tolerance_mm

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; `Grid.from_dict` reads them back exactly."""
        return {
            "shape": list(self.shape),
            "spacing_mm": list(self.spacing_mm),
            "origin_mm": list(self.origin_mm),
            "axes": [list(axis) for axis in self.axes],
        }

    @staticmethod
    def from_dict(numbers: dict[str, Any]) -> "Grid":
        """The inverse of `as_dict`."""
        z, y, x = (tuple(axis) for axis in numbers["axes"])
        return Grid(tuple(numbers["shape"]), tuple(numbers["spacing_mm"]), tuple(numbers["origin_mm"]), (z, y, x))


@dataclass(frozen=True)
class Volume:
    """An array of voxels and the grid it lies on.

    Raises
    ------
    ValueError
        When the array's shape is not the grid's.
    """

    array: Array
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise ValueError(f"array has shape {self.array.shape}, its grid {self.grid.shape}")
