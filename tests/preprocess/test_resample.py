import numpy as np
import pytest
import SimpleITK
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cohortseg.errors import SettingsError
from cohortseg.preprocess.resample import INTERPOLATIONS, needed_region, resample, resample_block, resample_to
from cohortseg.volume import Grid


def turned(*degrees):
    columns = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix().T
    z, y, x = (tuple(float(n) for n in columns[i]) for i in (2, 1, 0))
    return z, y, x


STRAIGHT = Grid((17, 40, 31), (3.1, 0.8, 1.3), (-20.5, 14.2, 333.0))
OBLIQUE = Grid(STRAIGHT.shape, STRAIGHT.spacing_mm, STRAIGHT.origin_mm, turned(11, -7, 23))
TARGETS = {
    "coarser": lambda source: source.with_spacing((4.0, 1.5, 1.7)),
    "finer": lambda source: source.with_spacing((1.5, 0.55, 1.1)),
    "turned, partly outside": lambda source: Grid(
        (21, 25, 29), (2.3, 1.1, 1.6), (-31.0, 3.0, 341.0), turned(4, 9, -15)
    ),
}


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(5).integers(-1000, 3000, STRAIGHT.shape).astype(np.int16)


def whole_by_simpleitk(array, source, target, interpolation, fill=None):
    """The judge: SimpleITK on the whole volume, in world coordinates."""
    volume = SimpleITK.GetImageFromArray(array)
    task = SimpleITK.ResampleImageFilter()
    for grid, spacing, origin, axes in (
        (source, volume.SetSpacing, volume.SetOrigin, volume.SetDirection),
        (target, task.SetOutputSpacing, task.SetOutputOrigin, task.SetOutputDirection),
    ):
        spacing(grid.spacing_mm[::-1])
        origin(grid.origin_mm)
        axes(np.array(grid.axes[::-1]).T.ravel().tolist())
    task.SetSize(target.shape[::-1])
    task.SetInterpolator(getattr(SimpleITK, INTERPOLATIONS[interpolation].itk))
    task.SetUseNearestNeighborExtrapolator(fill is None)
    task.SetDefaultPixelValue(fill or 0)
    if interpolation != "nearest":
        task.SetOutputPixelType(SimpleITK.sitkFloat32)
    return SimpleITK.GetArrayFromImage(task.Execute(volume))


