"""DenseVNet of Gibson 2018: dense stacks at three coarse resolutions, joined at half resolution."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.infer.architectures.parts import conv, enlarged
from cohortseg.infer.extent import Extent, same
from cohortseg.infer.layers import CONV, POOL


class DenseStack(nn.Module):
    """Convolutions that each see all earlier results; all of them, and the input, come out."""

    def __init__(self, dims: int, inputs: int, depth: int, growth: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(*conv(dims, inputs + number * growth, growth, bias=False, norm=True))
            for number in range(depth)
        )
        self.outputs = inputs + depth * growth

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, inputs, ...) to (n, inputs + depth growth, ...)."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class DenseVNet(nn.Module):
    """Stacks, what leads down between them, and their skips; see `densevnet`."""

    def __init__(
        self,
        first: nn.Module,
        pool: nn.Module,
        stacks: Sequence[nn.Module],
        skips: Sequence[nn.Module],
        down: Sequence[nn.Module],
        head: nn.Module,
        prior: Tensor | None,
    ):
        super().__init__()
        self.first, self.pool, self.head = first, pool, head
        self.stacks, self.skips, self.down = nn.ModuleList(stacks), nn.ModuleList(skips), nn.ModuleList(down)
        self.prior = None if prior is None else nn.Parameter(prior)

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, ...) to logits (n, class, ...) of the same size."""
        size = x.shape[2:]
        image = self.pool(x)
        half = image.shape[2:]
        found = torch.cat([self.first(x), image], dim=1)
        gathered = []
        for number, (stack, skip) in enumerate(zip(self.stacks, self.skips, strict=True)):
            found = stack(self.down[number - 1](found) if number else found)
            gathered.append(enlarged(skip(found), half))
        logits: Tensor = self.head(torch.cat([*gathered, image], dim=1))
        if self.prior is not None:
            logits = logits + enlarged(self.prior, half)
        return enlarged(logits, size)


def densevnet(  # noqa: PLR0913 (each has its name)
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: int = 24,
    depths: Sequence[int] = (5, 10, 10),
    growths: Sequence[int] = (4, 8, 16),
    skips: Sequence[int] = (12, 24, 24),
    prior: int | None = None,
) -> nn.Module:
    """DenseVNet: a strided convolution 5 wide beside the averaged image, three dense stacks, scores at half resolution.

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image; the paper's are 3.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : int
        Channels of the first convolution, and of those that lead from stack to stack.
    depths, growths, skips : sequence of int
        Of each stack: its convolutions, the channels each adds, the channels its skip gives.
    prior : int, optional
        Voxels along each axis of a learned spatial prior of the classes (24 in the paper), added to the logits.

    Notes
    -----
    With one channel and nine classes the convolutions have 877,728 parameters, and 61 channels go into the last.

    References
    ----------
    Gibson et al., IEEE TMI 2018, figure 2.
    """
    inputs = features + in_channels
    stacks: list[DenseStack] = []
    given: list[nn.Module] = []
    down: list[nn.Module] = []
    for depth, growth, skip in zip(depths, growths, skips, strict=True):
        if stacks:
            down.append(nn.Sequential(*conv(dims, inputs, features, stride=2, padding=1, bias=False, norm=True)))
            inputs = features
        stacks.append(DenseStack(dims, inputs, depth, growth))
        inputs = stacks[-1].outputs
        given.append(nn.Sequential(*conv(dims, inputs, skip, bias=False, norm=True)))
    first = nn.Sequential(*conv(dims, in_channels, features, 5, stride=2, padding=2, bias=False, norm=True))
    head = CONV[dims](sum(skips) + in_channels, out_channels, 3, padding=1)
    learned = None if prior is None else torch.zeros(1, out_channels, *(prior,) * dims)
    return DenseVNet(first, POOL[dims](2), stacks, given, down, head, learned)


def densevnet_extent(*, dims: int, **_: Any) -> Extent:
    """Sizes of `densevnet`: multiples of 8."""
    return same(dims, 8)
