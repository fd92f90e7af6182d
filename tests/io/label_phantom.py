"""A lopsided label on an oblique grid, sources for it, and what the standard asks of an object."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from dicom_phantom import FRAME, common, ds, grid_of, hu_of, write_series
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian

from cohortseg.io.source_images import SourceImages, read_sources
from cohortseg.volume import Grid, Volume

GRID = grid_of((7, 14, 11))
CLASSES = ("liver", "tumour", "spleen")


def label_of(grid: Grid = GRID) -> Volume:
    """Class 1 with a hole, an island in it and a single voxel at the edge; class 2 in two parts; class 3 empty."""
    array = np.zeros(grid.shape, np.uint8)
    array[1:5, 2:10, 1:8] = 1
    array[2:4, 4:8, 3:7] = 0
    array[3, 5, 4] = array[3, 6, 5] = 1  # two voxels that share an edge only
    array[6, 13, 10] = 1
    array[4:6, 8:12, 6:9] = 2
    array[0, 0, 0] = 2
    return Volume(array, grid)


def classic(folder: Path, grid: Grid = GRID, **options: Any) -> list[Path]:
    """One file for each slice."""
    return write_series(folder, grid, hu_of(grid.shape), **options)[0]


def sources_of(folder: Path, grid: Grid = GRID, **options: Any) -> SourceImages:
    return read_sources(classic(folder, grid), **options)


def enhanced(path: Path, grid: Grid = GRID, slices: list[int] | None = None, number: int = 1) -> Path:
    """Some slices of a grid as one multi-frame object, each frame with a position of its own; no pixels."""
    own = common(EnhancedMRImageStorage, f"1.2.826.0.1.3680043.8.498.7.{number}", "MR")
    own.Rows, own.Columns = grid.shape[1:]
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = ds([*grid.axes[2], *grid.axes[1]])
    measures.PixelSpacing, measures.SliceThickness = ds(grid.spacing_mm[1:]), ds([grid.spacing_mm[0]])[0]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    own.SharedFunctionalGroupsSequence, own.PerFrameFunctionalGroupsSequence = [shared], []
    for index in range(grid.shape[0]) if slices is None else slices:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = ds(grid.world((index, 0, 0)))
        frame.PlanePositionSequence = [position]
        own.PerFrameFunctionalGroupsSequence.append(frame)
    own.NumberOfFrames = len(own.PerFrameFunctionalGroupsSequence)
    own.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    own.save_as(path, enforce_file_format=True)
    return path


def moved(offset_mm: Callable[[int], np.ndarray]) -> Callable[[int, Dataset], None]:
    """An edit of a series that moves its slices."""

    def edit(index: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = ds(np.array(dataset.ImagePositionPatient, float) + offset_mm(index))

    return edit


def lacking(dataset: Dataset, iod: str, also: tuple[str, ...] = ()) -> list[str]:
    """What the mandatory modules of an object class ask for and the object lacks.

    The tables are highdicom's copy of PS3.3; functional groups are left out: they may stand in one of two places.
    """
    from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map

    modules = [one["key"] for one in get_iod_module_map()[iod] if one["usage"] == "M" or one["key"] in also]
    found = []
    for module in modules:
        for rule in get_module_attribute_map()[module]:
            if rule["type"] not in ("1", "2") or "FunctionalGroupsSequence" in "".join(rule["path"]):
                continue
            for holder in _holders(dataset, rule["path"]):
                value = holder.get(rule["keyword"])
                empty = value is None or (not isinstance(value, int | float) and not len(value))
                if rule["keyword"] not in holder or (rule["type"] == "1" and empty):
                    found.append("/".join([*rule["path"], rule["keyword"]]))
    return sorted(set(found))


def _holders(dataset: Dataset, path: list[str]) -> Iterator[Dataset]:
    if not path:
        yield dataset
        return
    for item in dataset.get(path[0]) or []:
        yield from _holders(item, path[1:])


def moments(dataset: Dataset) -> set[str]:
    """All dates and times of an object, in whatever depth."""
    return {str(element.value) for element in dataset.iterall() if element.VR in ("DA", "TM", "DT")} - {"", "None"}


IDENTITY = ("P-7", "Doe", "Jane", "20200229", "101500", FRAME, "1.2.826.0.1.3680043.8.498")
"""What the series of `dicom_phantom` says of its patient."""
