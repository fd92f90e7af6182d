"""Voxels of whole series, against the phantoms they were made from and against SimpleITK."""

import hashlib
import tracemalloc

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_phantom import ds, grid_of, hu_of, save, slice_of, write_series
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedCTImageStorage

from cohortseg.errors import Rejected
from cohortseg.io.geometry import stack_geometry
from cohortseg.io.headers import read_header
from cohortseg.io.mend import shift_plane
from cohortseg.io.series import Int16OverflowError, open_series, read_series, read_slabs
from cohortseg.slices import slices_of

GRID = grid_of()
HU = hu_of(GRID.shape)


def in_order(paths, records):
    order = stack_geometry(records).order
    return [paths[index] for index in order], [records[index] for index in order]


def read(folder, stored, **options):
    paths, records = write_series(folder, GRID, stored, **options)
    return read_series(*in_order(paths, records))


def judge(paths):
    """What SimpleITK makes of the same files, in the same order."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    return reader.Execute()


@pytest.mark.parametrize("intercept", [-1024, 0, 7])
def test_a_ct_series_becomes_hu_in_16_bits(tmp_path, intercept):
    array, series = read(tmp_path, (HU - intercept).astype(np.int16), intercept=intercept)
    assert array.dtype == np.int16
    assert series.unit == "HU"
    np.testing.assert_array_equal(array, HU)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.2"])
def test_compression_and_byte_order_do_not_show(tmp_path, syntax):
    array, series = read(tmp_path, (HU + 1024).astype(np.uint16), syntax=syntax)
    np.testing.assert_array_equal(array, HU)
    assert series.facts["transfer_syntaxes"] == [syntax]


def test_each_slice_has_its_own_slope(tmp_path):
    slopes = 0.5 + 0.25 * np.arange(len(HU))

    def edit(index, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(slopes[index]), str(-100 + index)

    array, series = read(tmp_path, HU, edit=edit, modality="MR")
    assert array.dtype == np.float32
    assert series.unit == ""
    assert series.facts["rescale_slopes"] == [0.5, 2.0]
    expected = HU * slopes[:, None, None] - 100 + np.arange(len(HU))[:, None, None]
    np.testing.assert_array_equal(array, expected.astype(np.float32))


def test_whole_slopes_that_differ_stay_in_16_bits(tmp_path):
    def edit(index, dataset):
        dataset.RescaleSlope = str(1 + index)

    array, _ = read(tmp_path, HU, edit=edit, intercept=0)
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, HU * (1 + np.arange(len(HU), dtype=np.int16))[:, None, None])


def test_a_series_without_rescaling_is_read_as_it_is_and_says_so(tmp_path):
    def edit(_, dataset):
        del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType

    array, series = read(tmp_path, HU, edit=edit, modality="MR")
    np.testing.assert_array_equal(array, HU)
    assert series.facts["rescale_missing"] == len(HU)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_slice_without_a_factor_that_others_carry_is_refused(tmp_path, keyword):
    def edit(index, dataset):
        if index in (2, 5):
            delattr(dataset, keyword)

    stored = hu_of(GRID.shape)
    paths, records = write_series(tmp_path / "a", GRID, stored, edit=edit, slope=2.0, intercept=-7.0)
    with pytest.raises(Rejected, match=r"2 of \d+ slices lack") as caught:
        open_series(paths, records)
    assert caught.value.reason == "BAD_RESCALE"
    # A slope of 1 and an intercept of 0 say nothing: to leave them out is no other scale.
    paths, records = write_series(tmp_path / "b", GRID, stored, edit=edit, slope=1.0, intercept=0.0)
    np.testing.assert_array_equal(read_series(*in_order(paths, records))[0], stored)


@pytest.mark.parametrize(
    ("keyword", "value"), [("RescaleSlope", "0"), ("RescaleSlope", "1e30"), ("RescaleIntercept", "-1e300")]
)
def test_factors_that_nobody_can_mean_are_refused(tmp_path, keyword, value):
    def edit(index, dataset):
        if index == 3:
            setattr(dataset, keyword, value)

    paths, records = write_series(tmp_path, GRID, hu_of(GRID.shape), edit=edit)
    with pytest.raises(Rejected, match="BAD_RESCALE"):
        open_series(paths, records)


@pytest.mark.parametrize("slope", [1, -1, 3, 65537, 10**19])
@pytest.mark.parametrize("intercept", [0, -1024, 40000, -70000])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_whole_numbers_are_exact_or_said_not_to_fit(tmp_path, slope, intercept, dtype):
    exact = np.array([0, 7, 100, 30000 // slope or 1]) - intercept // slope
    stored = np.clip(exact, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype).reshape(2, 2)
    path = save(slice_of(GRID, 0, stored, slope=slope, intercept=intercept), tmp_path / "a")
    expected = [int(value) * slope + intercept for value in stored.ravel()]
    series = open_series([path], [read_header(path)])
    if all(-32768 <= value <= 32767 for value in expected):
        assert next(read_slabs(series))[1].ravel().tolist() == expected
    else:
        with pytest.raises(Int16OverflowError):
            next(read_slabs(series))


def test_a_ct_that_never_says_how_to_come_to_hu_is_a_warning(tmp_path):
    def edit(_, dataset):
        del dataset.RescaleIntercept

    for modality, n_warnings in (("CT", 1), ("MR", 0)):
        folder = tmp_path / modality
        paths, records = write_series(folder, GRID, hu_of(GRID.shape), edit=edit, modality=modality)
        assert len(open_series(paths, records).facts["warnings"]) == n_warnings
    paths, records = write_series(tmp_path / "whole", GRID, hu_of(GRID.shape))
    assert open_series(paths, records).facts["warnings"] == []


def test_values_beyond_16_bits_need_floats(tmp_path):
    stored = HU.astype(np.uint16)
    stored[4, 3, 2] = 65535
    paths, records = in_order(*write_series(tmp_path, GRID, stored, intercept=0, modality="MR"))
    with pytest.raises(Int16OverflowError):
        list(read_slabs(open_series(paths, records)))
    array, series = read_series(paths, records)
    assert series.dtype == array.dtype == np.float32
    np.testing.assert_array_equal(array, stored.astype(np.float32))


def test_steep_slopes_do_not_wrap_around(tmp_path):
    array, series = read(tmp_path, HU, slope=131072.0, intercept=0, modality="MR")
    assert series.dtype == np.float32
    np.testing.assert_array_equal(array, HU.astype(np.float32) * 131072)


def test_padding_is_kept_but_stops_at_the_end_of_the_range(tmp_path):
    def edit(_, dataset):
        dataset.PixelPaddingValue = -32768

    stored = (HU + 1024).astype(np.int16)
    stored[:, :3] = -32768
    array, series = read(tmp_path, stored, edit=edit)
    assert array.dtype == np.int16
    assert series.facts["pixel_padding"] == [-32768]
    assert (array[:, :3] == -32768).all()
    np.testing.assert_array_equal(array[:, 3:], HU[:, 3:])


def test_monochrome1_is_not_inverted(tmp_path):
    def edit(_, dataset):
        dataset.PhotometricInterpretation = "MONOCHROME1"

    array, series = read(tmp_path, (HU + 1024).astype(np.int16), edit=edit)
    np.testing.assert_array_equal(array, HU)
    assert series.facts["monochrome1"] is True


def pet(_, dataset):
    dataset.Units, dataset.DecayCorrection, dataset.PatientWeight = "BQML", "ADMIN", "80"
    tracer = type(dataset)()
    tracer.RadionuclideTotalDose = "400000000"
    dataset.RadiopharmaceuticalInformationSequence = [tracer]


def test_a_pet_series_becomes_suv(tmp_path):
    array, series = read(tmp_path, HU, edit=pet, modality="PT", slope=2.5, intercept=0)
    assert (series.unit, array.dtype) == ("SUV", np.float32)
    assert series.facts["suv_factor"] == pytest.approx(2e-4)
    np.testing.assert_allclose(array, HU * 2.5 * 2e-4, rtol=1e-6)


def test_a_pet_series_of_two_units_is_refused(tmp_path):
    def edit(index, dataset):
        pet(index, dataset)
        dataset.Units = "GML" if index == 3 else "BQML"

    with pytest.raises(Rejected, match="NO_UNITS"):
        read(tmp_path, HU, edit=edit, modality="PT")


@pytest.mark.parametrize("slab", [1, 2, 3, 7, 64])
def test_slabs_join_to_the_whole_and_the_digest_does_not_see_them(tmp_path, slab):
    paths, records = in_order(*write_series(tmp_path, GRID, (HU + 1024).astype(np.int16)))
    digest = hashlib.sha256()
    blocks = list(read_slabs(open_series(paths, records), slab=slab, digest=digest))
    assert [first for first, _ in blocks] == list(range(0, 7, slab))
    assert all(len(block) <= slab for _, block in blocks)
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), HU)
    assert digest.hexdigest() == hashlib.sha256(HU.astype("<i2").tobytes()).hexdigest()


def test_memory_holds_slabs_and_not_the_series(tmp_path):
    grid = grid_of((48, 128, 128))
    paths, records = write_series(tmp_path, grid, np.zeros(grid.shape, np.int16))
    series = open_series(*in_order(paths, records))
    next(read_slabs(series, slab=4))
    tracemalloc.start()
    for _, block in read_slabs(series, slab=4):
        assert block.nbytes == 4 * 128 * 128 * 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Two slabs (the caller's and the next), a slice in two widths, one file.
    assert peak < 2 * 4 * 128 * 128 * 2 + 4 * 128 * 128 * 4 + 200_000


def test_one_bad_slice_spoils_the_series(tmp_path):
    paths, records = in_order(*write_series(tmp_path, GRID, HU))
    paths[4].write_bytes(paths[4].read_bytes()[:-10])
    with pytest.raises(Rejected, match="TRUNCATED"):
        read_series(paths, records)
    paths[2].unlink()
    with pytest.raises(Rejected, match="SOURCE_CHANGED"):
        read_series(paths, records)


def phantom(grid):
    """An object without symmetry, as a function of the world: a slope and two blobs, on the voxels of a grid."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), [1], indexing="ij"), axis=-1)[..., 0, :]
    return anatomy((index @ grid.affine.T)[..., :3])


