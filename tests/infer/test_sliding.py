"""The sliding window against the plain computation that holds the whole volume."""

import itertools

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import SettingsError
from cohortseg.infer.blend import Scratch, bell
from cohortseg.infer.sliding import (
    nothing_to_see,
    predict_blocks,
    predict_slabs,
    read_region,
    slab_array,
    tile_starts,
)


def image_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def position_dependent(batch):
    """Two channels that depend on the place in the tile, so that blending shows."""
    ramp = np.linspace(0.0, 1.0, int(np.prod(batch.shape[2:])), dtype=np.float32).reshape(batch.shape[2:])
    return np.stack([batch[:, 0] * ramp, 1.0 - batch[:, 0] * ramp], axis=1)


def whole_volume(image, forward, patch, overlap):
    """Probabilities and weights of the padded volume in double precision, nothing clever."""
    pads = [(max(0, p - n) // 2, max(0, p - n) - max(0, p - n) // 2) for n, p in zip(image.shape, patch, strict=True)]
    padded = np.pad(image, pads, mode="edge")
    weight = np.ones(patch)
    for axis, length in enumerate(patch):
        shape = [1, 1, 1]
        shape[axis] = length
        distance = np.arange(length) - (length - 1) / 2
        weight = weight * np.exp(-0.5 * (distance / (length / 8)) ** 2).reshape(shape)
    total, weights = np.zeros((2, *padded.shape)), np.zeros(padded.shape)
    starts = [tile_starts(n, p, overlap) for n, p in zip(padded.shape, patch, strict=True)]
    for corner in itertools.product(*starts):
        box = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
        tile = padded[box][None, None]
        result = forward(tile[:, :, 0])[:, :, None] if patch[0] == 1 else forward(tile)
        total[(slice(None), *box)] += result[0] * weight
        weights[box] += weight
    inside = tuple(slice(before, before + n) for (before, _), n in zip(pads, image.shape, strict=True))
    return (total / weights)[(slice(None), *inside)]


@given(
    shape=st.tuples(st.integers(1, 13), st.integers(2, 11), st.integers(2, 12)),
    patch=st.tuples(st.integers(1, 6), st.integers(2, 7), st.integers(2, 8)),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.8]),
    batch=st.integers(1, 5),
    memory_mb=st.sampled_from([0.0, 400.0]),
)
@settings(max_examples=80, deadline=None)
def test_slabs_equal_the_whole_volume_computation(shape, patch, overlap, batch, memory_mb):
    image, scratch = image_of(shape), Scratch(memory_mb)
    options = {"patch": patch, "overlap": overlap, "n_channels_out": 2, "batch": batch, "scratch": scratch}
    slabs = predict_slabs(image, position_dependent, **options)
    expected = whole_volume(image, position_dependent, patch, overlap)
    np.testing.assert_allclose(slab_array(slabs), expected, atol=1e-5)


@given(shape=st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 9)), depth=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_slabs_follow_each_other_from_the_first_slice_to_the_last(shape, depth):
    slabs = list(predict_slabs(image_of(shape), lambda batch: batch, patch=(depth, 4, 4), n_channels_out=1))
    assert [slabs[0][0], *(z1 for _, z1, _ in slabs)] == [*(z0 for z0, _, _ in slabs), shape[0]]
    assert all(array.shape == (1, z1 - z0, *shape[1:]) for z0, z1, array in slabs)


@pytest.mark.parametrize("patch", [(3, 4, 5), (1, 4, 6), (9, 16, 16)])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_forward_that_changes_nothing_returns_the_image(patch, mirror):
    image = image_of((7, 11, 13))
    slabs = predict_slabs(image, lambda batch: batch, patch=patch, n_channels_out=1, mirror=mirror)
    np.testing.assert_allclose(slab_array(slabs)[0], image, atol=1e-5)


def test_channels_stay_in_order():
    image = image_of((3, 5, 8, 9))
    slabs = predict_slabs(image, lambda batch: batch, patch=(4, 4, 4), n_channels_out=3)
    np.testing.assert_allclose(slab_array(slabs), image, atol=1e-5)


def test_a_two_dimensional_network_sees_no_z_axis():
    seen = []

    def forward(batch):
        seen.append(batch.shape)
        return batch

    list(predict_slabs(image_of((3, 5, 6)), forward, patch=(1, 4, 4), n_channels_out=1, batch=2))
    assert set(seen) == {(2, 1, 4, 4)}


