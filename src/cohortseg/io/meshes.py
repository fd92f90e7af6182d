"""The surface of a mask as a closed triangle mesh, and STL and PLY files of it.

Marching cubes (Lorensen and Cline 1987) half way between voxel centres inside and outside. Whatever the voxels, every
edge of the mesh belongs to exactly two triangles; that is not so for the variant of Lewiner et al. in scikit-image.
The mesh is not smoothed. It cuts the corners of voxels: of a ball of 10 voxels in radius half a percent is missing, a
single voxel shrinks to a sixth.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array, Grid

SLAB = 32
"""Slices that are turned into triangles at a time: memory holds one slab as floats."""
STL_NOTE = b"cohortseg binary STL; mm; SPACE=LPS"
PLY_HEAD = """ply
format binary_little_endian 1.0
comment cohortseg; mm; SPACE=LPS
element vertex {vertices}
property float x
property float y
property float z
element face {faces}
property list uchar int vertex_indices
end_header
"""


@dataclass(frozen=True)
class Mesh:
    """A closed surface.

    Parameters
    ----------
    vertices : float64 array, shape (n, 3)
        World position (x, y, z; LPS) in mm, none twice.
    faces : int64 array, shape (m, 3)
        Triangles, anticlockwise seen from outside.
    """

    vertices: npt.NDArray[np.float64]
    faces: npt.NDArray[np.int64]

    @property
    def volume_mm3(self) -> float:
        """Enclosed volume in mm³; 0 of an empty mesh."""
        # About a point near by: far from the origin the sum would lose its digits.
        corners = (self.vertices - self.vertices.mean(axis=0, keepdims=True))[self.faces] if len(self.faces) else None
        return 0.0 if corners is None else float(np.linalg.det(corners).sum() / 6.0)


def surface(mask: Array, grid: Grid) -> Mesh:
    """The surface of the set voxels, closed at the edge of the image too.

    Parameters
    ----------
    mask : bool array, shape of the grid
    grid : Grid
        May be oblique, its axes left-handed.

    Returns
    -------
    Mesh
        Empty for an empty mask.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if not len(rows):
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    vertices, faces = _joined(_slabs(mask[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]))
    index = vertices + np.array([0, rows[0], columns[0]])
    mesh = Mesh(index @ grid.affine[:3, :3].T + grid.affine[:3, 3], faces)
    # Which way round triangles run depends on the hand of the axes; outwards is where the volume is positive.
    return mesh if mesh.volume_mm3 > 0 else Mesh(mesh.vertices, mesh.faces[:, ::-1])


def _slabs(mask: Array) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Vertices in half voxels (z, y, x) and faces of slabs that share a slice with their neighbours."""
    from skimage.measure import marching_cubes

    found = []
    for first in range(-1, len(mask), SLAB):
        last = min(first + SLAB, len(mask))
        part = np.zeros((last - first + 1, mask.shape[1] + 2, mask.shape[2] + 2), np.float32)
        inside = slice(max(first, 0), min(last + 1, len(mask)))
        part[inside.start - first : inside.stop - first, 1:-1, 1:-1] = mask[inside]
        if part.any() and not part.all():
            vertices, faces, _, _ = marching_cubes(part, 0.5, method="lorensen")
            # Every vertex lies half way along an edge of the voxel lattice: whole numbers when doubled.
            doubled = np.rint(2.0 * vertices).astype(np.int64) + np.array([2 * first, -2, -2])
            found.append((doubled, faces.astype(np.int64)))
    return found


def _joined(
    slabs: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """One mesh of several, vertices in voxels; those that slabs share stand once."""
    offsets = np.cumsum([0, *(len(vertices) for vertices, _ in slabs)])
    doubled = np.concatenate([vertices for vertices, _ in slabs])
    faces = np.concatenate([own + offset for (_, own), offset in zip(slabs, offsets, strict=False)])
    low = doubled.min(axis=0)
    extent = doubled.max(axis=0) - low + 1
    code = ((doubled - low) @ np.array([extent[1] * extent[2], extent[2], 1])).astype(np.int64)
    unique, place = np.unique(code, return_inverse=True)
    z, rest = np.divmod(unique, extent[1] * extent[2])
    y, x = np.divmod(rest, extent[2])
    return (np.column_stack([z, y, x]) + low) / 2.0, place[faces]


def write_stl(path: Path, mesh: Mesh) -> None:
    """Write a mesh as binary STL (little endian); the note at its head tells the axes, as 3D Slicer does."""
    corners = mesh.vertices.astype("<f4")[mesh.faces]
    records = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    records["corners"] = corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    with path.open("wb") as file:
        file.write(STL_NOTE.ljust(80, b" ") + len(records).to_bytes(4, "little"))
        file.write(records.tobytes())


def write_ply(path: Path, mesh: Mesh) -> None:
    """Write a mesh as binary PLY (little endian); a comment tells the axes."""
    records = np.zeros(len(mesh.faces), [("n", "u1"), ("corners", "<i4", 3)])
    records["n"], records["corners"] = 3, mesh.faces
    with path.open("wb") as file:
        file.write(PLY_HEAD.format(vertices=len(mesh.vertices), faces=len(mesh.faces)).encode("ascii"))
        file.write(mesh.vertices.astype("<f4").tobytes())
        file.write(records.tobytes())