def anatomy(world, blobs=1.0):
    value = 40 + world @ [3.0, -2.0, 1.5]
    for centre, width_mm, height in (((-26, 14, 50), 4.0, 500), ((-30, 20, 49), 2.5, -300)):
        value = value + blobs * height * np.exp(-((world - centre) ** 2).sum(axis=-1) / (2 * width_mm**2))
    return value


def tilted_series(folder, by_px, *, grid=GRID, blobs=1.0, padding=None, **options):
    """A series of a scanner with tilted gantry: each slice lies `by_px` (y, x) further along its plane."""
    by_mm = by_px[0] * grid.spacing_mm[1] * np.array(grid.axes[1]) + by_px[1] * grid.spacing_mm[2] * np.array(
        grid.axes[2]
    )
    rows, columns = np.mgrid[: grid.shape[1], : grid.shape[2]]
    stored = np.empty(grid.shape, np.int16)
    for index in range(grid.shape[0]):
        flat = np.stack([np.full(rows.shape, index), rows, columns, np.ones(rows.shape)], axis=-1)
        stored[index] = np.rint(anatomy((flat @ grid.affine.T)[..., :3] + index * by_mm, blobs))

    def edit(index, dataset):
        dataset.ImagePositionPatient = ds(np.array(grid.world((index, 0, 0))) + index * by_mm)
        if padding is not None:
            dataset.PixelPaddingValue = padding

    paths, records = write_series(folder, grid, stored + 1024, edit=edit, **options)
    return paths, records, stored


