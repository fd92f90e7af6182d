"""DCAN of Chen 2017: an encoder, heads for objects and for their contours, and what makes instances of both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cohortseg.infer.architectures.parts import MAX_POOL, WithContours, conv, enlarged
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV

CONTEXT_LEVELS = 3
"""Coarsest levels whose scores are added: features of several sizes of neighbourhood."""


class Scores(nn.Module):
    """Scores of several levels, enlarged to the image; their sum is the head's result."""

    def __init__(self, dims: int, widths: Sequence[int], outputs: int):
        super().__init__()
        self.heads = nn.ModuleList(CONV[dims](width, outputs, 1) for width in widths)

    def forward(self, levels: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        """Levels, finest first, to the sum of their scores and, after it, the scores of each: auxiliary classifiers."""
        single = [enlarged(head(level), size) for head, level in zip(self.heads, levels, strict=True)]
        return [torch.stack(single).sum(0), *single]


class DCAN(nn.Module):
    """Encoder and two heads; see `dcan`."""

    def __init__(self, encoder: Sequence[nn.Module], pool: nn.Module, objects: nn.Module, contours: nn.Module):
        super().__init__()
        self.encoder, self.pool = nn.ModuleList(encoder), pool
        self.objects, self.contours = objects, contours

    def heads(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Image to (objects, contours): each the logits, then those of the three auxiliary classifiers."""
        size, levels = x.shape[2:], []
        for number, level in enumerate(self.encoder):
            x = level(self.pool(x) if number else x)
            levels.append(x)
        coarse = levels[-CONTEXT_LEVELS:]
        return self.objects(coarse, size), self.contours(coarse, size)

    def forward(self, x: Tensor) -> Tensor | WithContours:
        """Float tensor (n, channel, ...) to object logits of the same size; in training all of both heads."""
        objects, contours = self.heads(x)
        return WithContours(objects, contours) if self.training else objects[0]


def dcan(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (64, 128, 256, 512, 512),
    contour_channels: int = 2,
) -> nn.Module:
    """DCAN: features of VGG's kind, scored at the three coarsest levels, once for objects and once for contours.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the paper's are 2.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of int
        Channels per level, finest first, three levels at least.
    contour_channels : int
        Classes of the contour head.

    References
    ----------
    Chen et al., CVPR 2016; Medical Image Analysis 2017, figure 3: features of several levels, auxiliary
    classifiers.
    """
    encoder, inputs = [], in_channels
    for width in features:
        encoder.append(nn.Sequential(*conv(dims, inputs, width, norm=True), *conv(dims, width, width, norm=True)))
        inputs = width
    widths = features[-CONTEXT_LEVELS:]
    heads = [Scores(dims, widths, outputs) for outputs in (out_channels, contour_channels)]
    return DCAN(encoder, MAX_POOL[dims](2, ceil_mode=True), *heads)


def dcan_extent(*, dims: int, **_: Any) -> Extent:
    """Sizes of `dcan`: any."""
    return same(dims)


def instances(
    objects: npt.NDArray[np.floating[Any]],
    contours: npt.NDArray[np.floating[Any]],
    *,
    object_threshold: float = 0.5,
    contour_threshold: float = 0.5,
    grow: int = 1,
) -> npt.NDArray[np.int32]:
    """Objects that their contours part: object and no contour, connected components, grown back by `grow` voxels.

    Parameters
    ----------
    objects, contours : float arrays of one shape
        Probabilities.
    object_threshold, contour_threshold : float
        Above the first and below the second a voxel belongs to the inside of an object.
    grow : int
        Voxels that a component grows by, within the object's mask and not into another component.

    Returns
    -------
    int32 array
        1, 2, … in scan order; 0 where there is none; all 0 where nothing is above the threshold.

    References
    ----------
    Chen et al. 2017, equation 6, and the dilation after it.
    """
    from scipy import ndimage

    mask = objects > object_threshold
    found, _ = ndimage.label(mask & (contours < contour_threshold))
    for _ in range(grow):
        wider = ndimage.grey_dilation(found, footprint=ndimage.generate_binary_structure(found.ndim, 1))
        found = np.where((found == 0) & mask, wider, found)
    return np.asarray(found, np.int32)