def test_mirroring_averages_over_every_flip():
    """A forward that marks the first corner of its tile: mirrored, every corner gets an eighth."""

    def corner(batch):
        mark = np.zeros_like(batch)
        mark[:, :, 0, 0, 0] = 1.0
        return mark

    result = slab_array(predict_slabs(image_of((2, 3, 4)), corner, patch=(2, 3, 4), n_channels_out=1, mirror=True))[0]
    expected = np.zeros((2, 3, 4))
    expected[np.ix_((0, 1), (0, 2), (0, 3))] = 1 / 8
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_no_more_than_one_row_of_tiles_is_held_before_a_slab_comes_out():
    """After the first slab only the tiles of the first row have been computed."""
    done = []
    slabs = predict_slabs(
        image_of((40, 4, 4)),
        lambda batch: batch,
        patch=(4, 4, 4),
        n_channels_out=1,
        progress=lambda n, _: done.append(n),
    )
    assert next(slabs)[:2] == (0, 2)
    assert done == [1]
    assert next(slabs)[:2] == (2, 4)
    assert done == [1, 2]


def test_the_last_slice_of_the_block_before_can_still_be_read():
    image = image_of((23, 5, 6))
    for scratch in (Scratch(), Scratch(0.0)):
        blocks = predict_blocks(image, lambda b: b, patch=(4, 4, 4), n_channels_out=1, scratch=scratch)
        for block in blocks:
            first = max(0, block.first - 1)
            np.testing.assert_allclose(block.planes(0, first, block.stop), image[first : block.stop], atol=1e-5)


def test_sums_on_disk_leave_no_file_behind(tmp_path):
    blocks = predict_blocks(
        image_of((9, 8, 7)), lambda b: b, patch=(4, 4, 4), n_channels_out=1, scratch=Scratch(0.0, tmp_path)
    )
    for _ in blocks:
        assert list(tmp_path.iterdir()) == []


def test_a_tile_of_one_value_shows_nothing_whatever_the_value():
    tile = np.stack([np.full((2, 3, 4), -1.5), np.zeros((2, 3, 4))]).astype(np.float32)
    assert nothing_to_see(tile)
    tile[1, 1, 2, 3] = 1e-3
    assert not nothing_to_see(tile)


def test_progress_ends_with_all_tiles():
    calls = []
    shape, patch = (5, 9, 7), (3, 4, 4)
    slabs = predict_slabs(
        image_of(shape),
        lambda b: b,
        patch=patch,
        n_channels_out=1,
        batch=4,
        progress=lambda *numbers: calls.append(numbers),
    )
    list(slabs)
    n_tiles = int(np.prod([len(tile_starts(n, p, 0.5)) for n, p in zip(shape, patch, strict=True)]))
    assert calls[-1] == (n_tiles, n_tiles)


def test_skipped_tiles_are_background_and_never_reach_the_network():
    image = np.zeros((4, 4, 8), np.float32)
    image[..., 4:] = 1.0
    seen = []

    def forward(batch):
        seen.append(batch.mean())
        return np.stack([np.zeros_like(batch[:, 0]), np.ones_like(batch[:, 0])], axis=1)

    slabs = predict_slabs(
        image,
        forward,
        patch=(4, 4, 4),
        overlap=0.0,
        n_channels_out=2,
        batch=2,
        skip=lambda tile: bool((tile == 0).all()),
    )
    result = slab_array(slabs)
    np.testing.assert_allclose(result[1], image, atol=1e-6)
    np.testing.assert_allclose(result.sum(axis=0), 1.0, atol=1e-6)
    assert seen == [1.0]


def test_a_zarr_array_gives_the_same_as_numpy(tmp_path):
    image = image_of((70, 6, 7))
    stored = zarr.create_array(tmp_path / "image.zarr", shape=image.shape, chunks=(16, 6, 7), dtype="float32")
    stored[...] = image
    for patch in [(1, 4, 4), (8, 4, 4)]:
        plain = slab_array(predict_slabs(image, position_dependent, patch=patch, n_channels_out=2))
        lazy = slab_array(predict_slabs(stored, position_dependent, patch=patch, n_channels_out=2))
        np.testing.assert_array_equal(lazy, plain)


