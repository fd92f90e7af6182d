"""Networks whose outputs are regions: one sigmoid for each, and how regions become exclusive classes again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cohortseg.infer.blend import Floats

HALF = 0.5
"""A voxel belongs to a region above this probability."""


@dataclass(frozen=True)
class Regions:
    """The regions that a network finds, in the order in which they are written over each other.

    Parameters
    ----------
    names : sequence of str
    members : sequence of sequence of int
        The numbers of the classes that each holds.
    decoded : sequence of int
        The number of the class that its voxels get, unless a later region has them.

    References
    ----------
    Isensee et al. 2020 (nnU-Net for BraTS), after Myronenko 2018.
    """

    names: Sequence[str]
    members: Sequence[Sequence[int]]
    decoded: Sequence[int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the metadata of weights."""
        members = [list(own) for own in self.members]
        return {"names": list(self.names), "members": members, "decoded": list(self.decoded)}

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "Regions | None":
        """Those of a network by the metadata of its weights; None for one that finds classes."""
        found = metadata.get("regions")
        return cls(**found) if found else None


def region_probabilities(logits: Tensor) -> Tensor:
    """Sigmoid of each region, and first of all the background: one minus the largest of them.

    Parameters
    ----------
    logits : float tensor, shape (n, region, ...)

    Returns
    -------
    float32 tensor, shape (n, 1 + region, ...)
    """
    found = torch.sigmoid(logits.float())
    return torch.cat([1.0 - found.amax(dim=1, keepdim=True), found], dim=1)


def classes_from(probabilities: Iterable[Floats], decoded: Sequence[int]) -> npt.NDArray[np.uint8]:
    """The class of each voxel: that of the last region whose probability is above one half, else background.

    Parameters
    ----------
    probabilities : iterable of float arrays, all of one shape
        The background first, as `region_probabilities`; one is held at a time.
    decoded : sequence of int
        The class of each region.
    """
    regions = iter(probabilities)
    label = np.zeros(next(regions).shape, np.uint8)
    for number, found in zip(decoded, regions, strict=True):
        label[found > HALF] = number
    return label
