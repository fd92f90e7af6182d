"""Masks and probabilities of regions: unions of classes of one label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bits import Mask


def holds(label: npt.NDArray[np.uint8], numbers: Sequence[int]) -> Mask:
    """Where a label holds one of these classes.

    Examples
    --------
    >>> holds(np.array([0, 1, 2, 255], np.uint8), [1, 2]).tolist()
    [False, True, True, False]
    """
    if len(numbers) == 1:
        return np.asarray(label == numbers[0])
    table = np.zeros(256, bool)
    table[list(numbers)] = True
    return table[label]


@dataclass(frozen=True)
class Summed:
    """The probability of a union of exclusive classes: the sum of theirs, read where it is asked for.

    Parameters
    ----------
    channels : sequence of array-like, shape (z, y, x)
    """

    channels: Sequence[Any]

    def __getitem__(self, key: Any, /) -> npt.NDArray[np.float32]:
        """The region given by slices."""
        parts = [np.asarray(channel[key], np.float32) for channel in self.channels]
        return np.asarray(np.sum(parts, axis=0), np.float32)
