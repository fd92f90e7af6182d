"""Pictures and masks of 2D cohorts: every kind of file at full depth, and what is refused."""

import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.bitmaps import MOST_PIXELS
from cohortseg.io.instances import to_instances
from cohortseg.io.pictures import picture_grid, read_picture, read_picture_label
from cohortseg.volume import Grid

DATA = Path(os.environ.get("COHORTSEG_DATA", Path(__file__).parents[3] / "shared" / "data"))
RANDOM = np.random.default_rng(11)
GREY8 = RANDOM.integers(0, 256, (7, 11), dtype=np.uint8)
GREY16 = RANDOM.integers(0, 32768, (7, 11), dtype=np.uint16)
WIDE16 = RANDOM.integers(30000, 65536, (7, 11), dtype=np.uint16)
RGB8 = RANDOM.integers(0, 256, (7, 11, 3), dtype=np.uint8)
RGB16 = RANDOM.integers(0, 65536, (7, 11, 3), dtype=np.uint16)
STACK16 = RANDOM.integers(0, 32768, (4, 7, 11), dtype=np.uint16)


def luminance(rgb):
    """By hand: BT.601, halves up."""
    return np.floor((rgb.astype(float) * [299, 587, 114]).sum(-1) / 1000 + 0.5)


def picture(tmp_path, array, name, **options):
    Image.fromarray(array).save(tmp_path / name, **options)
    return tmp_path / name


def tiff(tmp_path, array, **options):
    tifffile.imwrite(tmp_path / "p.tif", array, **options)
    return tmp_path / "p.tif"


def png16(tmp_path, array):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=True), str(tmp_path / "p.png"))
    return tmp_path / "p.png"


