"""The segments of a DICOM segmentation as a label on the grid of the image.

Every frame says where it lies; it is placed voxel by voxel where that is, whatever the order of the frames or the turn
of their rows, and frames that do not fall onto the voxels of the image are refused. Slices without frame are empty, and
so is what lies beside a frame smaller than a slice.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.classes import (
    Counts,
    Missing,
    Patterns,
    member_facts,
    members,
    no_overlaps,
    overlap_facts,
    paint,
)
from cohortseg.io.codestreams import check_picture, fragments_of, frame_bytes
from cohortseg.io.elements import check_complete
from cohortseg.io.headers import DEFLATED, pixel_place
from cohortseg.io.pixels import check_fragments, decoder_of
from cohortseg.volume import Array, Grid

KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
ROUNDING = 1e-6
"""Share of the largest fractional value by which the threshold is lowered: 0.55 of 200 is a little more than 110."""


@dataclass(frozen=True)
class Frame:
    """Where one frame lies on the grid.

    Parameters
    ----------
    corner, down, across : int array, shape (3,)
        Index (z, y, x) of the first pixel, and the steps of index to the next row and column.
    """

    corner: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]
    across: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Header:
    """What a segmentation says before its pixels.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    names, numbers : tuple
        Of the segments, in the order of the file.
    frames : tuple of dict
        `segment` (None in a label map, whose values are the numbers), `position`, `orientation`, `spacing_mm` and
        `size` of each frame.
    bits : int
        To a pixel.
    syntax : str
        Transfer syntax.
    largest : float
        The value that stands for a fraction of 1.
    """

    kind: str
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    frames: tuple[dict[str, Any], ...]
    bits: int
    syntax: str
    largest: float


def seg_mask(
    path: str | Path,
    grid: Grid,
    structures: Mapping[str, Patterns],
    *,
    tolerance_mm: float = 0.05,
    missing: Missing = "reject",
    fraction: float = 0.5,
) -> tuple[Array, dict[str, Any]]:
    """Paint the wanted segments of a DICOM segmentation onto a grid.

    Parameters
    ----------
    path : str or Path
        A segmentation (binary, fractional, or label map). That it belongs to the image is for the caller to check.
    grid : Grid
        Grid of the image.
    structures : mapping of str to str or sequence of str
        Class name to the regular expressions that match the whole SegmentLabel; classes count 1, 2, … in this order.
    tolerance_mm : float
        Largest distance of a pixel centre of a frame from the voxel centre it falls onto.
    missing : "reject" or "empty"
        What becomes of a class that has no segment; an object without any wanted segment is always refused.
    fraction : float
        A fractional segment (probability or occupancy) holds a voxel from this share on; above 0, up to 1.

    Returns
    -------
    label : uint8 array, shape of the grid
        A segment without frames leaves its class empty.
    facts : dict
        `n_segments` for each class, `missing` classes; `segmentation_type`; `n_frames` used; `n_overlap_voxels`,
        `overlap_voxels`.

    Raises
    ------
    Rejected
        LABEL_UNREADABLE, LABEL_STRUCTURE_MISSING, LABEL_OFF_GRID; LABEL_OUTSIDE when marked pixels lie outside the
        image.
    SettingsError
        For an impossible fraction.
    """
    if not 0 < fraction <= 1:
        raise SettingsError(f"fraction lies above 0 and up to 1 (got {fraction})")
    header = _read_header(path)
    classes = members(header.names, structures, missing)
    numbers = [[header.numbers[position] for position in own] for own in classes]
    jobs, to_index = _jobs(header, numbers), np.linalg.inv(grid.affine).astype(np.float64)
    threshold = (fraction - ROUNDING) * header.largest if header.kind == "FRACTIONAL" else 1.0
    label, overlaps = np.zeros(grid.shape, np.uint8), no_overlaps(len(classes))
    for (index, wanted), pixels in zip(jobs, _pixels(path, header, [index for index, _ in jobs]), strict=True):
        frame = _place(header.frames[index], grid, to_index, tolerance_mm)
        for number, segments in wanted:
            marked = np.isin(pixels, segments) if header.kind == "LABELMAP" else pixels >= threshold
            _paint_frame(label, marked, frame, number, overlaps)
    facts = {"segmentation_type": header.kind, "n_frames": len(jobs)}
    return label, member_facts("n_segments", structures, classes) | facts | overlap_facts(overlaps, structures)


def _jobs(header: Header, classes: Sequence[list[int]]) -> list[tuple[int, list[tuple[int, list[int]]]]]:
    """Which frames to read in which order, and the classes (number, segments) to paint from each."""
    numbered = [(number, segments) for number, segments in enumerate(classes, start=1) if segments]
    if header.kind == "LABELMAP":
        # A label map has all segments in each frame: it is read once.
        return [(index, numbered) for index in range(len(header.frames))]
    return [
        (index, [(number, segments)])
        for number, segments in numbered
        for index, frame in enumerate(header.frames)
        if frame["segment"] in segments
    ]


def _read_header(path: str | Path) -> Header:
    from pydicom import dcmread

    try:
        with Path(path).open("rb") as file:
            dataset = dcmread(file, stop_before_pixels=True)
            check_complete(dataset)
            header = _header(dataset)
            _check_pixels(file, dataset, header)
    except FileNotFoundError:
        raise Rejected("SOURCE_CHANGED", "the label object vanished after it was indexed") from None
    except (OSError, ImportError, NameError):
        raise
    except Rejected as rejected:
        raise Rejected("LABEL_UNREADABLE", rejected.found) from rejected
    except Exception as error:
        raise Rejected("LABEL_UNREADABLE", f"the segmentation is broken ({type(error).__name__})") from error
    return header


def _header(dataset: Any) -> Header:
    kind = str(dataset.get("SegmentationType") or "BINARY")
    bits, allowed = int(dataset.BitsAllocated), (1, 8) if kind != "LABELMAP" else (8, 16)
    if kind not in KINDS or bits not in allowed:
        raise Rejected("LABEL_UNREADABLE", f"a segmentation of an unknown type, or of {bits} bits a pixel")
    # A label map may describe its background as a segment, and says so.
    background = dataset.get("PixelPaddingValue") if kind == "LABELMAP" else None
    segments = [segment for segment in dataset.SegmentSequence if segment.SegmentNumber != background]
    return Header(
        kind=kind,
        names=tuple(str(segment.get("SegmentLabel") or "") for segment in segments),
        numbers=tuple(int(segment.SegmentNumber) for segment in segments),
        frames=tuple(_frames(dataset, kind)),
        bits=bits,
        syntax=str(dataset.file_meta.TransferSyntaxUID),
        largest=float(dataset.get("MaximumFractionalValue") or 255),
    )


def _frames(dataset: Any, kind: str) -> Iterator[dict[str, Any]]:
    """Position, orientation, spacing and segment of each frame; what all frames share stands in the shared group."""
    if "TILED" in str(dataset.get("DimensionOrganizationType") or "") or "TotalPixelMatrixRows" in dataset:
        raise Rejected("LABEL_UNREADABLE", "the frames are tiles of a whole slide, not slices in space")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != int(dataset.NumberOfFrames):
        raise Rejected("LABEL_UNREADABLE", f"{len(groups)} descriptions for {dataset.NumberOfFrames} frames")
    for group in groups:
        segment = _value(group, shared, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
        if segment is None and kind != "LABELMAP":
            raise Rejected("LABEL_UNREADABLE", "a frame that names no segment")
        yield {
            "segment": None if kind == "LABELMAP" else int(segment),
            "position": _vector(_value(group, shared, "PlanePositionSequence", "ImagePositionPatient"), 3),
            "orientation": _vector(_value(group, shared, "PlaneOrientationSequence", "ImageOrientationPatient"), 6),
            "spacing_mm": _vector(_value(group, shared, "PixelMeasuresSequence", "PixelSpacing"), 2),
            "size": (int(dataset.Rows), int(dataset.Columns)),
        }


def _value(group: Any, shared: Any, sequence: str, keyword: str) -> Any:
    for holder in (group, shared):
        if holder.get(sequence) and holder.get(sequence)[0].get(keyword) is not None:
            return holder.get(sequence)[0].get(keyword)
    return None


def _vector(values: Any, length: int) -> npt.NDArray[np.float64]:
    if values is None or len(values) != length:
        raise Rejected("LABEL_UNREADABLE", "a frame that does not say where it lies")
    vector = np.array(values, dtype=np.float64)
    if not np.isfinite(vector).all():
        raise Rejected("LABEL_UNREADABLE", "a frame that lies nowhere: a number is not finite")
    return vector


def _place(frame: Mapping[str, Any], grid: Grid, to_index: npt.NDArray[np.float64], tolerance_mm: float) -> Frame:
    """Where a frame lies in whole voxels."""
    directions, spacing_mm = frame["orientation"].reshape(2, 3), frame["spacing_mm"]
    corner = to_index[:3, :3] @ frame["position"] + to_index[:3, 3]
    # DICOM: the first direction runs along a row, the second down a column; spacing is between rows, then columns.
    across = to_index[:3, :3] @ directions[0] * spacing_mm[1]
    down = to_index[:3, :3] @ directions[1] * spacing_mm[0]
    n_rows, n_columns = frame["size"]
    ends = [(0, 0), (n_rows - 1, 0), (0, n_columns - 1), (n_rows - 1, n_columns - 1)]
    whole = Frame(*(np.rint(vector).astype(np.int64) for vector in (corner, down, across)))
    off = [corner + r * down + c * across - (whole.corner + r * whole.down + c * whole.across) for r, c in ends]
    off_mm = float(np.abs(np.array(off) * grid.spacing_mm).max())
    if off_mm > tolerance_mm:
        raise Rejected("LABEL_OFF_GRID", f"a frame lies {off_mm:.3g} mm beside the voxels of the image")
    return whole


def _check_pixels(file: BinaryIO, dataset: Any, header: Header) -> None:
    """Every frame must be there to its last bit, and nothing else.

    What is missing would be read as unmarked; under a matrix that is said too small, all frames but the first would lie
    askew. One byte more makes the length even.
    """
    needed = -(-len(header.frames) * int(dataset.Rows) * int(dataset.Columns) * header.bits // 8)
    if header.syntax == DEFLATED:
        # Where the frames end is known after inflating only.
        present = len(_inflated(file))
    else:
        place = pixel_place(file, dataset)
        if place["pixel_bytes"] is None:
            check_fragments(file, place["pixel_offset"], header.syntax)
            return
        present = min(place["pixel_bytes"], os.fstat(file.fileno()).st_size - place["pixel_offset"])
        file.seek(place["pixel_offset"] - 8)
        if not dataset.file_meta.TransferSyntaxUID.is_little_endian and file.read(2) == b"OW":
            raise Rejected("LABEL_UNREADABLE", "pixels packed into big-endian words")
    if present < needed:
        raise Rejected("TRUNCATED", f"{present} of {needed} bytes of the frames are there")
    if present > needed + 1:
        raise Rejected("LABEL_UNREADABLE", f"{present} bytes of frames, the header speaks of {needed}")


def _pixels(path: str | Path, header: Header, indices: Sequence[int]) -> Iterator[Array]:
    """The frames one after the other: a segmentation of many segments never lies in memory whole.

    A deflated one does, at one bit a voxel.
    """
    from pydicom.uid import UID

    if not indices:
        return
    if UID(header.syntax).is_encapsulated:
        yield from _decoded(path, header, indices)
        return
    with Path(path).open("rb") as file:
        if header.syntax == DEFLATED:
            yield from _native(io.BytesIO(_inflated(file)), 0, header, indices)
            return
        yield from _native(file, _offset(file), header, indices)


def _offset(file: BinaryIO) -> int:
    from pydicom import dcmread

    dataset = dcmread(file, stop_before_pixels=True, specific_tags=[])
    return int(pixel_place(file, dataset)["pixel_offset"])


def _inflated(file: BinaryIO) -> bytes:
    from pydicom import dcmread

    file.seek(0)
    return bytes(dcmread(file).PixelData)


def _native(file: BinaryIO, offset: int, header: Header, indices: Sequence[int]) -> Iterator[Array]:
    """Frames that stand uncompressed in a file.

    They follow each other without padding (PS3.5 8.1.1), so a frame of single bits may begin in the middle of a byte;
    pydicom 3.0 reads single frames only where each fills whole bytes.
    """
    from pydicom.uid import UID

    order = "<" if UID(header.syntax).is_little_endian else ">"
    for index in indices:
        shape = header.frames[index]["size"]
        n_bits = shape[0] * shape[1] * header.bits
        first, lead = divmod(index * n_bits, 8)
        file.seek(offset + first)
        data = np.frombuffer(file.read(-(-(lead + n_bits) // 8)), np.uint8)
        if header.bits == 1:
            yield np.unpackbits(data, bitorder="little")[lead : lead + n_bits].reshape(shape)
        else:
            yield data.view(f"{order}u{header.bits // 8}").reshape(shape)


def _decoded(path: str | Path, header: Header, indices: Sequence[int]) -> Iterator[Array]:
    from pydicom.pixels import iter_pixels

    try:
        plugin = decoder_of(header.syntax) or ""
        with Path(path).open("rb") as file:
            fragments = fragments_of(file, _offset(file), header.syntax)
            for index in indices:
                rows, columns = header.frames[index]["size"]
                expected = {"rows": rows, "columns": columns, "bits_allocated": header.bits}
                picture = frame_bytes(file, fragments, index, len(header.frames), header.syntax)
                check_picture(picture, expected, header.syntax)
        yield from iter_pixels(path, indices=indices, raw=True, decoding_plugin=plugin)
    except Rejected as rejected:
        raise Rejected("LABEL_UNREADABLE", rejected.found) from rejected
    except Exception as error:
        raise Rejected("LABEL_UNREADABLE", f"a frame cannot be decoded ({type(error).__name__})") from error


def _paint_frame(label: Array, marked: Array, frame: Frame, number: int, overlaps: Counts) -> None:
    rows, columns = np.nonzero(marked)
    index = frame.corner[:, None] + frame.down[:, None] * rows + frame.across[:, None] * columns
    outside = ((index < 0) | (index >= np.array(label.shape)[:, None])).any(axis=0)
    if outside.any():
        raise Rejected("LABEL_OUTSIDE", f"{int(outside.sum())} marked pixels of a frame lie outside the image")
    place = (index[0], index[1], index[2])
    values = label[place]
    paint(values, np.ones(len(values), bool), number, overlaps)
    label[place] = values
