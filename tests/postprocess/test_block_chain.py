"""Cleaning by blocks gives what cleaning the whole label gives, voxel by voxel, however it is cut."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cohortseg.postprocess.block_chain import postprocess_by_blocks
from cohortseg.postprocess.block_components import find_components
from cohortseg.postprocess.chain import postprocess_classes
from cohortseg.postprocess.components import components

SHAPE = (9, 14, 12)
SPACING_MM = (2.0, 0.5, 1.0)
BLOCKS = [(3, 5, 4), (1, 14, 12), (4, 7, 12), (9, 14, 12)]


def by_blocks(label, options, blocks, workers=1):
    out = np.zeros_like(label)
    postprocess_by_blocks(
        label,
        out,
        spacing_mm=SPACING_MM,
        options=options,
        blocks=blocks,
        new_array=partial(np.zeros, label.shape),
        workers=workers,
    )
    return out


def some_label(seed, shape=SHAPE, n_classes=3):
    random = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(random.random(shape), 1.1) for _ in range(n_classes)]
    return np.where(np.max(fields, axis=0) > 0.54, np.argmax(fields, axis=0) + 1, 0).astype(np.uint8)


cleanings = st.fixed_dictionaries(
    {
        "opening_mm": st.sampled_from([0.0, 0.5, 1.0]),
        "closing_mm": st.sampled_from([0.0, 1.0, 2.1]),
        "fill_holes": st.booleans(),
        "min_volume_ml": st.sampled_from([0.0, 0.004]),
        "min_slices": st.sampled_from([1, 2, 4]),
        "keep": st.sampled_from(["all", "largest", 1, 2, 3]),
    }
)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 9999),
    options=st.lists(cleanings, min_size=4, max_size=4),
    blocks=st.sampled_from(BLOCKS),
    workers=st.sampled_from([1, 2]),
)
def test_cleaning_by_blocks_equals_cleaning_the_whole_label(seed, options, blocks, workers):
    label = some_label(seed)
    whole = postprocess_classes(label, spacing_mm=SPACING_MM, options=options)
    np.testing.assert_array_equal(by_blocks(label, options, blocks, workers), whole)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_holes_of_a_single_plane_are_those_of_the_plane(blocks):
    label = np.zeros((1, 40, 50), np.uint8)
    rings = [(slice(0, 1), slice(y, y + 14), slice(x, x + 17)) for y, x in ((12, 20), (0, 0), (26, 33))]
    for number, ring in enumerate(rings):
        label[ring] = 1
        # The second is open to the first edges, the third to the last ones: no holes.
        inner = slice(2 * (number != 1), 12 + 2 * (number == 2)), slice(2 * (number != 1), 15 + 2 * (number == 2))
        label[ring][(0, *inner)] = 0
    options = [{"fill_holes": True}, {"keep": 2}]
    filled = by_blocks(label, options, blocks)
    np.testing.assert_array_equal(filled, postprocess_classes(label, spacing_mm=SPACING_MM, options=options))
    assert (filled[rings[0]] == 1).all()
    np.testing.assert_array_equal(filled[0, :10], label[0, :10])
    assert np.count_nonzero(filled != label) == 10 * 13


def test_a_snake_through_many_blocks_is_one_component():
    mask = np.zeros((6, 6, 6), np.uint8)
    # Diagonal steps across the corners of blocks, in both directions.
    for place in [(0, 5, 0), (1, 4, 1), (2, 3, 2), (3, 2, 3), (4, 1, 4), (5, 0, 5)]:
        mask[place] = 1
    mask[0, 0, 0] = mask[5, 5, 5] = 1
    found = by_blocks(mask, [{"keep": "largest"}], (3, 3, 3))
    assert found.sum() == 6
    assert found[3, 2, 3] == 1
    assert found[0, 0, 0] == found[5, 5, 5] == 0


def test_of_equal_components_the_first_in_the_image_is_kept_not_the_first_in_its_block():
    mask = np.zeros((4, 4, 8), np.uint8)
    mask[0, 3, 7] = mask[1, 0, 0] = 1  # the block of the second comes first
    assert np.argwhere(by_blocks(mask, [{"keep": 1}], (4, 4, 4))).tolist() == [[0, 3, 7]]


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_components_are_numbered_and_counted_as_in_the_whole_mask(connectivity, blocks):
    mask = np.random.default_rng(5).random(SHAPE) > 0.8
    expected, sizes = components(mask, connectivity=connectivity)
    found = find_components(mask, connectivity=connectivity, numbers=np.zeros(SHAPE, np.uint32), blocks=blocks)
    assert found.sizes[1:].tolist() == sizes[1:].tolist()
    edge = np.ones(SHAPE, bool)
    edge[1:-1, 1:-1, 1:-1] = False
    assert np.flatnonzero(found.at_border).tolist() == np.unique(expected[edge & mask]).tolist()
    for number in (1, len(sizes) - 1):
        out = np.zeros(SHAPE, bool)
        found.write(np.arange(len(sizes)) == number, out)
        np.testing.assert_array_equal(out, expected == number)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_an_empty_mask_has_no_component(blocks):
    found = find_components(np.zeros(SHAPE, bool), connectivity=26, numbers=np.zeros(SHAPE, np.uint32), blocks=blocks)
    assert found.sizes.tolist() == [0]
    assert by_blocks(np.zeros(SHAPE, np.uint8), [{"keep": "largest", "fill_holes": True}], blocks).sum() == 0


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(ValueError, match="the label holds 3"):
        by_blocks(np.full((2, 2, 2), 3, np.uint8), [{}, {}], (1, 2, 2))