@pytest.mark.parametrize("fill", [None, -1024])
@pytest.mark.parametrize(("interpolation", "allowed"), [("linear", 3e-4), ("bspline", 1e-3), ("nearest", 0)])
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("source", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def test_blocks_equal_simpleitk_on_the_whole_volume(image, source, name, interpolation, allowed, fill):
    target = TARGETS[name](source)
    judge = whole_by_simpleitk(image, source, target, interpolation, fill)
    out = np.empty(target.shape, judge.dtype)
    resample_to(out, image, source, target, interpolation=interpolation, block=(5, 16, 12), workers=2, fill=fill)
    assert judge.std() > 100
    # 3e-4 is one step of float32 at 3000 HU: only the rounding of positions differs
    assert np.abs(out.astype(float) - judge).max() <= allowed


@pytest.mark.parametrize("blocks", [(1, 60, 60), (5, 16, 12), (9, 7, 60)])
def test_three_chunkings_give_the_same_image_and_label(image, blocks):
    target = TARGETS["turned, partly outside"](OBLIQUE)
    for interpolation, allowed in (("linear", 3e-4), ("nearest", 0)):
        out = np.empty(target.shape, np.float32 if interpolation == "linear" else np.int16)
        resample_to(out, image, OBLIQUE, target, interpolation=interpolation, block=blocks)
        whole = resample(image, OBLIQUE, target, interpolation=interpolation)
        np.testing.assert_allclose(out, whole, rtol=0, atol=allowed)


def test_a_linear_ramp_stays_the_ramp_with_its_edges_held():
    source = Grid((2, 6, 3), (5.0, 2.0, 1.0), (7.0, -3.0, 2.0))
    ramp = np.broadcast_to(np.arange(6)[:, None] * 10, source.shape).astype(np.int16)
    fine = resample(ramp, source, source.with_spacing((5.0, 1.0, 1.0)), interpolation="linear")
    # centres of 1 mm voxels lie a quarter of a 2 mm voxel beside those of 2 mm voxels
    expected = [0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 32.5, 37.5, 42.5, 47.5, 50]
    np.testing.assert_allclose(fine[0, :, 0], expected, atol=1e-6)
    assert fine.dtype == np.float32


def test_the_same_grid_gives_the_same_voxels(image):
    for interpolation in ("linear", "nearest"):
        np.testing.assert_array_equal(resample(image, OBLIQUE, OBLIQUE, interpolation=interpolation), image)


def test_turning_the_axes_of_a_grid_turns_the_array(image):
    z, y, x = STRAIGHT.axes
    shape = (STRAIGHT.shape[2], STRAIGHT.shape[0], STRAIGHT.shape[1])
    spacing = (STRAIGHT.spacing_mm[2], STRAIGHT.spacing_mm[0], STRAIGHT.spacing_mm[1])
    permuted = Grid(shape, spacing, STRAIGHT.origin_mm, (x, z, y))
    found = resample(image, STRAIGHT, permuted, interpolation="nearest")
    np.testing.assert_array_equal(found, image.transpose(2, 0, 1))


def test_ties_of_nearest_go_to_the_higher_voxel_in_every_block():
    source = Grid((8, 12, 10), (0.7, 0.9, 1.1), (0.1, 0.2, 0.3))
    label = np.random.default_rng(1).integers(0, 5, source.shape).astype(np.uint8)
    target = source.with_spacing((1.4, 1.8, 2.2))  # each centre lies on the corner of eight voxels
    for block in ((4, 6, 5), (1, 6, 5), (3, 2, 4)):
        out = np.empty(target.shape, np.uint8)
        resample_to(out, label, source, target, interpolation="nearest", block=block)
        np.testing.assert_array_equal(out, label[1::2, 1::2, 1::2])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), turn=st.tuples(*[st.floats(-40, 40)] * 3), spacing=st.tuples(*[st.floats(0.4, 4)] * 3)
)
def test_labels_gain_no_value_and_keep_their_type(seed, turn, spacing):
    source = Grid((5, 9, 7), (2.0, 0.7, 1.1), (1.0, -4.0, 9.0), turned(*turn))
    label = np.random.default_rng(seed).choice([0, 3, 200], source.shape).astype(np.uint8)
    found = resample(label, source, source.with_spacing(spacing), interpolation="nearest")
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= set(np.unique(label))


@settings(max_examples=40, deadline=None)
@given(turn=st.tuples(*[st.floats(-40, 40)] * 3), shift=st.floats(-60, 60), spacing=st.floats(0.5, 3))
def test_linear_never_leaves_the_range_of_the_source(turn, shift, spacing):
    source = Grid((5, 9, 7), (2.0, 0.7, 1.1), (1.0, -4.0, 9.0))
    image = np.random.default_rng(2).integers(-50, 50, source.shape).astype(np.int16)
    target = Grid((6, 5, 4), (spacing, 1.0, 2.0), (1.0 + shift, -4.0, 9.0), turned(*turn))
    found = resample(image, source, target, interpolation="linear")
    assert image.min() - 1e-4 <= found.min() <= found.max() <= image.max() + 1e-4


