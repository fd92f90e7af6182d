"""Stored integers of one slice: every syntax, and no missing byte."""

import warnings
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from dicom_phantom import enhanced_of, frame_place, grid_of, hu_of, save, slice_of
from pydicom.data import get_testdata_file

from cohortseg.errors import Rejected
from cohortseg.io.headers import read_header
from cohortseg.io.pixels import check_readable, read_stored
from cohortseg.io.series import open_series, read_slabs
from cohortseg.slices import slices_of

JPEG2000, JPEG_LS, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"
PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
GRID = grid_of((3, 40, 33))
STORED = hu_of((40, 33)) + np.int16(1024)


@pytest.fixture
def dataset():
    return slice_of(GRID, 2, STORED)


def reason(path, record=None):
    with pytest.raises(Rejected) as caught:
        read(path, record)
    return caught.value.reason


def read(path, record=None):
    record = record or read_header(path)
    check_readable(record)
    return read_stored(path, record)


@pytest.mark.parametrize("syntax", [*PLAIN, JPEG2000, JPEG_LS, RLE])
def test_every_lossless_syntax_gives_the_same_integers(dataset, tmp_path, syntax):
    path = save(dataset, tmp_path / "a", syntax)
    assert read_header(path)["transfer_syntax"] == syntax
    np.testing.assert_array_equal(read(path), STORED)


def test_lossless_jpeg_is_read(dataset, tmp_path):
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(save(dataset, tmp_path / "plain")))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(tmp_path / "jpeg"))
    assert writer.Write()
    assert read_header(tmp_path / "jpeg")["transfer_syntax"] == "1.2.840.10008.1.2.4.70"
    np.testing.assert_array_equal(read(tmp_path / "jpeg"), STORED)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_every_width_and_sign_is_read_as_written(tmp_path, dtype):
    limits = np.iinfo(dtype)
    stored = np.linspace(limits.min, limits.max, 14 * 11).astype(dtype).reshape(14, 11)
    np.testing.assert_array_equal(read(save(slice_of(grid_of(), 0, stored), tmp_path / "a")), stored)


