"""Convolutional autoencoder: a narrow code between image and result, and nothing that leads past it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from cohortseg.infer.architectures.parts import conv
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV, UP


class Autoencoder(nn.Module):
    """`encode` to a code, `decode` to logits; see `autoencoder`."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to the code (n, code, ...), coarser by 2 per level below the first."""
        code: Tensor = self.encoder(x)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """The code to logits (n, class, ...)."""
        logits: Tensor = self.decoder(code)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to logits (n, class, ...) of the same size."""
        return self.decode(self.encode(x))


def autoencoder(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (16, 32, 64, 128),
    code: int = 16,
) -> nn.Module:
    """A stack of strided convolutions down to a code and of transposed ones back, for label maps as for images.

    Trained on label maps (one channel a class in, logits out, cross entropy) it learns which shapes there are; the code
    is what the anatomically constrained networks of Oktay 2018 compare. Trained on images it segments without skips.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image.
    in_channels, out_channels : int
        Channels of the input; classes, background included.
    features : sequence of int
        Channels per level, finest first.
    code : int
        Channels of the code at each of its voxels: undercomplete where this is less than `in_channels` times the voxels
        that one voxel of the code stands for.

    References
    ----------
    Hinton and Salakhutdinov 2006; convolutional and stacked: Masci et al. 2011; on label maps Oktay et al. 2018.
    """
    down = conv(dims, in_channels, features[0], norm=True)
    up: list[nn.Module] = [CONV[dims](features[0], out_channels, 1)]
    for above, width in pairwise(features):
        down += conv(dims, above, width, stride=2, padding=1, norm=True)
        up = [UP[dims](width, above, 2, 2), *conv(dims, above, above, norm=True), *up]
    encoder = nn.Sequential(*down, CONV[dims](features[-1], code, 1))
    return Autoencoder(encoder, nn.Sequential(*conv(dims, code, features[-1], 1, norm=True), *up))


def autoencoder_extent(*, dims: int, features: Sequence[int], **_: Any) -> Extent:
    """Sizes of `autoencoder`: multiples of 2 per level below the first."""
    return same(dims, 2 ** (len(features) - 1))