def test_there_and_back_keeps_a_smooth_image():
    z, y, x = np.meshgrid(*(np.linspace(0, 2, n) for n in STRAIGHT.shape), indexing="ij")
    smooth = (100 * np.sin(z + y) * np.cos(x)).astype(np.float32)
    fine = STRAIGHT.with_spacing((1.5, 0.4, 0.6))
    back = resample(resample(smooth, STRAIGHT, fine, interpolation="bspline"), fine, STRAIGHT, interpolation="bspline")
    assert np.abs(back - smooth)[2:-2, 2:-2, 2:-2].max() < 0.05


def test_only_the_needed_part_of_the_source_is_read(image):
    asked = []

    def reader(region):
        asked.append(region)
        return image[region]

    target = STRAIGHT.with_spacing((6.2, 1.6, 2.6))
    resample_block(reader, STRAIGHT, target, (slice(2, 4), slice(5, 9), slice(0, 3)), interpolation="linear")
    # block starts at source index (4.5, 10.5, 0.5) and ends at (6.5, 16.5, 4.5); one voxel more on each side
    assert asked == [(slice(3, 9), slice(9, 19), slice(0, 7))]


def test_a_block_beside_the_source_reads_one_edge_and_repeats_it(image):
    far = Grid((3, 4, 5), STRAIGHT.spacing_mm, (STRAIGHT.origin_mm[0] + 900, *STRAIGHT.origin_mm[1:]))
    held = resample(image, STRAIGHT, far, interpolation="linear")
    np.testing.assert_array_equal(held, np.repeat(image[:3, :4, -1:], 5, axis=2))
    filled = resample(image, STRAIGHT, far, interpolation="linear", fill=-7.0)
    assert (filled == -7).all()


def test_the_needed_region_has_at_least_one_voxel():
    region = needed_region(np.eye(3), np.array([-50.0, 3.2, 99.0]), (2, 2, 2), (5, 8, 9), 1)
    assert region == (slice(0, 1), slice(2, 7), slice(8, 9))


def test_shards_are_filled_and_finished_in_one_pass(image):
    target = STRAIGHT.with_spacing((2.0, 1.0, 1.0))
    out = zarr.create_array({}, shape=target.shape, dtype="f2", chunks=(8, 16, 16), shards=(8, 32, 48))
    resample_to(
        out, image, STRAIGHT, target, interpolation="linear", workers=2, finish=lambda block: (block - 1000) / 1000
    )
    expected = (resample(image, STRAIGHT, target, interpolation="linear") - 1000) / 1000
    np.testing.assert_array_equal(out[:], expected.astype(np.float16))
    with pytest.raises(ValueError, match="lost"):
        resample_to(out, image, STRAIGHT, target, interpolation="linear", block=(8, 16, 48))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", ["bool", "float16", "uint8", "int32", "float64"])
def test_common_voxel_types_are_taken(dtype, interpolation):
    source = Grid((4, 6, 5), (2.0, 1.0, 1.5), (0.0, 0.0, 0.0))
    array = np.arange(120).reshape(source.shape).astype(dtype)
    found = resample(array, source, source, interpolation=interpolation)
    assert found.dtype == (dtype if interpolation == "nearest" else "float32")
    np.testing.assert_allclose(found.astype(float), array.astype(float), atol=1e-3)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_single_plane_can_be_resampled_in_plane(interpolation):
    source = Grid((1, 9, 7), (5.0, 2.0, 1.0), (0.0, 0.0, 0.0))
    plane = np.random.default_rng(0).integers(0, 9, source.shape).astype(np.uint8)
    found = resample(plane, source, source.with_spacing((5.0, 1.0, 1.0)), interpolation=interpolation)
    assert found.shape == (1, 18, 7)
    assert found.std() > 1


def test_unknown_interpolations_name_the_choices(image):
    with pytest.raises(SettingsError, match="bspline, linear, nearest"):
        resample(image, STRAIGHT, STRAIGHT, interpolation="cubic")


def test_an_array_must_lie_on_its_grid(image):
    with pytest.raises(ValueError, match="its grid"):
        resample(image[1:], STRAIGHT, STRAIGHT, interpolation="linear")
