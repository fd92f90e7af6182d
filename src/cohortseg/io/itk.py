"""Images and labels as NIfTI, NRRD or MetaImage files.

With nifti.py the only file that knows (x, y, z), because SimpleITK counts that way. How it places a NIfTI image (found
by trying all combinations, ITK 5.4): by the sform where its code is 1 (scanner) and its axes are at right angles, or
where there is no qform; else by the qform; with neither, at the origin along the axes of LPS. Sizes of voxels come from
`pixdim`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io import nifti
from cohortseg.io.classes import check_count
from cohortseg.io.fit import difference, outside_share, shift_voxels, triple, turn
from cohortseg.io.instances import of_classes, to_instances
from cohortseg.io.values import to_classes
from cohortseg.volume import Array, Grid, Volume

WRITTEN = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Endings of files that `write_image` writes, in LPS or with the turn to RAS that NIfTI asks for."""
INT16 = np.iinfo(np.int16)
SHEAR_TOLERANCE = 1e-3
"""Directions further from orthonormal than this are a sheared grid, not rounding."""
FORMS_TOLERANCE_MM = 0.05
"""Corner voxels further apart than this under qform and sform: the two forms differ."""
SCALE_TOLERANCE = 1e-4
"""Relative difference of voxel sizes in `pixdim` and in a lone sform that is no rounding."""
HALF_VOXEL = 0.5 - 1e-6
"""A label shifted by half a voxel is on the wrong voxels, whatever tolerance in mm the settings give."""
OUTSIDE_SHARE = 0.01
"""Largest share of a resampled label's voxels that may lie outside its image."""


def read_image(path: str | Path, *, volume: int | None = None) -> Volume:
    """An image file as a volume, its values as they are.

    Parameters
    ----------
    path : str or Path
        Any file SimpleITK reads, with one number a voxel; a 2D image is one slice, 1 mm thick. Lengths in m or micron
        (NIfTI) become mm.
    volume : int, optional
        Which volume of a 4D file, from 0; needed when it holds several.

    Returns
    -------
    Volume
        int16 when the file holds integers that fit; else float32. Directions are made exactly orthonormal (NIfTI stores
        them in single precision).

    Raises
    ------
    Rejected
        UNREADABLE, TRUNCATED, SOURCE_CHANGED (vanished), UNSUPPORTED_PIXELS (colour, vectors, complex numbers, more
        than 4 axes), GANTRY_TILT (sheared directions), NOT_A_NUMBER, SEVERAL_PHASES (several volumes and none chosen),
        MISSING_CHANNEL (no volume of that number).
    """
    array, grid = _read(path, "UNREADABLE", narrow=True, volume=volume)
    return Volume(array, grid)


def count_volumes(path: str | Path) -> int:
    """Number of volumes in an image file: 1 but for 4D files. From the header alone.

    Raises
    ------
    Rejected
        As `read_image`.
    """
    return _n_volumes(_open(path, "UNREADABLE", nifti.read_header(_present(path))))


def image_facts(path: str | Path) -> dict[str, Any]:
    """What the header of an image file says about its place. No name, date or text of it.

    Returns
    -------
    dict
        `n_volumes`. For NIfTI also `orientation_code`: 'none' (the file says nothing about left and right), 'qform',
        'sform' (the form that places the image, the other missing or the same) or 'both_differ'; `form_used`: 'none',
        'qform' or 'sform'; `forms_differ_mm`, largest distance of corner voxels under the two, where both are set;
        `unit`: 'mm', 'm', 'micron' or 'unknown'; `spacing_from`: 'pixdim', or 'sform' where it stands alone and
        `pixdim` says otherwise.

    Raises
    ------
    Rejected
        As `read_image`.
    """
    header = nifti.read_header(_present(path))
    reader = _open(path, "UNREADABLE", header)
    facts: dict[str, Any] = {"n_volumes": _n_volumes(reader)}
    if header is None:
        return facts
    forms = {name: form for name, form in (("qform", header.qform), ("sform", header.sform)) if form is not None}
    affine = _grid(reader, header, "UNREADABLE").affine[:, [2, 1, 0, 3]]
    apart_mm = {name: nifti.corners_apart_mm(form, affine, header.sizes) for name, form in forms.items()}
    used = min(apart_mm, key=lambda name: apart_mm[name], default="none")
    facts |= {"orientation_code": used, "form_used": used, "unit": header.unit}
    if header.qform is not None and header.sform is not None:
        facts["forms_differ_mm"] = nifti.corners_apart_mm(header.qform, header.sform, header.sizes)
        if facts["forms_differ_mm"] > FORMS_TOLERANCE_MM:
            facts["orientation_code"] = "both_differ"
    return facts | {"spacing_from": "pixdim" if _lone_sform_spacing(header) is None else "sform"}


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
    image = _placed(SimpleITK.GetImageFromArray(array), volume.grid)
    part = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        SimpleITK.WriteImage(image, str(part), useCompression=not target.name.endswith(".nii"))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@overload
