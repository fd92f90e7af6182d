"""The numbers of a label file as classes 1, 2, …"""

from collections.abc import Mapping

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.io.classes import check_count
from cohortseg.volume import Array


def to_classes(stored: Array, values: Mapping[str, int]) -> tuple[Array, dict[str, int]]:
    """Numbers as they stand in a file -> classes in the order in which they are named.

    Parameters
    ----------
    stored : array, shape (z, y, x)
        Integers, or floats that are whole numbers.
    values : mapping of str to int
        Class name to its number in the file. 0 is background.

    Returns
    -------
    label : uint8 array, same shape
    n_voxels : dict
        Voxels of each class; 0 for one that is not there.

    Raises
    ------
    Rejected
        LABEL_VALUES, for numbers that no class names; in words when they are no whole numbers.
    SettingsError
        For more than 254 classes.
    """
    check_count(len(values))
    label = np.zeros(stored.shape, np.uint8)
    counts = np.zeros(len(values) + 1, np.int64)
    for plane, source in zip(label, stored, strict=True):
        number_classes(source, values, out=plane)
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    return label, {name: int(count) for name, count in zip(values, counts[1:], strict=True)}


def number_classes(stored: Array, values: Mapping[str, int], *, out: Array) -> None:
    """Write the number of the class of each voxel into `out`, a uint8 array of zeros.

    Raises
    ------
    Rejected
        LABEL_VALUES, for numbers that no class names.
    """
    for number, value in enumerate(values.values(), start=1):
        out[stored == value] = number
    strangers = np.unique(stored[(out == 0) & (stored != 0)])
    if len(strangers):
        shown = ", ".join(f"{value:g}" for value in strangers[:5])
        raise Rejected("LABEL_VALUES", f"values that no class names, among them {shown}")
