"""SegNet of Badrinarayanan 2017: VGG-16 and its mirror image, which puts values back where the maxima were."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from cohortseg.infer.architectures.parts import MAX_POOL, conv, unpool
from cohortseg.infer.architectures.vgg import VGG_DEPTHS, VGG_FEATURES
from cohortseg.infer.extent import Extent, same


class SegNet(nn.Module):
    """Encoder whose poolings tell where the maxima were, decoder that takes them from there; see `segnet`."""

    def __init__(self, encoder: Sequence[nn.Module], pool: nn.Module, decoder: Sequence[nn.Module]):
        super().__init__()
        self.encoder, self.pool, self.decoder = nn.ModuleList(encoder), pool, nn.ModuleList(decoder)

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to logits (n, class, ...) of the same size."""
        kept = []
        for level in self.encoder:
            x = level(x)
            size = x.shape[2:]
            x, places = self.pool(x)
            kept.append((places, size))
        for level in self.decoder:
            places, size = kept.pop()
            x = level(unpool(x, places, size))
        return x


def segnet(*, dims: int, in_channels: int, out_channels: int, features: Sequence[int] = VGG_FEATURES) -> nn.Module:
    """SegNet: the 13 convolutions of VGG-16 with batch norm, and a decoder that mirrors them; no features pass over.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the paper's are 2.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of at most five int
        Channels of the levels, finest first.

    References
    ----------
    Badrinarayanan et al., TPAMI 2017, figure 2. Pooling indices are all that goes from encoder to decoder.
    """
    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = []
    inputs = in_channels
    for depth, width in zip(VGG_DEPTHS, features, strict=False):
        layers: list[nn.Module] = []
        mirror: list[nn.Module] = []
        for number in range(depth):
            layers += conv(dims, inputs if number == 0 else width, width, norm=True)
            last = number == depth - 1
            outputs = (inputs if encoder else out_channels) if last else width
            # The last layer of all gives logits: no norm, no activation.
            mirror += conv(dims, width, outputs, norm=bool(encoder) or not last, activation=bool(encoder) or not last)
        encoder.append(nn.Sequential(*layers))
        decoder.insert(0, nn.Sequential(*mirror))
        inputs = width
    return SegNet(encoder, MAX_POOL[dims](2, return_indices=True, ceil_mode=True), decoder)


def segnet_extent(*, dims: int, **_: Any) -> Extent:
    """Sizes of `segnet`: any."""
    return same(dims)
