"""Images and labels as NIfTI, NRRD or MetaImage files.

The only file that knows (x, y, z), because SimpleITK counts that way.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected
from cohortseg.io.classes import check_count
from cohortseg.volume import Array, Grid, Triple, Volume

WRITTEN = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Endings of files that `write_image` writes, in LPS or with the turn to RAS that NIfTI asks for."""
INT16 = np.iinfo(np.int16)
SHEAR_TOLERANCE = 1e-3
"""Directions further from orthonormal than this are a sheared grid, not rounding."""


def read_image(path: str | Path) -> Volume:
    """An image file as a volume, its values as they are.

    Parameters
    ----------
    path : str or Path
        Any file SimpleITK reads, with one number a voxel; a 2D image is one slice, 1 mm thick.

    Returns
    -------
    Volume
        int16 when the file holds integers that fit; else float32. Directions are made exactly orthonormal (NIfTI stores
        them in single precision).

    Raises
    ------
    Rejected
        UNREADABLE, SOURCE_CHANGED (vanished), UNSUPPORTED_PIXELS (vectors, 4D), GANTRY_TILT (sheared directions),
        NOT_A_NUMBER.
    """
    array, grid = _read(path, "UNREADABLE", narrow=True)
    return Volume(array, grid)


def write_image(path: str | Path, volume: Volume) -> None:
    """Write a volume; equal volumes give equal bytes.

    Parameters
    ----------
    path : str or Path
        Ends in .nii.gz, .nii, .nrrd or .mha; replaced in one step when it exists.
    volume : Volume
        A bool array is written as uint8.

    Raises
    ------
    ValueError
        For another ending.
    """
    import SimpleITK

    target = Path(path)
    if not target.name.endswith(WRITTEN):
        raise ValueError(f"cannot write {target.suffix!r} files, only {', '.join(WRITTEN)}")
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(volume.grid.spacing_mm[::-1])
    image.SetOrigin(volume.grid.origin_mm)
    # ITK's matrix holds the directions of x, y, z in its columns.
    image.SetDirection(np.array(volume.grid.axes[::-1]).T.ravel().tolist())
    part = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        SimpleITK.WriteImage(image, str(part), useCompression=not target.name.endswith(".nii"))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def read_label(
    path: str | Path, grid: Grid, values: Mapping[str, int], *, tolerance_mm: float = 0.05
) -> tuple[Array, dict[str, Any]]:
    """A label file on the grid of its image.

    Parameters
    ----------
    path : str or Path
        Any file SimpleITK reads. Its axes may be stored in another order or direction than the image's, as converters
        to NIfTI do; its voxels must be the same.
    grid : Grid
        Grid of the image.
    values : mapping of str to int
        Class name to its value in the file; classes count 1, 2, … in this order. 0 is background.
    tolerance_mm : float
        Largest distance of voxel centres of label and image.

    Returns
    -------
    label : uint8 array, shape of the grid
    facts : dict
        `n_voxels` for each class; `turned`, whether axes had to be reordered or flipped.

    Raises
    ------
    Rejected
        LABEL_UNREADABLE, LABEL_OFF_GRID, LABEL_VALUES (values that no class names), NOT_A_NUMBER.
    """
    check_count(len(values))
    array, stored = _read(path, "LABEL_UNREADABLE", narrow=False)
    turned, own = _turn(array, stored, grid)
    if not own.matches(grid, tolerance_mm):
        raise Rejected("LABEL_OFF_GRID", _difference(own, grid))
    label = np.zeros(grid.shape, np.uint8)
    counts = np.zeros(len(values) + 1, np.int64)
    for plane, source in zip(label, turned, strict=True):
        for number, value in enumerate(values.values(), start=1):
            plane[source == value] = number
        strangers = np.unique(source[(plane == 0) & (source != 0)])
        if len(strangers):
            shown = ", ".join(f"{value:g}" for value in strangers[:5])
            raise Rejected("LABEL_VALUES", f"values that no class names, among them {shown}")
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    n_voxels = {name: int(count) for name, count in zip(values, counts[1:], strict=True)}
    return label, {"n_voxels": n_voxels, "turned": own != stored}


