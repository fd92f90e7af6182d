"""The stored numbers of PNG, TIFF, JPEG and BMP files, at full depth, and nothing of their metadata but lengths.

Pillow reads most of them. It gives colour of 16 bits as 8 bits without a word, so such files go to SimpleITK (PNG) or
tifffile (TIFF).
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.volume import Array

MOST_PIXELS = 200_000_000
"""A page with more is refused before it is unpacked: small files can claim any size."""
MOST_STACK_PIXELS = 1_000_000_000
"""All pages of a stack together: 2 GB in 16 bits."""
FORMATS = ("PNG", "TIFF", "JPEG", "BMP")
CHANNELS = {"1": 1, "L": 1, "I;16": 1, "I;16B": 1, "I;16L": 1, "I": 1, "F": 1, "LA": 2, "RGB": 3, "RGBA": 4}
"""Pillow's modes that are read as they are, and their channels; the last of 2 and of 4 is transparency."""
INCH_MM = 25.4
IMAGEJ_MM = {
    "mm": 1.0,
    "cm": 10.0,
    "um": 1e-3,
    "µm": 1e-3,
    "\\u00b5m": 1e-3,
    "micron": 1e-3,
    "nm": 1e-6,
    "inch": INCH_MM,
}
TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BITS, PHOTOMETRIC, SAMPLES, EXTRA, SAMPLE_FORMAT = 258, 262, 277, 338, 339
DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, ORIENTATION = 270, 282, 283, 296, 274


@dataclass(frozen=True)
class Bitmap:
    """Pixels of a file.

    Parameters
    ----------
    pixels : array, shape (pages, rows, columns, channels)
        The stored numbers. 1 or 3 channels, one more with transparency.
    facts : dict
        `format`, `bits`, `pages`; `turned` where an orientation was applied; `resolution_mm` (rows, columns) and
        `slice_mm` where the file says them.
    """

    pixels: Array
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def has_transparency(self) -> bool:
        """Whether the last channel is transparency."""
        return self.pixels.shape[-1] in (2, 4)


def read_bitmap(path: str | Path, *, stack: bool, stored: bool, broken: str = "UNREADABLE") -> Bitmap:
    """The pixels of a PNG, TIFF, JPEG or BMP file.

    Parameters
    ----------
    path : str or Path
        The content decides what it is, not the name.
    stack : bool
        Take the pages of a TIFF as slices; else a file of several pages is refused.
    stored : bool
        For labels: numbers of a palette stay numbers, and a TIFF where 0 is white is not inverted. Else colours are
        looked up, and white is the largest number.
    broken : str
        Reason code for a file that cannot be read.

    Returns
    -------
    Bitmap
        1, 2 and 4 bits give the numbers 0 to 1, 3 and 15. The orientation of a JPEG or TIFF is applied.

    Raises
    ------
    Rejected
        SOURCE_CHANGED (vanished), `broken`, TRUNCATED, UNSUPPORTED_PIXELS.
    """
    try:
        with _strict():
            return _read(Path(path), stack, stored)
    except (Rejected, MemoryError):
        raise
    except FileNotFoundError:
        raise Rejected("SOURCE_CHANGED", "a file vanished after it was indexed") from None
    except Exception as error:
        if type(error).__name__ == "DecompressionBombError":
            raise Rejected("UNSUPPORTED_PIXELS", f"more than {MOST_PIXELS // 10**6} megapixels") from None
        if "truncated" in str(error).lower():
            raise Rejected("TRUNCATED", "the file ends before its last pixel") from None
        # The library's own words may hold a path.
        raise Rejected(broken, f"no whole {', '.join(FORMATS)} file ({type(error).__name__})") from None


@contextmanager
def _strict() -> Iterator[None]:
    """Pillow with our limit, and no grey padding of truncated files whatever another library switched on."""
    from PIL import Image, ImageFile

    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    # Pillow warns from here on and refuses from twice as many.
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = MOST_PIXELS // 2, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _read(path: Path, stack: bool, stored: bool) -> Bitmap:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        with path.open("rb") as stream:
            beginning = stream.read(4)
        if beginning in TIFF_BEGINNINGS:
            return _read_wide_tiff(path, stack, stored)
        raise
    with image:
        tags = getattr(image, "tag_v2", {})
        if image.format == "TIFF" and tags.get(SAMPLES, 1) > 1 and max(tags.get(BITS, (1,))) > 8:
            return _read_wide_tiff(path, stack, stored)
        # A JPEG with a preview behind it is a picture, not a stack.
        n_pages = getattr(image, "n_frames", 1) if image.format in ("PNG", "TIFF") else 1
        _check_pages(n_pages, stack and image.format == "TIFF", image.size, tags.get(DESCRIPTION, ""))
        bits, turned = _bits(image), False
        # Before the pages are turned: the tags are those of the page that was read last.
        lengths = _tiff_lengths(tags) if image.format == "TIFF" else _png_lengths(image)
        pages = []
        for number in range(n_pages):
            image.seek(number)
            page, turned = _page(image, path, stored)
            pages.append(page)
        facts = {"format": "JPEG" if image.format == "MPO" else image.format, "bits": bits, "pages": n_pages}
    return Bitmap(_joined(pages), facts | ({"turned": True} if turned else {}) | lengths)


