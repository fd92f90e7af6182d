"""The U-Net of Ronneberger 2015 with convolutions without padding, and its well-known relative with padding."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.choose import choose
from cohortseg.infer.architectures.parts import BATCH_NORM, MAX_POOL, conv, middle
from cohortseg.infer.extent import Extent, same, unpadded
from cohortseg.infer.layers import CONV, UP

PADDINGS = {"valid": "no padding: the result is smaller than the image", "same": "zeros around: the same size"}


class Contracting(nn.Module):
    """Encoder with max-pooling, decoder with up-convolutions, and skips cropped to the decoder's size."""

    def __init__(
        self, encoder: Sequence[nn.Module], pool: nn.Module, up: Sequence[nn.Module], decoder: Sequence[nn.Module]
    ):
        super().__init__()
        self.encoder, self.pool = nn.ModuleList(encoder), pool
        self.up, self.decoder = nn.ModuleList(up), nn.ModuleList(decoder)
        self.head: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to logits (n, class, ...), smaller where there is no padding."""
        skips: list[Tensor] = []
        for number, level in enumerate(self.encoder):
            x = level(self.pool(x) if number else x)
            skips.append(x)
        skips.pop()
        for up, level in zip(self.up, self.decoder, strict=True):
            x = up(x)
            x = level(torch.cat([middle(skips.pop(), x.shape[2:]), x], dim=1))
        logits: Tensor = self.head(x)
        return logits


def unet_paper(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (64, 128, 256, 512, 1024),
    padding: str = "valid",
    dropout: float = 0.5,
) -> nn.Module:
    """The U-Net of the paper: twice convolution 3 and ReLU per level, max-pooling 2, up-convolution 2.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of int
        Channels per level, finest first.
    padding : 'valid' or 'same'
        Without padding, as the paper, or with zeros; the weights are the same.
    dropout : float in [0, 1)
        At the end of the contracting path.

    Notes
    -----
    With one channel and two classes it has 31,030,658 parameters, and an image of 572 gives a result of 388.

    References
    ----------
    Ronneberger et al., MICCAI 2015, figure 1; dropout at the end of the contracting path, section 3.1.
    """
    choose("padding", padding, PADDINGS)

    def level(inputs: int, width: int) -> nn.Sequential:
        return nn.Sequential(*conv(dims, inputs, width, padding=padding), *conv(dims, width, width, padding=padding))

    encoder: list[nn.Module] = [level(in_channels, features[0])]
    up: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for above, width in pairwise(features):
        encoder.append(level(above, width))
        up.insert(0, UP[dims](width, above, 2, 2))
        decoder.insert(0, level(2 * above, above))
    encoder[-1] = nn.Sequential(encoder[-1], nn.Dropout(dropout))
    network = Contracting(encoder, MAX_POOL[dims](2), up, decoder)
    network.head = CONV[dims](features[0], out_channels, 1)
    return network


def unet_paper_extent(*, dims: int, features: Sequence[int], padding: str = "valid", **_: Any) -> Extent:
    """Sizes of `unet_paper`: 188 + 16 k without padding and five levels."""
    if padding == "valid":
        return unpadded(dims, len(features))
    return same(dims, 2 ** (len(features) - 1), context=max(unpadded(dims, len(features)).context or ()))


def unet_resized(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (64, 128, 256, 512, 1024),
    dropout: float = 0.5,
    tail: int | None = None,
) -> nn.Module:
    """The U-Net with padding that many programs call "the" U-Net: resized and convolved 2 wide on the way up.

    Nearest-neighbour enlargement and a convolution 2 wide with ReLU in place of the up-convolution, dropout after the
    two coarsest levels, and at the end a convolution 3 to `tail` channels with ReLU before the one of 1.

    Parameters
    ----------
    dims, in_channels, out_channels, features
        As `unet_paper`.
    dropout : float in [0, 1)
        After the two coarsest levels.
    tail : int, optional
        Channels before the last convolution; 2, or the classes where these are more.

    Notes
    -----
    With one channel in and out (a sigmoid's logit) it has 31,031,685 parameters: this number is not the paper's.

    References
    ----------
    Primakov et al., Nature Communications 2022 (its network), after a widespread Keras U-Net.
    """

    def level(inputs: int, width: int, *, dropped: bool = False) -> nn.Sequential:
        twice = [*conv(dims, inputs, width), *conv(dims, width, width)]
        return nn.Sequential(*twice, *([nn.Dropout(dropout)] if dropped else []))

    encoder: list[nn.Module] = [level(in_channels, features[0])]
    up: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for number, (above, width) in enumerate(pairwise(features), start=1):
        encoder.append(level(above, width, dropped=number >= len(features) - 2))
        # A window of 2 has no middle: it reaches one voxel ahead.
        two: list[nn.Module] = [nn.ZeroPad2d((0, 1, 0, 1)) if dims == 2 else nn.ConstantPad3d((0, 1, 0, 1, 0, 1), 0.0)]
        up.insert(0, nn.Sequential(nn.Upsample(scale_factor=2), *two, *conv(dims, width, above, 2, padding=0)))
        decoder.insert(0, level(2 * above, above))
    network = Contracting(encoder, MAX_POOL[dims](2), up, decoder)
    last = tail or max(2, out_channels)
    network.head = nn.Sequential(*conv(dims, features[0], last), CONV[dims](last, out_channels, 1))
    return network


def unet_resized_extent(*, dims: int, features: Sequence[int], **_: Any) -> Extent:
    """Sizes of `unet_resized`: multiples of 2 per level."""
    return same(dims, 2 ** (len(features) - 1))


def unet_3d_paper(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (32, 64, 128, 256),
    padding: str = "valid",
    norm: bool = True,
) -> nn.Module:
    """The 3D U-Net of Cicek 2016: channels double before each pooling, batch norm before each ReLU.

    Parameters
    ----------
    dims, in_channels, out_channels, padding
        As `unet_paper`.
    features : sequence of int
        Channels of the first convolution of each level; the second has twice as many.
    norm : bool
        Batch norm; without it the paper's ablation.

    Notes
    -----
    The paper's 19,069,955 parameters are those of three channels and classes, without the norms' own and with
    up-convolutions that have no bias. An image of 132 x 132 x 116 gives a result of 44 x 44 x 28.

    References
    ----------
    Cicek et al., MICCAI 2016, figure 2.
    """
    choose("padding", padding, PADDINGS)

    def level(inputs: int, first: int, second: int) -> nn.Sequential:
        return nn.Sequential(
            *conv(dims, inputs, first, padding=padding, norm=norm),
            *conv(dims, first, second, padding=padding, norm=norm),
        )

    encoder: list[nn.Module] = [level(in_channels, features[0], 2 * features[0])]
    up: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for above, width in pairwise(features):
        encoder.append(level(2 * above, width, 2 * width))
        up.insert(0, UP[dims](2 * width, 2 * width, 2, 2, bias=False))
        decoder.insert(0, level(2 * above + 2 * width, 2 * above, 2 * above))
    network = Contracting(encoder, MAX_POOL[dims](2), up, decoder)
    network.head = CONV[dims](2 * features[0], out_channels, 1)
    return network


def norm_parameters(network: nn.Module) -> int:
    """How many parameters belong to batch norms: papers often leave them out of their count."""
    norms = tuple(BATCH_NORM.values())
    return sum(p.numel() for part in network.modules() if isinstance(part, norms) for p in part.parameters())


def unet_3d_paper_extent(*, dims: int, features: Sequence[int], padding: str = "valid", **_: Any) -> Extent:
    """Sizes of `unet_3d_paper`: 92 + 8 k without padding and four levels."""
    return unet_paper_extent(dims=dims, features=features, padding=padding)