def test_each_slice_of_a_store_is_read_once():
    image = image_of((300, 4, 4))
    read = np.zeros(300, int)

    class Counting:
        shape = image.shape

        def __getitem__(self, key):
            read[key[1]] += 1
            return image[key]

    list(predict_slabs(Counting(), lambda batch: batch, patch=(1, 4, 4), n_channels_out=1))
    assert read.max() == 1
    read[:] = 0
    list(predict_slabs(Counting(), lambda batch: batch, patch=(48, 4, 4), n_channels_out=1))
    assert read.max() == 1


@given(size=st.integers(1, 200), patch=st.integers(1, 60), overlap=st.floats(0.0, 0.95, allow_nan=False))
@settings(max_examples=50, deadline=None)
def test_tiles_cover_the_axis_and_overlap_as_asked(size, patch, overlap):
    starts = tile_starts(size, patch, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, size - patch)
    steps = np.diff(starts)
    assert (steps >= 1).all()
    assert (steps <= max(1, np.ceil(patch * (1 - overlap)))).all()


def test_the_weight_is_symmetric_and_one_in_the_middle():
    assert bell(5)[2] == 1.0
    np.testing.assert_array_equal(bell(6), bell(6)[::-1])
    assert bell(1).tolist() == [1.0]


@given(
    start=st.tuples(*[st.integers(-9, 9)] * 3),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    size=st.tuples(*[st.integers(1, 7)] * 3),
)
@settings(max_examples=50, deadline=None)
def test_a_region_beyond_the_border_repeats_the_border(start, shape, size):
    image = image_of(size)
    index = np.ix_(*(np.clip(np.arange(s, s + n), 0, m - 1) for s, n, m in zip(start, shape, size, strict=True)))
    np.testing.assert_array_equal(read_region(image, start, shape)[0], image[index])


@pytest.mark.parametrize("wrong", [{"overlap": 1.0}, {"overlap": -0.1}, {"patch": (0, 4, 4)}, {"batch": 0}])
def test_impossible_numbers_are_refused(wrong):
    numbers = {"patch": (2, 4, 4), "n_channels_out": 1, **wrong}
    with pytest.raises(SettingsError):
        next(predict_slabs(image_of((4, 4, 4)), lambda batch: batch, **numbers))


def test_a_forward_of_the_wrong_shape_is_an_error():
    with pytest.raises(ValueError, match="shape"):
        next(predict_slabs(image_of((4, 4, 4)), lambda batch: batch, patch=(2, 4, 4), n_channels_out=2))


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    start=st.tuples(*[st.integers(-4, 7)] * 3),
    size=st.tuples(*[st.integers(1, 8)] * 3),
    channels=st.integers(1, 3),
)
def test_a_region_of_channels_is_the_regions_of_each_channel(shape, start, size, channels):
    image = image_of((channels, *shape))
    region = read_region(image, start, size)
    assert region.shape == (channels, *size)
    clipped = [np.clip(np.arange(n) + first, 0, last - 1) for n, first, last in zip(size, start, shape, strict=True)]
    for number in range(channels):
        np.testing.assert_array_equal(region[number], read_region(image[number], start, size)[0])
        np.testing.assert_array_equal(region[number], image[number][np.ix_(*clipped)])


@pytest.mark.parametrize("patch", [(1, 6, 5), (3, 6, 5)])
@pytest.mark.parametrize("mirror", [False, True])
def test_channels_of_a_store_are_predicted_as_from_memory(tmp_path, patch, mirror):
    image = image_of((2, 7, 17, 9))
    stored = zarr.create_array(tmp_path / "image.zarr", shape=image.shape, chunks=(1, 4, 6, 7), dtype="float32")
    stored[:] = image

    def difference(batch):
        return np.stack([batch[:, 0] - batch[:, 1], batch[:, 1]], axis=1)

    found = [
        slab_array(predict_slabs(one, difference, patch=patch, n_channels_out=2, mirror=mirror, batch=3))
        for one in (image, stored)
    ]
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], [image[0] - image[1], image[1]], atol=1e-5)


def test_channels_of_a_picture_smaller_than_the_patch_are_padded_alike():
    image = image_of((3, 1, 5, 6))
    slabs = predict_slabs(image, lambda batch: batch, patch=(1, 8, 16), n_channels_out=3)
    np.testing.assert_allclose(slab_array(slabs), image, atol=1e-5)