def _page(image: Any, path: Path, stored: bool) -> tuple[Array, bool]:
    """One page as an array (rows, columns, channels), and whether it was turned."""
    from PIL import ImageOps

    tags, bits = getattr(image, "tag_v2", {}), _bits(image)
    if image.format == "PNG" and bits == 16 and image.mode not in ("I", "I;16", "I;16B"):
        return _wide_png(image, path), False
    signed = 2 in tags.get(SAMPLE_FORMAT, (1,))
    inverted = tags.get(PHOTOMETRIC) == 0
    _check_samples(tags)
    orientation = image.getexif().get(ORIENTATION, 1) if image.format != "PNG" else 1
    if image.format in ("JPEG", "MPO"):
        image = ImageOps.exif_transpose(image)
    page = np.asarray(_plain(image, stored))
    page = page.astype(np.uint8 if page.dtype == bool else page.dtype.newbyteorder("="))
    if image.mode == "I" and bits == 32 and not signed:
        page = page.view(np.uint32)
    if image.mode == "L" and signed:
        page = page.view(np.int8)
    if inverted and page.dtype.kind == "u" and (image.mode in ("1", "L")) == stored:
        # Pillow inverts these two modes and no other.
        page = (1 if image.mode == "1" else np.iinfo(page.dtype).max) - page
    if image.mode == "L" and bits in (2, 4):
        page = page // (255 // (2**bits - 1))
    return page.reshape(*page.shape[:2], -1), orientation not in (0, 1)


def _plain(image: Any, stored: bool) -> Any:
    """The picture in one of the modes of `CHANNELS`."""
    if image.mode == "P" and stored:
        return image
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    if image.mode in ("YCbCr", "RGBX"):
        return image.convert("RGB")
    if image.mode not in CHANNELS:
        raise Rejected("UNSUPPORTED_PIXELS", f"colours of the kind {image.mode}; grey or RGB is needed")
    return image


def _bits(image: Any) -> int:
    """Bits a sample in the file."""
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(BITS, (1,))))
    if image.mode == "1":
        return 1
    if image.format == "PNG" and image.tile and image.mode != "P":
        found = re.search(r";(\d+)", str(image.tile[0].args))
        return int(found[1]) if found else 8
    return 8


def _wide_png(image: Any, path: Path) -> Array:
    """PNG with several channels of 16 bits."""
    if image.tile[0].args == "LA;16B":
        # As long as four bytes a pixel: taken as such, they come through unshortened.
        image.tile = [image.tile[0]._replace(args="RGBA")]
        return np.asarray(image).view(">u2").astype(np.uint16)
    import SimpleITK

    # Pillow notices damage that SimpleITK passes over.
    image.load()
    page: Array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    if page.dtype != np.uint16 or page.shape[:2] != image.size[::-1] or page.shape[2] not in (3, 4):
        raise Rejected("UNSUPPORTED_PIXELS", f"{page.shape[2:]} channels of {page.dtype}")
    return page


