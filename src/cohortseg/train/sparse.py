"""Sparse annotation: training sees the labels of some slices alone, and of the others the image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.ignored import IGNORE
from cohortseg.infer.sliding import ArrayLike
from cohortseg.train.patches import Case


@dataclass(frozen=True)
class SeenLabel:
    """A label (integers, shape (z, y, x)) of which training sees less than is stored; who inherits says what."""

    label: ArrayLike

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along z, y, x."""
        return tuple(self.label.shape)

    @property
    def dtype(self) -> Any:
        """Type of a voxel: that of the label."""
        return getattr(self.label, "dtype", np.dtype(np.uint8))


@dataclass(frozen=True)
class SparseLabel(SeenLabel):
    """A label of which each n-th slice counts, counted from the middle one; the rest reads as `IGNORE`.

    Parameters
    ----------
    label : array-like, integers, shape (z, y, x)
    every : int
        1 keeps all.
    """

    every: int

    @property
    def annotated(self) -> npt.NDArray[np.bool_]:
        """Of each slice whether its label counts."""
        n = self.shape[0]
        return np.asarray((np.arange(n) - n // 2) % self.every == 0)

    def __getitem__(self, key: Any, /) -> Any:
        """The region given by slices along z, y, x, or `...` for all."""
        parts = key if isinstance(key, tuple) else (key,)
        place = next((part for part in parts if part is not Ellipsis), slice(None))
        region = np.array(self.label[key])
        region[~self.annotated[place]] = IGNORE
        return region


def sparse_cases(cases: Sequence[Case], every: int) -> list[Case]:
    """The cases as training sees them: patches are centred on labelled voxels of annotated slices alone.

    Raises
    ------
    ValueError
        When `every` is below 1.
    """
    if every < 1:
        raise ValueError(f"each slice, or each n-th, has a label; got {every}")
    if every == 1:
        return list(cases)
    found = []
    for case in cases:
        label = SparseLabel(case.label, every)
        found.append(replace(case, label=label, foreground=case.foreground[label.annotated[case.foreground[:, 1]]]))
    return found