def png_of(tmp_path, rows, colour_type, bits):
    """A PNG from its rows of bytes, written by hand."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    width = len(rows[0]) * 8 // (bits * {0: 1, 4: 2}[colour_type])
    header = struct.pack(">2I5B", width, len(rows), bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    path = tmp_path / "p.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


def reason(path, colour="grey", **options):
    with pytest.raises(Rejected) as caught:
        read_picture(path, colour=colour, **options)
    return caught.value.reason


def outcome(path):
    """The channels, or why there are none."""
    try:
        return read_picture(path, colour="rgb")[0]
    except Rejected as rejected:
        return rejected.reason


def label_reason(path, values=None, *, shape=(1, 7, 11), instances=False):
    with pytest.raises(Rejected) as caught:
        read_picture_label(path, shape, values or {"nucleus": 1}, instances=instances)
    return caught.value.reason


# Pictures


@pytest.mark.parametrize("name", ["p.png", "p.tif", "p.bmp"])
def test_grey_of_8_bits_is_read_as_it_is(tmp_path, name):
    (made,), facts = read_picture(picture(tmp_path, GREY8, name), colour="grey")
    assert made.dtype == np.int16
    assert made.shape == (1, 7, 11)
    np.testing.assert_array_equal(made[0], GREY8)
    assert (facts["bits"], facts["pages"], facts["stored"]) == (8, 1, "grey")


@pytest.mark.parametrize(("array", "dtype"), [(GREY16, np.int16), (WIDE16, np.float32)])
@pytest.mark.parametrize("name", ["p.png", "p.tif"])
def test_16_bits_stay_and_numbers_beyond_int16_become_floats(tmp_path, name, array, dtype):
    (made,), facts = read_picture(picture(tmp_path, array, name), colour="grey")
    assert made.dtype == dtype
    np.testing.assert_array_equal(made[0], array)
    assert facts["bits"] == 16


@pytest.mark.parametrize("name", ["p.png", "p.tif", "p.bmp"])
def test_colour_of_8_bits_is_three_channels_or_its_luminance(tmp_path, name):
    path = picture(tmp_path, RGB8, name)
    channels, facts = read_picture(path, colour="rgb")
    np.testing.assert_array_equal(np.stack(channels, -1)[0], RGB8)
    assert {channel.dtype for channel in channels} == {np.dtype(np.int16)}
    assert facts["stored"] == "colour"
    (grey,), _ = read_picture(path, colour="grey")
    np.testing.assert_array_equal(grey[0], luminance(RGB8))


def test_luminance_by_hand(tmp_path):
    # 0.299 * 10 + 0.587 * 20 + 0.114 * 30 = 18.15; 0.299 * 5 + 0.587 * 3 + 0.114 * 1 = 3.37; 0.587 * 250 = 146.75
    array = np.array([[[10, 20, 30], [5, 3, 1], [0, 250, 0]]], np.uint8)
    (grey,), _ = read_picture(picture(tmp_path, array, "p.png"), colour="grey")
    assert grey.tolist() == [[[18, 3, 147]]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"compression": "zlib"},
        {"planarconfig": "separate"},
        {"tile": (16, 16)},
    ],
    ids=str,
)
def test_colour_of_16_bits_in_tiff_is_not_cut_to_8(tmp_path, options):
    array = np.moveaxis(RGB16, -1, 0) if "planarconfig" in options else RGB16
    channels, facts = read_picture(tiff(tmp_path, array, photometric="rgb", **options), colour="rgb")
    np.testing.assert_array_equal(np.stack(channels, -1)[0], RGB16)
    assert channels[0].dtype == np.float32
    assert facts["bits"] == 16


def test_colour_of_16_bits_in_png_is_not_cut_to_8(tmp_path):
    channels, _ = read_picture(png16(tmp_path, RGB16), colour="rgb")
    np.testing.assert_array_equal(np.stack(channels, -1)[0], RGB16)
    (grey,), _ = read_picture(png16(tmp_path, RGB16), colour="grey")
    np.testing.assert_array_equal(grey[0], luminance(RGB16))


def test_equal_channels_become_grey_exactly_and_grey_three_equal_ones(tmp_path):
    (grey,), facts = read_picture(png16(tmp_path, np.dstack([WIDE16] * 3)), colour="grey")
    np.testing.assert_array_equal(grey[0], WIDE16)
    assert facts["stored"] == "equal channels"
    channels, _ = read_picture(picture(tmp_path, GREY8, "p.bmp"), colour="rgb")
    assert len(channels) == 3
    for channel in channels:
        np.testing.assert_array_equal(channel[0], GREY8)


@pytest.mark.parametrize("see_through", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colours", [1, 3])
def test_transparency_is_dropped_and_told_when_it_was_any(tmp_path, colours, depth, see_through):
    dtype = np.dtype(f"u{depth // 8}")
    array = RANDOM.integers(0, 200, (7, 11, colours + 1)).astype(dtype)
    array[..., -1] = np.iinfo(dtype).max
    array[2, 3, -1] -= see_through
    if depth == 16 and colours == 1:
        path = png_of(tmp_path, [row.astype(">u2").tobytes() for row in array], 4, 16)
    else:
        path = picture(tmp_path, array, "p.png") if depth == 8 else png16(tmp_path, array)
    channels, facts = read_picture(path, colour="rgb" if colours == 3 else "grey")
    np.testing.assert_array_equal(np.stack(channels, -1)[0], array[..., :-1])
    assert facts.get("transparency_dropped", False) is see_through


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3), "P")
    colours = RANDOM.integers(0, 256, (6, 3), dtype=np.uint8)
    image.putpalette(colours.ravel().tolist())
    image.save(tmp_path / "p.png")
    channels, _ = read_picture(tmp_path / "p.png", colour="rgb")
    np.testing.assert_array_equal(np.stack(channels, -1).reshape(6, 3), colours)


def test_1_2_and_4_bits_give_the_numbers_that_are_stored(tmp_path):
    (bits,), facts = read_picture(png_of(tmp_path, [[0b10110010], [0b00000001]], 0, 1), colour="grey")
    assert bits[0].tolist() == [[1, 0, 1, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 1]]
    assert facts["bits"] == 1
    (pairs,), _ = read_picture(png_of(tmp_path, [[0b00011011], [0b11100000]], 0, 2), colour="grey")
    assert pairs[0].tolist() == [[0, 1, 2, 3], [3, 2, 0, 0]]
    (nibbles,), _ = read_picture(png_of(tmp_path, [[0x0F], [0x7A]], 0, 4), colour="grey")
    assert nibbles[0].tolist() == [[0, 15], [7, 10]]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.float32, np.float64, np.uint64])
def test_other_types_of_tiff_keep_their_numbers(tmp_path, dtype):
    array = (GREY8.astype(float) - (100 if np.dtype(dtype).kind != "u" else 0)).clip(-128, 127).astype(dtype)
    (made,), _ = read_picture(tiff(tmp_path, array), colour="grey")
    assert made.dtype == (np.float32 if np.dtype(dtype).kind == "f" else np.int16)
    np.testing.assert_array_equal(made[0], array)


def test_unsigned_numbers_of_32_bits_do_not_turn_negative(tmp_path):
    (made,), _ = read_picture(tiff(tmp_path, np.full((3, 4), 2**31 + 2**20, np.uint32)), colour="grey")
    assert made[0, 0, 0] == 2**31 + 2**20


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_where_0_is_white_a_picture_is_inverted_and_a_mask_is_not(tmp_path, dtype):
    array = GREY8.astype(dtype) % 2
    path = tiff(tmp_path, array, photometric="miniswhite")
    (made,), _ = read_picture(path, colour="grey")
    np.testing.assert_array_equal(made[0], np.iinfo(dtype).max - array.astype(int))
    np.testing.assert_array_equal(read_picture_label(path, (1, 7, 11), {"n": 1}, instances=False)[0][0], array)


def test_pages_are_a_stack_when_asked(tmp_path):
    path = tiff(tmp_path, STACK16, photometric="minisblack")
    (made,), facts = read_picture(path, colour="grey", stack=True)
    np.testing.assert_array_equal(made, STACK16)
    assert facts["pages"] == 4
    assert reason(path) == "UNSUPPORTED_PIXELS"
    path = tiff(tmp_path, np.stack([RGB16, RGB16[::-1]]), photometric="rgb")
    channels, _ = read_picture(path, colour="rgb", stack=True)
    np.testing.assert_array_equal(np.stack(channels, -1), np.stack([RGB16, RGB16[::-1]]))
    # One picture is a stack of one.
    (made,), _ = read_picture(picture(tmp_path, GREY8, "p.png"), colour="grey", stack=True)
    assert made.shape == (1, 7, 11)


def test_pages_of_several_sizes_or_colours_or_times_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "p.tif") as file:
        file.write(GREY8)
        file.write(GREY8[:3])
    assert reason(tmp_path / "p.tif", stack=True) == "UNSUPPORTED_PIXELS"
    two_colours = STACK16.reshape(2, 2, 7, 11)
    assert reason(tiff(tmp_path, two_colours, imagej=True, metadata={"axes": "ZCYX"}), stack=True) == (
        "UNSUPPORTED_PIXELS"
    )
    assert reason(tiff(tmp_path, two_colours, imagej=True, metadata={"axes": "TZYX"}), stack=True) == (
        "UNSUPPORTED_PIXELS"
    )


def test_a_jpeg_is_turned_as_its_camera_asks(tmp_path):
    array = np.kron(RANDOM.integers(0, 256, (3, 5)), np.ones((8, 8))).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = 6  # the camera was held so that rows run down the right side
    plain, _ = read_picture(picture(tmp_path, array, "a.jpg", quality=95), colour="grey")
    turned, facts = read_picture(picture(tmp_path, array, "b.jpg", quality=95, exif=exif), colour="grey")
    np.testing.assert_array_equal(turned[0][0], np.rot90(plain[0][0], -1))
    assert facts["turned"] is True
    np.testing.assert_allclose(plain[0][0], array, atol=12)


def test_only_numbers_leave_the_file(tmp_path):
    secret = "Doe^Jane 1950-01-01"
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", secret)
    text.add_itxt("Comment", secret)
    exif = Image.Exif()
    exif[270], exif[315] = secret, secret
    paths = [
        picture(tmp_path, GREY8, "a.png", pnginfo=text, exif=exif),
        picture(tmp_path, GREY8, "b.jpg", exif=exif, comment=secret.encode()),
        picture(tmp_path, GREY8, "c.tif", description=secret, artist=secret),
        tiff(tmp_path, RGB16, photometric="rgb", description=secret, software=secret),
    ]
    for path in paths:
        assert secret.encode() in path.read_bytes()
        assert "Jane" not in json.dumps(read_picture(path, colour="grey")[1])
    path = picture(tmp_path, RGB8, "Jane.png", pnginfo=text)
    path.write_bytes(path.read_bytes()[:-90])
    with pytest.raises(Rejected) as caught:
        read_picture(path, colour="grey")
    assert "Jane" not in str(caught.value)


# Lengths


def test_lengths_of_a_tiff_are_told_in_mm(tmp_path):
    def lengths(**options):
        return read_picture(tiff(tmp_path, GREY8, **options), colour="grey")[1].get("resolution_mm")

    # Dots across, then down; mm of rows, then of columns.
    assert lengths(resolution=(254, 127), resolutionunit="INCH") == pytest.approx([0.2, 0.1])
    assert lengths(resolution=(100, 50), resolutionunit="CENTIMETER") == pytest.approx([0.2, 0.1])
    assert lengths(resolution=(100, 50), resolutionunit="NONE") is None
    path = tiff(tmp_path, RGB16, photometric="rgb", resolution=(100, 50), resolutionunit="CENTIMETER")
    assert read_picture(path, colour="grey")[1]["resolution_mm"] == pytest.approx([0.2, 0.1])


def test_lengths_of_a_microscope_stack_are_told_in_mm(tmp_path):
    own = {"axes": "ZYX", "unit": "um", "spacing": 2.0}
    path = tiff(tmp_path, STACK16, imagej=True, resolution=(4, 5), metadata=own)
    facts = read_picture(path, colour="grey", stack=True)[1]
    assert facts["resolution_mm"] == pytest.approx([0.0002, 0.00025])
    assert facts["slice_mm"] == pytest.approx(0.002)


def test_lengths_of_a_png_are_told_in_mm(tmp_path):
    path = picture(tmp_path, GREY8, "p.png", dpi=(254, 127))
    assert read_picture(path, colour="grey")[1]["resolution_mm"] == pytest.approx([0.2, 0.1], rel=1e-3)
    assert "resolution_mm" not in read_picture(picture(tmp_path, GREY8, "q.png"), colour="grey")[1]


def test_a_picture_lies_in_a_plane(tmp_path):
    assert picture_grid((1, 7, 11), 0.25) == Grid((1, 7, 11), (1.0, 0.25, 0.25), (0.0, 0.0, 0.0))
    grid = picture_grid((4, 7, 11), (0.2, 0.1), slice_mm=3.0)
    assert grid.world((2, 5, 7)) == pytest.approx((0.7, 1.0, 6.0))
    for wrong in (0.0, -1.0, float("nan"), (0.2, 0.0)):
        with pytest.raises(SettingsError):
            picture_grid((1, 7, 11), wrong)


# What is refused


def test_other_colours_are_refused(tmp_path):
    rgb = Image.fromarray(RGB8)
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert reason(tmp_path / "cmyk.jpg") == "UNSUPPORTED_PIXELS"
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    ImageCms.applyTransform(rgb, to_lab).save(tmp_path / "lab.tif")
    assert reason(tmp_path / "lab.tif") == "UNSUPPORTED_PIXELS"
    four = np.dstack([RGB16, GREY16])
    for array in (four, four.astype(np.uint8)):
        path = tiff(tmp_path, array, photometric="rgb", extrasamples=["unspecified"])
        assert reason(path) == "UNSUPPORTED_PIXELS"
    assert reason(tiff(tmp_path, RGB16, photometric="minisblack", planarconfig="contig")) == "UNSUPPORTED_PIXELS"
    with pytest.raises(SettingsError):
        read_picture(picture(tmp_path, GREY8, "p.png"), colour="blue")


def test_numbers_that_are_none_are_refused(tmp_path):
    array = GREY8.astype(np.float32)
    array[2, 3] = np.nan
    assert reason(tiff(tmp_path, array)) == "NOT_A_NUMBER"


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "p.png").write_text("no picture")
    assert reason(tmp_path / "p.png") == "UNREADABLE"
    assert label_reason(tmp_path / "p.png") == "LABEL_UNREADABLE"
    Image.fromarray(GREY8).save(tmp_path / "p.gif")
    assert reason(tmp_path / "p.gif") == "UNREADABLE"
    assert reason(tmp_path / "absent.png") == "SOURCE_CHANGED"
    (tmp_path / "empty.png").touch()
    assert reason(tmp_path / "empty.png") == "UNREADABLE"


def test_a_picture_too_large_to_be_one_is_refused_before_it_is_unpacked(tmp_path):
    side = int(MOST_PIXELS**0.5) + 1
    # Says it is large and holds nothing.
    header = struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)
    path = png_of(tmp_path, [[0]], 0, 8)
    content = path.read_bytes()
    path.write_bytes(content[:12] + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:])
    assert reason(path) == "UNSUPPORTED_PIXELS"
    # Just below, it is only broken.
    header = struct.pack(">2I5B", side - 2, side - 2, 8, 0, 0, 0, 0)
    path.write_bytes(content[:12] + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:])
    assert reason(path) == "TRUNCATED"


KINDS = {
    "grey.png": (GREY8, {}),
    "colour.png": (RGB8, {}),
    "16.png": (GREY16, {}),
    "grey.jpg": (GREY8, {"format": "JPEG"}),
    "colour.jpg": (RGB8, {"format": "JPEG"}),
    "colour.bmp": (RGB8, {}),
    "16.tif": (GREY16, {}),
    "lzw.tif": (RGB8, {"compression": "tiff_lzw"}),
}


@given(name=st.sampled_from(sorted(KINDS)), share=st.floats(0, 0.999))
@settings(max_examples=50, deadline=None)
def test_a_file_cut_anywhere_is_refused_or_still_whole(tmp_path_factory, name, share):
    array, options = KINDS[name]
    path = tmp_path_factory.getbasetemp() / name
    Image.fromarray(array).save(path, **options)
    whole, _ = read_picture(path, colour="rgb")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    found = outcome(path)
    # The end of a PNG holds no pixels.
    assert found in ("UNREADABLE", "TRUNCATED") or np.array_equal(found, whole)


@pytest.mark.parametrize("name", ["grey.png", "colour.jpg", "colour.bmp", "16.tif"])
def test_half_a_file_is_called_truncated_even_where_another_library_allows_it(tmp_path, name, monkeypatch):
    array, options = KINDS[name]
    stream = io.BytesIO()
    Image.fromarray(np.tile(array, (9, 9, 1)[: array.ndim])).save(
        stream, options.get("format", {"png": "PNG", "bmp": "BMP", "tif": "TIFF"}.get(name[-3:]))
    )
    (tmp_path / name).write_bytes(stream.getvalue()[: len(stream.getvalue()) * 6 // 10])
    assert reason(tmp_path / name) == "TRUNCATED"
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    np.asarray(Image.open(tmp_path / name))  # Pillow itself now fills the rest with grey
    assert reason(tmp_path / name) == "TRUNCATED"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_cut_tiff_of_wide_colour_is_refused(tmp_path, compression):
    large = np.tile(RGB16, (20, 20, 1))
    path = tiff(tmp_path, large, photometric="rgb", compression=compression)
    content = path.read_bytes()
    for share in (0.2, 0.6, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        assert reason(path) == "TRUNCATED"


def test_damage_inside_a_wide_png_is_noticed(tmp_path):
    path = png16(tmp_path, np.tile(RGB16, (20, 20, 1)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert reason(path) in ("UNREADABLE", "TRUNCATED")


# Masks


def mask_of():
    mask = np.zeros((7, 11), np.uint8)
    mask[1:4, 2:9] = 1
    return mask


@pytest.mark.parametrize("white", [1, 255])
@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.bmp"])
def test_a_mask_of_one_class_may_be_1_or_white(tmp_path, name, white):
    label, instances, facts = read_picture_label(
        picture(tmp_path, mask_of() * np.uint8(white), name), (1, 7, 11), {"nucleus": 1}, instances=False
    )
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label[0], mask_of())
    assert instances is None
    assert facts == {"n_voxels": {"nucleus": 21}} | ({"white": 255} if white == 255 else {})


def test_white_of_16_bits_and_one_bit_and_an_empty_mask_are_masks(tmp_path):
    path = picture(tmp_path, mask_of().astype(np.uint16) * 65535, "m.png")
    assert read_picture_label(path, (1, 7, 11), {"n": 1}, instances=False)[2]["white"] == 65535
    path = picture(tmp_path, mask_of().astype(bool), "m.png")
    np.testing.assert_array_equal(read_picture_label(path, (1, 7, 11), {"n": 1}, instances=False)[0][0], mask_of())
    # tifffile writes such masks with 0 as white.
    path = tiff(tmp_path, mask_of().astype(bool))
    np.testing.assert_array_equal(read_picture_label(path, (1, 7, 11), {"n": 1}, instances=False)[0][0], mask_of())
    path = picture(tmp_path, np.zeros((7, 11), np.uint8), "m.png")
    label, ids, facts = read_picture_label(path, (1, 7, 11), {"n": 1}, instances=True)
    assert (label.any(), ids.any()) == (False, False)
    assert facts == {
        "n_voxels": {"n": 0},
        "n_instances": 0,
        "ids_consecutive": True,
        "n_touching_pairs": 0,
        "n_split": 0,
    }


def test_classes_go_by_their_values_not_by_colours_of_a_palette(tmp_path):
    stored = np.array([[0, 4, 9], [9, 4, 0]], np.uint8)
    expected = [[0, 2, 1], [1, 2, 0]]
    values = {"wall": 9, "lumen": 4}
    image = Image.fromarray(stored, "P")
    image.putpalette(RANDOM.integers(0, 256, 768, dtype=np.uint8).tolist())
    image.save(tmp_path / "palette.png")
    for path in (
        tmp_path / "palette.png",
        picture(tmp_path, stored, "grey.png"),
        picture(tmp_path, np.dstack([stored] * 3), "equal.png"),
        picture(tmp_path, np.dstack([stored] * 3 + [np.full_like(stored, 255)]), "opaque.png"),
        tiff(tmp_path, stored.astype(np.float32)),
        png_of(tmp_path, [[0x04, 0x90], [0x94, 0x00]], 0, 4),
    ):
        shape = (1, 2, 4 if path.name == "p.png" else 3)
        label, _, facts = read_picture_label(path, shape, values, instances=False)
        np.testing.assert_array_equal(label[0, :, :3], expected)
        assert facts["n_voxels"] == {"wall": 2, "lumen": 2}


def test_masks_that_say_something_else_are_refused(tmp_path):
    mixed = mask_of() * np.uint8(255)
    mixed[0, 0] = 1
    for array in (mixed, mask_of() * np.uint8(7), np.dstack([mask_of(), mask_of() * 0, mask_of() * 0])):
        assert label_reason(picture(tmp_path, array, "m.png")) == "LABEL_VALUES"
    # White stands for 1 only where one class of value 1 is wanted.
    white = picture(tmp_path, mask_of() * np.uint8(255), "m.png")
    assert label_reason(white, {"a": 1, "b": 2}) == "LABEL_VALUES"
    assert label_reason(white, {"a": 2}) == "LABEL_VALUES"
    see_through = np.dstack([np.full((7, 11, 3), 255, np.uint8), mask_of() * np.uint8(255)])
    assert label_reason(picture(tmp_path, see_through, "m.png")) == "LABEL_VALUES"
    assert label_reason(tiff(tmp_path, mask_of() * np.float32(0.5))) == "LABEL_VALUES"
    coloured = np.dstack([mask_of() * np.uint8(200), mask_of(), mask_of()])
    assert label_reason(picture(tmp_path, coloured, "m.png"), instances=True) == "LABEL_VALUES"
    # A mask kept as JPEG is blurred.
    assert label_reason(picture(tmp_path, mask_of() * np.uint8(255), "m.jpg")) == "LABEL_VALUES"


def test_a_mask_of_another_size_is_refused(tmp_path):
    path = picture(tmp_path, mask_of(), "m.png")
    assert label_reason(path, shape=(1, 11, 7)) == "LABEL_OFF_GRID"
    assert label_reason(path, shape=(2, 7, 11)) == "LABEL_OFF_GRID"


def test_a_mask_of_pages_fits_a_stack(tmp_path):
    path = tiff(tmp_path, STACK16 % 3, photometric="minisblack")
    label, _, _ = read_picture_label(path, (4, 7, 11), {"one": 1, "two": 2}, instances=False)
    np.testing.assert_array_equal(label, STACK16 % 3)


# Objects


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.float32])
def test_objects_keep_their_ids(tmp_path, dtype):
    # 3 touches 5 at a corner; 5 touches 200 along an edge; 3 lies in two parts; 7 hangs together by a corner.
    ids = np.array(
        [
            [3, 3, 0, 0, 0, 7, 0],
            [0, 0, 5, 200, 0, 0, 7],
            [0, 0, 5, 200, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0],
            [3, 0, 0, 0, 0, 0, 0],
        ]
    ).astype(dtype)
    label, instances, facts = read_picture_label(tiff(tmp_path, ids), (1, 5, 7), {"cell": 1}, instances=True)
    assert instances.dtype == np.int32
    np.testing.assert_array_equal(instances[0], ids)
    np.testing.assert_array_equal(label[0], ids > 0)
    assert facts == {
        "n_voxels": {"cell": 9},
        "n_instances": 4,
        "ids_consecutive": False,
        "n_touching_pairs": 2,
        "n_split": 1,
    }


def test_objects_touch_and_split_across_slices():
    ids = np.zeros((3, 4, 5), np.int32)
    ids[0, 0, 0], ids[1, 1, 1], ids[2, 3, 4], ids[2, 0, 0] = 1, 2, 1, 3
    _, facts = to_instances(ids)
    # 1 and 2, 2 and 3 at a corner; the far part of 1 touches none.
    assert facts == {"n_instances": 3, "ids_consecutive": True, "n_touching_pairs": 2, "n_split": 1}


def test_ids_that_are_none_are_refused(tmp_path):
    for array in (GREY8.astype(np.float32) / 2, GREY8.astype(np.int16) - 90, np.full((7, 11), 2**31, np.uint32)):
        assert label_reason(tiff(tmp_path, array), instances=True) == "LABEL_VALUES"
    with pytest.raises(SettingsError):
        read_picture_label(picture(tmp_path, GREY8, "m.png"), (1, 7, 11), {"a": 1, "b": 2}, instances=True)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_touching_and_split_objects_are_those_that_a_slow_search_finds(seed):
    from scipy import ndimage

    ids = np.random.default_rng(seed).choice([0, 0, 0, 1, 2, 4, 9], (2, 5, 6)).astype(np.int32)
    around = np.ones((3, 3, 3))
    present = [number for number in np.unique(ids) if number]
    pairs = {
        (a, b)
        for a in present
        for b in present
        if a < b and (ndimage.binary_dilation(ids == a, around) & (ids == b)).any()
    }
    split = sum(ndimage.label(ids == number, around)[1] > 1 for number in present)
    _, facts = to_instances(ids)
    assert (facts["n_touching_pairs"], facts["n_split"]) == (len(pairs), split)


@pytest.mark.data
def test_real_nuclei_are_read_with_their_objects():
    for path in sorted((DATA / "nuclei" / "images").iterdir())[:8]:
        (image,), _ = read_picture(path, colour="grey")
        label, ids, facts = read_picture_label(
            DATA / "nuclei" / "labels" / path.name, image.shape, {"nucleus": 1}, instances=True
        )
        stored = np.asarray(Image.open(DATA / "nuclei" / "labels" / path.name))
        np.testing.assert_array_equal(ids[0], stored)
        np.testing.assert_array_equal(label[0], stored > 0)
        assert facts["n_instances"] == len(np.unique(stored)) - 1
        assert image[label > 0].mean() > image[label == 0].mean()


@pytest.mark.data
def test_real_heads_are_read():
    for path in sorted((DATA / "fetal-head" / "images").iterdir())[:4]:
        (image,), _ = read_picture(path, colour="grey")
        label, _, facts = read_picture_label(
            DATA / "fetal-head" / "labels" / path.name, image.shape, {"head": 1}, instances=False
        )
        assert image.shape == label.shape == (1, 540, 800)
        assert 0.02 < facts["n_voxels"]["head"] / label.size < 0.7
