"""Image files: round trips, the turn of axes, and what is refused."""

import numpy as np
import pytest
import SimpleITK
from dicom_phantom import grid_of, hu_of, write_series
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.geometry import stack_geometry
from cohortseg.io.itk import WRITTEN, read_image, read_label, write_image
from cohortseg.volume import Grid, Volume

GRID = grid_of((5, 7, 6))
VALUES = {"tumour": 3, "lung": 1}


def label_of(shape=GRID.shape):
    return np.random.default_rng(2).choice(np.array([0, 1, 3], np.uint8), shape)


def expected_label(stored):
    return np.select([stored == 3, stored == 1], [1, 2], 0).astype(np.uint8)


def reason(path, grid=None, **options):
    with pytest.raises(Rejected) as caught:
        read_label(path, grid, VALUES, **options) if grid else read_image(path)
    return caught.value.reason


@pytest.mark.parametrize("ending", WRITTEN)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_write_then_read_gives_the_same_volume(tmp_path, ending, dtype):
    volume = Volume(hu_of(GRID.shape).astype(dtype) / (1 if dtype is np.int16 else 7), GRID)
    volume = Volume(volume.array.astype(dtype), GRID)
    write_image(tmp_path / f"v{ending}", volume)
    again = read_image(tmp_path / f"v{ending}")
    assert again.array.dtype == dtype
    np.testing.assert_array_equal(again.array, volume.array)
    # NIfTI stores places in single precision.
    assert again.grid.matches(GRID, 1e-4 if ".nii" in ending else 1e-9)


@given(degrees=st.tuples(*[st.floats(-180, 180)] * 3), left_handed=st.booleans())
@settings(max_examples=30, deadline=None)
def test_directions_come_back_orthonormal_whatever_the_turn(tmp_path_factory, degrees, left_handed):
    own = grid_of((2, 3, 4), degrees)
    axes = (tuple(-c for c in own.axes[0]), *own.axes[1:]) if left_handed else own.axes
    grid = Grid(own.shape, own.spacing_mm, own.origin_mm, axes)
    path = tmp_path_factory.getbasetemp() / "turned.nii.gz"
    write_image(path, Volume(np.zeros(grid.shape, np.int16), grid))
    again = np.array(read_image(path).grid.axes)
    np.testing.assert_allclose(again @ again.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(again, grid.axes, atol=1e-6)


@pytest.mark.parametrize("ending", WRITTEN)
def test_equal_volumes_give_equal_bytes_and_leave_nothing_else(tmp_path, ending):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}{ending}", Volume(hu_of(GRID.shape), GRID))
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_written_file_is_where_simpleitk_expects_it(tmp_path):
    write_image(tmp_path / "v.mha", Volume(hu_of(GRID.shape), GRID))
    image = SimpleITK.ReadImage(str(tmp_path / "v.mha"))
    assert image.GetSize() == (6, 7, 5)
    assert image.GetSpacing() == (0.7, 0.8, 2.5)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((5, 1, 3)), GRID.world((3, 1, 5)), atol=1e-9)
    assert image.GetPixel(5, 1, 3) == hu_of(GRID.shape)[3, 1, 5]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match="png"):
        write_image(tmp_path / "v.png", Volume(hu_of(GRID.shape), GRID))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.uint8, np.int16),
        (np.int32, np.int16),
        (np.uint16, np.int16),
        (np.float64, np.float32),
        (np.float32, np.float32),
    ],
)
def test_numbers_are_kept_in_the_smaller_of_two_types(tmp_path, stored, expected):
    array = np.arange(5 * 7 * 6).reshape(GRID.shape).astype(stored)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "v.nrrd"))
    again = read_image(tmp_path / "v.nrrd").array
    assert again.dtype == expected
    np.testing.assert_array_equal(again, array)


def test_integers_beyond_16_bits_become_floats(tmp_path):
    array = np.full(GRID.shape, 40_000, np.uint16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "v.nrrd"))
    assert read_image(tmp_path / "v.nrrd").array.dtype == np.float32


def test_a_2d_image_is_one_slice(tmp_path):
    array = np.arange(42, dtype=np.uint8).reshape(7, 6)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "v.png"))
    volume = read_image(tmp_path / "v.png")
    assert volume.grid.shape == (1, 7, 6)
    np.testing.assert_array_equal(volume.array[0], array)


def test_what_is_no_image_of_numbers_is_refused(tmp_path):
    holes = np.zeros(GRID.shape, np.float32)
    holes[1, 2, 3] = np.nan
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(holes), str(tmp_path / "nan.nrrd"))
    assert reason(tmp_path / "nan.nrrd") == "NOT_A_NUMBER"
    vectors = SimpleITK.GetImageFromArray(np.zeros((*GRID.shape, 3), np.float32), isVector=True)
    SimpleITK.WriteImage(vectors, str(tmp_path / "vector.nrrd"))
    assert reason(tmp_path / "vector.nrrd") == "UNSUPPORTED_PIXELS"
    (tmp_path / "text.nii").write_text("no image")
    assert reason(tmp_path / "text.nii") == "UNREADABLE"
    assert reason(tmp_path / "absent.nii") == "SOURCE_CHANGED"
    assert reason(tmp_path / "text.nii", GRID) == "LABEL_UNREADABLE"


