"""Any image of a cohort in one shape: a grid, and slabs of voxels in order of z.

A stack of DICOM slices is streamed; volume files and pictures are read whole.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.io.series import COLOUR_SHARES, Colour
from cohortseg.io.suv import Kind
from cohortseg.slices import slice_of, slices_of
from cohortseg.volume import Array, Grid, Volume

Record: TypeAlias = Mapping[str, Any]
RGB: tuple[Colour, ...] = ("red", "green", "blue")


@dataclass(frozen=True)
class Image:
    """An image that is ready to be read.

    Parameters
    ----------
    grid : Grid
    dtype : numpy dtype
        int16 or float32.
    slabs : callable
        Makes an iterator of (index of the first slice, array); raises `Rejected`, and `Int16OverflowError` where an
        image opened with `wide=False` has values beyond 16 bits.
    unit : str
        'HU', 'SUV' or '' (arbitrary).
    facts : dict
        What a sidecar may say: plain numbers and words.
    """

    grid: Grid
    dtype: np.dtype[Any]
    slabs: Callable[[], Iterator[tuple[int, Array]]]
    unit: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def slices_of_files(files: Sequence[Record], root: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Path and flat record of each slice of some files (`path`, `header`, and `frames` where not all are meant).

    Raises
    ------
    Rejected
        NO_FRAMES.
    """
    paths, slices = [], []
    for file in files:
        frames = file.get("frames")
        own = slices_of(file["header"]) if frames is None else [slice_of(file["header"], frame) for frame in frames]
        slices += own
        paths += [str(root / file["path"])] * len(own)
    return paths, slices


def open_stack(
    files: Sequence[Record], root: Path, rules: Mapping[str, Any], *, suv: Kind, colour: Colour = "grey", wide: bool
) -> Image:
    """A series of slices as one volume.

    Parameters
    ----------
    files : sequence of dict
        As in `slices_of_files`.
    root : Path
        Folder that their paths start from.
    rules : mapping
        Named options of `stack_geometry`.
    suv, colour, wide
        As in `open_series`.

    Raises
    ------
    Rejected
        As `stack_geometry` and `open_series`.
    """
    from cohortseg.io.geometry import stack_geometry
    from cohortseg.io.series import open_series, read_slabs

    paths, slices = slices_of_files(files, root)
    stack = stack_geometry(slices, **rules)
    series = open_series(paths, slices, stack=stack, suv=suv, colour=colour, wide=wide)
    warnings = [*stack.facts["warnings"], *series.facts["warnings"]]
    facts = {**stack.facts, **series.facts, "warnings": warnings}
    return Image(stack.grid, series.dtype, lambda: read_slabs(series), series.unit, facts)


def open_plane(files: Sequence[Record], root: Path, *, colour: Colour = "grey") -> Image:
    """A single DICOM picture as a volume of one slice.

    Raises
    ------
    Rejected
        As `plane_grid`, `check_readable` and `read_stored`; NOT_A_NUMBER.
    """
    from cohortseg.io.pixels import check_readable, read_stored
    from cohortseg.io.planes import plane_grid, projection_values

    (path,), (record,) = slices_of_files(files, root)
    grid, facts = plane_grid(record)
    check_readable(record)
    values = projection_values(read_stored(path, record), record)
    if values.ndim == 3:
        values = np.rint(values @ np.array(COLOUR_SHARES[colour]))
    return _in_memory(Volume(values[None], grid), facts)


def open_file(path: Path, phases: str | int | None) -> Image:
    """A volume file (NIfTI, NRRD, MHA).

    Parameters
    ----------
    path : Path
    phases : 'first', 'last', int or other
        Which of several volumes in one file; with anything else such a file is refused.

    Raises
    ------
    Rejected
        As `read_image`; SEVERAL_PHASES for a number that the file does not have.
    """
    from cohortseg.io.itk import count_volumes, image_facts, read_image

    number = None
    if phases in ("first", "last") or isinstance(phases, int):
        n_volumes = count_volumes(path)
        number = {"first": 1, "last": n_volumes}.get(str(phases)) or int(phases)
        if number > n_volumes:
            raise Rejected("SEVERAL_PHASES", f"{n_volumes} volumes; the settings ask for number {phases}")
    volume = read_image(path, volume=None if number is None else number - 1)
    facts = image_facts(path)
    return _in_memory(volume, facts if len(facts) > 1 else {})


def open_picture(path: Path, pixel_mm: tuple[float, float] | None, *, colour: Colour = "grey") -> Image:
    """A picture file as a volume of one slice.

    Parameters
    ----------
    path : Path
    pixel_mm : (float, float) or None
        Size of a pixel along y and x; None stands for an unknown size, 1 mm then.
    colour : {'grey', 'red', 'green', 'blue'}

    Raises
    ------
    Rejected
        As `read_picture`.
    """
    from cohortseg.io.pictures import picture_grid, read_picture

    channels, facts = read_picture(path, colour="grey" if colour == "grey" else "rgb")
    array = channels[0 if colour == "grey" else RGB.index(colour)]
    grid = picture_grid((array.shape[0], array.shape[1], array.shape[2]), pixel_mm or 1.0)
    return _in_memory(Volume(array, grid), facts | ({} if pixel_mm else {"warnings": ["no_pixel_spacing"]}))


def _in_memory(volume: Volume, facts: dict[str, Any]) -> Image:
    array = volume.array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Rejected("NOT_A_NUMBER", "NaN or infinite values")
    narrow = np.iinfo(np.int16)
    if array.dtype.kind == "f" and np.abs(array).max(initial=0) <= narrow.max and (array == np.rint(array)).all():
        array = array.astype(np.int16)
    return Image(volume.grid, array.dtype, lambda: iter([(0, array)]), "", facts)
