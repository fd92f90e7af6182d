"""Which structures of a label object make up which class, and how masks become one label.

Classes are numbered 1, 2, … in the order in which they are named; 0 is the background. Where two classes overlap, the
one named first keeps the voxel, and the overlap is counted.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from cohortseg.errors import Rejected, SettingsError
from cohortseg.volume import Array

MOST_CLASSES = 255
"""Labels are stored in 8 bits."""


def is_structure(pattern: str, name: str) -> bool:
    """Whether a regular expression matches the whole name of an ROI or segment, blanks around it apart.

    Examples
    --------
    >>> is_structure("GTV.*", "GTV-1"), is_structure("GTV", "GTV-1"), is_structure("(?i)gtv.*", " GTV-1 ")
    (True, False, True)
    """
    return re.fullmatch(pattern, name.strip()) is not None


def members(names: Sequence[str], structures: Mapping[str, str]) -> list[list[int]]:
    """For each class the positions of its structures in `names`.

    Parameters
    ----------
    names : sequence of str
        Names of the ROIs or segments of one label object.
    structures : mapping of str to str
        Class name to the regular expression of its structures.

    Returns
    -------
    list of list of int
        One for each class, in order; never empty.

    Raises
    ------
    Rejected
        LABEL_STRUCTURE_MISSING, when a class has no structure.
    SettingsError
        For more than 255 classes.
    """
    check_count(len(structures))
    found = []
    for name, pattern in structures.items():
        own = [position for position, structure in enumerate(names) if is_structure(pattern, structure)]
        if not own:
            found_in = f"none of {len(names)} structures is called like class {name!r} ({pattern!r})"
            raise Rejected("LABEL_STRUCTURE_MISSING", found_in)
        found.append(own)
    return found


def check_count(n_classes: int) -> None:
    """SettingsError when a label of 8 bits cannot hold so many classes."""
    if n_classes > MOST_CLASSES:
        raise SettingsError(f"{n_classes} classes; a label holds at most {MOST_CLASSES}")


def paint(label: Array, mask: Array, number: int) -> int:
    """Give the voxels of a mask to a class, where no other class has them.

    Parameters
    ----------
    label : uint8 array
        Changed in place; may be a view of a larger label.
    mask : bool array
        Same shape.
    number : int
        Number of the class.

    Returns
    -------
    int
        Voxels of the mask that another class keeps.
    """
    taken = mask & (label != 0) & (label != number)
    label[mask & ~taken] = number
    return int(np.count_nonzero(taken))
