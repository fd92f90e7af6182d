"""The convolutional stages of VGG-16, which several networks begin with; never with weights from elsewhere."""

from collections.abc import Sequence

from torch import nn

from cohortseg.infer.architectures.parts import conv

VGG_DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions of each stage; a pooling follows each."""
VGG_FEATURES = (64, 128, 256, 512, 512)


def vgg_stages(
    in_channels: int, features: Sequence[int] = VGG_FEATURES, *, norm: bool = False, dilations: Sequence[int] = (1,) * 5
) -> list[nn.Sequential]:
    """The five stages of VGG-16 without their poolings: convolutions 3 wide with padding, ReLU.

    Parameters
    ----------
    in_channels : int
        Image channels.
    features : sequence of five int
        Channels of each stage.
    norm : bool
        Batch norm before each ReLU (SegNet).
    dilations : sequence of five int
        Of the convolutions of each stage (DeepLab).

    References
    ----------
    Simonyan and Zisserman, ICLR 2015, configuration D.
    """
    stages, inputs = [], in_channels
    for depth, width, dilation in zip(VGG_DEPTHS, features, dilations, strict=True):
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += conv(2, inputs, width, norm=norm, dilation=dilation)
            inputs = width
        stages.append(nn.Sequential(*layers))
    return stages