def sheared_image(stored, grid, by_px):
    """The same slices as an image of SimpleITK whose third axis leans."""
    image = SimpleITK.GetImageFromArray(stored.astype(np.float64))
    z, y, x = (np.array(axis) for axis in grid.axes)
    step = grid.spacing_mm[0] * z + by_px[0] * grid.spacing_mm[1] * y + by_px[1] * grid.spacing_mm[2] * x
    image.SetSpacing((grid.spacing_mm[2], grid.spacing_mm[1], float(np.linalg.norm(step))))
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(np.column_stack([x, y, step / np.linalg.norm(step)]).ravel().tolist())
    return image


def image_on(grid):
    image = SimpleITK.Image(*(int(n) for n in grid.shape[::-1]), SimpleITK.sitkFloat64)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(np.array(grid.axes[::-1]).T.ravel().tolist())
    return image


def test_a_tilt_of_whole_pixels_is_undone_exactly(tmp_path):
    paths, records, stored = tilted_series(tmp_path, (-2, 1))
    stack = stack_geometry(records, gantry_tilt="deskew")
    array, series = read_series(paths, records, stack=stack)
    assert array.dtype == np.int16
    assert array.shape == series.shape == stack.grid.shape == (7, 14 + 12, 11 + 6)
    expected = np.full(array.shape, -1024, np.int16)
    for index, plane in enumerate(stored):
        top, left = 12 - 2 * index, index
        expected[index, top : top + 14, left : left + 11] = plane
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("by_px", [(1.3, 0.0), (-0.7, 0.4)])
def test_simpleitk_undoes_a_tilt_alike(tmp_path, by_px):
    paths, records, stored = tilted_series(tmp_path, by_px)
    stack = stack_geometry(records, gantry_tilt="deskew")
    array, _ = read_series(paths, records, stack=stack)
    sheared = sheared_image(stored, GRID, by_px)
    judged = SimpleITK.Resample(sheared, image_on(stack.grid), SimpleITK.Transform(), SimpleITK.sitkLinear, -1024.0)
    wanted = SimpleITK.GetArrayFromImage(judged)
    # The judge drops the first or last slice where rounding puts it outside.
    there = wanted != -1024
    assert there.sum() > 0.7 * stored.size
    np.testing.assert_array_equal((array != -1024)[1:-1], there[1:-1])
    assert np.abs(array - wanted)[there].max() <= 0.5 + 1e-6


