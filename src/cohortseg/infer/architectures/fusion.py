"""Fusion of image channels (MR and PET, T1 and T2): in the features, before the classifier, or in the decision."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.infer.architectures.parts import SideBySide
from cohortseg.infer.architectures.unet_paper import unet_paper
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV

LEVELS = {
    "feature": "channels together from the first convolution on",
    "classifier": "a network for each channel, their last features classified together",
    "decision": "a network for each channel, the mean of their probabilities",
}


class Streams(nn.Module):
    """A network for each image channel."""

    def __init__(self, streams: Sequence[nn.Module]):
        super().__init__()
        self.streams = nn.ModuleList(streams)

    def each(self, x: Tensor) -> list[Tensor]:
        """The result of each network of its own channel."""
        return [stream(x[:, number : number + 1]) for number, stream in enumerate(self.streams)]


class Chosen(nn.Module):
    """A network that sees some of the image channels alone."""

    def __init__(self, network: nn.Module, places: Sequence[int]):
        super().__init__()
        self.network, self.places = network, list(places)

    def forward(self, x: Tensor) -> Tensor | SideBySide:
        """Float tensor (n, channel, ...) to logits (n, class, ...)."""
        logits: Tensor | SideBySide = self.network(x[:, self.places])
        return logits


class ClassifierFusion(Streams):
    """Features of all channels, classified together."""

    def __init__(self, streams: Sequence[nn.Module], head: nn.Module):
        super().__init__(streams)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to logits (n, class, ...)."""
        logits: Tensor = self.head(torch.cat(self.each(x), dim=1))
        return logits


class DecisionFusion(Streams):
    """The mean of the probabilities; given as its logarithm, so that a softmax gives it back.

    In training each network speaks for itself unless they learn together: the loss of the mean gives a network the
    less gradient the less it says, and of a rare class all say little.
    """

    def __init__(self, streams: Sequence[nn.Module], *, together: bool):
        super().__init__(streams)
        self.together = together

    def forward(self, x: Tensor) -> Tensor | SideBySide:
        """Float tensor (n, channel, ...) to logits (n, class, ...); in training those of each network."""
        if self.training and not self.together:
            return SideBySide(self.each(x))
        single = torch.stack([torch.log_softmax(logits, dim=1) for logits in self.each(x)])
        return torch.logsumexp(single, dim=0) - float(torch.log(torch.tensor(float(len(single)))))


def fusion(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    level: str = "classifier",
    features: Sequence[int] = (32, 64, 128, 256),
    channels: Sequence[int] = (),
    together: bool = False,
) -> nn.Module:
    """A network of several image channels, joined early, late, or only in the decision.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image.
    in_channels, out_channels : int
        Image channels; classes, background included.
    level : 'feature', 'classifier' or 'decision'
        Where the channels meet (types I, II and III of the paper).
    features : sequence of int
        Channels per level of each U-Net, finest first.
    channels : sequence of int
        Numbers of the image channels that take part, from 1; all when empty. One alone is a U-Net of that channel.
    together : bool
        Of `decision`: the networks learn by the loss of their mean, not each by its own.

    Raises
    ------
    SettingsError
        For another level, or the number of a channel that is not there.

    References
    ----------
    Guo et al., ISBI 2018; IEEE TRPMS 2019. The streams here are padded U-Nets, for dense results.
    """
    choose("level of fusion", level, LEVELS)
    if channels:
        if not all(1 <= number <= in_channels for number in channels):
            raise SettingsError(f"channels {list(channels)}: the images have channels 1 to {in_channels}")
        asked: dict[str, Any] = {"level": level, "features": features, "together": together}
        some = fusion(dims=dims, in_channels=len(channels), out_channels=out_channels, **asked)
        return Chosen(some, [number - 1 for number in channels])

    def network(inputs: int, outputs: int) -> nn.Module:
        return unet_paper(
            dims=dims, in_channels=inputs, out_channels=outputs, features=features, padding="same", dropout=0.0
        )

    if level == "feature":
        return network(in_channels, out_channels)
    if level == "decision":
        return DecisionFusion([network(1, out_channels) for _ in range(in_channels)], together=together)
    streams = [network(1, features[0]) for _ in range(in_channels)]
    return ClassifierFusion(streams, CONV[dims](in_channels * features[0], out_channels, 1))


def fusion_extent(*, dims: int, features: Sequence[int], **_: Any) -> Extent:
    """Sizes of `fusion`: multiples of 2 per level below the first."""
    return same(dims, 2 ** (len(features) - 1))
