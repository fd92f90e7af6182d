"""Any label of a cohort on the grid of its image: RTSTRUCT, DICOM-SEG, mask series, volume, picture or contour file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.endings import CONTOURS, PICTURES
from cohortseg.errors import Rejected
from cohortseg.ignored import IGNORE_CLASS
from cohortseg.io.classes import Missing, no_overlaps, overlap_facts, paint
from cohortseg.io.images import open_stack
from cohortseg.io.planar import Planes
from cohortseg.volume import Array, Grid

Part: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """How labels are read; the names are those of the settings.

    Parameters
    ----------
    classes : mapping of str to sequence of str
        Class name to the regular expressions that match the whole name of its structures; without structures the name
        alone.
    values : mapping of str to int
        Class name to its value in files.
    named : bool
        Whether the settings give these values: a mask series of a single class else holds two values of any size.
    """

    classes: Mapping[str, Sequence[str]]
    values: Mapping[str, int]
    named: bool
    tolerance_mm: float
    missing: Missing
    planes: Planes
    fraction: float
    resample: bool
    instances: bool
    divisor: int | None = None


@dataclass(frozen=True)
class Reference:
    """A label on the grid of its image.

    Parameters
    ----------
    label : uint8 array
        0 background, classes 1, 2, … in the order of the settings.
    instances : int32 array or None
        Ids of objects, where the label has them.
    facts : dict
        What was found out about it, ready for JSON.
    """

    label: Array
    instances: npt.NDArray[np.int32] | None
    facts: dict[str, Any]


def read_reference(
    kind: Literal["rtstruct", "seg", "series", "files"], parts: Sequence[Part], root: Path, grid: Grid, rules: Rules
) -> Reference:
    """Read the label of a case.

    Parameters
    ----------
    kind : {'rtstruct', 'seg', 'series', 'files'}
    parts : sequence of dict
        `files` (`path`, `header`) and, for mask series, `classes`; one part but for mask series.
    root : Path
        Folder that the paths start from.
    grid : Grid
        Of the image.
    rules : Rules

    Raises
    ------
    Rejected
        As the reader of the kind.
    """
    if kind == "series":
        return _mask_series(parts, root, grid, rules)
    path = root / parts[0]["files"][0]["path"]
    name = path.name.lower()
    common: dict[str, Any] = {"tolerance_mm": rules.tolerance_mm}
    if kind == "rtstruct":
        from cohortseg.io.rtstruct import rtstruct_mask

        label, facts = rtstruct_mask(path, grid, rules.classes, **common, missing=rules.missing, planes=rules.planes)
        return Reference(label, None, facts)
    if kind == "seg":
        from cohortseg.io.dicomseg import seg_mask

        label, facts = seg_mask(path, grid, rules.classes, **common, missing=rules.missing, fraction=rules.fraction)
        return Reference(label, None, facts)
    if name.endswith(CONTOURS):
        from cohortseg.io.contour_text import text_mask

        label, facts = text_mask(path, grid, rules.classes, **common, missing=rules.missing, planes=rules.planes)
        return Reference(label, None, facts)
    if name.endswith(PICTURES):
        from cohortseg.io.pictures import read_picture_label

        return Reference(
            *read_picture_label(path, grid.shape, rules.values, instances=rules.instances, divisor=rules.divisor)
        )
    from cohortseg.io.itk import read_label

    common["resample"] = rules.resample
    if rules.instances:
        return Reference(*read_label(path, grid, rules.values, **common, instances=True, divisor=rules.divisor))
    label, facts = read_label(path, grid, rules.values, **common)
    return Reference(label, None, facts)


def exact(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Patterns that match each class by its own name."""
    return {name: (re.escape(name),) for name in names}


def _mask_series(parts: Sequence[Part], root: Path, grid: Grid, rules: Rules) -> Reference:
    """Masks of one class each, or of several whose values the settings name; of two classes the first keeps a voxel."""
    from cohortseg.io.mask_series import MASK, series_mask

    names = list(rules.classes)
    label = np.zeros(grid.shape, np.uint8)
    overlaps = no_overlaps(len(names))
    facts: dict[str, Any] = {"n_voxels": dict.fromkeys(names, 0), "n_series": len(parts)}
    for part in sorted(parts, key=lambda part: names.index(part["classes"][0])):
        wanted = part["classes"]
        if len(wanted) > 1 and not rules.named:
            raise Rejected("LABEL_VALUES", f"one mask series of {len(wanted)} classes, and the settings name no values")
        values = {name: rules.values[name] for name in wanted} if rules.named else None
        # Masks carry no unit: whatever their modality, they are read as they stand.
        files = [{**file, "header": {**file["header"], "modality": "OT"}} for file in part["files"]]
        image = open_stack(files, root, {}, suv="bw", wide=True)
        mask, found = series_mask(image.slabs(), image.grid, grid, values, tolerance_mm=rules.tolerance_mm)
        for own, name in enumerate(wanted, start=1):
            for plane, source in zip(label, mask, strict=True):
                paint(plane, source == own, names.index(name) + 1, overlaps)
            facts["n_voxels"][name] = found["n_voxels"][MASK if values is None else name]
        facts["turned"] = facts.get("turned", False) or found["turned"]
        facts["n_uncovered"] = max(facts.get("n_uncovered", 0), found["n_uncovered"])
    present = {name for part in parts for name in part["classes"]}
    facts["missing"] = [name for name in names if name not in present and name != IGNORE_CLASS]
    return Reference(label, None, facts | overlap_facts(overlaps, rules.classes))
