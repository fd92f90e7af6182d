"""Numbered objects of a case -> a map of their numbers, a DICOM-SEG with a segment for each, and a table of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cohortseg.io import store
from cohortseg.metrics.objects import OBJECT_COLUMNS, object_rows
from cohortseg.steps.objects import STORE
from cohortseg.volume import Volume

Writer: TypeAlias = Callable[[Path], None]

MOST_SEGMENTS = 65_535
"""Segments are numbered in 16 bits (DICOM PS3.3 C.8.20.2)."""
BY_CLASS = "files of this format hold a class each, not numbered objects"
NO_OBJECT = "no object was found, and a segmentation has at least one segment"
TABLE = ".csv"


def suffix_of(suffix: str) -> str:
    """The ending of the file of objects beside a file of classes."""
    return f".objects{suffix}"


def objects_of(folder: Path, label: Volume, n_classes: int) -> Volume:
    """Ids of the objects of a cleaned label: as they were told apart, else its components, class by class."""
    from cohortseg.postprocess.instances import objects_by_class, whole

    if (folder / STORE).exists():
        return store.read_volume(folder / STORE)
    return Volume(objects_by_class(label.array, n_classes, lambda _: whole), label.grid)


def unfit(ids: Volume, formats: Sequence[str], by_class: Sequence[str]) -> dict[str, str]:
    """The formats that cannot hold these objects, and why."""
    found = {word: BY_CLASS for word in formats if word in by_class}
    n_objects = int(ids.array.max(initial=0))
    if "dicom_seg" in formats and not n_objects:
        found["dicom_seg"] = NO_OBJECT
    if "dicom_seg" in formats and n_objects > MOST_SEGMENTS:
        found["dicom_seg"] = f"{n_objects} objects; a segmentation has at most {MOST_SEGMENTS} segments"
    return found


def object_files(
    ids: Volume,
    label: Volume,
    formats: Mapping[str, str],
    segments_of: Callable[[Sequence[tuple[str, str]]], Sequence[Any]],
    write_segments: Callable[..., None] | None,
    classes: Sequence[str],
) -> Iterator[tuple[str, Writer]]:
    """Ending and writer of each file: the table first.

    Parameters
    ----------
    ids, label : Volume
        Numbers of objects, and classes, on one grid.
    formats : mapping
        Format to the ending of its files; only those that can hold objects.
    segments_of : callable
        (class, name of the segment) of each object -> segments, coded as the class is.
    write_segments : callable or None
        Writes a label of such segments; None where nothing can be tied to the source.
    """
    from cohortseg.io.itk import write_image

    rows = object_rows(ids.array, label.array, ids.grid, classes)
    yield suffix_of(TABLE), partial(_write_table, rows=rows)
    for word, suffix in formats.items():
        if word != "dicom_seg":
            yield suffix_of(suffix), partial(write_image, volume=ids)
        elif write_segments is not None:
            segments = segments_of([(row["class"], f"{row['class']} {row['object']}") for row in rows])
            narrow = Volume(ids.array.astype(np.uint8 if len(rows) < 256 else np.uint16), ids.grid)
            yield suffix_of(suffix), partial(write_segments, label=narrow, segments=segments)


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = [OBJECT_COLUMNS, *([row[name] for name in OBJECT_COLUMNS] for row in rows)]
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
