"""DeepMedic of Kamnitsas 2017: paths over the image at several resolutions, without padding, joined at the end."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.errors import SettingsError
from cohortseg.infer.architectures.parts import BATCH_NORM, middle
from cohortseg.infer.extent import Extent
from cohortseg.infer.layers import CONV, POOL

WIDTHS = (30, 30, 40, 40, 40, 40, 50, 50)
RESIDUAL = (4, 6, 8)
"""Layers (from 1) to whose result that of two layers before is added."""


def _layer(dims: int, inputs: int, outputs: int, size: int, *, first: bool) -> nn.Sequential:
    """Batch norm, PReLU, convolution without padding; the first of a path sees the image as it is."""
    before: list[nn.Module] = [] if first else [BATCH_NORM[dims](inputs), nn.PReLU(inputs)]
    found = CONV[dims](inputs, outputs, size, bias=False)
    nn.init.kaiming_normal_(found.weight, a=0.25)
    return nn.Sequential(*before, found)


class Path(nn.Module):
    """Convolutions 3 without padding, with shortcuts, on the image averaged over `factor` voxels along each axis."""

    def __init__(self, dims: int, in_channels: int, widths: Sequence[int], factor: int):
        super().__init__()
        self.factor, self.pool = factor, POOL[dims](factor) if factor > 1 else nn.Identity()
        self.layers = nn.ModuleList(
            _layer(dims, before, after, 3, first=number == 0)
            for number, (before, after) in enumerate(pairwise([in_channels, *widths]))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to (n, width, ...) at the image's resolution again."""
        x = self.pool(x)
        results = [x]
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x)
            if number in RESIDUAL:
                earlier = middle(results[number - 2], x.shape[2:])
                missing = x.shape[1] - earlier.shape[1]
                x = x + torch.cat([earlier, x.new_zeros(len(x), missing, *x.shape[2:])], dim=1)
            results.append(x)
        for axis in range(2, x.ndim):
            x = x.repeat_interleave(self.factor, dim=axis)
        return x


class DeepMedic(nn.Module):
    """Paths and what classifies their results together; see `deepmedic`."""

    def __init__(self, paths: Sequence[Path], classifier: nn.Module, lost: int):
        super().__init__()
        self.paths, self.classifier, self.lost = nn.ModuleList(paths), classifier, lost

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to logits (n, class, ...) of its middle."""
        factors = [int(path.factor) for path in self.paths]  # type: ignore[arg-type]
        result = [size - self.lost * max(factors) for size in x.shape[2:]]
        found = []
        for path, factor in zip(self.paths, factors, strict=True):
            found.append(path(middle(x, [size + self.lost * factor for size in result])))
        logits: Tensor = self.classifier(torch.cat(found, dim=1))
        return logits


def deepmedic(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    factors: Sequence[int] = (1, 3),
    features: Sequence[int] = WIDTHS,
    hidden: Sequence[int] = (150, 150),
    dropout: float = 0.5,
) -> nn.Module:
    """DeepMedic: each path sees 17 voxels along each axis of the image averaged over its factor.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the paper's are 3.
    in_channels, out_channels : int
        Image channels; classes, background included.
    factors : sequence of odd int
        Averaging of each path; 1 first. (1, 3) as the paper, (1, 3, 5) as its later form.
    features : sequence of int
        Channels of the convolutions of a path.
    hidden : sequence of int
        Channels of the convolutions of 1 over the joined paths.
    dropout : float in [0, 1)
        Before each of them but the first.

    Raises
    ------
    SettingsError
        When a factor is even: the middles of the paths would not lie on one another.

    Notes
    -----
    A segment of 57 gives a result of 9, one of 105 a result of 57.

    References
    ----------
    Kamnitsas et al., Medical Image Analysis 2017, figure 5 and section 2; shortcuts: Kamnitsas et al., BrainLes 2016.
    """
    if any(factor % 2 == 0 for factor in factors):
        raise SettingsError(f"factors of the paths of DeepMedic are odd, got {list(factors)}")
    paths = [Path(dims, in_channels, features, factor) for factor in factors]
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise([features[-1] * len(factors), *hidden, out_channels])):
        layers += [nn.Dropout(dropout)] if number else []
        layers += [_layer(dims, before, after, 1, first=False)]
    return DeepMedic(paths, nn.Sequential(*layers), 2 * len(features))


def deepmedic_extent(
    *, dims: int, features: Sequence[int] = WIDTHS, factors: Sequence[int] = (1, 3), **_: Any
) -> Extent:
    """Sizes of `deepmedic`: results are multiples of all factors."""
    step, margin = math.lcm(*factors), len(features) * max(factors)
    return Extent((step,) * dims, (step + 2 * margin,) * dims, (margin,) * dims, (margin + max(factors) // 2,) * dims)
