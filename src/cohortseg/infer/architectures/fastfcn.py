"""FastFCN of Wu 2019: a plain ResNet at stride 32, and joint pyramid upsampling in place of atrous convolutions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.infer.architectures.deeplab import Bottleneck
from cohortseg.infer.architectures.parts import BATCH_NORM, conv, enlarged
from cohortseg.infer.extent import Extent, same

JPU_RATES = (1, 2, 4, 8)


class JointPyramid(nn.Module):
    """Features of strides 8, 16 and 32 at stride 8: brought together, then seen through four dilations."""

    def __init__(self, inputs: Sequence[int], width: int):
        super().__init__()
        self.alike = nn.ModuleList(nn.Sequential(*conv(2, n, width, bias=False, norm=True)) for n in inputs)
        self.branches = nn.ModuleList(_separable(len(inputs) * width, width, rate) for rate in JPU_RATES)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels, finest first, to (n, 4 width, ...) at the size of the finest."""
        size = levels[0].shape[2:]
        together = torch.cat([enlarged(part(x), size) for part, x in zip(self.alike, levels, strict=True)], dim=1)
        return torch.cat([branch(together) for branch in self.branches], dim=1)


def _separable(inputs: int, outputs: int, dilation: int) -> nn.Sequential:
    """A dilated convolution 3 of each channel by itself, then one of 1 over the channels."""
    each = nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False)
    return nn.Sequential(each, BATCH_NORM[2](inputs), *conv(2, inputs, outputs, 1, bias=False, norm=True))


class FastFCN(nn.Module):
    """ResNet, joint pyramid, head; see `fastfcn`."""

    def __init__(self, encoder: Sequence[nn.Module], pyramid: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.pyramid, self.head = nn.ModuleList(encoder), pyramid, head

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, y, x) to logits (n, class, y, x)."""
        size, levels = x.shape[2:], []
        for stage in self.encoder:
            x = stage(x)
            levels.append(x)
        return enlarged(self.head(self.pyramid(levels[-3:])), size)


def fastfcn(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    width: int = 64,
    blocks: Sequence[int] = (3, 4, 6, 3),
    joint: int = 512,
    hidden: int = 512,
) -> nn.Module:
    """FastFCN: ResNet-50 with its strides, the joint pyramid, and the head of an FCN.

    Parameters
    ----------
    dims : 2
        Dimensions of the image.
    in_channels, out_channels : int
        Image channels; classes, background included.
    width : int
        Channels of the first convolution.
    blocks : sequence of four int
        Residual blocks of each stage; (3, 4, 6, 3) is ResNet-50, (3, 4, 23, 3) ResNet-101.
    joint, hidden : int
        Channels of each branch of the pyramid, and of the head.

    References
    ----------
    Wu et al., arXiv 1903.11816, figure 2 and section 3.3; the head is the plain one of its ablation.
    """
    del dims
    stem = [*conv(2, in_channels, width, 7, stride=2, padding=3, bias=False, norm=True), nn.MaxPool2d(3, 2, 1)]
    encoder: list[nn.Module] = []
    widths: list[int] = []
    inputs = width
    for number, count in enumerate(blocks):
        stage: list[nn.Module] = [] if number else [*stem]
        for first in (True, *(False,) * (count - 1)):
            stage.append(Bottleneck(inputs, width * 2**number, 2 if first and number else 1, 1))
            inputs = 4 * width * 2**number
        encoder.append(nn.Sequential(*stage))
        widths.append(inputs)
    head = [*conv(2, len(JPU_RATES) * joint, hidden, bias=False, norm=True), nn.Dropout(0.1)]
    return FastFCN(encoder, JointPyramid(widths[-3:], joint), nn.Sequential(*head, nn.Conv2d(hidden, out_channels, 1)))


def fastfcn_extent(*, dims: int, **_: Any) -> Extent:
    """Sizes of `fastfcn`: multiples of 32, so that features lie evenly on the image, and two of them for batch norm."""
    return same(dims, 32, smallest=64)
