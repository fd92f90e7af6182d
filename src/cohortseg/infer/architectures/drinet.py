"""DRINet after the description of Chen 2018: dense blocks down, residual inception blocks up, no skips."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.infer.architectures.densevnet import DenseStack
from cohortseg.infer.architectures.parts import BATCH_NORM, MAX_POOL, conv
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV, UP

SIZES = (1, 3, 5)
"""Kernel sizes of the branches of an inception block."""


class ResidualInception(nn.Module):
    """Branches of different kernel sizes, joined, mixed by a convolution of 1 and added to what came in."""

    def __init__(self, dims: int, width: int):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*conv(dims, width, width, size, norm=True)) for size in SIZES)
        mixed = conv(dims, len(SIZES) * width, width, 1, activation=False)
        self.mixed = nn.Sequential(*mixed, BATCH_NORM[dims](width))

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor to float tensor of the same shape."""
        return torch.relu(x + self.mixed(torch.cat([branch(x) for branch in self.branches], dim=1)))


class Unpooling(nn.Module):
    """Twice the size: branches of two kernel sizes, each enlarged by a transposed convolution of 2, joined."""

    def __init__(self, dims: int, inputs: int, outputs: int):
        super().__init__()
        widths = (outputs // 2, outputs - outputs // 2)
        self.branches = nn.ModuleList(
            nn.Sequential(*conv(dims, inputs, width, size, norm=True), UP[dims](width, width, 2, 2))
            for width, size in zip(widths, SIZES[:2], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, inputs, ...) to (n, outputs, twice ...)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def drinet(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (48, 96, 192),
    depth: int = 4,
    growth: int = 12,
) -> nn.Module:
    """DRINet after its description: the paper's table of layers is not public, so the numbers are our own choice.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the paper's are 2.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of int
        Channels that lead on from each level, finest first.
    depth, growth : int
        Convolutions of a dense block, and the channels that each adds.

    References
    ----------
    Chen et al., IEEE TMI 2018: dense connection block, residual inception block and unpooling block.
    """
    layers: list[nn.Module] = []
    inputs = in_channels
    for number, width in enumerate(features):
        layers += [MAX_POOL[dims](2)] if number else []
        stack = DenseStack(dims, inputs, depth, growth)
        layers += [stack, *conv(dims, stack.outputs, width, 1, norm=True)]
        inputs = width
    for width in features[-2::-1]:
        layers += [ResidualInception(dims, inputs), Unpooling(dims, inputs, width)]
        inputs = width
    return nn.Sequential(*layers, ResidualInception(dims, inputs), CONV[dims](inputs, out_channels, 1))


def drinet_extent(*, dims: int, features: Sequence[int], **_: Any) -> Extent:
    """Sizes of `drinet`: multiples of 2 per level below the first."""
    return same(dims, 2 ** (len(features) - 1))
