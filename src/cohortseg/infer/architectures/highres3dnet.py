"""HighRes3DNet of Li 2017: full resolution throughout, residual blocks with growing dilation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.infer.architectures.parts import BATCH_NORM, conv
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV

DILATIONS = (1, 2, 4)
BLOCKS = 3
"""Residual blocks of each dilation."""


class Dilated(nn.Module):
    """Twice batch norm, ReLU and convolution 3, added to what came in; missing channels of it are zeros."""

    def __init__(self, dims: int, inputs: int, width: int, dilation: int):
        super().__init__()
        layers: list[nn.Module] = []
        for before in (inputs, width):
            layers += [BATCH_NORM[dims](before), nn.ReLU()]
            layers.append(CONV[dims](before, width, 3, padding=dilation, dilation=dilation, bias=False))
        self.path = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, inputs, ...) to (n, width, ...) of the same size."""
        found: Tensor = self.path(x)
        missing = found.shape[1] - x.shape[1]
        return found + torch.cat([x, x.new_zeros(len(x), missing, *x.shape[2:])], dim=1)


def highres3dnet(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (16, 32, 64),
    hidden: int = 80,
    dropout: float = 0.0,
) -> nn.Module:
    """HighRes3DNet: no pooling; 87 voxels along each axis are seen.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the paper's are 3.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of three int
        Channels at dilation 1, 2 and 4.
    hidden : int
        Channels of the convolution of 1 before the last.
    dropout : float in [0, 1)
        Before the last convolution (0.5 in the paper's Bayesian variant).

    Notes
    -----
    With one channel and 160 classes it has 821,904 parameters.

    References
    ----------
    Li et al., IPMI 2017, figure 1; batch norm after each convolution outside the blocks as in the authors' program.
    """
    layers: list[nn.Module] = conv(dims, in_channels, features[0], bias=False, norm=True)
    inputs = features[0]
    for width, dilation in zip(features, DILATIONS, strict=True):
        for _ in range(BLOCKS):
            layers.append(Dilated(dims, inputs, width, dilation))
            inputs = width
    layers += conv(dims, inputs, hidden, 1, bias=False, norm=True)
    layers += [nn.Dropout(dropout)] if dropout else []
    layers += conv(dims, hidden, out_channels, 1, bias=False, norm=True, activation=False)
    return nn.Sequential(*layers)


def highres3dnet_extent(*, dims: int, **_: Any) -> Extent:
    """Sizes of `highres3dnet`: any; (87 - 1) / 2 voxels on each side are seen."""
    return same(dims, 1, context=1 + sum(2 * BLOCKS * dilation for dilation in DILATIONS))
