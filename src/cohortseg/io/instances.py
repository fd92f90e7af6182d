"""The numbers of a label file as objects: a map of ids, and how clean it is."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.values import to_classes
from cohortseg.volume import Array

LARGEST_ID = np.iinfo(np.int32).max


def to_instances(stored: Array) -> tuple[npt.NDArray[np.int32], dict[str, Any]]:
    """Ids of objects as they stand in a file.

    Parameters
    ----------
    stored : array, shape (z, y, x)
        Integers, or floats that are whole numbers. 0 is background, every other number an object.

    Returns
    -------
    instances : int32 array, same shape
        The ids of the file, none renumbered.
    facts : dict
        `n_instances`; `ids_consecutive`, whether the ids are 1, 2, … without a gap; `n_touching_pairs` of objects that
        share a face, an edge or a corner; `n_split` objects that fall into several parts. All 0 and true when empty.

    Raises
    ------
    Rejected
        LABEL_VALUES, for negative, broken or too large numbers.
    """
    if stored.size and (stored.min() < 0 or stored.max() > LARGEST_ID):
        raise Rejected("LABEL_VALUES", f"ids from {stored.min():g} to {stored.max():g}; 0 to {LARGEST_ID} is allowed")
    instances = np.empty(stored.shape, np.int32)
    for plane, source in zip(instances, stored, strict=True):
        plane[:] = source
        if source.dtype.kind == "f" and (plane != source).any():
            raise Rejected("LABEL_VALUES", f"ids that are no whole numbers, among them {source[plane != source][0]:g}")
    ids = np.unique(instances[instances > 0])
    return instances, {
        "n_instances": len(ids),
        "ids_consecutive": not len(ids) or int(ids[-1]) == len(ids),
        "n_touching_pairs": touching_pairs(instances),
        "n_split": split_instances(instances),
    }


def of_classes(
    stored: npt.NDArray[np.int32], values: Mapping[str, int], divisor: int | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], dict[str, int]]:
    """Classes, ids and voxels by class of a map of numbered objects.

    Parameters
    ----------
    stored : int32 array, shape (z, y, x)
        Of one class: numbers of objects. With a divisor: the value of the class times the divisor, plus the number of
        the object; without a number a voxel belongs to its class and to no object.
    values : mapping of str to int
        Class name to its value; classes count 1, 2, … in this order. Without a divisor the name of the one class.
    divisor : int or None

    Returns
    -------
    (uint8 array, int32 array, dict)
        Ids are as stored, so objects of different classes differ in theirs; 0 where there is none.

    Raises
    ------
    Rejected
        LABEL_VALUES, for the value of no class.
    SettingsError
        For several classes without a divisor.
    """
    if divisor is None:
        if len(values) != 1:
            raise SettingsError(f"instances belong to one class, the settings name {len(values)}")
        label = (stored > 0).astype(np.uint8)
        return label, stored, {name: int(np.count_nonzero(label)) for name in values}
    label, n_voxels = to_classes(stored // divisor, values)
    return label, np.where(stored % divisor > 0, stored, 0).astype(np.int32), n_voxels


def touching_pairs(instances: npt.NDArray[np.int32]) -> int:
    """Number of pairs of objects with voxels that share a face, an edge or a corner.

    Parameters
    ----------
    instances : int32 array, shape (z, y, x)
        Ids of objects, 0 for the background.

    Returns
    -------
    int
        0 when there is no object.
    """
    found: set[int] = set()
    # Of each two opposite steps to a neighbour one is enough.
    for step in [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]:
        here = tuple(slice(max(0, -n), -n if n > 0 else None) for n in step)
        there = tuple(slice(max(0, n), n if n < 0 else None) for n in step)
        one, other = instances[here], instances[there]
        border = (one != other) & (one > 0) & (other > 0)
        low, high = np.minimum(one[border], other[border]), np.maximum(one[border], other[border])
        found.update(np.unique(low.astype(np.int64) << 32 | high).tolist())
    return len(found)


def split_instances(instances: npt.NDArray[np.int32]) -> int:
    """Number of objects that fall into several parts, parts that share a corner counting as one.

    Parameters
    ----------
    instances : int32 array, shape (z, y, x)
        Ids of objects, 0 for the background.

    Returns
    -------
    int
        0 when there is no object.
    """
    import cc3d

    parts = cc3d.connected_components(instances, connectivity=26)
    inside = instances > 0
    _, first = np.unique(parts[inside], return_index=True)
    _, n_parts = np.unique(instances[inside][first], return_counts=True)
    return int((n_parts > 1).sum())