def read_label(
    path: str | Path,
    grid: Grid,
    values: Mapping[str, int],
    *,
    tolerance_mm: float = 0.05,
    resample: bool = False,
    instances: Literal[False] = False,
) -> tuple[Array, dict[str, Any]]: ...


@overload
def read_label(
    path: str | Path,
    grid: Grid,
    values: Mapping[str, int],
    *,
    tolerance_mm: float = 0.05,
    resample: bool = False,
    instances: Literal[True],
    divisor: int | None = None,
) -> tuple[Array, npt.NDArray[np.int32], dict[str, Any]]: ...


def read_label(
    path: str | Path,
    grid: Grid,
    values: Mapping[str, int],
    *,
    tolerance_mm: float = 0.05,
    resample: bool = False,
    instances: bool = False,
    divisor: int | None = None,
) -> tuple[Array, dict[str, Any]] | tuple[Array, npt.NDArray[np.int32], dict[str, Any]]:
    """A label file on the grid of its image.

    Parameters
    ----------
    path : str or Path
        Any file SimpleITK reads. Its axes may be stored in another order or direction than the image's, as converters
        to NIfTI do; its voxels must be the same, unless `resample` is set.
    grid : Grid
        Grid of the image.
    values : mapping of str to int
        Class name to its value in the file; classes count 1, 2, … in this order. 0 is background.
    tolerance_mm : float
        Largest distance of voxel centres of label and image; a shift of half a voxel is never tolerated.
    resample : bool
        Bring a label that lies on other voxels onto the image's grid, by the nearest voxel in world position.
    instances : bool
        Every value above 0 is an object of the one class; `values` gives its name only.
    divisor : int, optional
        With `instances`, for several classes: see `io.instances.of_classes`.

    Returns
    -------
    label : uint8 array, shape of the grid
    instances : int32 array, shape of the grid
        Ids of the objects as stored; only when `instances` is set.
    facts : dict
        `n_voxels` for each class, on the image's grid; `turned`, whether axes had to be reordered or flipped;
        `resampled` and `outside_share` (share of the label's voxels that lie outside the image) when `resample` is set;
        with `instances` those of `to_instances`.

    Raises
    ------
    Rejected
        LABEL_UNREADABLE, TRUNCATED, SOURCE_CHANGED (vanished), UNSUPPORTED_PIXELS, GANTRY_TILT, SEVERAL_PHASES,
        LABEL_OFF_GRID, LABEL_OUTSIDE (more than 1 % of it, when resampled), LABEL_VALUES (values that no class names),
        NOT_A_NUMBER.
    SettingsError
        For more than 254 classes, or instances of several.
    """
    check_count(len(values))
    if instances and divisor is None and len(values) != 1:
        raise SettingsError(f"instances belong to one class, the settings name {len(values)}")
    array, stored = _read(path, "LABEL_UNREADABLE", narrow=False)
    turned, own = turn(array, stored, grid)
    facts: dict[str, Any] = {"turned": own != stored}
    is_off = not own.matches(grid, tolerance_mm) or shift_voxels(own, grid).max() >= HALF_VOXEL
    if is_off and not resample:
        raise Rejected("LABEL_OFF_GRID", difference(own, grid))
    made, counts = to_instances(turned) if instances else to_classes(turned, values)
    if resample:
        facts |= {"resampled": is_off, "outside_share": outside_share(made, own, grid) if is_off else 0.0}
        if facts["outside_share"] > OUTSIDE_SHARE:
            raise Rejected("LABEL_OUTSIDE", f"{facts['outside_share']:.1%} of its voxels lie outside the image")
        made = _nearest(made, own, grid) if is_off else made
        counts = to_instances(made)[1] if instances else _counted(made, values)
    if not instances:
        return made, {"n_voxels": counts, **facts}
    label, ids, n_voxels = of_classes(made, values, divisor)
    counts = to_instances(ids)[1] if divisor is not None else counts
    return label, ids, {"n_voxels": n_voxels, **counts, **facts}


