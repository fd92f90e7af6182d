"""Layers that several networks of the papers share."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from cohortseg.infer.layers import CONV

BATCH_NORM: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
LINEAR = {2: "bilinear", 3: "trilinear"}
"""Mode of `torch.nn.functional.interpolate` by dimensions."""


class WithContours(NamedTuple):
    """What a network with two heads gives in training: logits of classes and of contours, the main ones first."""

    classes: list[Tensor]
    contours: list[Tensor]


class SideBySide(NamedTuple):
    """What networks give in training of which each learns by itself: the logits of each, on the same grid."""

    each: list[Tensor]


def conv(  # noqa: PLR0913 (the numbers of a convolution)
    dims: int,
    inputs: int,
    outputs: int,
    size: int = 3,
    *,
    padding: str | int = "same",
    dilation: int = 1,
    stride: int = 1,
    bias: bool = True,
    norm: bool = False,
    activation: bool = True,
) -> list[nn.Module]:
    """Convolution, batch norm where asked for, ReLU; weights as He 2015.

    `padding`: 'same' keeps the size (with stride 1), 'valid' takes none, a number so many zeros at each end.
    """
    zeros = padding if isinstance(padding, int) else dilation * (size - 1) // 2 if padding == "same" else 0
    found = CONV[dims](inputs, outputs, size, stride, zeros, dilation, bias=bias)
    nn.init.kaiming_normal_(found.weight, nonlinearity="relu")
    if bias:
        nn.init.zeros_(found.bias)
    layers: list[nn.Module] = [found]
    if norm:
        layers.append(BATCH_NORM[dims](outputs))
    if activation:
        layers.append(nn.ReLU(inplace=True))
    return layers


def middle(x: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of a tensor (n, channel, ...): of an odd surplus the larger half is cut at the end."""
    for axis, (length, whole) in enumerate(zip(size, x.shape[2:], strict=True), start=2):
        x = x.narrow(axis, (whole - length) // 2, length)
    return x


def enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    """Linear interpolation of a tensor (n, channel, ...) to another size; the borders of both fields coincide."""
    return nn.functional.interpolate(x, tuple(size), mode=LINEAR[x.ndim - 2], align_corners=False)


def unpool(x: Tensor, places: Tensor, size: Sequence[int]) -> Tensor:
    """Every value at the place that max-pooling took it from, zeros elsewhere.

    Windows of the pooling must not overlap, so that no place is named twice and the result does not depend on an order.

    Parameters
    ----------
    x : float tensor, shape (n, channel, ...)
        Values.
    places : int tensor of the same shape
        Indices from max-pooling with `return_indices`.
    size : sequence of int
        Spatial size before the pooling.
    """
    flat = x.new_zeros(*x.shape[:2], math.prod(size))
    return flat.scatter(2, places.flatten(2), x.flatten(2)).reshape(*x.shape[:2], *size)