@pytest.mark.parametrize(("blobs", "allowed_hu"), [(0.0, 1.01), (1.0, 25.0)])
def test_anatomy_stays_where_it_is_in_the_world(tmp_path, blobs, allowed_hu):
    # A slope is linear, so that only the rounding to whole HU is left; blobs show what linear sampling costs.
    grid = grid_of((12, 30, 26))
    paths, records, _ = tilted_series(tmp_path, (1.3, -0.6), grid=grid, blobs=blobs)
    stack = stack_geometry(records, gantry_tilt="deskew")
    array, _ = read_series(paths, records, stack=stack)
    index = np.stack(np.meshgrid(*map(np.arange, stack.grid.shape), indexing="ij"), axis=-1)
    world = np.concatenate([index, np.ones((*index.shape[:3], 1))], axis=-1) @ stack.grid.affine.T
    shifted = np.array(stack.shift_yx)[:, None, None]
    offset = index[..., 1:] - shifted
    inner = ((offset >= 0) & (offset <= np.array(grid.shape[1:]) - 1)).all(axis=-1)
    assert inner.sum() > 0.85 * np.prod(grid.shape)
    assert np.abs(array - anatomy(world[..., :3], blobs))[inner].max() < allowed_hu


def test_new_voxels_hold_the_padding_of_the_series(tmp_path):
    paths, records, _ = tilted_series(tmp_path, (2, 0), padding=24)
    array, _ = read_series(paths, records, stack=stack_geometry(records, gantry_tilt="deskew"))
    assert (array[0, 14:] == 24 - 1024).all()
    assert (array[6, :12] == 24 - 1024).all()


