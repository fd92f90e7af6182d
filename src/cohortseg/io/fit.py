"""How the grid of a label lies on the grid of its image."""

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array, Grid, Triple


def turn(array: Array, own: Grid, grid: Grid) -> tuple[Array, Grid]:
    """An array with its axes in the order and direction of a grid: the same voxels, told from another corner."""
    cosines = np.array(grid.axes) @ np.array(own.axes).T
    order = [int(axis) for axis in np.abs(cosines).argmax(axis=1)]
    if sorted(order) != [0, 1, 2]:
        return array, own
    signs = [-1 if cosines[axis, source] < 0 else 1 for axis, source in enumerate(order)]
    turned = array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    corner = np.zeros(3)
    for source, sign in zip(order, signs, strict=True):
        corner[source] = own.shape[source] - 1 if sign < 0 else 0
    z, y, x = (triple(sign * np.array(own.axes[source])) for source, sign in zip(order, signs, strict=True))
    spacing_mm = triple(np.array(own.spacing_mm)[order])
    return turned, Grid(
        (turned.shape[0], turned.shape[1], turned.shape[2]), spacing_mm, own.world(triple(corner)), (z, y, x)
    )


def shift_voxels(own: Grid, grid: Grid) -> npt.NDArray[np.float64]:
    """For each axis of a grid how far the corner voxels of another of the same shape lie off, in its voxels."""
    last = np.array(grid.shape) - 1.0
    corners = np.array([[z, y, x, 1.0] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * [*last, 1.0]
    shifts = corners @ (np.linalg.solve(grid.affine, own.affine) - np.eye(4)).T
    shift: npt.NDArray[np.float64] = np.abs(shifts[:, :3]).max(axis=0)
    return shift


def difference(own: Grid, grid: Grid) -> str:
    """In words how two grids that should be one differ: in shape, or by how many voxels."""
    if own.shape != grid.shape:
        return f"shape {own.shape}, the image's is {grid.shape}"
    z, y, x = shift_voxels(own, grid)
    found = f"off by up to {z:.3g}, {y:.3g}, {x:.3g} voxels along z, y, x"
    return f"{found}; spacing {own.spacing_mm}, the image's is {grid.spacing_mm}"


def outside_share(label: Array, own: Grid, grid: Grid) -> float:
    """Share of the voxels of a label whose centres lie outside the box of a grid; 0 for an empty label."""
    to_image = np.linalg.solve(grid.affine, own.affine)
    n_voxels = n_outside = 0
    for number, plane in enumerate(label):
        rows, columns = np.nonzero(plane)
        index = np.stack([np.full(len(rows), number), rows, columns], axis=1) @ to_image[:3, :3].T + to_image[:3, 3]
        # Half a voxel more on each side, and no voxel lost by rounding.
        outside = (index < -0.5 - 1e-6) | (index > np.array(grid.shape) - 0.5 + 1e-6)
        n_voxels, n_outside = n_voxels + len(rows), n_outside + int(outside.any(axis=1).sum())
    return n_outside / n_voxels if n_voxels else 0.0


def triple(vector: npt.NDArray[np.float64]) -> Triple:
    """Three numbers; no -0."""
    a, b, c = (float(value) + 0.0 for value in vector)
    return (a, b, c)
