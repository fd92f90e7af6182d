"""Closed outlines of a mask of one slice, along the edges of its pixels.

Such an outline encloses exactly the pixels: its area is theirs, and every pixel centre lies half a pixel away from it,
so that no rounding in a file moves a pixel to the other side. Painting it with the even-odd rule gives the mask.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array

Points: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

# The four pixels round a point of the lattice, as bits: upper left, upper right, lower left, lower right.
NW, NE, SW, SE = 1, 2, 4, 8


def outlines(mask: Array) -> list[Points]:
    """Outlines of the set pixels, holes being outlines of their own.

    Parameters
    ----------
    mask : bool array, shape (rows, columns)

    Returns
    -------
    list of float arrays, shape (n, 2)
        Corners (row, column) in index coordinates, pixel centres being whole numbers; the last joins the first. None
        for an empty mask. Outlines never cross themselves or each other and pass no corner twice: pixels that share
        only a corner are kept apart. Inside by the even-odd rule lie exactly the set pixels.
    """
    corners, rows_first, columns_first = _corners(mask)
    across, along = _partners(rows_first), _partners(columns_first)
    place = (corners[:, 0] * (mask.shape[1] + 1) + corners[:, 1]).tolist()
    found: list[list[int]] = []
    for loop in _loops(across, along):
        found += _simple(loop, place)
    # Lattice points lie half a pixel before the centre of the pixel with their number.
    points: Points = corners.astype(np.float64) - 0.5
    return [points[loop] for loop in found]


def _corners(mask: Array) -> tuple[Integers, Integers, Integers]:
    """Lattice points (row, column) where an outline turns, and their order along rows and along columns.

    Where two set pixels meet at a corner only, the point stands twice: once for the outline of each.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    code = NW * padded[:-1, :-1] + NE * padded[:-1, 1:] + SW * padded[1:, :-1] + SE * padded[1:, 1:]
    straight = (0, NW | NE, SW | SE, NW | SW, NE | SE, NW | NE | SW | SE)
    points = np.argwhere(~np.isin(code, straight))
    codes = code[points[:, 0], points[:, 1]]
    double = (codes == NW | SE) | (codes == NE | SW)
    repeats = np.where(double, 2, 1)
    corners, codes = np.repeat(points, repeats, axis=0), np.repeat(codes, repeats)
    second = np.zeros(len(corners), bool)
    second[1:] = (corners[1:] == corners[:-1]).all(axis=1)
    # The first copy ends the edge from the left, the second begins the one to the right.
    by_row = np.lexsort((second, corners[:, 1], corners[:, 0]))
    # From above comes the outline of the upper pixel: it is the left one of NW and SE, the right one of NE and SW.
    lower = np.where(codes == NE | SW, ~second, second)
    by_column = np.lexsort((lower, corners[:, 0], corners[:, 1]))
    return corners.astype(np.int64), by_row.astype(np.int64), by_column.astype(np.int64)


def _partners(order: Integers) -> list[int]:
    """For each corner the other end of its edge: along a line of the lattice edges begin and end by turns."""
    partner = np.empty_like(order)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return [int(number) for number in partner.tolist()]


def _loops(across: list[int], along: list[int]) -> list[list[int]]:
    """Corners joined by edges along rows and along columns in turn, until they come back."""
    seen = bytearray(len(across))
    loops = []
    for start in range(len(across)):
        loop: list[int] = []
        corner = start
        while not seen[corner]:
            other = across[corner]
            seen[corner] = seen[other] = 1
            loop += (corner, other)
            corner = along[other]
        if loop:
            loops.append(loop)
    return loops


def _simple(loop: list[int], place: list[int]) -> list[list[int]]:
    """A loop cut where it passes a lattice point again (two holes that share a corner)."""
    if len({place[corner] for corner in loop}) == len(loop):
        return [loop]
    found, path = [], list[int]()
    step_at: dict[int, int] = {}
    for corner in loop:
        first = step_at.get(place[corner])
        if first is not None:
            found.append(path[first:])
            for cut in path[first:]:
                del step_at[place[cut]]
            del path[first:]
        step_at[place[corner]] = len(path)
        path.append(corner)
    return [*found, path]
