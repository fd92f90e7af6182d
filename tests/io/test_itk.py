"""Image files: round trips, the turn of axes, and what is refused."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK
from dicom_phantom import grid_of, hu_of, write_series
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.geometry import stack_geometry
from cohortseg.io.itk import WRITTEN, count_volumes, image_facts, read_image, read_label, write_image
from cohortseg.volume import Grid, Volume

GRID = grid_of((5, 7, 6))
VALUES = {"tumour": 3, "lung": 1}


def label_of(shape=GRID.shape):
    return np.random.default_rng(2).choice(np.array([0, 1, 3], np.uint8), shape)


def expected_label(stored):
    return np.select([stored == 3, stored == 1], [1, 2], 0).astype(np.uint8)


def reason(path, grid=None, **options):
    with pytest.raises(Rejected) as caught:
        read_label(path, grid, VALUES, **options) if grid else read_image(path, **options)
    return caught.value.reason


CODES = {
    "u1": 2,
    "i2": 4,
    "i4": 8,
    "f4": 16,
    "c8": 32,
    "f8": 64,
    "i1": 256,
    "u2": 512,
    "u4": 768,
    "i8": 1024,
    "u8": 1280,
}
RAS_2_3_4 = np.array([[2.0, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30]])


def nifti(  # a NIfTI-1 file, byte by byte
    path,
    array,
    *,
    sform=None,
    s_code=1,
    q_code=0,
    q_offset=(0, 0, 0),
    quaternion=(0, 0, 0),
    pixdim=(2, 3, 4),
    scale=(0, 0),
    unit=2,
    order="<",
):
    header = bytearray(352)
    sizes = array.shape[::-1]
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, len(sizes), *sizes, *[1] * (7 - len(sizes)))
    struct.pack_into(order + "hh", header, 70, CODES[array.dtype.str[1:]], 8 * array.itemsize)
    struct.pack_into(order + "8f", header, 76, 1, *pixdim, 1, 1, 1, 1)
    struct.pack_into(order + "3f", header, 108, 352, *scale)
    header[123] = unit
    struct.pack_into(order + "hh", header, 252, q_code, s_code)
    struct.pack_into(order + "6f", header, 256, *quaternion, *q_offset)
    struct.pack_into(order + "12f", header, 280, *np.ravel(RAS_2_3_4 if sform is None else sform))
    header[344:348] = b"n+1\0"
    content = bytes(header) + array.astype(array.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)
    return path


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


# NIfTI


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_nifti_with_numbers_that_are_none_is_refused_though_simpleitk_reads_zero(
    tmp_path, ending, kind, order, value
):
    array = hu_of(GRID.shape).astype(kind)
    array[1, 2, 3] = value
    path = nifti(tmp_path / f"v{ending}", array, order=order, scale=(2, -3))
    assert SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[1, 2, 3] in (0, -3)
    assert reason(path) == "NOT_A_NUMBER"
    assert reason(path, GRID) == "NOT_A_NUMBER"
    with pytest.raises(Rejected, match="1 voxels"):
        read_image(path)


def test_numbers_too_large_for_what_they_become_are_refused(tmp_path):
    assert reason(nifti(tmp_path / "v.nii", np.full(GRID.shape, 1e300))) == "NOT_A_NUMBER"
    assert reason(nifti(tmp_path / "v.nii", hu_of(GRID.shape), scale=(1, np.inf))) == "NOT_A_NUMBER"
    assert reason(nifti(tmp_path / "v.nii", hu_of(GRID.shape), scale=(np.nan, 5))) == "NOT_A_NUMBER"


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("scale", [(0, 0), (2, -3), (np.nan, np.nan), (np.nan, 0)])
def test_every_type_of_nifti_gives_its_numbers_scaled(tmp_path, kind, scale):
    array = (np.arange(210).reshape(GRID.shape) % 120).astype(kind)
    read = read_image(nifti(tmp_path / "v.nii.gz", array, scale=scale)).array
    np.testing.assert_array_equal(read, array.astype(float) * 2 - 3 if scale == (2, -3) else array)
    assert read.dtype == (np.float32 if kind[0] == "f" else np.int16)


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("scale", [(0, 0), (1, -1024), (0.25, 7.5), (-3, 0)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_voxels_of_a_nifti_are_those_that_simpleitk_reads(tmp_path, kind, scale, order):
    array = (hu_of(GRID.shape) % 250 if kind == "u1" else hu_of(GRID.shape) + 1000 * (kind == "u2")).astype(kind)
    path = nifti(tmp_path / "v.nii", array, scale=scale, order=order)
    judge = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    np.testing.assert_allclose(read_image(path).array, judge, rtol=1e-6)
    grid = read_image(path).grid
    assert grid.shape == judge.shape
    values = {f"v{number}": int(value) for number, value in enumerate(np.unique(judge)[:2], start=1) if value}
    if scale == (0, 0):
        with pytest.raises(Rejected, match="LABEL_VALUES"):
            read_label(path, grid, values)


def test_integers_that_outgrow_int16_late_in_the_file_become_floats(tmp_path):
    # More than one piece of 4 MiB, the large number in the last.
    array = np.arange(3 * 1000 * 1000).reshape(3, 1000, 1000).astype(np.int32) % 30000
    array[2, 999, 999] = 40000
    volume = read_image(nifti(tmp_path / "v.nii", array))
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, array)
    array[2, 999, 999] = 4
    assert read_image(nifti(tmp_path / "v.nii", array)).array.dtype == np.int16
    assert read_image(nifti(tmp_path / "v.nii", array, scale=(1, 2800))).array.dtype == np.float32
    assert read_image(nifti(tmp_path / "v.nii", array, scale=(1, -1024))).array.max() == 29999 - 1024


@pytest.mark.parametrize("kind", ["i8", "u8", "u4", "f8", "u1"])
def test_a_label_of_any_type_is_read(tmp_path, kind):
    path = nifti(tmp_path / "l.nii.gz", label_of().astype(kind))
    grid = read_image(path).grid
    np.testing.assert_array_equal(read_label(path, grid, VALUES)[0], expected_label(label_of()))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@given(share=st.floats(0, 0.99))
@settings(max_examples=20, deadline=None)
def test_a_nifti_cut_anywhere_is_refused_though_simpleitk_fills_with_zeros(tmp_path_factory, ending, share):
    path = nifti(tmp_path_factory.getbasetemp() / f"v{ending}", hu_of(GRID.shape))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert reason(path) in ("TRUNCATED", "UNREADABLE")
    assert reason(path, GRID) in ("TRUNCATED", "LABEL_UNREADABLE")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nifti_without_its_last_bytes_is_truncated(tmp_path, ending):
    path = nifti(tmp_path / f"v{ending}", hu_of(GRID.shape))
    path.write_bytes(path.read_bytes()[:-12])
    assert reason(path) == "TRUNCATED"


def test_damage_inside_packed_voxels_is_noticed(tmp_path):
    path = nifti(tmp_path / "v.nii.gz", hu_of(GRID.shape))
    content = bytearray(path.read_bytes())
    content[-60] ^= 0xFF
    path.write_bytes(bytes(content))
    assert reason(path) in ("UNREADABLE", "TRUNCATED")


def test_one_of_several_volumes_is_read(tmp_path):
    array = np.stack([hu_of(GRID.shape, seed) for seed in range(3)]).astype(np.float32)
    array[1, 2, 3, 4] = np.nan
    path = nifti(tmp_path / "v.nii.gz", array)
    assert count_volumes(path) == 3
    assert image_facts(path)["n_volumes"] == 3
    for number in (0, 2):
        volume = read_image(path, volume=number)
        np.testing.assert_array_equal(volume.array, array[number])
        assert volume.grid.spacing_mm == (4.0, 3.0, 2.0)
        assert volume.grid.origin_mm == (-10.0, -20.0, 30.0)
    # Only the damaged volume is refused.
    assert reason(path, volume=1) == "NOT_A_NUMBER"
    assert reason(path) == "SEVERAL_PHASES"
    assert reason(path, volume=3) == "MISSING_CHANNEL"
    assert reason(path, volume=-1) == "MISSING_CHANNEL"
    assert count_volumes(nifti(tmp_path / "w.nii", array[0])) == 1
    assert reason(nifti(tmp_path / "w.nii", array[0]), volume=1) == "MISSING_CHANNEL"


def test_what_has_several_numbers_a_voxel_is_told_in_words(tmp_path):
    vectors = SimpleITK.GetImageFromArray(np.zeros((*GRID.shape, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(vectors, str(tmp_path / "v.nii"))
    with pytest.raises(Rejected, match=r"UNSUPPORTED_PIXELS.*3 numbers a voxel \(colour"):
        read_image(tmp_path / "v.nii")
    assert reason(nifti(tmp_path / "c.nii", hu_of(GRID.shape).astype("c8"))) == "UNSUPPORTED_PIXELS"


@pytest.mark.parametrize(
    ("unit", "name", "mm"), [(1, "m", 1000), (2, "mm", 1), (3, "micron", 0.001), (0, "unknown", 1)]
)
@pytest.mark.parametrize("form", [{"s_code": 1}, {"s_code": 0, "q_code": 1, "q_offset": (10, 20, 30)}])
def test_lengths_become_mm(tmp_path, unit, name, mm, form):
    # The second number holds the unit of time, 8 for seconds.
    path = nifti(tmp_path / "v.nii", hu_of(GRID.shape), unit=unit + 8, **form)
    grid = read_image(path).grid
    np.testing.assert_allclose(grid.spacing_mm, np.array([4, 3, 2]) * mm, rtol=1e-6)
    np.testing.assert_allclose(grid.origin_mm, np.array([-10, -20, 30]) * mm, rtol=1e-6)
    assert image_facts(path)["unit"] == name


TURNED = np.array([[0.0, -3, 0, 10], [2, 0, 0, 20], [0, 0, 4, 30]])
HALF = np.sin(np.pi / 4)


def test_the_form_that_places_an_image_is_told(tmp_path):
    def facts(**options):
        return image_facts(nifti(tmp_path / "v.nii", hu_of(GRID.shape), **options))

    own = {"n_volumes": 1, "unit": "mm", "spacing_from": "pixdim"}
    assert facts(s_code=0) == {**own, "orientation_code": "none", "form_used": "none"}
    assert facts(s_code=2) == {**own, "orientation_code": "sform", "form_used": "sform"}
    assert facts(s_code=0, q_code=1) == {**own, "orientation_code": "qform", "form_used": "qform"}
    same = facts(sform=TURNED, q_code=1, q_offset=(10, 20, 30), quaternion=(0, 0, HALF))
    assert same.pop("forms_differ_mm") < 1e-5
    assert same == {**own, "orientation_code": same["form_used"], "form_used": same["form_used"]}
    # A turn by 90 degrees about the first voxel: the far corner (5, 6, 4) moves from (10, 18) to (-18, 10) in plane.
    apart = facts(sform=TURNED, q_code=1, q_offset=(10, 20, 30))
    assert apart["forms_differ_mm"] == pytest.approx(np.hypot(10 + 18, 18 - 10))
    assert apart["orientation_code"] == "both_differ"


@pytest.mark.parametrize("s_code", [1, 2, 3, 4])
@pytest.mark.parametrize("q_code", [1, 2, 4])
def test_of_two_forms_that_differ_the_sform_counts_where_its_code_is_1(tmp_path, s_code, q_code):
    moved = RAS_2_3_4 + np.array([[0, 0, 0, 7], [0] * 4, [0] * 4])
    path = nifti(
        tmp_path / "v.nii", hu_of(GRID.shape), sform=moved, s_code=s_code, q_code=q_code, q_offset=(10, 20, 30)
    )
    assert read_image(path).grid.origin_mm == (-17.0 if s_code == 1 else -10.0, -20.0, 30.0)
    facts = image_facts(path)
    assert facts["form_used"] == ("sform" if s_code == 1 else "qform")
    assert facts["forms_differ_mm"] == pytest.approx(7)


def test_a_lone_sform_gives_the_size_of_voxels_though_simpleitk_takes_another(tmp_path):
    path = nifti(tmp_path / "v.nii", hu_of(GRID.shape), pixdim=(1, 1, 1))
    assert SimpleITK.ReadImage(str(path)).GetSpacing() == (1, 1, 1)
    assert read_image(path).grid.spacing_mm == (4.0, 3.0, 2.0)
    assert image_facts(path)["spacing_from"] == "sform"


def test_geometry_that_cannot_be_is_refused(tmp_path):
    sheared = RAS_2_3_4.copy()
    sheared[1, 2] = 0.4
    array = hu_of(GRID.shape)
    with pytest.raises(Rejected, match=r"GANTRY_TILT.*by 0\.0995"):  # 0.4 / sqrt(0.4² + 4²)
        read_image(nifti(tmp_path / "v.nii", array, sform=sheared))
    assert reason(nifti(tmp_path / "v.nii", array, sform=np.zeros((3, 4)))) == "UNREADABLE"
    assert reason(nifti(tmp_path / "v.nii", array, sform=RAS_2_3_4 * np.nan)) == "UNREADABLE"
    assert reason(nifti(tmp_path / "v.nii", array, pixdim=(-2, 3, 4), s_code=0)) == "UNREADABLE"
    path = nifti(tmp_path / "v.nii", array)
    content = bytearray(path.read_bytes())
    struct.pack_into("<h", content, 42, -6)
    path.write_bytes(bytes(content))
    assert reason(path) == "UNREADABLE"
    assert reason(path, GRID) == "LABEL_UNREADABLE"
    content[4:8], content[344:348] = b"n+2\0", b"\0" * 4
    path.write_bytes(bytes(content))
    assert reason(path) == "UNREADABLE"


def test_facts_of_other_files_are_their_number_of_volumes(tmp_path):
    write_image(tmp_path / "v.nrrd", Volume(hu_of(GRID.shape), GRID))
    assert image_facts(tmp_path / "v.nrrd") == {"n_volumes": 1}
    assert count_volumes(tmp_path / "v.nrrd") == 1
    with pytest.raises(Rejected, match="SOURCE_CHANGED"):
        count_volumes(tmp_path / "absent.nii")


def test_a_written_nifti_says_where_it_lies_in_both_forms_and_in_mm(tmp_path):
    write_image(tmp_path / "v.nii", Volume(hu_of(GRID.shape), GRID))
    header = (tmp_path / "v.nii").read_bytes()[:348]
    q_code, s_code = struct.unpack_from("<hh", header, 252)
    assert q_code > 0
    assert s_code > 0
    assert header[123] & 7 == 2
    assert header[148:228].strip(b"\0") == b""  # no description
    facts = image_facts(tmp_path / "v.nii")
    assert facts["forms_differ_mm"] < 1e-3
    assert facts["orientation_code"] in ("qform", "sform")
    # The sform by hand, in RAS: voxel (z, y, x) = (4, 6, 5).
    rows = np.reshape(struct.unpack_from("<12f", header, 280), (3, 4))
    np.testing.assert_allclose(rows @ [5, 6, 4, 1] * [-1, -1, 1], GRID.world((4, 6, 5)), atol=1e-4)


@pytest.mark.parametrize("ending", WRITTEN)
def test_the_far_corner_of_a_body_scan_comes_back(tmp_path, ending):
    axes = grid_of().axes
    grid = Grid((350, 3, 512), (1.5, 0.9765625, 0.9765625), (-249.51171875, -402.3, -1312.75), axes)
    write_image(tmp_path / f"v{ending}", Volume(np.zeros(grid.shape, np.int16), grid))
    again = read_image(tmp_path / f"v{ending}").grid
    apart_mm = np.abs(np.subtract(again.world((349, 2, 511)), grid.world((349, 2, 511)))).max()
    assert apart_mm < (2e-4 if ".nii" in ending else 1e-9)


# Labels on other voxels


def moved_label(tmp_path, shift, **options):
    grid = Grid(GRID.shape, GRID.spacing_mm, GRID.world(shift), GRID.axes)
    write_image(tmp_path / "l.nrrd", Volume(label_of(), grid))
    return tmp_path / "l.nrrd"


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("voxels", [0.5, 1.0, -0.5, -1.0])
def test_a_shift_of_half_a_voxel_is_refused_whatever_the_tolerance(tmp_path, axis, voxels):
    shift = [0.0, 0.0, 0.0]
    shift[axis] = voxels
    path = moved_label(tmp_path, shift)
    expected = ", ".join(f"{abs(n):.3g}" for n in shift)
    for tolerance_mm in (0.05, 100.0):
        with pytest.raises(Rejected) as caught:
            read_label(path, GRID, VALUES, tolerance_mm=tolerance_mm)
        assert caught.value.reason == "LABEL_OFF_GRID"
        found = [float(n) for n in caught.value.found.split("up to ")[1].split(" voxels")[0].split(", ")]
        assert found == pytest.approx([float(n) for n in expected.split(", ")], abs=1e-6)
    shift[axis] = 0.4
    assert read_label(moved_label(tmp_path, shift), GRID, VALUES, tolerance_mm=100.0)[0].any()


def by_simpleitk(path, grid):
    """The judge: the whole file, in world coordinates."""
    task = SimpleITK.ResampleImageFilter()
    task.SetOutputSpacing(grid.spacing_mm[::-1])
    task.SetOutputOrigin(grid.origin_mm)
    task.SetOutputDirection(np.array(grid.axes[::-1]).T.ravel().tolist())
    task.SetSize(grid.shape[::-1])
    task.SetInterpolator(SimpleITK.sitkNearestNeighbor)
    return SimpleITK.GetArrayFromImage(task.Execute(SimpleITK.ReadImage(str(path))))


def test_a_label_on_other_voxels_is_brought_onto_the_image(tmp_path):
    fine = Grid((11, 21, 17), (1.3, 0.31, 0.29), GRID.world((0.1, 0.2, 0.3)), GRID.axes)
    stored = np.zeros(fine.shape, np.uint8)
    stored[2:8, 4:15, 4:9], stored[3:5, 4:9, 9:13] = 3, 1
    write_image(tmp_path / "l.nrrd", Volume(stored, fine))
    assert reason(tmp_path / "l.nrrd", GRID) == "LABEL_OFF_GRID"
    label, facts = read_label(tmp_path / "l.nrrd", GRID, VALUES, resample=True)
    expected = expected_label(by_simpleitk(tmp_path / "l.nrrd", GRID))
    np.testing.assert_array_equal(label, expected)
    assert (expected == 1).any()
    assert (expected == 2).any()
    assert facts == {
        "turned": False,
        "resampled": True,
        "outside_share": 0.0,
        "n_voxels": {"tumour": int((expected == 1).sum()), "lung": int((expected == 2).sum())},
    }


def test_a_label_on_the_same_voxels_stays_as_it_is_when_resampling_is_allowed(tmp_path):
    write_image(tmp_path / "l.nii.gz", Volume(label_of(), GRID))
    label, facts = read_label(tmp_path / "l.nii.gz", GRID, VALUES, resample=True)
    np.testing.assert_array_equal(label, expected_label(label_of()))
    assert (facts["resampled"], facts["outside_share"]) == (False, 0.0)


def test_a_label_moved_by_a_whole_voxel_is_moved_back(tmp_path):
    stored = np.zeros((6, 7, 6), np.uint8)
    stored[2, 3, 1] = 3
    write_image(
        tmp_path / "l.nrrd", Volume(stored, Grid((6, 7, 6), GRID.spacing_mm, GRID.world((-1, 2, 3)), GRID.axes))
    )
    label, _ = read_label(tmp_path / "l.nrrd", GRID, VALUES, resample=True)
    assert np.argwhere(label).tolist() == [[1, 5, 4]]


def test_a_label_that_sticks_out_of_its_image_is_measured_and_refused(tmp_path):
    # 200 voxels along x in a row of 220; those beyond 199.5 are lost.
    image = Grid((1, 1, 200), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))

    def write(first, last):
        stored = np.zeros((1, 1, 440), np.uint8)
        stored[..., first:last] = 3
        own = Grid((1, 1, 440), (1.0, 1.0, 0.5), (-0.25, 0.0, 0.0))
        write_image(tmp_path / "l.nrrd", Volume(stored, own))
        return tmp_path / "l.nrrd"

    # Voxel k lies at k / 2 - 0.25: 399 at 199.25 is inside, 400 at 199.75 is not.
    _, facts = read_label(write(200, 402), image, VALUES, resample=True)
    assert facts["outside_share"] == pytest.approx(2 / 202)
    assert reason(write(200, 403), image, resample=True) == "LABEL_OUTSIDE"
    _, facts = read_label(write(0, 0), image, VALUES, resample=True)
    assert (facts["outside_share"], facts["n_voxels"]["tumour"]) == (0.0, 0)


def test_strangers_outside_the_image_are_found_too(tmp_path):
    stored = np.zeros((9, 7, 6), np.uint8)
    stored[2], stored[8, 0, 0] = 3, 77
    write_image(tmp_path / "l.nrrd", Volume(stored, Grid(stored.shape, GRID.spacing_mm, GRID.origin_mm, GRID.axes)))
    assert reason(tmp_path / "l.nrrd", GRID, resample=True) == "LABEL_VALUES"


# Objects


def test_objects_of_a_label_file_keep_their_ids_however_they_are_told(tmp_path):
    ids = np.zeros(GRID.shape, np.int64)
    ids[1, 2:4, 3], ids[1, 4, 4], ids[3, 0, 0] = 700, 12, 12
    flipped = Grid(
        GRID.shape, GRID.spacing_mm, GRID.world((4, 0, 0)), (tuple(-c for c in GRID.axes[0]), *GRID.axes[1:])
    )
    write_image(tmp_path / "l.nrrd", Volume(np.ascontiguousarray(ids[::-1]), flipped))
    label, instances, facts = read_label(tmp_path / "l.nrrd", GRID, {"lesion": 1}, instances=True)
    assert (label.dtype, instances.dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(instances, ids)
    np.testing.assert_array_equal(label, ids > 0)
    assert facts == {
        "turned": True,
        "n_voxels": {"lesion": 4},
        "n_instances": 2,
        "ids_consecutive": False,
        "n_touching_pairs": 1,
        "n_split": 1,
    }
    # Seen from an image that begins a column further left.
    left = Grid(GRID.shape, GRID.spacing_mm, GRID.world((0, 0, -1)), GRID.axes)
    _, moved, facts = read_label(tmp_path / "l.nrrd", left, {"lesion": 1}, instances=True, resample=True)
    np.testing.assert_array_equal(moved[..., 1:], ids[..., :-1])
    assert (facts["resampled"], facts["n_instances"], facts["outside_share"]) == (True, 2, 0.0)
    with pytest.raises(SettingsError):
        read_label(tmp_path / "l.nrrd", GRID, VALUES, instances=True)


def test_objects_of_several_classes_are_read_by_class_and_number(tmp_path):
    stored = np.zeros(GRID.shape, np.int32)
    stored[0, 0, :4], stored[0, 1, :4] = 12_000, (7_001, 7_001, 7_002, 7_000)
    write_image(tmp_path / "p.nrrd", Volume(stored, GRID))
    classes = {"cell": 7, "tissue": 12}
    label, ids, facts = read_label(tmp_path / "p.nrrd", GRID, classes, instances=True, divisor=1000)
    np.testing.assert_array_equal(label[0, :2, :4], [[2, 2, 2, 2], [1, 1, 1, 1]])
    np.testing.assert_array_equal(ids[0, :2, :4], [[0, 0, 0, 0], [7_001, 7_001, 7_002, 0]])
    assert (facts["n_instances"], facts["n_voxels"]) == (2, {"cell": 4, "tissue": 4})
    with pytest.raises(Rejected, match="LABEL_VALUES"):
        read_label(tmp_path / "p.nrrd", GRID, {"cell": 7}, instances=True, divisor=1000)
