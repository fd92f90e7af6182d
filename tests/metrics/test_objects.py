"""Numbered objects one by one: by hand on an oblique grid, nothing without an object."""

import numpy as np
import pytest

from cohortseg.metrics.objects import OBJECT_COLUMNS, object_rows
from cohortseg.volume import Grid

GRID = Grid((4, 6, 8), (3.0, 2.0, 0.5), (10.0, -20.0, 5.0), ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0)))


def test_class_volume_centre_and_box_by_hand() -> None:
    ids = np.zeros(GRID.shape, np.int32)
    ids[1:3, 2, 4:8], ids[0, 5, 0], ids[3, 0, 1] = 2, 1, 2
    label = np.where(ids == 2, 1, 3 * (ids == 1)).astype(np.uint8)
    first, second = object_rows(ids, label, GRID, ["liver", "spleen", "cyst"])
    assert tuple(first) == OBJECT_COLUMNS
    # One voxel of 3 mm3 at (0, 5, 0): x = 10, y = -20, z = 5 - 5 * 2
    assert list(first.values()) == [1, "cyst", 0.003, 10.0, -20.0, -5.0, 0, 0, 5, 5, 0, 0, 3.0, 2.0, 0.5]
    # Nine voxels, mean index (15/9, 16/9, 45/9)
    assert (second["class"], second["volume_ml"]) == ("liver", 0.027)
    centre = [second[f"centroid_{axis}_mm"] for axis in "xyz"]
    assert centre == pytest.approx([10 - 0.5 * 5, -20 + 3 * 15 / 9, 5 - 2 * 16 / 9], abs=1e-4)
    box = [second[f"{axis}_{end}"] for axis in "zyx" for end in ("first", "last")]
    assert box == [1, 3, 0, 2, 1, 7]
    assert [second[f"size_{axis}_mm"] for axis in "zyx"] == [9.0, 6.0, 3.5]


def test_without_an_object_there_is_no_row() -> None:
    assert object_rows(np.zeros(GRID.shape, np.int32), np.zeros(GRID.shape, np.uint8), GRID, ["a"]) == []