def test_new_voxels_of_other_modalities_hold_the_smallest_value_of_their_slice(tmp_path):
    paths, records, stored = tilted_series(tmp_path, (2, 0), modality="MR", intercept=-1024)
    array, _ = read_series(paths, records, stack=stack_geometry(records, gantry_tilt="deskew"))
    assert (array[6, :12] == stored[6].min()).all()


def long_series(folder, gone=(), **options):
    """Noise on 41 slices, some of them missing, and what linear blending makes of it."""
    grid = grid_of((41, 6, 5))
    stored = hu_of(grid.shape)
    paths, records = write_series(folder, grid, stored - options.get("intercept", -1024), **options)
    kept = [index for index, record in enumerate(records) if 1000 - record["instance_number"] not in gone]
    return grid, stored, [paths[index] for index in kept], [records[index] for index in kept]


def test_missing_slices_are_blended_and_whole_numbers_stay_whole(tmp_path):
    grid, stored, paths, records = long_series(tmp_path, gone=(7, 8))
    stack = stack_geometry(records, mend=["missing_slices"])
    array, _ = read_series(paths, records, stack=stack)
    assert array.dtype == np.int16
    assert stack.grid.matches(grid, 1e-6)
    kept = [index for index in range(41) if index not in (7, 8)]
    np.testing.assert_array_equal(array[kept], stored[kept])
    lower, upper = stored[6].astype(float), stored[9].astype(float)
    np.testing.assert_array_equal(array[7], np.rint(lower * 2 / 3 + upper / 3))
    np.testing.assert_array_equal(array[8], np.rint(lower / 3 + upper * 2 / 3))