def _read(path: str | Path, broken: str, *, narrow: bool) -> tuple[Array, Grid]:
    """The array (z, y, x) of a file, as int16 or float32 or as it is, and its grid."""
    import SimpleITK

    if not Path(path).exists():
        raise Rejected("SOURCE_CHANGED", "a file vanished after it was indexed")
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise Rejected(broken, "the file cannot be read as an image") from error
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() not in (2, 3):
        found = f"{image.GetDimension()} dimensions, {image.GetNumberOfComponentsPerPixel()} numbers a voxel"
        raise Rejected("UNSUPPORTED_PIXELS", found)
    grid = _grid(image)
    view = SimpleITK.GetArrayViewFromImage(image).reshape(grid.shape)
    if view.dtype.kind == "f":
        lost = sum(int((~np.isfinite(plane)).sum()) for plane in view)
        if lost:
            raise Rejected("NOT_A_NUMBER", f"{lost} voxels are NaN or infinite")
    # One copy, in the wanted type: the image goes, and a view would be left hanging.
    return view.astype(_narrow(view) if narrow else view.dtype), grid


def _grid(image: Any) -> Grid:
    dimension = image.GetDimension()
    spacing_xyz, origin_xyz, directions = np.ones(3), np.zeros(3), np.eye(3)
    spacing_xyz[:dimension] = image.GetSpacing()
    origin_xyz[:dimension] = image.GetOrigin()
    directions[:dimension, :dimension] = np.reshape(image.GetDirection(), (dimension, dimension))
    size = (*image.GetSize(), 1)[:3]
    z, y, x = (_triple(column) for column in _orthonormal(directions).T[::-1])
    return Grid((size[2], size[1], size[0]), _triple(spacing_xyz[::-1]), _triple(origin_xyz), (z, y, x))


def _orthonormal(directions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The nearest orthonormal matrix (polar decomposition)."""
    left, _, right = np.linalg.svd(directions)
    nearest: npt.NDArray[np.float64] = (left @ right).astype(np.float64)
    skew = float(np.abs(nearest - directions).max())
    if skew > SHEAR_TOLERANCE:
        raise Rejected("GANTRY_TILT", f"the directions of the axes are sheared, by {skew:.3g} in a cosine")
    # An orthonormal matrix stays as it is, to the last digit.
    return directions if skew < 1e-15 else nearest


def _triple(vector: npt.NDArray[np.float64]) -> Triple:
    a, b, c = (float(value) + 0.0 for value in vector)
    return (a, b, c)


def _narrow(array: Array) -> np.dtype[Any]:
    """int16 when the numbers are integers that fit, else float32."""
    fits = array.dtype.kind in "iu" and array.min() >= INT16.min and array.max() <= INT16.max
    return np.dtype(np.int16 if fits else np.float32)


def _turn(array: Array, own: Grid, grid: Grid) -> tuple[Array, Grid]:
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
    z, y, x = (_triple(sign * np.array(own.axes[source])) for source, sign in zip(order, signs, strict=True))
    spacing_mm = _triple(np.array(own.spacing_mm)[order])
    return turned, Grid(
        (turned.shape[0], turned.shape[1], turned.shape[2]), spacing_mm, own.world(_triple(corner)), (z, y, x)
    )


def _difference(own: Grid, grid: Grid) -> str:
    if own.shape != grid.shape:
        return f"shape {own.shape}, the image's is {grid.shape}"
    corner = (grid.shape[0] - 1.0, grid.shape[1] - 1.0, grid.shape[2] - 1.0)
    pairs = ((own.origin_mm, grid.origin_mm), (own.world(corner), grid.world(corner)))
    far = max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)
    return f"voxel centres up to {far:.3g} mm apart; spacing {own.spacing_mm}, the image's is {grid.spacing_mm}"