def _read_wide_tiff(path: Path, stack: bool, stored: bool) -> Bitmap:
    """TIFF with several channels of 16 bits, or 64 bits."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        first: Any = file.pages[0]
        tags = {int(tag.code): tag.value for tag in first.tags}
        size = (first.imagewidth, first.imagelength)
        _check_pages(len(file.pages), stack, size, tags.get(DESCRIPTION, ""))
        # Nothing of one page holds for the others: a thumbnail may hide behind a picture.
        pages = [_wide_page(page, path.stat().st_size, stored) for page in file.pages]
    facts = {"format": "TIFF", "bits": int(first.bitspersample), "pages": len(pages)}
    for code in (X_RESOLUTION, Y_RESOLUTION):
        if code in tags:
            tags[code] = tags[code][0] / tags[code][1] if tags[code][1] else 0.0
    return Bitmap(_joined(pages), facts | _tiff_lengths(tags))


def _wide_page(page: Any, file_bytes: int, stored: bool) -> Array:
    _check_size(page.imagewidth * page.imagelength)
    if page.bitspersample <= 8:
        raise ValueError("a file that Pillow reads if it is whole")
    if page.photometric not in (0, 1, 2) or page.samplesperpixel not in (1, 2, 3, 4) or page.dtype is None:
        raise Rejected("UNSUPPORTED_PIXELS", f"{page.samplesperpixel} channels of a kind other than grey or RGB")
    _check_samples({EXTRA: page.extrasamples, SAMPLES: page.samplesperpixel, PHOTOMETRIC: int(page.photometric)})
    if ORIENTATION in page.tags and page.tags[ORIENTATION].value not in (0, 1):
        raise Rejected("UNSUPPORTED_PIXELS", "16-bit colour that is stored turned")
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if max(ends, default=0) > file_bytes:
        raise Rejected("TRUNCATED", f"{file_bytes} of at least {max(ends)} bytes")
    try:
        pixels: Array = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise Rejected("UNSUPPORTED_PIXELS", f"no decoder for compression {page.compression.name}") from None
    if page.samplesperpixel > 1 and page.planarconfig == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    if page.photometric == 0 and pixels.dtype.kind == "u" and not stored:
        pixels = np.iinfo(pixels.dtype).max - pixels
    return pixels.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)


def _check_pages(n_pages: int, stack: bool, size: tuple[int, int], description: Any) -> None:
    _check_size(size[0] * size[1])
    if n_pages > 1 and not stack:
        raise Rejected("UNSUPPORTED_PIXELS", f"{n_pages} pages where one picture is expected")
    if n_pages * size[0] * size[1] > MOST_STACK_PIXELS:
        raise Rejected("UNSUPPORTED_PIXELS", f"{n_pages} pages, more than {MOST_STACK_PIXELS // 10**6} megapixels")
    several = re.findall(r"^(channels|frames)=(\d+)", _imagej(description), re.MULTILINE)
    for what, number in several:
        if int(number) > 1:
            raise Rejected("UNSUPPORTED_PIXELS", f"a stack of {number} {what}, not of slices alone")


def _check_size(n_pixels: int) -> None:
    if n_pixels > MOST_PIXELS:
        raise Rejected("UNSUPPORTED_PIXELS", f"more than {MOST_PIXELS // 10**6} megapixels")


def _check_samples(tags: Any) -> None:
    """A channel that is neither colour nor transparency is refused: nobody says what it shows."""
    extra = tags.get(EXTRA, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    colours = 3 if tags.get(PHOTOMETRIC) in (2, 6) else 1
    unknown = tags.get(SAMPLES, 1) - colours - sum(1 for kind in extra if kind in (1, 2))
    if PHOTOMETRIC in tags and tags[PHOTOMETRIC] in (0, 1, 2) and unknown:
        raise Rejected("UNSUPPORTED_PIXELS", f"{tags[SAMPLES]} channels, {unknown} of unknown meaning")


def _joined(pages: list[Array]) -> Array:
    if len({(page.shape, page.dtype) for page in pages}) != 1:
        raise Rejected("UNSUPPORTED_PIXELS", f"the {len(pages)} pages differ in size or type")
    return pages[0][None] if len(pages) == 1 else np.stack(pages)


def _imagej(description: Any) -> str:
    return description if isinstance(description, str) and description.startswith("ImageJ=") else ""


def _tiff_lengths(tags: Any) -> dict[str, Any]:
    """Size of a pixel in mm, (rows, columns), where the file names a unit."""
    words = dict(re.findall(r"^(unit|spacing)=(.*)$", _imagej(tags.get(DESCRIPTION)), re.MULTILINE))
    unit_mm = IMAGEJ_MM.get(words.get("unit", "").strip().lower())
    lengths: dict[str, Any] = {}
    if unit_mm and re.fullmatch(r"[\d.]+(e-?\d+)?", words.get("spacing", "")):
        lengths["slice_mm"] = float(words["spacing"]) * unit_mm
    unit_mm = unit_mm or {2: INCH_MM, 3: 10.0}.get(tags.get(RESOLUTION_UNIT, 2))
    per_unit = [float(tags.get(code, 0)) for code in (Y_RESOLUTION, X_RESOLUTION)]
    if unit_mm and all(np.isfinite(n) and n > 0 for n in per_unit):
        lengths["resolution_mm"] = [unit_mm / n for n in per_unit]
    return lengths


def _png_lengths(image: Any) -> dict[str, Any]:
    """Size of a pixel in mm, (rows, columns), where a PNG gives it in metres."""
    across, down = image.info.get("dpi", (0, 0)) if image.format == "PNG" else (0, 0)
    return {"resolution_mm": [INCH_MM / down, INCH_MM / across]} if across > 0 and down > 0 else {}
