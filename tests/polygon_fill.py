"""An even-odd fill of polygons that shares nothing with the code under test, for reading structure sets back."""

from collections.abc import Iterable

import numpy as np
from pydicom.dataset import Dataset

from cohortseg.volume import Grid


def fill(polygons: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels (row, column) whose centre lies inside an odd number of polygons, crossings counted pixel by pixel."""
    row, column = np.indices(shape)
    inside = np.zeros(shape, bool)
    for polygon in polygons:
        for (r0, c0), (r1, c1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            spans = (r0 > row) != (r1 > row)
            if spans.any():
                at = c0 + (row - r0) / (r1 - r0) * (c1 - c0)
                inside ^= spans & (column < at)
    return inside


def points_of(contour: Dataset) -> np.ndarray:
    """World corners (x, y, z) of one contour of a structure set."""
    points = np.array([float(number) for number in contour.ContourData]).reshape(-1, 3)
    assert len(points) == contour.NumberOfContourPoints
    return points


def index_of(grid: Grid, points: np.ndarray) -> np.ndarray:
    """Index coordinates (z, y, x) of world points."""
    full = np.column_stack([points, np.ones(len(points))])
    return (full @ np.linalg.inv(grid.affine).T)[:, :3]


def mask_of(contours: Iterable[Dataset], grid: Grid) -> np.ndarray:
    """The mask of an ROI on a grid."""
    mask = np.zeros(grid.shape, bool)
    by_slice: dict[int, list[np.ndarray]] = {}
    for contour in contours:
        index = index_of(grid, points_of(contour))
        place = round(index[:, 0].mean())
        assert np.abs(index[:, 0] - place).max() < 1e-3, "a contour lies in the plane of one slice"
        by_slice.setdefault(place, []).append(index[:, 1:])
    for place, polygons in by_slice.items():
        mask[place] = fill(polygons, grid.shape[1:])
    return mask


def area_of(polygon: np.ndarray) -> float:
    """Area enclosed, by the shoelace formula."""
    r, c = polygon.T
    return abs(float(np.sum(r * np.roll(c, -1) - c * np.roll(r, -1)))) / 2
