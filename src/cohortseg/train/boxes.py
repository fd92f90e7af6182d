"""Boxes instead of outlines: training knows of each object the box about it, and nothing of its shape.

Outside all boxes is background; the middle of a box, so large a share of it, is its class; between the two nobody knows
(`IGNORE`). With a share of 1 the whole box is the class. Source: Khoreva 2017 (Simple does it, CVPR), there with 0.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.ignored import IGNORE, is_labelled
from cohortseg.train.patches import Case
from cohortseg.train.sparse import SeenLabel

Box = tuple[int, tuple[slice, slice, slice]]
"""Class, and where the box lies along z, y, x."""


def boxes_of(label: npt.NDArray[np.integer], *, by_slice: bool) -> list[Box]:
    """The box about each connected component of each class, the largest first.

    Parameters
    ----------
    label : int array, shape (z, y, x)
        Classes, 0 the background; `IGNORE` has no box.
    by_slice : bool
        Boxes are drawn on slices, each for itself, instead of about whole objects.
    """
    from scipy import ndimage

    touching = np.ones((3, 3, 3), bool)
    if by_slice:
        touching[[0, 2]] = False
    found: list[Box] = []
    for number in np.unique(label[is_labelled(label)]).tolist():
        parts, _ = ndimage.label(label == number, touching)
        found += [(number, (z, y, x)) for z, y, x in ndimage.find_objects(parts)]
    return sorted(found, key=lambda one: (-int(np.prod([s.stop - s.start for s in one[1]])), one[0], str(one[1])))


def middle(box: tuple[slice, slice, slice], share: float) -> tuple[slice, slice, slice]:
    """The middle of a box, of its proportions and so large a share of it; an axis of one voxel stays whole."""
    wide = [part.stop - part.start for part in box]
    factor = share ** (1 / max(1, sum(n > 1 for n in wide)))
    sizes = [n if n == 1 else max(1, round(n * factor)) for n in wide]
    z, y, x = (part.start + (n - size) // 2 for part, n, size in zip(box, wide, sizes, strict=True))
    return slice(z, z + sizes[0]), slice(y, y + sizes[1]), slice(x, x + sizes[2])


@dataclass(frozen=True)
class BoxedLabel(SeenLabel):
    """What the boxes of a label say of each voxel.

    Parameters
    ----------
    label : array-like, integers, shape (z, y, x)
        Looked at where voxels are `IGNORE` already: these stay so.
    boxes : sequence of Box
        Larger ones first: where middles meet, the smaller box has the voxel.
    share : float
        Of the middle of a box.
    """

    boxes: Sequence[Box]
    share: float

    def __getitem__(self, key: Any, /) -> Any:
        """The region given by slices along z, y, x, or `...` for all."""
        known = np.asarray(self.label[key])
        parts = [part for part in (key if isinstance(key, tuple) else (key,)) if part is not Ellipsis]
        parts += [slice(None)] * (3 - len(parts))
        here = [range(*part.indices(n)) for part, n in zip(parts, self.shape, strict=True)]
        region = np.zeros(known.shape, known.dtype)
        for _, box in self.boxes:
            region[_inside(box, here)] = IGNORE
        for number, box in self.boxes:
            region[_inside(middle(box, self.share), here)] = number
        region[known == IGNORE] = IGNORE
        return region


def _inside(box: Sequence[slice], here: Sequence[range]) -> tuple[slice, ...]:
    """Where a box lies in a region; nowhere is an empty slice."""
    ends = [
        (max(part.start - axis.start, 0), min(part.stop, axis.stop) - axis.start)
        for part, axis in zip(box, here, strict=True)
    ]
    return tuple(slice(low, max(low, high)) for low, high in ends)


def boxed_cases(cases: Sequence[Case], share: float | None, *, by_slice: bool) -> list[Case]:
    """The cases as training sees them; themselves without a share. Patches are centred on middles of boxes.

    Each label is read whole, once.
    """
    if share is None:
        return list(cases)
    found = []
    for case in cases:
        boxes = boxes_of(np.asarray(case.label[...]), by_slice=by_slice)
        middles = [(number, middle(box, share)) for number, box in boxes]
        centres = [[number, *((part.start + part.stop) // 2 for part in box)] for number, box in middles]
        rows = np.asarray(centres, np.int32).reshape(-1, 4)
        found.append(replace(case, label=BoxedLabel(case.label, boxes, share), foreground=rows))
    return found
