import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cohortseg.blocks import POINTWISE, SLICE, VOLUME, Scope, fill_blocks, grow, regions, run_blocks
from cohortseg.postprocess.chain import POSTPROCESSES
from cohortseg.postprocess.morphology import reach_voxels
from cohortseg.preprocess.intensity import normaliser

SHAPE = (13, 22, 17)
CHUNKINGS = [(1, 22, 17), (5, 8, 6), (13, 22, 17)]
SPACING_MM = (2.5, 0.7, 1.1)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).integers(-1000, 1500, SHAPE).astype(np.int16)


def smoothed(block):
    weights = np.arange(15).reshape(3, 5, 1)  # lopsided; sums of whole numbers are exact
    return ndimage.correlate(block.astype(np.float64), weights, mode="nearest")


def without_plane_mean(block):
    return block - block.mean(axis=(1, 2), keepdims=True)


def components(block):
    return ndimage.label(block > 600)[0]


def blobs(block):
    return ndimage.uniform_filter(block.astype(float), 3, mode="nearest") > 300


EXAMPLES = {
    "window": (normaliser("window", {"low": -160, "high": 240, "mean": 30, "sd": 70}), POINTWISE, np.float32),
    "threshold": (lambda block: block > 7, POINTWISE, np.uint8),
    "smoothing": (smoothed, Scope("halo", (1, 2, 0)), np.float64),
    "plane mean": (without_plane_mean, SLICE, np.float64),
    "components": (components, VOLUME, np.int32),
}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("blocks", CHUNKINGS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_chunked_equals_whole(image, name, blocks, workers):
    function, scope, dtype = EXAMPLES[name]
    chunked = run_blocks(image, function, scope=scope, dtype=dtype, blocks=blocks, workers=workers)
    assert chunked.dtype == dtype
    np.testing.assert_array_equal(chunked, function(image).astype(dtype))


@pytest.mark.parametrize("blocks", CHUNKINGS)
@pytest.mark.parametrize("name", ["opening", "closing"])
def test_chunked_equals_whole_for_the_halo_that_a_postprocess_declares(image, name, blocks):
    entry, radius_mm = POSTPROCESSES[name], 1.5
    halo = tuple(entry.halo_radii * n for n in reach_voxels(radius_mm, SPACING_MM))

    def function(mask):
        return entry.function(mask, radius_mm=radius_mm, spacing_mm=SPACING_MM)

    mask = blobs(image)
    chunked = run_blocks(mask, function, scope=Scope("halo", halo), dtype=bool, blocks=blocks)
    whole = function(mask)
    assert 0 < whole.sum() != mask.sum()
    np.testing.assert_array_equal(chunked, whole)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    blocks=st.tuples(*[st.integers(1, 10)] * 3),
    halo=st.tuples(*[st.integers(0, 3)] * 3),
)
def test_any_box_filter_is_the_same_in_any_blocks(shape, blocks, halo):
    image = np.random.default_rng(0).integers(0, 99, shape)
    box = tuple(2 * n + 1 for n in halo)

    def largest(block):
        return ndimage.maximum_filter(block, box)

    chunked = run_blocks(image, largest, scope=Scope("halo", halo), dtype=image.dtype, blocks=blocks)
    np.testing.assert_array_equal(chunked, largest(image))


def test_too_small_a_halo_shows(image):
    chunked = run_blocks(image, smoothed, scope=Scope("halo", (0, 2, 0)), dtype=float, blocks=(4, 22, 17))
    assert not np.array_equal(chunked, smoothed(image))


@pytest.mark.parametrize("kind", ["numpy", "zarr", "dask"])
def test_numpy_zarr_and_dask_arrays_are_read_alike(image, kind):
    if kind == "zarr":
        source = zarr.create_array({}, shape=SHAPE, dtype="i2", chunks=(4, 8, 8), shards=(4, 16, 16))
        source[:] = image
    else:
        source = image if kind == "numpy" else da.from_array(image, chunks=(3, 7, 17))
    found = run_blocks(source, smoothed, scope=Scope("halo", (1, 2, 0)), dtype=float, workers=2)
    np.testing.assert_array_equal(found, smoothed(image))


def test_a_source_is_never_asked_for_more_than_a_block_and_its_halo(image):
    asked = []

    class Source:
        shape, dtype = image.shape, image.dtype

        def __getitem__(self, region):
            asked.append(tuple(part.stop - part.start for part in region))
            return image[region]

    run_blocks(Source(), smoothed, scope=Scope("halo", (1, 2, 0)), dtype=float, blocks=(4, 8, 6))
    assert np.max(asked, axis=0).tolist() == [6, 12, 6]
    assert len(asked) == 4 * 3 * 3