def test_halves_are_rounded_to_the_even_neighbour(tmp_path):
    _, stored, paths, records = long_series(tmp_path, gone=(20,))
    array, _ = read_series(paths, records, stack=stack_geometry(records, mend=["missing_slices"]))
    doubled = stored[19].astype(int) + stored[21]
    assert (doubled % 2).any()
    np.testing.assert_array_equal(array[20][doubled % 4 == 1], (doubled // 2)[doubled % 4 == 1])
    np.testing.assert_array_equal(array[20][doubled % 4 == 3], (doubled // 2 + 1)[doubled % 4 == 3])


def test_uneven_slices_are_sampled_where_they_lie(tmp_path):
    grid = grid_of((8, 14, 11))
    heights = np.array([0, 2, 4, 7, 10, 12, 14, 16]) / 2
    rows, columns = np.mgrid[:14, :11]

    def edit(index, dataset):
        dataset.ImagePositionPatient = ds(grid.world((heights[index], 0, 0)))

    # Linear along z, so that resampling gives it back.
    slope = 10 * rows - 7 * columns
    stored = np.array([slope + np.rint(60 * height) for height in heights]).astype(np.int16)
    paths, records = write_series(tmp_path, grid, stored + 1024, edit=edit)
    stack = stack_geometry(records, mend=["uneven_spacing"])
    array, _ = read_series(paths, records, stack=stack)
    assert array.shape == stack.grid.shape == (9, 14, 11)
    np.testing.assert_array_equal(array, slope + 60 * np.arange(9)[:, None, None])


@pytest.mark.parametrize("slab", [1, 3, 64])
@pytest.mark.parametrize("by_px", [(0.0, 0.0), (1.25, -0.5)])
def test_two_mends_and_a_tilt_stream_as_they_are_in_memory(tmp_path, slab, by_px):
    grid = grid_of((41, 6, 5))
    paths, records, stored = tilted_series(tmp_path, by_px, grid=grid)
    kept = [index for index, record in enumerate(records) if record["instance_number"] != 1000 - 20]
    paths, records = [paths[index] for index in kept], [records[index] for index in kept]
    paths, records = [*paths, paths[4]], [*records, records[4] | {"instance_number": 5000}]
    stack = stack_geometry(records, mend=["missing_slices", "repeated_slices"], gantry_tilt="deskew")
    digest = hashlib.sha256()
    blocks = list(read_slabs(open_series(paths, records, stack=stack), slab=slab, digest=digest))
    streamed = np.concatenate([block for _, block in blocks])
    assert [first for first, _ in blocks] == list(range(0, 41, slab))
    assert digest.hexdigest() == hashlib.sha256(streamed.astype("<i2").tobytes()).hexdigest()
    expected = np.full(stack.grid.shape, -1024.0)
    empty = np.ones(stack.grid.shape, bool)
    for index in range(41):
        if index != 20:
            shift = stack.shift_yx[index - (index > 20)] if stack.shift_yx else (0.0, 0.0)
            size = stack.grid.shape[1:]
            expected[index], empty[index] = shift_plane(
                stored[index].astype(float), np.zeros((6, 5), bool), shift, size, -1024
            )
    both = ~empty[19] & ~empty[21]
    np.testing.assert_array_equal(streamed[20][both], np.rint((expected[19] + expected[21]) / 2)[both])
    for index in set(range(41)) - {20}:
        np.testing.assert_array_equal(streamed[index], np.rint(expected[index]))


def test_mended_memory_holds_two_slices_and_not_the_series(tmp_path):
    paths, records, _ = tilted_series(tmp_path, (0.02, 0.01), grid=grid_of((100, 128, 128)))
    del paths[50], records[50]
    series = open_series(paths, records, stack=stack_geometry(records, mend=["missing_slices"], gantry_tilt="deskew"))
    assert series.shift_yx is not None
    next(read_slabs(series, slab=1))
    tracemalloc.start()
    for _ in read_slabs(series, slab=1):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one_slice = series.shape[1] * series.shape[2]
    # Two slabs of 16 bits, two slices of 64 bits and what moving one takes; the series has 100 of 16 bits.
    assert peak < 90 * one_slice + 200_000 < 0.6 * 200 * one_slice


def with_copy(folder, edit):
    paths, records = write_series(folder, GRID, (HU + 1024).astype(np.int16))
    dataset = pydicom.dcmread(paths[2])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.77"
    dataset.InstanceNumber = 5000
    edit(dataset)
    dataset.save_as(folder / "copy.dcm")
    return [*paths, folder / "copy.dcm"], [*records, read_header(folder / "copy.dcm")]


def test_copies_of_a_slice_are_left_out_when_they_hold_the_same(tmp_path):
    paths, records = with_copy(tmp_path, lambda dataset: None)
    stack = stack_geometry(records, mend=["repeated_slices"])
    assert stack.mended == {"repeated_slices": 1}
    np.testing.assert_array_equal(read_series(paths, records, stack=stack)[0], HU)


def one_pixel(dataset):
    pixels = dataset.pixel_array.copy()
    pixels[5, 3] += 1
    dataset.PixelData = pixels.tobytes()


def other_slope(dataset):
    dataset.RescaleIntercept = "-1000"


@pytest.mark.parametrize("edit", [one_pixel, other_slope])
def test_slices_of_one_place_that_differ_are_refused(tmp_path, edit):
    paths, records = with_copy(tmp_path, edit)
    stack = stack_geometry(records, mend=["repeated_slices"])
    with pytest.raises(Rejected, match="DUPLICATE_POSITION"):
        read_series(paths, records, stack=stack)


def test_a_stack_without_mends_reads_as_before(tmp_path):
    paths, records = write_series(tmp_path, GRID, (HU + 1024).astype(np.int16))
    stack = stack_geometry(records)
    array, series = read_series(paths, records, stack=stack)
    np.testing.assert_array_equal(array, HU)
    assert list(series.paths) == [str(paths[index]) for index in stack.order]


def items(**elements):
    """A sequence of one item."""
    item = pydicom.Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return Items([item])


def multi_frame(path, grid, stored, *, edit=lambda dataset: None, slopes=None):
    """One enhanced CT of all slices, its frames in an order that says nothing; returns paths and slice records."""
    order = np.random.default_rng(1).permutation(len(stored))
    own = slice_of(grid, 0, stored[0])
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(own, name)
    own.SOPClassUID = own.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    own.NumberOfFrames = len(stored)
    own.SharedFunctionalGroupsSequence = items(
        PlaneOrientationSequence=items(ImageOrientationPatient=ds([*grid.axes[2], *grid.axes[1]])),
        PixelMeasuresSequence=items(PixelSpacing=ds(grid.spacing_mm[1:]), SliceThickness="5"),
    )
    frames = []
    for index in order:
        slope = 1 if slopes is None else slopes[index]
        frames += items(
            PlanePositionSequence=items(ImagePositionPatient=ds(grid.world((int(index), 0, 0)))),
            PixelValueTransformationSequence=items(RescaleSlope=str(slope), RescaleIntercept="-1024"),
        )
    own.PerFrameFunctionalGroupsSequence = Items(frames)
    own.PixelData = stored[order].astype("<i2").tobytes()
    edit(own)
    save(own, path)
    slices = slices_of(read_header(path))
    return [path] * len(slices), slices


@pytest.mark.parametrize("slab", [1, 3, 64])
def test_frames_of_one_file_become_a_volume(tmp_path, slab):
    paths, records = multi_frame(tmp_path / "all.dcm", GRID, (HU + 1024).astype(np.int16))
    stack = stack_geometry(records)
    assert stack.grid.matches(GRID, 1e-6)
    blocks = read_slabs(open_series(paths, records, stack=stack), slab=slab)
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), HU)


def test_each_frame_has_its_own_slope(tmp_path):
    slopes = 0.5 + 0.25 * np.arange(len(HU))
    paths, records = multi_frame(tmp_path / "all.dcm", GRID, HU, slopes=slopes)
    array, series = read_series(paths, records, stack=stack_geometry(records))
    assert series.facts["rescale_slopes"] == [0.5, 2.0]
    np.testing.assert_array_equal(array, (HU * slopes[:, None, None] - 1024).astype(np.float32))


def test_frames_are_mended_as_files_are(tmp_path):
    grid = grid_of((41, 6, 5))
    stored = hu_of(grid.shape)
    paths, records = multi_frame(tmp_path / "all.dcm", grid, stored + 1024)
    kept = [place for place, record in enumerate(records) if place != 6]
    gone = int(np.random.default_rng(1).permutation(41)[6])
    records = [records[place] for place in kept]
    stack = stack_geometry(records, mend=["missing_slices"])
    array, _ = read_series(paths[:40], records, stack=stack)
    assert 0 < gone < 40
    np.testing.assert_array_equal(np.delete(array, gone, axis=0), np.delete(stored, gone, axis=0))
    np.testing.assert_array_equal(array[gone], np.rint((stored[gone - 1].astype(float) + stored[gone + 1]) / 2))


def test_a_file_of_frames_without_their_places_is_refused(tmp_path):
    def edit(dataset):
        del dataset.PerFrameFunctionalGroupsSequence

    path = tmp_path / "all.dcm"
    with pytest.raises(Rejected, match="NO_FRAMES"):
        multi_frame(path, GRID, HU, edit=edit)
    with pytest.raises(Rejected, match="NO_FRAMES"):
        open_series([path], [read_header(path)])


def test_of_colour_pictures_the_luminance_or_one_channel_is_taken(tmp_path):
    rgb = np.random.default_rng(4).integers(0, 256, (*GRID.shape, 3)).astype(np.uint8)
    rgb[:, 0] = rgb[:, 0, :, :1]

    def edit(index, dataset):
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.PixelData = rgb[index].tobytes() + b"\0" * (rgb[index].size % 2)
        dataset["PixelData"].VR = "OB"

    paths, records = write_series(tmp_path, GRID, rgb[..., 0], edit=edit, modality="OT", intercept=0)
    stack = stack_geometry(records)
    for number, name in enumerate(("red", "green", "blue")):
        blocks = read_slabs(open_series(paths, records, stack=stack, colour=name))
        np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), rgb[..., number])
    grey, series = read_series(paths, records, stack=stack)
    assert series.dtype == np.int16
    np.testing.assert_array_equal(grey, np.rint(rgb @ [0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(grey[:, 0], rgb[:, 0, :, 0])


def test_floating_point_pixels_stay_floats_and_must_be_numbers(tmp_path):
    stored = (HU / 7).astype(np.float32)

    def edit(index, dataset):
        del dataset.PixelData
        dataset.FloatPixelData = stored[index].tobytes()

    paths, records = write_series(tmp_path, GRID, HU.astype(np.int32), edit=edit, modality="MR", intercept=3)
    array, series = read_series(*in_order(paths, records))
    assert series.dtype == np.float32
    np.testing.assert_array_equal(array, stored + np.float32(3))
    stored[4, 2, 2] = np.nan
    paths, records = write_series(tmp_path, GRID, HU.astype(np.int32), edit=edit, modality="MR")
    with pytest.raises(Rejected, match="NOT_A_NUMBER"):
        read_series(*in_order(paths, records))


def test_uptake_by_lean_body_mass_needs_height_and_sex(tmp_path):
    def edit(index, dataset):
        pet(index, dataset)
        dataset.PatientSize, dataset.PatientSex = "1.75", "F"

    paths, records = in_order(*write_series(tmp_path, GRID, HU, edit=edit, modality="PT", intercept=0))
    # 9270 * 80 / (8780 + 244 * 80 / 1.75²) kg, over 400 MBq.
    assert open_series(paths, records, suv="lbm").factor == pytest.approx(48_938 / 4e8, rel=1e-5)
    assert open_series(paths, records).factor == pytest.approx(2e-4)
    with pytest.raises(Rejected, match="NO_UNITS"):
        open_series(paths, [record | {"height_m": None} for record in records], suv="lbm")


def assert_same_as_simpleitk(paths, records):
    stack = stack_geometry(records)
    paths, records = [paths[index] for index in stack.order], [records[index] for index in stack.order]
    array, series = read_series(paths, records)
    image = judge(paths)
    np.testing.assert_array_equal(array, SimpleITK.GetArrayFromImage(image).astype(series.dtype))
    np.testing.assert_allclose(stack.grid.spacing_mm, image.GetSpacing()[::-1], rtol=1e-9)
    np.testing.assert_allclose(stack.grid.origin_mm, image.GetOrigin(), atol=1e-9)
    # Its own z axis follows the positions, so the corner tells more than the matrix.
    corner = tuple(n - 1 for n in stack.grid.shape)
    np.testing.assert_allclose(stack.grid.world(corner), image.TransformIndexToPhysicalPoint(corner[::-1]), atol=1e-4)


def test_simpleitk_reads_a_tilted_series_alike(tmp_path):
    assert_same_as_simpleitk(*write_series(tmp_path, GRID, (HU + 1024).astype(np.int16)))


@pytest.mark.data
def test_simpleitk_reads_all_real_series_alike(unpacked):
    folders = [*sorted((unpacked / "sts").glob("*/*/image")), unpacked / "lung" / "LUNG1-003_20180209_CT"]
    assert len(folders) == 37
    for folder in folders:
        found = {path: read_header(path) for path in sorted(folder.iterdir())}
        images = {path: record for path, record in found.items() if record["kind"] == "image"}
        assert_same_as_simpleitk(list(images), list(images.values()))


@pytest.mark.data
def test_every_real_slice_that_breaks_converters_has_the_values_that_pydicom_reads(unpacked):
    paths = sorted(path for path in (unpacked / "faulty-dicom" / "failing").rglob("*") if path.is_file())
    records = {path: read_header(path) for path in paths}
    slices = {path: record for path, record in records.items() if record and record["kind"] == "image"}
    assert len(slices) > 20
    for path, record in slices.items():
        one = pydicom.dcmread(path)
        array, series = read_series([path], [record])
        values = one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
        np.testing.assert_array_equal(array[0], values)
        assert series.unit == ("HU" if one.Modality == "CT" else "")


@pytest.mark.data
def test_real_pet_is_suv_already(unpacked):
    for folder in sorted((unpacked / "sts").glob("*/PET/image")):
        paths = sorted(folder.iterdir())
        series = open_series(paths, [read_header(path) for path in paths])
        assert (series.unit, series.factor) == ("SUV", 1.0)
