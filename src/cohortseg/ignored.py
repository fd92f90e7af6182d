"""Voxels that nobody labelled: one reserved value, which counts for nothing wherever a label is read."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

IGNORE = 255
"""Value of such voxels in stored labels and in targets."""
IGNORE_CLASS = "ignore"
"""Class of the settings whose voxels become `IGNORE`."""


def is_labelled(label: Any) -> "npt.NDArray[np.bool_]":
    """Where an integer array holds a class: neither background nor `IGNORE`.

    Examples
    --------
    >>> is_labelled([0, 3, 255]).tolist()
    [False, True, False]
    """
    import numpy as np

    array = np.asarray(label)
    return np.asarray((array != 0) & (array != IGNORE))


def left_out(label: "npt.NDArray[np.uint8]", of: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.uint8]":
    """A label with background wherever another one, its reference, holds `IGNORE`; itself where that holds none."""
    import numpy as np

    ignored = of == IGNORE
    return np.where(ignored, np.uint8(0), label) if ignored.any() else label
