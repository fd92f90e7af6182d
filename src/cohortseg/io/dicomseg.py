"""The segments of a DICOM segmentation as a label on the grid of the image.

Every frame says where it lies; it is placed voxel by voxel where that is, whatever the order of the frames or the turn
of their rows, and frames that do not fall onto the voxels of the image are refused. Slices without frame are empty.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected
from cohortseg.io.classes import members, paint
from cohortseg.io.elements import check_complete
from cohortseg.io.headers import DEFLATED, pixel_place
from cohortseg.io.pixels import check_fragments, decoder_of
from cohortseg.volume import Array, Grid

HALF = 0.5
"""A fractional segment holds a voxel from this share of its largest value on."""


@dataclass(frozen=True)
class Frame:
    """Where one frame lies on the grid.

    Parameters
    ----------
    segment : int or None
        Number of its segment; None in a label map, whose values are the numbers.
    corner, down, across : int array, shape (3,)
        Index (z, y, x) of the first pixel, and the steps of index to the next row and column.
    """

    segment: int | None
    corner: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]
    across: npt.NDArray[np.int64]


def seg_mask(
    path: str | Path, grid: Grid, structures: Mapping[str, str], *, tolerance_mm: float = 0.05
) -> tuple[Array, dict[str, Any]]:
    """Paint the wanted segments of a DICOM segmentation onto a grid.

    Parameters
    ----------
    path : str or Path
        A segmentation (binary, fractional, or label map). That it belongs to the image is for the caller to check.
    grid : Grid
        Grid of the image.
    structures : mapping of str to str
        Class name to a regular expression that matches the whole SegmentLabel; classes count 1, 2, … in this order.
    tolerance_mm : float
        Largest distance of a pixel centre of a frame from the voxel centre it falls onto.

    Returns
    -------
    label : uint8 array, shape of the grid
        A segment without frames leaves its class empty.
    facts : dict
        `n_segments` for each class; `n_frames` used; `n_overlap_voxels` claimed by a later class too.

    Raises
    ------
    Rejected
        LABEL_UNREADABLE, LABEL_STRUCTURE_MISSING, LABEL_OFF_GRID; LABEL_OUTSIDE when marked pixels lie outside the
        image.
    """
    header = _read_header(path)
    names = [str(segment.get("SegmentLabel", "")) for segment in header.SegmentSequence]
    numbers = [int(segment.SegmentNumber) for segment in header.SegmentSequence]
    classes = [[numbers[position] for position in own] for own in members(names, structures)]
    frames = [_place(frame, grid, tolerance_mm) for frame in _frames(header)]
    jobs = _jobs(frames, classes)
    threshold = _threshold(header)
    label = np.zeros(grid.shape, np.uint8)
    n_overlap = 0
    indices = [index for index, _ in jobs]
    frames_read = _bits(path, header, indices) if _is_packed(header) else _pixels(path, header, indices)
    for (index, wanted), pixels in zip(jobs, frames_read, strict=True):
        for number, segments in wanted:
            marked = np.isin(pixels, segments) if frames[index].segment is None else pixels >= threshold
            n_overlap += _paint_frame(label, marked, frames[index], number)
    n_segments = {name: len(own) for name, own in zip(structures, classes, strict=True)}
    return label, {"n_segments": n_segments, "n_frames": len(jobs), "n_overlap_voxels": n_overlap}


def _jobs(frames: Sequence[Frame], classes: Sequence[list[int]]) -> list[tuple[int, list[tuple[int, list[int]]]]]:
    """Which frames to read in which order, and the classes (number, segments) to paint from each."""
    numbered = list(enumerate(classes, start=1))
    if any(frame.segment is None for frame in frames):
        # A label map has all segments in each frame: it is read once.
        return [(index, numbered) for index in range(len(frames))]
    return [
        (index, [(number, segments)])
        for number, segments in numbered
        for index, frame in enumerate(frames)
        if frame.segment in segments
    ]


def _read_header(path: str | Path) -> Any:
    from pydicom import dcmread

    try:
        with Path(path).open("rb") as file:
            header = dcmread(file, stop_before_pixels=True)
            check_complete(header)
            _check_pixels(file, header)
    except FileNotFoundError:
        raise Rejected("SOURCE_CHANGED", "the label object vanished after it was indexed") from None
    except (OSError, ImportError, NameError):
        raise
    except Rejected as rejected:
        raise Rejected("LABEL_UNREADABLE", rejected.found) from rejected
    except Exception as error:
        raise Rejected("LABEL_UNREADABLE", f"the segmentation is broken ({type(error).__name__})") from error
    return header


def _check_pixels(file: BinaryIO, header: Any) -> None:
    """Every frame must be there to its last bit: what is missing would be read as unmarked."""
    syntax = header.file_meta.TransferSyntaxUID
    if syntax == DEFLATED:
        return
    place = pixel_place(file, header)
    if place["pixel_bytes"] is None:
        check_fragments(file, place["pixel_offset"], syntax)
        return
    bits = int(header.NumberOfFrames) * int(header.Rows) * int(header.Columns) * int(header.BitsAllocated)
    present = min(place["pixel_bytes"], os.fstat(file.fileno()).st_size - place["pixel_offset"])
    if present * 8 < bits:
        raise Rejected("TRUNCATED", f"{present} of {-(-bits // 8)} bytes of the frames are there")


def _threshold(header: Any) -> float:
    fractional = header.get("SegmentationType") == "FRACTIONAL"
    return HALF * float(header.get("MaximumFractionalValue", 255)) if fractional else 1.0


def _frames(header: Any) -> Iterator[dict[str, Any]]:
    """Position, orientation, spacing and segment of each frame; what all frames share stands in the shared group."""
    shared = header.SharedFunctionalGroupsSequence[0] if header.get("SharedFunctionalGroupsSequence") else {}
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != int(header.NumberOfFrames):
        raise Rejected("LABEL_UNREADABLE", f"{len(groups)} descriptions for {header.NumberOfFrames} frames")
    for group in groups:
        segment = _value(group, shared, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
        if segment is None and header.get("SegmentationType") != "LABELMAP":
            raise Rejected("LABEL_UNREADABLE", "a frame that names no segment")
        yield {
            "segment": None if header.get("SegmentationType") == "LABELMAP" else int(segment),
            "position": _value(group, shared, "PlanePositionSequence", "ImagePositionPatient"),
            "orientation": _value(group, shared, "PlaneOrientationSequence", "ImageOrientationPatient"),
            "spacing_mm": _value(group, shared, "PixelMeasuresSequence", "PixelSpacing"),
            "size": (int(header.Rows), int(header.Columns)),
        }


def _value(group: Any, shared: Any, sequence: str, keyword: str) -> Any:
    for holder in (group, shared):
        if holder.get(sequence):
            return holder.get(sequence)[0].get(keyword)
    return None


def _place(frame: Mapping[str, Any], grid: Grid, tolerance_mm: float) -> Frame:
    """Where a frame lies in whole voxels."""
    position, orientation, spacing_mm = (frame[key] for key in ("position", "orientation", "spacing_mm"))
    if not position or not orientation or not spacing_mm:
        raise Rejected("LABEL_UNREADABLE", "a frame that does not say where it lies")
    directions = np.array(orientation, dtype=np.float64).reshape(2, 3)
    to_index = np.linalg.inv(grid.affine)
    corner = to_index[:3, :3] @ np.array(position, dtype=np.float64) + to_index[:3, 3]
    # DICOM: the first direction runs along a row, the second down a column; spacing is between rows, then columns.
    across = to_index[:3, :3] @ directions[0] * float(spacing_mm[1])
    down = to_index[:3, :3] @ directions[1] * float(spacing_mm[0])
    n_rows, n_columns = frame["size"]
    ends = [(0, 0), (n_rows - 1, 0), (0, n_columns - 1), (n_rows - 1, n_columns - 1)]
    whole = Frame(frame["segment"], *(np.rint(vector).astype(np.int64) for vector in (corner, down, across)))
    off = [corner + r * down + c * across - (whole.corner + r * whole.down + c * whole.across) for r, c in ends]
    off_mm = float(np.abs(np.array(off) * grid.spacing_mm).max())
    if off_mm > tolerance_mm:
        raise Rejected("LABEL_OFF_GRID", f"a frame lies {off_mm:.3g} mm beside the voxels of the image")
    return whole


def _is_packed(header: Any) -> bool:
    """Whether the frames are plain bits in the file, eight voxels to a byte."""
    syntax = header.file_meta.TransferSyntaxUID
    return int(header.BitsAllocated) == 1 and syntax != DEFLATED and not syntax.is_encapsulated


def _bits(path: str | Path, header: Any, indices: Sequence[int]) -> Iterator[Array]:
    """The frames of a bit-packed segmentation, one after the other.

    Frames follow each other without padding (PS3.5 8.1.1), so one may begin in the middle of a byte; pydicom 3.0 reads
    single frames only where each fills whole bytes.
    """
    from pydicom import dcmread

    n_voxels = int(header.Rows) * int(header.Columns)
    with Path(path).open("rb") as file:
        dcmread(file, stop_before_pixels=True, specific_tags=[])
        offset = pixel_place(file, header)["pixel_offset"]
        for index in indices:
            first, lead = divmod(index * n_voxels, 8)
            file.seek(offset + first)
            packed = np.frombuffer(file.read(-(-(lead + n_voxels) // 8)), np.uint8)
            bits = np.unpackbits(packed, bitorder="little")[lead : lead + n_voxels]
            yield bits.reshape(int(header.Rows), int(header.Columns))


def _pixels(path: str | Path, header: Any, indices: Sequence[int]) -> Iterator[Array]:
    """The frames one after the other: a segmentation of many segments never lies in memory whole."""
    from pydicom.pixels import iter_pixels

    if not indices:
        return
    try:
        plugin = decoder_of(header.file_meta.TransferSyntaxUID) or ""
        yield from iter_pixels(path, indices=indices, raw=True, decoding_plugin=plugin)
    except Exception as error:
        raise Rejected("LABEL_UNREADABLE", f"a frame cannot be decoded ({type(error).__name__})") from error


def _paint_frame(label: Array, marked: Array, frame: Frame, number: int) -> int:
    rows, columns = np.nonzero(marked)
    index = frame.corner[:, None] + frame.down[:, None] * rows + frame.across[:, None] * columns
    outside = ((index < 0) | (index >= np.array(label.shape)[:, None])).any(axis=0)
    if outside.any():
        raise Rejected("LABEL_OUTSIDE", f"{int(outside.sum())} marked pixels of a frame lie outside the image")
    place = (index[0], index[1], index[2])
    values = label[place]
    overlap = paint(values, np.ones(len(values), bool), number)
    label[place] = values
    return overlap
