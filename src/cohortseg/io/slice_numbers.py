"""What the records of slices say as arrays of numbers, refused where a volume cannot be made of them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected
from cohortseg.io.mend import COSINE_TOLERANCE, SPACING_TOLERANCE

Record: TypeAlias = Mapping[str, Any]
Floats: TypeAlias = npt.NDArray[np.float64]


def check_count(slices: Sequence[Record], min_slices: int) -> None:
    """NO_FRAMES for a multi-frame file that was not taken apart, TOO_FEW_SLICES for fewer than are asked for."""
    frames = max((record.get("n_frames") or 1 for record in slices if record.get("frame") is None), default=1)
    if frames > 1:
        raise Rejected("NO_FRAMES", f"a multi-frame object of {frames} frames")
    if len(slices) < max(min_slices, 1):
        raise Rejected("TOO_FEW_SLICES", f"{len(slices)} slices, at least {max(min_slices, 1)} are needed")


def check_frames(records: Sequence[Record]) -> None:
    """Positions of different frames of reference cannot be compared. A slice may keep silent about its frame."""
    frames = {record["frame_uid"] for record in records if record.get("frame_uid")}
    if len(frames) > 1:
        raise Rejected("OTHER_FRAME", f"slices of {len(frames)} frames of reference in one volume")


def numbers_of(records: Sequence[Record]) -> tuple[Floats, Floats, Floats]:
    """Positions (n, 3), orientations (n, 6) and pixel spacings (n, 2; y, x)."""
    columns = []
    for key, length in (("position", 3), ("orientation", 6), ("pixel_spacing_mm", 2)):
        values = [record.get(key) for record in records]
        lacking = sum(value is None or len(value) != length for value in values)
        if lacking:
            raise Rejected("NO_POSITION", f"{lacking} of {len(records)} slices carry no {key.removesuffix('_mm')}")
        columns.append(np.array(values, dtype=np.float64))
    if columns[2].min() <= 0:
        raise Rejected("NO_POSITION", f"a pixel spacing of {columns[2].min():g} mm")
    return columns[0], columns[1], columns[2]


def axes_of(orientations: Floats) -> Floats:
    """Orthonormal directions of z, y and x, shape (3, 3)."""
    # The median does not depend on the order of the files, and one odd slice does not move it.
    orientation = np.median(orientations, axis=0)
    apart = np.abs(orientations - orientation).max(axis=1)
    odd = int((apart > COSINE_TOLERANCE).sum())
    if odd:
        found = f"{odd} of {len(apart)} slices are off the median orientation, by up to {apart.max():.3g} in a cosine"
        raise Rejected("MIXED_ORIENTATION", found)
    row, column = orientation[:3], orientation[3:]
    skew = max(abs(float(number)) for number in (row @ row - 1, column @ column - 1, row @ column))
    if skew > COSINE_TOLERANCE:
        raise Rejected("NO_POSITION", f"the orientation is no pair of orthogonal unit vectors, off by {skew:.3g}")
    x = row / np.linalg.norm(row)
    normal = np.cross(x, column)
    z = normal / np.linalg.norm(normal)
    return np.array([z, np.cross(z, x), x])


def check_matrix(records: Sequence[Record], spacings: Floats) -> None:
    """MIXED_MATRIX unless all slices have one matrix, not an empty one, and one pixel spacing."""
    sizes = sorted({(record["rows"] or 0, record["columns"] or 0) for record in records})
    if len(sizes) > 1:
        raise Rejected("MIXED_MATRIX", f"{len(sizes)} matrix sizes, from {sizes[0]} to {sizes[-1]}")
    if not sizes[0][0] or not sizes[0][1]:
        raise Rejected("MIXED_MATRIX", f"a matrix of {sizes[0]} rows and columns")
    low, high = spacings.min(axis=0), spacings.max(axis=0)
    if ((high - low) > SPACING_TOLERANCE * high).any():
        raise Rejected("MIXED_MATRIX", f"pixel spacings (y, x) from {low.tolist()} to {high.tolist()} mm")
