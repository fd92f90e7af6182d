"""DeepLab of Chen 2018 (version 2): atrous convolutions at stride 8 and a pyramid of rates, on VGG-16 or ResNet-101."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.choose import choose
from cohortseg.infer.architectures.parts import conv
from cohortseg.infer.architectures.vgg import VGG_FEATURES, vgg_stages
from cohortseg.infer.extent import Extent, same

STRIDE = 8
"""Of the features that the pyramid sees."""
RATES = (6, 12, 18, 24)


class Bottleneck(nn.Module):
    """Convolutions 1, 3 and 1 wide with batch norm beside a shortcut (He 2016)."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int):
        super().__init__()
        outputs = 4 * width
        self.path = nn.Sequential(
            *conv(2, inputs, width, 1, bias=False, norm=True),
            *conv(2, width, width, stride=stride, dilation=dilation, bias=False, norm=True),
            *conv(2, width, outputs, 1, bias=False, norm=True, activation=False),
        )
        one = conv(2, inputs, outputs, 1, stride=stride, bias=False, norm=True, activation=False)
        self.shortcut = nn.Sequential(*(one if inputs != outputs or stride > 1 else []))

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, inputs, y, x) to (n, 4 width, y, x), strided."""
        return torch.relu(self.path(x) + self.shortcut(x))


def resnet(in_channels: int, width: int = 64, blocks: Sequence[int] = (3, 4, 23, 3)) -> tuple[nn.Module, int]:
    """ResNet-101 at stride 8 and the number of its features: the last two stages dilate by 2 and 4 for striding."""
    stem = [*conv(2, in_channels, width, 7, stride=2, padding=3, bias=False, norm=True), nn.MaxPool2d(3, 2, 1)]
    stages: list[nn.Module] = []
    inputs = width
    for number, (count, stride, dilation) in enumerate(zip(blocks, (1, 2, 1, 1), (1, 1, 2, 4), strict=True)):
        for first in (True, *(False,) * (count - 1)):
            stages.append(Bottleneck(inputs, width * 2**number, stride if first else 1, dilation))
            inputs = 4 * width * 2**number
    return nn.Sequential(*stem, *stages), inputs


def vgg(in_channels: int, features: Sequence[int] = VGG_FEATURES) -> tuple[nn.Module, int]:
    """VGG-16 at stride 8 and the number of its features: two poolings keep the size, the last stage dilates."""
    stages = vgg_stages(in_channels, features, dilations=(1, 1, 1, 1, 2))
    layers = [part for stage, stride in zip(stages, (2, 2, 2, 1, 1), strict=True) for part in (stage, _pool(stride))]
    return nn.Sequential(*layers), features[-1]


def _pool(stride: int) -> nn.Module:
    return nn.MaxPool2d(3, stride, 1)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: branches of different rates see the same features, their scores are added."""

    def __init__(self, inputs: int, out_channels: int, rates: Sequence[int], hidden: int | None):
        super().__init__()
        self.branches = nn.ModuleList()
        for rate in rates:
            layers: list[nn.Module] = []
            if hidden is None:
                layers += conv(2, inputs, out_channels, dilation=rate, activation=False)
            else:
                layers += [*conv(2, inputs, hidden, dilation=rate), nn.Dropout(0.5)]
                layers += [*conv(2, hidden, hidden, 1), nn.Dropout(0.5), nn.Conv2d(hidden, out_channels, 1)]
            self.branches.append(nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, inputs, y, x) to scores (n, class, y, x)."""
        return torch.stack([branch(x) for branch in self.branches]).sum(0)


class DeepLab(nn.Module):
    """Features at stride 8, the pyramid, and bilinear enlargement; see `deeplab`."""

    def __init__(self, encoder: nn.Module, pyramid: nn.Module):
        super().__init__()
        self.encoder, self.pyramid = encoder, pyramid

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, y, x) to logits (n, class, y, x).

        Feature k lies on pixel 8 k. The border is repeated up to a size of 8 k + 1, where the corners of pixels and
        features coincide, so that the enlargement displaces nothing.
        """
        size = x.shape[2:]
        whole = [-(-(n - 1) // STRIDE) * STRIDE + 1 for n in size]
        padded = nn.functional.pad(x, (0, whole[1] - size[1], 0, whole[0] - size[0]), mode="replicate")
        scores = self.pyramid(self.encoder(padded))
        logits = nn.functional.interpolate(scores, whole, mode="bilinear", align_corners=True)
        return logits[..., : size[0], : size[1]]


BACKBONES: dict[str, Callable[..., tuple[nn.Module, int]]] = {"vgg16": vgg, "resnet101": resnet}


def deeplab(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    backbone: str = "resnet101",
    rates: Sequence[int] = RATES,
    hidden: int = 1024,
    **sizes: Any,
) -> nn.Module:
    """DeepLab with an atrous spatial pyramid; the dense CRF that may follow is a post-process of its own.

    Parameters
    ----------
    dims : 2
        Dimensions of the image.
    in_channels, out_channels : int
        Image channels; classes, background included.
    backbone : 'vgg16' or 'resnet101'
        What computes the features.
    rates : sequence of int
        Dilations of the branches, in features (8 pixels apart).
    hidden : int
        Channels of the two layers of each branch after VGG-16; after ResNet-101 a branch is a single convolution.
    **sizes
        For smaller networks: `features` (vgg16), `width` and `blocks` (resnet101).

    References
    ----------
    Chen et al., TPAMI 2018, section 3: ASPP-L (rates 6, 12, 18, 24), sum of the branches, bilinear factor 8.
    """
    del dims
    encoder, width = choose("backbone", backbone, BACKBONES)(in_channels, **sizes)
    return DeepLab(encoder, Pyramid(width, out_channels, rates, hidden if backbone == "vgg16" else None))


def deeplab_extent(*, dims: int, **_: Any) -> Extent:
    """Sizes of `deeplab`: any; tiles displaced by multiples of 8 see the same grid of features."""
    return same(dims)
