"""Networks whose result is an image: synthetic CT from MR, and super-resolution along the slice axis."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from cohortseg.infer.architectures.parts import LINEAR, conv
from cohortseg.infer.architectures.unet_paper import unet_paper
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV, UP


def synthetic_ct(
    *,
    dims: int,
    in_channels: int,
    out_channels: int = 1,
    features: Sequence[int] = (64, 128, 256, 512, 1024),
) -> nn.Module:
    """A padded U-Net with linear channels as result: intensities of another modality, to be trained with L1 or L2.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image.
    in_channels, out_channels : int
        Channels of the image and of the one to be made.
    features : sequence of int
        Channels per level, finest first.

    References
    ----------
    Han, Medical Physics 2017; Li et al. 2018.
    """
    return unet_paper(
        dims=dims, in_channels=in_channels, out_channels=out_channels, features=features, padding="same", dropout=0.0
    )


def synthetic_ct_extent(*, dims: int, features: Sequence[int], **_: Any) -> Extent:
    """Sizes of `synthetic_ct`: multiples of 2 per level below the first."""
    return same(dims, 2 ** (len(features) - 1))


class SuperResolution(nn.Module):
    """What linear interpolation lacks is learned and added; see `super_resolution`."""

    def __init__(self, coarse: nn.Module, up: nn.Module, fine: nn.Module, factors: Sequence[int]):
        super().__init__()
        self.coarse, self.up, self.fine, self.factors = coarse, up, fine, tuple(factors)

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, z, y, x) to (n, channel, factor z, y, x)."""
        size = [n * factor for n, factor in zip(x.shape[2:], self.factors, strict=True)]
        base = nn.functional.interpolate(x, size, mode=LINEAR[x.ndim - 2], align_corners=False)
        learned: Tensor = self.fine(self.up(self.coarse(x)))
        return base + learned


def super_resolution(
    *,
    dims: int,
    in_channels: int,
    out_channels: int | None = None,
    factor: int = 4,
    features: int = 64,
    depth: int = 3,
) -> nn.Module:
    """More slices: convolutions on the thick slices, a transposed convolution along z, convolutions on the thin ones.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the first axis is made finer.
    in_channels : int
        Image channels.
    out_channels : int, optional
        Must be `in_channels`, which is taken where it is absent.
    factor : int
        Slices made of one.
    features : int
        Channels in between.
    depth : int
        Convolutions before and after the enlargement.

    Raises
    ------
    ValueError
        When the result would have other channels than the image.

    Notes
    -----
    It begins as linear interpolation: the last convolution is zero at first.

    References
    ----------
    Oktay et al., MICCAI 2016: transposed convolution in z, residual to an interpolation; trained with smooth L1.
    """
    if out_channels not in (None, in_channels):
        raise ValueError(f"super-resolution keeps the channels: {in_channels}, not {out_channels}")
    factors = (factor, *(1,) * (dims - 1))
    coarse = conv(dims, in_channels, features)
    fine: list[nn.Module] = []
    for _ in range(depth - 1):
        coarse += conv(dims, features, features)
        fine += conv(dims, features, features)
    last = CONV[dims](features, in_channels, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    up = nn.Sequential(UP[dims](features, features, factors, factors), nn.ReLU())
    return SuperResolution(nn.Sequential(*coarse), up, nn.Sequential(*fine, last), factors)


def super_resolution_extent(*, dims: int, factor: int = 4, **_: Any) -> Extent:
    """Sizes of `super_resolution`: any, and `factor` times as many slices."""
    return Extent((1,) * dims, (1,) * dims, (0,) * dims, None, (factor, *(1,) * (dims - 1)))