@pytest.mark.parametrize(
    "name",
    [
        *("CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_padded.dcm"),
        *("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm"),
        *("693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "examples_overlay.dcm", "image_dfl.dcm"),
    ],
)
def test_files_of_other_writers_are_read_as_pydicom_reads_them(name):
    path = Path(get_testdata_file(name, download=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MR_truncated.dcm", "TRUNCATED"),
        ("JPGExtended.dcm", "UNSUPPORTED_SYNTAX"),  # no free decoder reads its 12 bits
        ("JPEG2000-embedded-sequence-delimiter.dcm", "UNSUPPORTED_PIXELS"),  # its codestream names another size
        ("SC_rgb_rle_2frame.dcm", "NO_FRAMES"),  # not taken apart
    ],
)
def test_what_cannot_be_a_slice_of_numbers_is_refused(name, expected):
    assert reason(Path(get_testdata_file(name, download=False))) == expected


def whole(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = pydicom.dcmread(get_testdata_file(name, download=False))
        return one, one.pixel_array


def frames_of(name):
    path = Path(get_testdata_file(name, download=False))
    return [read(path, record) for record in slices_of(read_header(path))]


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_jpeg.dcm"])
def test_colours_are_red_green_and_blue(name):
    expected = whole(name)[1]
    np.testing.assert_array_equal(np.squeeze(frames_of(name)), expected)
    assert expected.reshape(-1, 3)[0].tolist() in ([255, 0, 0], [166, 141, 52], [244, 244, 244])


def test_luminance_and_colour_differences_become_red_green_and_blue():
    ybr = pydicom.pixels.pixel_array(get_testdata_file("examples_ybr_color.dcm", download=False), raw=True)
    frames = frames_of("examples_ybr_color.dcm")
    assert len(frames) == 30
    for frame, source in zip(frames[::7], ybr[::7], strict=True):
        y, blue, red = np.moveaxis(source.astype(float) - [0, 128, 128], -1, 0)
        # PS3.3 C.7.6.3.1.2, solved for red, green and blue.
        rgb = [y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue]
        assert np.abs(frame - np.clip(np.stack(rgb, axis=-1), 0, 255)).max() <= 1.5


def test_a_palette_is_looked_up():
    one, indices = whole("examples_palette.dcm")
    tables = [one.RedPaletteColorLookupTableData, one.GreenPaletteColorLookupTableData]
    (found,) = frames_of("examples_palette.dcm")
    assert one.RedPaletteColorLookupTableDescriptor[1:] == [0, 16]
    for channel, table in enumerate(tables):
        np.testing.assert_array_equal(found[..., channel], np.frombuffer(table, "<u2")[indices])


@pytest.mark.parametrize("syntax", [*PLAIN[:3], JPEG2000, JPEG_LS, RLE])
def test_pixels_cut_off_anywhere_are_truncated(dataset, tmp_path, syntax):
    path = save(dataset, tmp_path / "whole", syntax)
    record, content = read_header(path), path.read_bytes()
    ends = range(record["pixel_offset"] + 1, len(content) - 9, 97)
    for end in [*ends, len(content) - 9]:
        cut = tmp_path / "cut"
        cut.write_bytes(content[:end])
        assert reason(cut, record) == "TRUNCATED", f"cut at {end} of {len(content)}"


@pytest.mark.parametrize("syntax", [JPEG2000, JPEG_LS])
def test_a_picture_without_its_end_is_truncated_though_its_container_is_whole(dataset, tmp_path, syntax):
    dataset.compress(syntax, generate_instance_uid=False)
    fragment = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([fragment.rstrip(b"\0")[:-2]])
    path = tmp_path / "a"
    dataset.save_as(path, enforce_file_format=True)
    assert reason(path) == "TRUNCATED"


def test_a_run_length_picture_that_ends_early_is_refused(dataset, tmp_path):
    dataset.compress(RLE, generate_instance_uid=False)
    fragment = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([fragment[:-40]])
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    assert reason(tmp_path / "a") in ("TRUNCATED", "UNSUPPORTED_SYNTAX")


@pytest.mark.parametrize(
    ("syntax", "rows"),
    [(syntax, rows) for syntax in (JPEG2000, JPEG_LS, RLE) for rows in (20, 39, 41, 80)],
)
def test_a_picture_of_another_size_than_the_header_says_is_refused(dataset, tmp_path, syntax, rows):
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.Rows = rows
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    # Run lengths carry no size of their own: they end early, or are left over.
    assert reason(tmp_path / "a") == ("TRUNCATED" if syntax == RLE and rows > 40 else "UNSUPPORTED_PIXELS")


@pytest.mark.parametrize("syntax", [JPEG2000, JPEG_LS, RLE, PLAIN[1], PLAIN[3]])
def test_a_huge_matrix_is_refused_before_memory_is_asked_for(dataset, tmp_path, syntax):
    save(dataset, tmp_path / "a", syntax)
    one = pydicom.dcmread(tmp_path / "a")
    one.Rows = one.Columns = 65535
    one.save_as(tmp_path / "a", enforce_file_format=True)
    record = read_header(tmp_path / "a")
    with pytest.raises(Rejected) as caught:
        next(read_slabs(open_series([tmp_path / "a"], [record])))
    compressed_picture = syntax in (JPEG2000, JPEG_LS)
    assert caught.value.reason == ("UNSUPPORTED_PIXELS" if compressed_picture else "TRUNCATED")


@pytest.mark.parametrize("syntax", PLAIN)
@pytest.mark.parametrize(("keyword", "value"), [("Rows", 39), ("Rows", 20), ("Columns", 32), ("BitsAllocated", 8)])
def test_more_pixel_data_than_the_header_speaks_of_are_refused(dataset, tmp_path, syntax, keyword, value):
    setattr(dataset, keyword, value)
    if keyword == "BitsAllocated":
        dataset.BitsStored, dataset.HighBit = 8, 7
    with pytest.raises(Rejected, match=rf"UNSUPPORTED_PIXELS: {40 * 33 * 2} bytes of pixel data, the header speaks of"):
        read(save(dataset, tmp_path / "a", syntax))


def test_pixel_data_shorter_than_the_matrix_are_truncated(dataset, tmp_path):
    for syntax in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"):
        dataset.PixelData = dataset.PixelData[:200]
        assert reason(save(dataset, tmp_path / "a", syntax)) == "TRUNCATED"


@pytest.mark.parametrize("padding", [b"\7" * 64, bytes(66), bytes(512)])
def test_padding_behind_the_pixels_is_ignored(dataset, tmp_path, padding):
    # Less than a row of 66 bytes, whatever it holds; or a little more, when it is empty.
    dataset.PixelData += padding
    np.testing.assert_array_equal(read(save(dataset, tmp_path / "a")), STORED)
    dataset.PixelData += bytes(513 - len(padding)) + b"\1"
    assert reason(save(dataset, tmp_path / "a")) == "UNSUPPORTED_PIXELS"


def test_overlays_in_the_upper_bits_do_not_reach_the_values(tmp_path):
    values = np.random.default_rng(1).integers(-2000, 2000, (14, 11)).astype(np.int16)
    drawn = (values & 0x0FFF) | np.where(np.arange(11) % 2, 0x1000, 0).astype(np.int16)
    dataset = slice_of(grid_of(), 0, drawn)
    dataset.BitsStored, dataset.HighBit = 12, 11
    # Only the stored bits count, whether or not the header tells what the others are.
    np.testing.assert_array_equal(read(save(dataset, tmp_path / "without")), values)
    dataset.add_new(0x60000102, "US", 12)
    np.testing.assert_array_equal(read(save(dataset, tmp_path / "with")), values)


def test_values_below_the_stored_bits_are_refused(tmp_path):
    values = np.arange(14 * 11).astype(np.uint16).reshape(14, 11) * 16
    dataset = slice_of(grid_of(), 0, values)
    dataset.BitsStored, dataset.HighBit = 12, 15
    np.testing.assert_array_equal(read(save(dataset, tmp_path / "a")), values // 16)
    dataset.BitsStored = 11
    assert reason(save(dataset, tmp_path / "a")) == "UNSUPPORTED_PIXELS"


@pytest.mark.parametrize(
    ("keyword", "value", "stored", "certain"),
    [
        ("PixelRepresentation", 1, 2047, True),  # the highest of 12 bits is not set: both ways say the same
        ("PixelRepresentation", 1, 2048, False),
        ("BitsStored", 8, 255, True),
        ("BitsStored", 8, 256, False),
    ],
)
@pytest.mark.parametrize("syntax", [PLAIN[1], RLE, JPEG_LS])
def test_slices_that_differ_in_bits_or_sign_are_refused_where_values_depend_on_it(
    tmp_path, keyword, value, stored, certain, syntax
):
    grid = grid_of()
    paths = []
    for index in range(2):
        dataset = slice_of(grid, index, np.full(grid.shape[1:], stored, np.uint16))
        dataset.BitsStored, dataset.HighBit = 12, 11
        paths.append(save(dataset, tmp_path / f"{index}", syntax))
    one = pydicom.dcmread(paths[1])
    setattr(one, keyword, value)
    one.HighBit = one.BitsStored - 1
    one.save_as(paths[1], enforce_file_format=True)
    series = open_series(paths, [read_header(path) for path in paths])
    if certain:
        ((_, block),) = read_slabs(series)
        assert (block == stored - 1024).all()
    else:
        with pytest.raises(Rejected, match="UNSUPPORTED_PIXELS: slices differ in"):
            list(read_slabs(series))


def test_a_pixel_representation_that_there_is_not_is_refused(dataset, tmp_path):
    dataset.PixelRepresentation = 2
    assert reason(save(dataset, tmp_path / "a")) == "UNSUPPORTED_PIXELS"


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_floating_point_pixels_are_read_as_they_are(dataset, tmp_path, keyword, dtype):
    values = np.linspace(-3e4, 7.125, 40 * 33).reshape(40, 33).astype(dtype)
    del dataset.PixelData
    setattr(dataset, keyword, values.tobytes())
    dataset.BitsAllocated = 8 * values.itemsize
    path = save(dataset, tmp_path / "a")
    found = read(path)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, values)
    dataset.BitsAllocated = 16
    assert reason(save(dataset, path)) == "UNSUPPORTED_PIXELS"


def test_a_syntax_without_decoder_is_named(dataset, tmp_path):
    record = read_header(save(dataset, tmp_path / "a")) | {"transfer_syntax": "1.2.840.10008.1.2.4.102"}
    with pytest.raises(Rejected, match=r"UNSUPPORTED_SYNTAX.*1\.2\.840\.10008\.1\.2\.4\.102"):
        check_readable(record)


def test_a_file_that_changed_after_the_index_is_refused(dataset, tmp_path):
    path = save(dataset, tmp_path / "a")
    record = read_header(path)
    dataset.RescaleIntercept = "0"
    save(dataset, path)
    assert reason(path, record) == "SOURCE_CHANGED"
    dataset.RescaleIntercept, dataset.SOPInstanceUID = "-1024", "1.2.3"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    save(dataset, path)
    assert reason(path, record) == "SOURCE_CHANGED"
    path.write_text("no longer an image")
    assert reason(path, record) == "SOURCE_CHANGED"
    path.write_bytes((b"\0" * 128) + b"DICM" + b"\xff" * 60)
    assert reason(path, record) == "SOURCE_CHANGED"
    path.unlink()
    assert reason(path, record) == "SOURCE_CHANGED"


def test_a_frame_of_a_file_that_changed_after_the_index_is_refused(tmp_path):
    grid = grid_of((2, 14, 11))
    stored = np.arange(2 * 14 * 11).astype(np.uint16).reshape(2, 14, 11)
    whole = enhanced_of(grid, stored, [frame_place(grid, index) for index in range(2)])
    path = save(whole, tmp_path / "a")
    first, second = slices_of(read_header(path))
    np.testing.assert_array_equal(read(path, second), stored[1])
    whole.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = "4.6"
    save(whole, path)
    assert reason(path, first) == reason(path, second) == "SOURCE_CHANGED"


def test_reasons_hold_no_uid_and_no_path(dataset, tmp_path):
    path = save(dataset, tmp_path / "secret-name")
    record = read_header(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Rejected) as caught:
        read_stored(path, record)
    for private in ("secret", record["sop_uid"], "P-7", "Doe"):
        assert private not in str(caught.value)
