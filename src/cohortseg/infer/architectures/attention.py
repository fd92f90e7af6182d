"""Attention U-Net of Oktay 2018: additive gates on the skips, opened by the coarser level."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.infer.architectures.parts import enlarged
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV, UP, UNet, layer


class Gate(nn.Module):
    """How much of a skip goes through, voxel by voxel, in (0, 1): additive attention with the coarser level."""

    def __init__(self, dims: int, skip: int, coarse: int):
        super().__init__()
        self.of_skip = CONV[dims](skip, skip, 2, 2, bias=False)
        self.of_coarse = CONV[dims](coarse, skip, 1)
        self.score = CONV[dims](skip, 1, 1)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """Skip (n, a, ...) and coarser level (n, b, half of ...) to factors (n, 1, ...)."""
        found = torch.sigmoid(self.score(torch.relu(self.of_skip(skip) + self.of_coarse(coarse))))
        return enlarged(found, skip.shape[2:])


class AttentionUNet(UNet):
    """A U-Net whose skips pass gates; see `attention_unet`."""

    def __init__(self, gates: Sequence[nn.Module], *parts: Any):
        super().__init__(*parts)
        self.gates = nn.ModuleList(gates)

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to logits (n, class, ...) of the same size."""
        skips = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
        skips.pop()
        for gate, up, level in zip(self.gates, self.up, self.decoder, strict=True):
            skip = skips.pop()
            x = level(torch.cat([up(x), skip * gate(skip, x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


def attention_unet(
    *, dims: int, in_channels: int, out_channels: int, features: Sequence[int] = (16, 32, 64, 128, 256)
) -> nn.Module:
    """A U-Net with attention gates; the layers are those of `networks.unet`.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of int
        Channels per level, finest first.

    References
    ----------
    Oktay et al., MIDL 2018, equations 1 and 2, on the grid of the coarser level. The paper leaves the finest skip
    without a gate; here each skip has one.
    """
    ones, twos, threes = (1,) * dims, (2,) * dims, (3,) * dims

    def level(inputs: int, width: int, stride: Sequence[int] = ones) -> nn.Sequential:
        return nn.Sequential(*layer(dims, inputs, width, threes, stride), *layer(dims, width, width, threes, ones))

    encoder: list[nn.Module] = [level(in_channels, features[0])]
    gates: list[nn.Module] = []
    up: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for above, width in pairwise(features):
        encoder.append(level(above, width, twos))
        gates.insert(0, Gate(dims, above, width))
        up.insert(0, UP[dims](width, above, 2, 2))
        decoder.insert(0, level(2 * above, above))
    return AttentionUNet(gates, encoder, up, decoder, CONV[dims](features[0], out_channels, 1))


def attention_unet_extent(*, dims: int, features: Sequence[int], **_: Any) -> Extent:
    """Sizes of `attention_unet`: multiples of 2 per level."""
    return same(dims, 2 ** (len(features) - 1))
