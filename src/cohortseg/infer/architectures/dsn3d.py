"""The 3D deeply supervised network of Dou 2016: six convolutions, two poolings, two enlargements, three classifiers."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from cohortseg.infer.architectures.parts import MAX_POOL, conv, enlarged
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV, UP

SIZES = (9, 9, 7, 7, 5, 1)
"""Kernel sizes of the six convolutions; a pooling follows the second and the fourth."""
WEIGHTS = (0.3, 0.4)
"""First weights of the auxiliary classifiers, after the third and the sixth layer, poolings counted."""


def auxiliary_weights(epoch: int) -> tuple[float, ...]:
    """Weights of the auxiliary losses in an epoch (from 0): 5 % less every ten epochs.

    Examples
    --------
    >>> [round(auxiliary_weights(epoch)[0], 3) for epoch in (0, 9, 10)]
    [0.3, 0.3, 0.285]
    """
    return tuple(weight * 0.95 ** (epoch // 10) for weight in WEIGHTS)


class DSN(nn.Module):
    """Three groups of two convolutions, the way up, and classifiers; see `dsn3d`."""

    def __init__(self, encoder: Sequence[nn.Module], pool: nn.Module, head: nn.Module, deep: Sequence[nn.Module]):
        super().__init__()
        self.encoder, self.pool, self.head, self.deep = nn.ModuleList(encoder), pool, head, nn.ModuleList(deep)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Float tensor (n, channel, ...) to logits of the same size; in training with those of the auxiliary ones."""
        size, auxiliary = x.shape[2:], []
        x = self.encoder[0](x)
        for level, classifier in zip(self.encoder[1:], self.deep, strict=True):
            x = self.pool(x)
            if self.training:
                auxiliary.append(enlarged(classifier(x), size))
            x = level(x)
        logits: Tensor = self.head(x)
        return [logits, *auxiliary] if self.training else logits


def dsn3d(
    *, dims: int, in_channels: int, out_channels: int, features: Sequence[int] = (8, 8, 16, 32, 32, 32)
) -> nn.Module:
    """The deeply supervised network: large kernels first, classifiers after the third and sixth layer while training.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the paper's are 3.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of six int
        Channels of the convolutions.

    References
    ----------
    Dou et al., MICCAI 2016. Widths and kernel sizes are our reading, with zeros around the image: the table of
    layers is not in our hands.
    """
    widths, groups = [in_channels, *features], []
    for first in (0, 2, 4):
        layers: list[nn.Module] = []
        for number in (first, first + 1):
            layers += conv(dims, widths[number], widths[number + 1], SIZES[number], norm=True)
        groups.append(nn.Sequential(*layers))
    finest, middle, coarsest = features[1], features[3], features[5]
    up = [UP[dims](coarsest, middle, 2, 2), nn.ReLU(), UP[dims](middle, finest, 2, 2), nn.ReLU()]
    head = nn.Sequential(*up, CONV[dims](finest, out_channels, 1))
    deep = [CONV[dims](width, out_channels, 1) for width in (finest, middle)]
    return DSN(groups, MAX_POOL[dims](2), head, deep)


def dsn3d_extent(*, dims: int, **_: Any) -> Extent:
    """Sizes of `dsn3d`: multiples of 4."""
    return same(dims, 4)
