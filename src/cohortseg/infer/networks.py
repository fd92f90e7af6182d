"""The networks: a literal table of architectures, and the plain U-Net that stands in it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cohortseg.choose import choose
from cohortseg.errors import SettingsError

Sizes = Sequence[Sequence[int]]
Forward = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]

CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
DROPOUT: dict[int, Any] = {2: nn.Dropout2d, 3: nn.Dropout3d}


@dataclass(frozen=True)
class Architecture:
    """An entry of `ARCHITECTURES`: how the network is built, for how many dimensions, and where it is described."""

    build: Callable[..., nn.Module]
    dims: tuple[int, ...]
    source: str


def default_strides(dims: int, n_levels: int) -> tuple[tuple[int, ...], ...]:
    """Strides per level that halve every axis between two levels."""
    return ((1,) * dims,) + ((2,) * dims,) * (n_levels - 1)


def alignment(strides: Sizes) -> tuple[int, ...]:
    """Per axis, the number that a patch size must be a multiple of: the product of the strides.

    Examples
    --------
    >>> alignment([(1, 1, 1), (1, 2, 2), (2, 2, 2)])
    (2, 4, 4)
    """
    return tuple(math.prod(axis) for axis in zip(*strides, strict=True))


class UNet(nn.Module):
    """Encoder and decoder with skips; see `unet`, which checks the arguments and builds it."""

    def __init__(
        self, encoder: Sequence[nn.Module], up: Sequence[nn.Module], decoder: Sequence[nn.Module], head: nn.Module
    ):
        super().__init__()
        self.encoder, self.up = nn.ModuleList(encoder), nn.ModuleList(up)
        self.decoder, self.head = nn.ModuleList(decoder), head

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, z, y, x) or (n, channel, y, x) to logits (n, class, ...) of the same size."""
        skips = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
        skips.pop()
        for up, level in zip(self.up, self.decoder, strict=True):
            x = level(torch.cat([up(x), skips.pop()], dim=1))
        return self.head(x)  # type: ignore[no-any-return]


def unet(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int],
    strides: Sizes | None = None,
    kernels: Sizes | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """A plain U-Net: per level twice convolution, instance norm and leaky ReLU; no residuals.

    The first convolution of a level carries its stride; a transposed convolution of the same stride leads back up, and
    the skip is concatenated. Weights are drawn from torch's global generator (`build_network` takes a seed).

    Parameters
    ----------
    dims : 2 or 3
        Dimensions of the image.
    in_channels, out_channels : int
        Image channels; classes, background included.
    features : sequence of int
        Channels per level, finest first.
    strides : per level one number per axis, optional
        Step from the level above; the first level's are ones. All twos when absent. Thick slices want (1, 2, 2).
    kernels : per level one odd number per axis, optional
        Size of the convolutions; all threes when absent.
    dropout : float in [0, 1)
        Share of channels dropped after each level.

    Raises
    ------
    SettingsError
        When the lengths do not fit together, the first stride is not one or a kernel is even.

    References
    ----------
    Ronneberger et al., MICCAI 2015; Cicek et al., MICCAI 2016; with the instance norm, leaky ReLU and strided
    convolutions of Isensee et al., Nature Methods 2021.
    """
    widths = [int(width) for width in features]
    steps = _per_level("strides", strides or default_strides(dims, len(widths)), len(widths), dims)
    sizes = _per_level("kernels", kernels or ((3,) * dims,) * len(widths), len(widths), dims)
    if set(steps[0]) != {1}:
        raise SettingsError(f"the first level has no stride, got {steps[0]}")
    if any(size % 2 == 0 for level in sizes for size in level):
        raise SettingsError(f"kernels must be odd, got {sizes}")

    def level(inputs: int, width: int, size: Sequence[int], stride: Sequence[int]) -> nn.Sequential:
        parts = [*_layer(dims, inputs, width, size, stride), *_layer(dims, width, width, size, (1,) * dims)]
        return nn.Sequential(*parts, *([DROPOUT[dims](dropout)] if dropout else []))

    encoder = [level(in_channels, widths[0], sizes[0], steps[0])]
    up: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for depth, (above, width) in enumerate(pairwise(widths), start=1):
        encoder.append(level(above, width, sizes[depth], steps[depth]))
        up.insert(0, UP[dims](width, above, steps[depth], steps[depth]))
        decoder.insert(0, level(2 * above, above, sizes[depth - 1], (1,) * dims))
    return UNet(encoder, up, decoder, CONV[dims](widths[0], out_channels, 1))


def _layer(dims: int, inputs: int, outputs: int, size: Sequence[int], stride: Sequence[int]) -> list[nn.Module]:
    padding = [n // 2 for n in size]
    convolution = CONV[dims](inputs, outputs, tuple(size), tuple(stride), tuple(padding), bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=0.01)
    # One group per channel is instance norm: a tenth quicker per step on CPU than torch's own.
    return [convolution, nn.GroupNorm(outputs, outputs), nn.LeakyReLU(0.01, inplace=True)]


def _per_level(what: str, values: Sizes, n_levels: int, dims: int) -> list[tuple[int, ...]]:
    levels = [tuple(int(number) for number in level) for level in values]
    if n_levels < 1 or len(levels) != n_levels or any(len(level) != dims or min(level) < 1 for level in levels):
        raise SettingsError(f"{what} need {dims} positive numbers for each of {n_levels} levels, got {levels}")
    return levels


ARCHITECTURES: dict[str, Architecture] = {
    "unet": Architecture(unet, (2, 3), "Ronneberger 2015; Cicek 2016; norm and strides as Isensee 2021"),
}


def build_network(name: str, arguments: Mapping[str, Any], *, seed: int) -> nn.Module:
    """The network called `name` in `ARCHITECTURES`, with weights that depend on the seed alone.

    Raises
    ------
    SettingsError
        When there is no such architecture, or not for so many dimensions.
    """
    architecture = choose("architecture", name, ARCHITECTURES)
    if arguments["dims"] not in architecture.dims:
        raise SettingsError(f"architecture {name!r} has no {arguments['dims']}-dimensional form")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture.build(**arguments)


def forward_of(
    networks: Sequence[nn.Module], device: torch.device, *, precision: str = "fp32", entropy: bool = False
) -> Forward:
    """A callable from a batch of image tiles to class probabilities: the mean softmax of the networks.

    Parameters
    ----------
    networks : sequence of modules
        In evaluation mode and on the device; several are an ensemble.
    device : torch.device
        Where to compute.
    precision : 'fp32' or 'bf16'
        Arithmetic of the networks; the softmax is always fp32.
    entropy : bool
        Add a channel: the mean over the networks of the entropy of their own probabilities, in bits.

    Returns
    -------
    callable
        float32 array (n, channel, ...) to float32 array (n, class, ...), or (n, class + 1, ...) with the entropy.
    """

    def forward(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        images = torch.from_numpy(batch).to(device)
        total: Tensor | None = None
        with torch.inference_mode():
            for network in networks:
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                    logits = network(images)
                found = torch.softmax(logits.float(), dim=1)
                if entropy:
                    own = torch.special.entr(found).sum(dim=1, keepdim=True) / math.log(2.0)
                    found = torch.cat([found, own], dim=1)
                total = found if total is None else total.add_(found)
        if total is None:
            raise ValueError("there is no network")
        result: npt.NDArray[np.float32] = total.cpu().numpy()
        return np.divide(result, len(networks), out=result)

    return forward
