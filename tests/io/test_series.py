"""Voxels of whole series, against the phantoms they were made from and against SimpleITK."""

import hashlib
import tracemalloc

import numpy as np
import pytest
import SimpleITK
from dicom_phantom import grid_of, hu_of, write_series

from cohortseg.errors import Rejected
from cohortseg.io.geometry import stack_geometry
from cohortseg.io.headers import read_header
from cohortseg.io.series import Int16OverflowError, open_series, read_series, read_slabs

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
def test_real_pet_is_suv_already(unpacked):
    for folder in sorted((unpacked / "sts").glob("*/PET/image")):
        paths = sorted(folder.iterdir())
        series = open_series(paths, [read_header(path) for path in paths])
        assert (series.unit, series.factor) == ("SUV", 1.0)
