"""Masks of bits: there and back, positions, shifts, boxes; at and across the borders of words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.metrics.bits import (
    check_masks,
    crop_to_union,
    moved_down,
    moved_up,
    pack,
    pack_pair,
    positions,
    unpack,
)

LENGTHS = [1, 7, 63, 64, 65, 127, 128, 129]
wide = st.sampled_from(LENGTHS).flatmap(
    lambda x: st.tuples(st.integers(1, 3), st.integers(1, 3)).flatmap(
        lambda zy: hnp.arrays(np.bool_, (*zy, x), elements=st.booleans(), fill=st.just(False))
    )
)


@settings(max_examples=60, deadline=None)
@given(wide)
def test_bits_hold_the_mask_and_nothing_beyond_it(mask: np.ndarray) -> None:
    bits = pack(mask)
    np.testing.assert_array_equal(unpack(bits), mask)
    assert bits.count == mask.sum()
    row, x = positions(bits.words)
    np.testing.assert_array_equal(row * mask.shape[2] + x, np.flatnonzero(mask))


@pytest.mark.parametrize("length", LENGTHS)
def test_a_step_along_x_crosses_words(length: int) -> None:
    mask = np.random.default_rng(length).random((2, 3, length)) < 0.4
    bits = pack(mask)
    up, down = np.zeros_like(mask), np.zeros_like(mask)
    up[..., 1:], down[..., :-1] = mask[..., :-1], mask[..., 1:]
    for moved, expected in ((moved_up(bits.words), up), (moved_down(bits.words), down)):
        np.testing.assert_array_equal(unpack(type(bits)(moved, bits.shape)), expected)


def test_the_box_of_two_empty_masks_is_empty() -> None:
    nothing = np.zeros((3, 4, 5), bool)
    for bits in crop_to_union(*pack_pair(nothing, nothing)):
        assert bits.size == bits.count == 0


def test_the_box_keeps_a_margin_where_the_image_goes_on_and_only_there() -> None:
    thin, lone = np.zeros((3, 4, 65), bool), np.zeros((1, 1, 1), bool)
    thin[1, 2, 64] = lone[0, 0, 0] = True
    assert crop_to_union(*pack_pair(thin, thin))[0].shape == (3, 3, 65)
    assert crop_to_union(*pack_pair(lone, lone))[0].shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("reference", "prediction", "named"),
    [
        (np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool), "shape"),
        (np.zeros((2, 2), bool), np.zeros((2, 2), bool), "axes"),
        (np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), bool), "boolean"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(reference: np.ndarray, prediction: np.ndarray, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        check_masks(reference, prediction)
