"""Gated-SCNN of Takikawa 2019, written from the paper: a stream of shapes beside the stream of regions, with gates."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.infer.architectures.parts import BATCH_NORM, MAX_POOL, WithContours, conv, enlarged
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV


class ShapeGate(nn.Module):
    """What of the shape stream goes on: the shapes, and once more what both streams together let through of them."""

    def __init__(self, dims: int, width: int, guide: int):
        super().__init__()
        both = width + guide
        layers = [BATCH_NORM[dims](both), CONV[dims](both, both, 1), nn.ReLU(), CONV[dims](both, 1, 1)]
        self.attention = nn.Sequential(*layers)
        self.mixed = CONV[dims](width, width, 1)

    def forward(self, shapes: Tensor, regions: Tensor) -> Tensor:
        """Shapes (n, width, ...) and regions (n, guide, ...) of one size to shapes."""
        gate = torch.sigmoid(self.attention(torch.cat([shapes, regions], dim=1)))
        found: Tensor = self.mixed(shapes * (gate + 1.0))
        return found


class GatedSCNN(nn.Module):
    """Regular stream, shape stream, and what fuses both; see `gated_scnn`."""

    def __init__(self, encoder: Sequence[nn.Module], stream: Sequence[nn.ModuleList], edge: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder = nn.ModuleList(encoder)
        self.blocks, self.guides, self.gates = stream
        self.edge, self.head = edge, head

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Image to (logits of the classes, logits of the edge), both of the image's size."""
        size, levels = x.shape[2:], []
        for level in self.encoder:
            x = level(x)
            levels.append(x)
        shapes = levels[0]
        layers = zip(levels[1:], self.blocks, self.guides, self.gates, strict=True)
        for regions, block, guide, gate in layers:
            shapes = gate(block(shapes), enlarged(guide(regions), size))
        edge = self.edge(shapes)
        return self.head(torch.cat([enlarged(levels[-1], size), levels[0], torch.sigmoid(edge)], dim=1)), edge

    def forward(self, x: Tensor) -> Tensor | WithContours:
        """Float tensor (n, channel, ...) to logits (n, class, ...) of the same size; in training with the edge."""
        classes, edge = self.heads(x)
        return WithContours([classes], [edge]) if self.training else classes


def gated_scnn(
    *, dims: int, in_channels: int, out_channels: int, features: Sequence[int] = (32, 64, 128, 256), shapes: int = 16
) -> nn.Module:
    """A stream of regions that is pooled, one of shapes that is not, and gates that keep edges alone in the second.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the paper's are 2.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of int
        Channels per level of the regular stream, finest first.
    shapes : int
        Channels of the shape stream after its first block.

    Notes
    -----
    The edge is an output of its own (`heads`), for a loss on edges beside that on classes.

    References
    ----------
    Takikawa et al., ICCV 2019, sections 3.1 and 3.2; the regular stream here is a plain encoder of four levels, and a
    convolution stands for the atrous pyramid.
    """
    encoder: list[nn.Module] = []
    for number, (before, width) in enumerate(pairwise([in_channels, *features])):
        twice = [*conv(dims, before, width, norm=True), *conv(dims, width, width, norm=True)]
        encoder.append(nn.Sequential(*([MAX_POOL[dims](2, ceil_mode=True)] if number else []), *twice))
    widths = [features[0], *(shapes,) * (len(features) - 1)]
    blocks = [nn.Sequential(*conv(dims, before, after, norm=True)) for before, after in pairwise(widths)]
    guides = nn.ModuleList(CONV[dims](width, 1, 1) for width in features[1:])
    gates = nn.ModuleList(ShapeGate(dims, shapes, 1) for _ in features[1:])
    stream = (nn.ModuleList(blocks), guides, gates)
    joined = conv(dims, features[-1] + features[0] + 1, features[0], norm=True)
    head = nn.Sequential(*joined, CONV[dims](features[0], out_channels, 1))
    return GatedSCNN(encoder, stream, CONV[dims](shapes, 1, 1), head)


def gated_scnn_extent(*, dims: int, **_: Any) -> Extent:
    """Sizes of `gated_scnn`: any."""
    return same(dims)