def test_a_single_volume_told_in_four_dimensions_is_read(tmp_path):
    image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(hu_of(GRID.shape))])
    SimpleITK.WriteImage(image, str(tmp_path / "v.nrrd"))
    np.testing.assert_array_equal(read_image(tmp_path / "v.nrrd").array, hu_of(GRID.shape))


def test_directions_that_are_sheared_are_refused(tmp_path):
    image = SimpleITK.GetImageFromArray(hu_of(GRID.shape))
    image.SetDirection((1, 0, 0, 0, 1, 0.1, 0, 0, 1))
    SimpleITK.WriteImage(image, str(tmp_path / "v.mha"))
    assert reason(tmp_path / "v.mha") == "GANTRY_TILT"


# Labels


def test_values_become_class_numbers_in_the_order_of_their_names(tmp_path):
    write_image(tmp_path / "l.nii.gz", Volume(label_of(), GRID))
    label, facts = read_label(tmp_path / "l.nii.gz", GRID, VALUES)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, expected_label(label_of()))
    assert facts["n_voxels"] == {"tumour": int((label_of() == 3).sum()), "lung": int((label_of() == 1).sum())}
    assert facts["turned"] is False


def test_a_label_stored_as_floats_is_read(tmp_path):
    write_image(tmp_path / "l.nrrd", Volume(label_of().astype(np.float32), GRID))
    np.testing.assert_array_equal(read_label(tmp_path / "l.nrrd", GRID, VALUES)[0], expected_label(label_of()))


@given(order=st.permutations(range(3)), flips=st.lists(st.booleans(), min_size=3, max_size=3))
@settings(max_examples=48, deadline=None)
def test_a_label_told_from_any_corner_lands_on_the_same_voxels(tmp_path_factory, order, flips):
    stored = label_of().transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    corner = [0.0, 0.0, 0.0]
    for place, source in enumerate(order):
        corner[source] = GRID.shape[source] - 1.0 if flips[place] else 0.0
    axes = tuple(tuple((-1 if flips[place] else 1) * np.array(GRID.axes[source])) for place, source in enumerate(order))
    spacing = tuple(GRID.spacing_mm[source] for source in order)
    turned = Grid(stored.shape, spacing, GRID.world(tuple(corner)), axes)
    path = tmp_path_factory.getbasetemp() / "told.nrrd"
    write_image(path, Volume(np.ascontiguousarray(stored), turned))
    label, facts = read_label(path, GRID, VALUES)
    np.testing.assert_array_equal(label, expected_label(label_of()))
    assert facts["turned"] is (list(order) != [0, 1, 2] or any(flips))


def test_a_label_on_another_grid_is_refused(tmp_path):
    def write(grid):
        write_image(tmp_path / "l.nrrd", Volume(label_of(grid.shape), grid))
        return tmp_path / "l.nrrd"

    assert (
        reason(write(Grid(GRID.shape, GRID.spacing_mm, GRID.world((0, 0, 0.5)), GRID.axes)), GRID) == "LABEL_OFF_GRID"
    )
    assert reason(write(Grid(GRID.shape, (2.5, 0.8, 0.72), GRID.origin_mm, GRID.axes)), GRID) == "LABEL_OFF_GRID"
    assert reason(write(Grid((5, 7, 7), GRID.spacing_mm, GRID.origin_mm, GRID.axes)), GRID) == "LABEL_OFF_GRID"
    assert reason(write(grid_of(GRID.shape, (20, -35, 12))), GRID) == "LABEL_OFF_GRID"
    slightly = Grid(GRID.shape, GRID.spacing_mm, GRID.world((0, 0, 0.05)), GRID.axes)
    assert read_label(write(slightly), GRID, VALUES, tolerance_mm=0.05)[0].any()
    assert reason(write(slightly), GRID, tolerance_mm=0.01) == "LABEL_OFF_GRID"


def test_values_that_no_class_names_are_refused_and_told(tmp_path):
    label = label_of()
    label[2, 3, 4] = 9
    write_image(tmp_path / "l.nrrd", Volume(label, GRID))
    with pytest.raises(Rejected, match=r"LABEL_VALUES.* 9$"):
        read_label(tmp_path / "l.nrrd", GRID, VALUES)
    write_image(tmp_path / "l.nrrd", Volume(label_of() * np.float32(0.5), GRID))
    assert reason(tmp_path / "l.nrrd", GRID) == "LABEL_VALUES"


def test_more_classes_than_a_label_holds_are_refused(tmp_path):
    with pytest.raises(SettingsError):
        read_label(tmp_path / "absent", GRID, {f"c{n}": n for n in range(1, 300)})


def test_a_label_made_by_a_nifti_converter_fits_the_dicom_image(tmp_path):
    paths, records = write_series(tmp_path / "series", GRID, hu_of(GRID.shape))
    grid = stack_geometry(records).grid
    # Converters to NIfTI store rows from the bottom up.
    flipped = Grid(
        GRID.shape,
        GRID.spacing_mm,
        GRID.world((0, 6, 0)),
        (GRID.axes[0], tuple(-c for c in GRID.axes[1]), GRID.axes[2]),
    )
    write_image(tmp_path / "l.nii.gz", Volume(np.ascontiguousarray(label_of()[:, ::-1]), flipped))
    label, facts = read_label(tmp_path / "l.nii.gz", grid, VALUES)
    np.testing.assert_array_equal(label, expected_label(label_of()))
    assert facts["turned"] is True
    assert len(paths) == 5
