"""What U-Nets are made of: layers, blocks, and the module that joins encoder and decoder."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.errors import SettingsError

Sizes = Sequence[Sequence[int]]

CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
DROPOUT: dict[int, Any] = {2: nn.Dropout2d, 3: nn.Dropout3d}
POOL: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


def default_strides(dims: int, n_levels: int) -> tuple[tuple[int, ...], ...]:
    """Strides per level that halve every axis between two levels."""
    return ((1,) * dims,) + ((2,) * dims,) * (n_levels - 1)


def alignment(strides: Sizes) -> tuple[int, ...]:
    """Per axis, the number that a patch size must be a multiple of: the product of the strides.

    Examples
    --------
    >>> alignment([(1, 1, 1), (1, 2, 2), (2, 2, 2)])
    (2, 4, 4)
    """
    return tuple(math.prod(axis) for axis in zip(*strides, strict=True))


class UNet(nn.Module):
    """Encoder and decoder with skips; see `networks.unet`, which checks the arguments and builds it.

    With `deep` heads (one per coarser decoder level, finest first) a network in training mode gives a list of logits,
    full resolution first; in evaluation mode always those of full resolution alone.
    """

    def __init__(
        self,
        encoder: Sequence[nn.Module],
        up: Sequence[nn.Module],
        decoder: Sequence[nn.Module],
        head: nn.Module,
        deep: Sequence[nn.Module] = (),
    ):
        super().__init__()
        self.encoder, self.up = nn.ModuleList(encoder), nn.ModuleList(up)
        self.decoder, self.head = nn.ModuleList(decoder), head
        self.deep = nn.ModuleList(deep)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Float tensor (n, channel, z, y, x) or (n, channel, y, x) to logits (n, class, ...) of the same size."""
        skips = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
        skips.pop()
        coarse: list[Tensor] = []
        for number, (up, level) in enumerate(zip(self.up, self.decoder, strict=True)):
            x = level(torch.cat([up(x), skips.pop()], dim=1))
            place = len(self.decoder) - 2 - number
            if self.training and 0 <= place < len(self.deep):
                coarse.insert(0, self.deep[place](x))
        logits: Tensor = self.head(x)
        return [logits, *coarse] if coarse else logits


class Residual(nn.Module):
    """Two convolutions beside a shortcut, which is averaged over the stride and projected where the width changes.

    He 2016; shortcut as He 2019 (ResNet-D), which nnU-Net's residual encoder has too.
    """

    def __init__(self, dims: int, inputs: int, width: int, size: Sequence[int], stride: Sequence[int]):
        super().__init__()
        first = layer(dims, inputs, width, size, stride)
        second = layer(dims, width, width, size, (1,) * dims)
        self.path = nn.Sequential(*first, *second[:-1])
        shortcut: list[nn.Module] = [] if set(stride) == {1} else [POOL[dims](tuple(stride), tuple(stride))]
        if inputs != width:
            shortcut += layer(dims, inputs, width, (1,) * dims, (1,) * dims)[:-1]
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = second[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor to float tensor, strided."""
        found: Tensor = self.activation(self.path(x) + self.shortcut(x))
        return found


def layer(dims: int, inputs: int, outputs: int, size: Sequence[int], stride: Sequence[int]) -> list[nn.Module]:
    """Convolution, instance norm, leaky ReLU; stride and kernel per axis."""
    padding = [n // 2 for n in size]
    convolution = CONV[dims](inputs, outputs, tuple(size), tuple(stride), tuple(padding), bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=0.01)
    # One group per channel is instance norm: a tenth quicker per step on CPU than torch's own.
    return [convolution, nn.GroupNorm(outputs, outputs), nn.LeakyReLU(0.01, inplace=True)]


def per_level(what: str, values: Sizes, n_levels: int, dims: int) -> list[tuple[int, ...]]:
    """Whole positive numbers, one for each axis of each level, or a SettingsError."""
    levels = [tuple(int(number) for number in level) for level in values]
    if n_levels < 1 or len(levels) != n_levels or any(len(level) != dims or min(level) < 1 for level in levels):
        raise SettingsError(f"{what} need {dims} positive numbers for each of {n_levels} levels, got {levels}")
    return levels
