"""Which structures of a label object make up which class, and how masks become one label.

Classes are numbered 1, 2, … in the order in which they are named; 0 is the background. Where two classes overlap, the
one named first keeps the voxel, and the overlap is counted. A class called `ignore` is numbered among them while a
label is read, so it wins over those named after it; `stored_numbers` then gives its voxels the reserved value.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected, SettingsError
from cohortseg.ignored import IGNORE, IGNORE_CLASS
from cohortseg.volume import Array

Patterns: TypeAlias = str | Sequence[str]
"""One regular expression for the names of a structure, or several (synonyms)."""
Missing: TypeAlias = Literal["reject", "empty"]
Counts: TypeAlias = npt.NDArray[np.int64]

MOST_CLASSES = 254
"""Labels are stored in 8 bits, of which 0 is background and `IGNORE` no class."""


def is_structure(patterns: Patterns, name: str) -> bool:
    """Whether one of the regular expressions matches the whole name of an ROI or segment, blanks around it apart.

    Examples
    --------
    >>> is_structure("GTV.*", "GTV-1"), is_structure("GTV", "GTV-1"), is_structure("(?i)gtv.*", " GTV-1 ")
    (True, False, True)
    >>> is_structure(["Heart", "Cor"], "Cor")
    True
    """
    own = name.strip()
    return any(re.fullmatch(pattern, own) for pattern in _several(patterns))


def members(names: Sequence[str], structures: Mapping[str, Patterns], missing: Missing = "reject") -> list[list[int]]:
    """For each class the positions of its structures in `names`.

    Parameters
    ----------
    names : sequence of str
        Names of the ROIs or segments of one label object.
    structures : mapping of str to str or sequence of str
        Class name to the regular expressions of its structures.
    missing : "reject" or "empty"
        What becomes of a class without structure; `ignore` may always be without.

    Returns
    -------
    list of list of int
        One for each class, in order; some may be empty with `missing="empty"`, never all.

    Raises
    ------
    Rejected
        LABEL_STRUCTURE_MISSING, when a class has no structure and must have one, or when no class has any.
    SettingsError
        For more than 254 classes.
    """
    check_count(len(structures))
    found = []
    for name, patterns in structures.items():
        own = [position for position, structure in enumerate(names) if is_structure(patterns, structure)]
        if not own and missing == "reject" and name != IGNORE_CLASS:
            shown = " or ".join(repr(pattern) for pattern in _several(patterns))
            found_in = f"none of {len(names)} structures is called like class {name!r} ({shown})"
            raise Rejected("LABEL_STRUCTURE_MISSING", found_in)
        found.append(own)
    if not any(found):
        raise Rejected(
            "LABEL_STRUCTURE_MISSING", f"none of {len(names)} structures belongs to any of {len(structures)} classes"
        )
    return found


def member_facts(key: str, structures: Mapping[str, Patterns], classes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Number of structures of each class under `key`, and the classes that have none (`missing`)."""
    counts = {name: len(own) for name, own in zip(structures, classes, strict=True)}
    return {key: counts, "missing": [name for name, count in counts.items() if not count and name != IGNORE_CLASS]}


def check_count(n_classes: int) -> None:
    """SettingsError when a label of 8 bits cannot hold so many classes."""
    if n_classes > MOST_CLASSES:
        raise SettingsError(f"{n_classes} classes; a label holds at most {MOST_CLASSES}")


def stored_numbers(label: Array, names: Sequence[str]) -> int:
    """Renumber a label in place for storage: the classes but `ignore` count 1, 2, …, its voxels become `IGNORE`.

    Parameters
    ----------
    label : uint8 array
        Numbers 1, 2, … in the order of `names`.
    names : sequence of str
        Classes, with `ignore` or without.

    Returns
    -------
    int
        Voxels of `ignore`; 0 when it is not among the names.

    Examples
    --------
    >>> label = np.array([0, 1, 2, 3], np.uint8)
    >>> stored_numbers(label, ["core", "ignore", "whole"]), label.tolist()
    (1, [0, 1, 255, 2])
    """
    if IGNORE_CLASS not in names:
        return 0
    numbers = np.zeros(len(names) + 1, np.uint8)
    others = [place for place, name in enumerate(names, start=1) if name != IGNORE_CLASS]
    numbers[others] = np.arange(1, len(others) + 1)
    numbers[list(names).index(IGNORE_CLASS) + 1] = IGNORE
    n_ignored = 0
    for plane in label:
        plane[...] = numbers[plane]
        n_ignored += int(np.count_nonzero(plane == IGNORE))
    return n_ignored


def no_overlaps(n_classes: int) -> Counts:
    """The table that `paint` fills: voxels by the class that keeps them (row) and the one that claims them too."""
    return np.zeros((n_classes + 1, n_classes + 1), np.int64)


def paint(label: Array, mask: Array, number: int, overlaps: Counts) -> None:
    """Give the voxels of a mask to a class, where no other class has them.

    Parameters
    ----------
    label : uint8 array
        Changed in place; may be a view of a larger label.
    mask : bool array
        Same shape.
    number : int
        Number of the class.
    overlaps : int array, shape (n_classes + 1, n_classes + 1)
        Changed in place: `overlaps[kept, number]` grows by the voxels of the mask that class `kept` keeps.
    """
    before = label[mask]
    taken = before[(before != 0) & (before != number)]
    if len(taken):
        overlaps[:, number] += np.bincount(taken, minlength=len(overlaps))
        mask = mask & ((label == 0) | (label == number))
    label[mask] = number


def overlap_facts(overlaps: Counts, structures: Mapping[str, Patterns]) -> dict[str, Any]:
    """The table of overlaps by the names of the classes.

    Returns
    -------
    dict
        `n_overlap_voxels`, their sum; `overlap_voxels`, for each class that keeps some the classes that claimed them
        too, with their number. A voxel that two structures of one class claim counts twice.
    """
    names = ["", *structures]
    pairs: dict[str, dict[str, int]] = {}
    for kept, claimed in np.argwhere(overlaps):
        pairs.setdefault(names[kept], {})[names[claimed]] = int(overlaps[kept, claimed])
    return {"n_overlap_voxels": int(overlaps.sum()), "overlap_voxels": pairs}


def _several(patterns: Patterns) -> Sequence[str]:
    return (patterns,) if isinstance(patterns, str) else patterns
