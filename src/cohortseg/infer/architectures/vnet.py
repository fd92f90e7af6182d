"""The V-Net of Milletari 2016: residual stages of convolutions 5 wide, strided convolutions between them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.errors import SettingsError
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV, UP

DOWN_DEPTHS, UP_DEPTHS = (1, 2, 3, 3, 3), (3, 3, 2, 1)
"""Convolutions of each stage, on the way down (finest first) and on the way up (coarsest first)."""


class Stage(nn.Module):
    """Convolutions with PReLU between them; what the stage learns is added to what came in, then PReLU.

    A first stage of another width than its input (the image) adds the image's channels, repeated.
    """

    def __init__(self, dims: int, inputs: int, width: int, depth: int, size: int):
        super().__init__()
        self.width = width
        layers: list[nn.Module] = []
        for before, after in pairwise([inputs, *(width,) * depth]):
            convolution = CONV[dims](before, after, size, padding=size // 2)
            nn.init.kaiming_normal_(convolution.weight, a=0.25)
            layers += [convolution, nn.PReLU(after)]
        self.path, self.activation = nn.Sequential(*layers[:-1]), layers[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, inputs, ...) to float tensor (n, width, ...) of the same size."""
        times = -(-self.width // x.shape[1])
        kept = x.repeat(1, times, *(1,) * (x.ndim - 2))[:, : self.width]
        found: Tensor = self.activation(self.path(x) + kept)
        return found


class VNet(nn.Module):
    """Stages, what leads down and up between them, and a head; see `vnet`."""

    def __init__(
        self, stages: Sequence[nn.Module], down: Sequence[nn.Module], up: Sequence[nn.Module], head: nn.Module
    ):
        super().__init__()
        self.encoder, self.decoder = nn.ModuleList(stages[: len(down) + 1]), nn.ModuleList(stages[len(down) + 1 :])
        self.down, self.up, self.head = nn.ModuleList(down), nn.ModuleList(up), head

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to logits (n, class, ...) of the same size."""
        x = self.encoder[0](x)
        skips = [x]
        for down, stage in zip(self.down, self.encoder[1:], strict=True):
            x = stage(down(x))
            skips.append(x)
        skips.pop()
        for up, stage in zip(self.up, self.decoder, strict=True):
            x = stage(torch.cat([up(x), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits


def vnet(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (16, 32, 64, 128, 256),
    kernel: int = 5,
) -> nn.Module:
    """The V-Net as in the paper: no norm, PReLU, 1, 2, 3, 3, 3 convolutions down and 3, 3, 2, 1 up.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the paper's are 3.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of int
        Channels per level, finest first, twice as many from level to level.
    kernel : odd int
        Width of the convolutions.

    Raises
    ------
    SettingsError
        When the features do not double or are more levels than the paper's five.

    Notes
    -----
    The size of the image is kept, where it is a multiple of 2 per level below the first. The stages' receptive fields
    are 5, 22, 72, 172 and 372 voxels on the way down (table 1 of the paper). On the way up the table counts a
    transposed convolution as one more voxel of its own level (476, 528, 546, 551); by the gradient they are smaller.

    References
    ----------
    Milletari et al., 3DV 2016, figure 2 and table 1.
    """
    if len(features) > len(DOWN_DEPTHS) or any(wide != 2 * narrow for narrow, wide in pairwise(features)):
        raise SettingsError(f"features of a V-Net double from level to level, at most 5 levels; got {list(features)}")
    stages: list[nn.Module] = [Stage(dims, in_channels, features[0], DOWN_DEPTHS[0], kernel)]
    down: list[nn.Module] = []
    for (above, width), depth in zip(pairwise(features), DOWN_DEPTHS[1:], strict=False):
        down.append(nn.Sequential(CONV[dims](above, width, 2, 2), nn.PReLU(width)))
        stages.append(Stage(dims, width, width, depth, kernel))
    up: list[nn.Module] = []
    below = features[-1]
    for above, depth in zip(features[-2::-1], UP_DEPTHS[len(DOWN_DEPTHS) - len(features) :], strict=True):
        up.append(nn.Sequential(UP[dims](below, above, 2, 2), nn.PReLU(above)))
        stages.append(Stage(dims, 2 * above, 2 * above, depth, kernel))
        below = 2 * above
    return VNet(stages, down, up, CONV[dims](below, out_channels, 1))


def vnet_extent(*, dims: int, features: Sequence[int], **_: Any) -> Extent:
    """Sizes of `vnet`: multiples of 2 per level."""
    return same(dims, 2 ** (len(features) - 1), context=275 if len(features) == len(DOWN_DEPTHS) else None)