def sharded(shape=SHAPE):
    return zarr.create_array({}, shape=shape, dtype="f4", chunks=(2, 4, 4), shards=(4, 8, 8), fill_value=-1)


def test_whole_shards_are_written_from_several_threads(image):
    target = sharded()
    assert run_blocks(image, np.negative, scope=POINTWISE, dtype="f4", target=target, workers=4) is None
    np.testing.assert_array_equal(target[:], -image.astype("f4"))


@pytest.mark.parametrize("blocks", [(2, 8, 8), (4, 12, 8), (6, 22, 17)])
def test_blocks_that_cut_a_shard_are_refused(image, blocks):
    target = sharded()
    with pytest.raises(ValueError, match="lost"):
        run_blocks(image, np.negative, scope=POINTWISE, dtype="f4", target=target, blocks=blocks)
    assert (target[:] == -1).all()


def test_blocks_may_hold_several_shards_and_end_with_the_array(image):
    target = sharded()
    run_blocks(image, np.negative, scope=POINTWISE, dtype="f4", target=target, blocks=(8, 30, 16))
    np.testing.assert_array_equal(target[:], -image.astype("f4"))


def test_slice_scope_writes_whole_planes_of_a_sharded_store(image):
    target = sharded()
    run_blocks(image, without_plane_mean, scope=SLICE, dtype="f4", target=target)
    np.testing.assert_array_equal(target[:], without_plane_mean(image).astype("f4"))


def test_a_function_of_the_whole_volume_may_change_the_shape(image):
    found = run_blocks(image, lambda block: block[2:5], scope=VOLUME, dtype="i2", out_shape=(3, 22, 17))
    np.testing.assert_array_equal(found, image[2:5])
    with pytest.raises(ValueError, match="only scope 'volume'"):
        run_blocks(image, lambda block: block[2:5], scope=POINTWISE, dtype="i2", out_shape=(3, 22, 17))


def test_a_block_of_another_shape_is_refused_instead_of_spread(image):
    with pytest.raises(ValueError, match="must have shape"):
        run_blocks(image, lambda block: block[:1], scope=POINTWISE, dtype="i2", blocks=(4, 22, 17))


def test_real_numbers_are_not_cut_off_to_whole_ones_silently(image):
    with pytest.raises(TypeError, match="same_kind"):
        run_blocks(image, lambda block: block / 2, scope=POINTWISE, dtype=np.int16)


def test_an_error_in_a_block_comes_out_as_it_is(image):
    def broken(block):
        raise ZeroDivisionError("in the block")

    with pytest.raises(ZeroDivisionError, match="in the block"):
        run_blocks(image, broken, scope=POINTWISE, dtype=float, workers=2, blocks=(4, 22, 17))


def test_a_target_of_another_shape_is_refused(image):
    with pytest.raises(ValueError, match="the target"):
        run_blocks(image, np.negative, scope=POINTWISE, dtype="f4", target=np.zeros((13, 22, 16)))


def test_arrays_with_other_than_three_axes_are_refused():
    with pytest.raises(ValueError, match=r"\(z, y, x\)"):
        run_blocks(np.zeros((4, 4)), np.negative, scope=POINTWISE, dtype=float)


def test_a_halo_belongs_to_the_scope_halo_alone():
    with pytest.raises(ValueError, match="cannot have the halo"):
        Scope("slice", (1, 0, 0))
    with pytest.raises(ValueError, match="cannot have the halo"):
        Scope("halo", (1, -1, 0))


def test_regions_cover_every_voxel_once_in_order():
    counted = np.zeros(SHAPE, int)
    cut = regions(SHAPE, (5, 8, 6))
    for region in cut:
        counted[region] += 1
    assert (counted == 1).all()
    assert cut[0] == (slice(0, 5), slice(0, 8), slice(0, 6))
    assert cut[-1] == (slice(10, 13), slice(16, 22), slice(12, 17))


def test_a_halo_ends_at_the_border():
    region = (slice(0, 4), slice(8, 16), slice(12, 17))
    assert grow(region, (1, 2, 3), SHAPE) == (slice(0, 5), slice(6, 18), slice(9, 17))


def test_blocks_are_computed_from_their_place():
    def place(region):
        return np.full([part.stop - part.start for part in region], region[0].start * 100 + region[2].start)

    found = fill_blocks(place, shape=(4, 2, 5), dtype=int, target=None, blocks=(3, 2, 4), workers=1)
    assert found[:, 0].tolist() == [[0, 0, 0, 0, 4]] * 3 + [[300, 300, 300, 300, 304]]