def _counted(label: Array, values: Mapping[str, int]) -> dict[str, int]:
    counts = sum((np.bincount(plane.ravel(), minlength=256) for plane in label), np.zeros(256, np.int64))
    return {name: int(counts[number]) for number, name in enumerate(values, start=1)}


def _present(path: str | Path) -> Path:
    if not Path(path).exists():
        raise Rejected("SOURCE_CHANGED", "a file vanished after it was indexed")
    return Path(path)


def _open(path: str | Path, broken: str, header: nifti.NiftiHeader | None) -> Any:
    """A reader of a file with one number a voxel, its header read."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error) and header is not None and header.sform is not None:
            _refuse_sheared(header.sform[:3, :3])
        raise Rejected(broken, "the file cannot be read as an image") from None
    n_axes, n_numbers = reader.GetDimension(), reader.GetNumberOfComponents()
    if n_numbers != 1:
        kind = "colour or vectors" if n_numbers in (3, 4) else "vectors or complex numbers"
        raise Rejected("UNSUPPORTED_PIXELS", f"{n_numbers} numbers a voxel ({kind}); one is needed")
    if n_axes not in (2, 3, 4):
        raise Rejected("UNSUPPORTED_PIXELS", f"{n_axes} axes")
    return reader


def _n_volumes(reader: Any) -> int:
    return int(reader.GetSize()[3]) if reader.GetDimension() == 4 else 1


def _read(path: str | Path, broken: str, *, narrow: bool, volume: int | None = None) -> tuple[Array, Grid]:
    """The array (z, y, x) of a file, as int16 or float32 or as it is, and its grid."""
    import SimpleITK

    header = nifti.read_header(_present(path), broken)
    reader = _open(path, broken, header)
    n_volumes = _n_volumes(reader)
    if volume is None and n_volumes > 1:
        raise Rejected("SEVERAL_PHASES", f"{n_volumes} volumes in one file")
    if volume is not None and not 0 <= volume < n_volumes:
        raise Rejected("MISSING_CHANNEL", f"volume {volume} of {n_volumes}, counted from 0")
    grid = _grid(reader, header, broken)
    if header is not None:
        return nifti.read_voxels(path, header, narrow=narrow, broken=broken, volume=volume or 0), grid
    if reader.GetDimension() == 4:
        reader.SetExtractSize([*reader.GetSize()[:3], 0])
        reader.SetExtractIndex([0, 0, 0, volume or 0])
    try:
        image = reader.Execute()
    except RuntimeError:
        raise Rejected(broken, "the file cannot be read as an image") from None
    view = SimpleITK.GetArrayViewFromImage(image).reshape(grid.shape)
    if view.dtype.kind not in "iuf":
        raise Rejected("UNSUPPORTED_PIXELS", f"voxels of the type {view.dtype}")
    # One copy, in the wanted type: the image goes, and a view would be left hanging.
    with np.errstate(over="ignore"):
        array = view.astype(_narrow(view) if narrow else view.dtype)
    lost = sum(int((~np.isfinite(plane)).sum()) for plane in array) if array.dtype.kind == "f" else 0
    if lost:
        raise Rejected("NOT_A_NUMBER", f"{lost} voxels are NaN, infinite or too large")
    return array, grid


def _grid(image: Any, header: nifti.NiftiHeader | None, broken: str) -> Grid:
    """The grid of an image, or of a reader that knows its header."""
    n_axes = min(image.GetDimension(), 3)
    spacing_xyz, origin_xyz, directions = np.ones(3), np.zeros(3), np.eye(3)
    spacing_xyz[:n_axes] = image.GetSpacing()[:n_axes]
    origin_xyz[:n_axes] = image.GetOrigin()[:n_axes]
    own = np.reshape(image.GetDirection(), (image.GetDimension(), image.GetDimension()))
    directions[:n_axes, :n_axes] = own[:n_axes, :n_axes]
    lone = None if header is None else _lone_sform_spacing(header)
    spacing_xyz = spacing_xyz if lone is None else lone
    size = (*image.GetSize()[:n_axes], 1)[:3]
    if not np.isfinite([*spacing_xyz, *origin_xyz, *directions.ravel()]).all() or spacing_xyz.min() <= 0:
        raise Rejected(broken, "the header holds no usable position or voxel size")
    z, y, x = (triple(column) for column in _orthonormal(directions).T[::-1])
    return Grid((size[2], size[1], size[0]), triple(spacing_xyz[::-1]), triple(origin_xyz), (z, y, x))


def _lone_sform_spacing(header: nifti.NiftiHeader) -> npt.NDArray[np.float64] | None:
    """Voxel sizes (x, y, z) of a sform without qform, where `pixdim`, which SimpleITK takes, says otherwise."""
    if header.sform is None or header.qform is not None:
        return None
    lengths: npt.NDArray[np.float64] = np.linalg.norm(header.sform[:3, :3], axis=0)
    off = np.abs(np.array(header.pixdim_mm) - lengths) > SCALE_TOLERANCE * lengths
    return lengths if off[: len(header.sizes)].any() else None


def _refuse_sheared(axes: npt.NDArray[np.float64]) -> None:
    """GANTRY_TILT for the columns of an affine that SimpleITK finds too far from right angles."""
    lengths = np.linalg.norm(axes, axis=0)
    if np.isfinite(lengths).all() and lengths.min() > 0:
        cosines = (axes / lengths).T @ (axes / lengths) - np.eye(3)
        raise Rejected("GANTRY_TILT", f"the axes of the image are sheared, by {np.abs(cosines).max():.3g} in a cosine")


def _orthonormal(directions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The nearest orthonormal matrix (polar decomposition)."""
    left, _, right = np.linalg.svd(directions)
    nearest: npt.NDArray[np.float64] = (left @ right).astype(np.float64)
    skew = float(np.abs(nearest - directions).max())
    if skew > SHEAR_TOLERANCE:
        raise Rejected("GANTRY_TILT", f"the directions of the axes are sheared, by {skew:.3g} in a cosine")
    # An orthonormal matrix stays as it is, to the last digit.
    return directions if skew < 1e-15 else nearest


def _narrow(array: Array) -> np.dtype[Any]:
    """int16 when the numbers are integers that fit, else float32."""
    fits = array.dtype.kind in "iu" and array.min() >= INT16.min and array.max() <= INT16.max
    return np.dtype(np.int16 if fits else np.float32)


def _nearest(label: Array, own: Grid, grid: Grid) -> Array:
    """A label on another grid, by the nearest voxel in world position; 0 outside."""
    import SimpleITK

    task = SimpleITK.ResampleImageFilter()
    task.SetReferenceImage(_placed(SimpleITK.Image([int(n) for n in grid.shape[::-1]], SimpleITK.sitkUInt8), grid))
    task.SetInterpolator(SimpleITK.sitkNearestNeighbor)
    task.SetNumberOfThreads(1)
    made: Array = SimpleITK.GetArrayFromImage(task.Execute(_placed(SimpleITK.GetImageFromArray(label), own)))
    return made


def _placed(image: Any, grid: Grid) -> Any:
    """A SimpleITK image, put where a grid lies."""
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    # ITK's matrix holds the directions of x, y, z in its columns.
    image.SetDirection(np.array(grid.axes[::-1]).T.ravel().tolist())
    return image
