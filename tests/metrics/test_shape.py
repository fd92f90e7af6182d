"""Size and shape of a label: by hand, on a lopsided grid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.metrics.shape import Shape, label_shapes, mask_shape

SPACING_MM = (5.0, 2.0, 1.0)


def test_a_block_and_a_voxel():
    mask = np.zeros((6, 8, 10), bool)
    mask[1:3, 2:6, 3:8] = True
    mask[5, 7, 9] = True
    shape = mask_shape(mask, spacing_mm=SPACING_MM)
    assert shape.volume_ml == pytest.approx(41 * 0.01)
    assert (shape.n_components, shape.largest_share) == (2, 40 / 41)
    assert shape.extent_mm == 25.0  # z: 5 slices of 5 mm
    assert shape.box_share == 41 / (5 * 6 * 7)
    assert shape.height == pytest.approx((40 * 2 + 5.5) / 41 / 6)
    assert shape.width == pytest.approx((40 * 5.5 + 9.5) / 41 / 10)
    assert shape.border_share == pytest.approx(1 / 41)


def test_an_empty_class_has_a_volume_and_nothing_else():
    first, second = label_shapes(np.full((2, 3, 4), 2, np.uint8), spacing_mm=SPACING_MM, n_classes=2)
    assert first["volume_ml"] == 0.0
    assert all(math.isnan(value) for name, value in first.items() if name != "volume_ml")
    assert second["largest_share"] == second["box_share"] == 1.0


def test_diagonal_neighbours_are_one_component():
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert mask_shape(mask, spacing_mm=(1.0, 1.0, 1.0)).n_components == 1


@given(hnp.arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)))
def test_shares_are_shares_and_a_mirror_changes_the_position_only(mask):
    shape, mirrored = (mask_shape(array, spacing_mm=SPACING_MM) for array in (mask, mask[::-1]))
    if not mask.any():
        assert shape == mirrored == Shape(0.0, *[pytest.approx(math.nan, nan_ok=True)] * 8)
        return
    assert all(0 <= getattr(shape, name) <= 1 for name in ("largest_share", "box_share", "height", "border_share"))
    assert shape.height + mirrored.height == pytest.approx(1)
    assert (shape.volume_ml, shape.n_components, shape.width) == (
        mirrored.volume_ml,
        mirrored.n_components,
        pytest.approx(mirrored.width),
    )
