"""The networks: a literal table of architectures, and what builds them."""

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
from cohortseg.infer.architectures.attention import attention_unet, attention_unet_extent
from cohortseg.infer.architectures.autoencoder import autoencoder, autoencoder_extent
from cohortseg.infer.architectures.dcan import dcan, dcan_extent
from cohortseg.infer.architectures.deeplab import deeplab, deeplab_extent
from cohortseg.infer.architectures.deepmedic import deepmedic, deepmedic_extent
from cohortseg.infer.architectures.densevnet import densevnet, densevnet_extent
from cohortseg.infer.architectures.drinet import drinet, drinet_extent
from cohortseg.infer.architectures.dsn3d import dsn3d, dsn3d_extent
from cohortseg.infer.architectures.fastfcn import fastfcn, fastfcn_extent
from cohortseg.infer.architectures.fcn import fcn, fcn_extent
from cohortseg.infer.architectures.fusion import fusion, fusion_extent
from cohortseg.infer.architectures.gated_scnn import gated_scnn, gated_scnn_extent
from cohortseg.infer.architectures.highres3dnet import highres3dnet, highres3dnet_extent
from cohortseg.infer.architectures.image_to_image import (
    super_resolution,
    super_resolution_extent,
    synthetic_ct,
    synthetic_ct_extent,
)
from cohortseg.infer.architectures.segnet import segnet, segnet_extent
from cohortseg.infer.architectures.unet_paper import (
    unet_3d_paper,
    unet_3d_paper_extent,
    unet_paper,
    unet_paper_extent,
    unet_resized,
    unet_resized_extent,
)
from cohortseg.infer.architectures.vnet import vnet, vnet_extent
from cohortseg.infer.extent import Extent
from cohortseg.infer.layers import (
    CONV,
    DROPOUT,
    UP,
    Residual,
    Sizes,
    UNet,
    alignment,
    default_strides,
    layer,
    per_level,
)
from cohortseg.infer.regions import region_probabilities
from cohortseg.volume import Shape

Forward = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Architecture:
    """An entry of `ARCHITECTURES`: how it is built, for how many dimensions, where it is described; its sizes.

    `extent` takes the builder's arguments and says which sizes of image go through, and what comes out of them.
    """

    build: Callable[..., nn.Module]
    dims: tuple[int, ...]
    source: str
    extent: Callable[..., Extent]


def unet(  # noqa: PLR0913 (each has its name)
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int],
    strides: Sizes | None = None,
    kernels: Sizes | None = None,
    dropout: float = 0.0,
    blocks: Sequence[int] | None = None,
    deep_supervision: bool = False,
) -> nn.Module:
    """A U-Net: per level twice convolution, instance norm and leaky ReLU; or an encoder of residual blocks.

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
    blocks : sequence of int, optional
        Residual blocks per level of the encoder, finest first (the last number goes on for deeper levels); the decoder
        then has one convolution per level. None is the plain network.
    deep_supervision : bool
        Heads on the coarser levels of the decoder too, all but the coarsest; they count in training alone.

    Raises
    ------
    SettingsError
        When the lengths do not fit together, the first stride is not one or a kernel is even.

    References
    ----------
    Ronneberger et al., MICCAI 2015; Cicek et al., MICCAI 2016; with the instance norm, leaky ReLU and strided
    convolutions of Isensee et al., Nature Methods 2021. Residual encoder: Isensee et al., MICCAI 2024. Deep
    supervision: Lee et al. 2015; Isensee et al. 2021.
    """
    widths = [int(width) for width in features]
    steps = per_level("strides", strides or default_strides(dims, len(widths)), len(widths), dims)
    sizes = per_level("kernels", kernels or ((3,) * dims,) * len(widths), len(widths), dims)
    if set(steps[0]) != {1}:
        raise SettingsError(f"the first level has no stride, got {steps[0]}")
    if any(size % 2 == 0 for level in sizes for size in level):
        raise SettingsError(f"kernels must be odd, got {sizes}")

    def level(inputs: int, width: int, size: Sequence[int], stride: Sequence[int]) -> nn.Sequential:
        parts = [*layer(dims, inputs, width, size, stride), *layer(dims, width, width, size, (1,) * dims)]
        return nn.Sequential(*parts, *dropped())

    def residual(depth: int, inputs: int, width: int) -> nn.Sequential:
        count = counts[min(depth, len(counts) - 1)]
        parts = [Residual(dims, inputs, width, sizes[depth], steps[depth])]
        parts += [Residual(dims, width, width, sizes[depth], (1,) * dims) for _ in range(count - 1)]
        return nn.Sequential(*parts, *dropped())

    def dropped() -> list[nn.Module]:
        return [DROPOUT[dims](dropout)] if dropout else []

    counts = list(blocks or ())
    if counts and min(counts) < 1:
        raise SettingsError(f"each level needs a residual block, got {counts}")
    stem = layer(dims, in_channels, widths[0], sizes[0], (1,) * dims) if counts else []
    encoder: list[nn.Module] = [
        nn.Sequential(*stem, residual(0, widths[0], widths[0]))
        if counts
        else level(in_channels, widths[0], sizes[0], steps[0])
    ]
    up: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for depth, (above, width) in enumerate(pairwise(widths), start=1):
        encoder.append(residual(depth, above, width) if counts else level(above, width, sizes[depth], steps[depth]))
        up.insert(0, UP[dims](width, above, steps[depth], steps[depth]))
        one = nn.Sequential(*layer(dims, 2 * above, above, sizes[depth - 1], (1,) * dims), *dropped())
        decoder.insert(0, one if counts else level(2 * above, above, sizes[depth - 1], (1,) * dims))
    # The coarsest level of the decoder has no head (nnU-Net): too few voxels.
    coarse = widths[1:-2] if deep_supervision else []
    deep = [CONV[dims](width, out_channels, 1) for width in coarse]
    return UNet(encoder, up, decoder, CONV[dims](widths[0], out_channels, 1), deep)


def unet_extent(*, dims: int, features: Sequence[int], strides: Sizes | None = None, **_: Any) -> Extent:
    """Sizes of `unet`: multiples of the product of the strides; the norm sees the whole tile."""
    step = alignment(strides or default_strides(dims, len(features)))
    return Extent(step, step, (0,) * dims)


@dataclass(frozen=True)
class Encoder:
    """An entry of `ENCODERS`: residual blocks per level, finest first; none for two plain convolutions."""

    blocks: tuple[int, ...] | None
    source: str


ENCODERS: dict[str, Encoder] = {
    "plain": Encoder(None, "Isensee 2021"),
    "residual_small": Encoder((1, 2, 2, 2, 2, 2), "own choice between plain and medium"),
    "residual_medium": Encoder((1, 3, 4, 6, 6, 6), "Isensee 2024, presets M and L (they differ in patch and batch)"),
    "residual_large": Encoder((2, 4, 6, 8, 8, 8), "own choice: a third more blocks than medium"),
}


ARCHITECTURES: dict[str, Architecture] = {
    "attention_unet": Architecture(attention_unet, (2, 3), "Oktay 2018 (attention gates)", attention_unet_extent),
    "autoencoder": Architecture(autoencoder, (2, 3), "Masci 2011; on label maps Oktay 2018", autoencoder_extent),
    "dcan": Architecture(dcan, (2, 3), "Chen 2017 (contour-aware)", dcan_extent),
    "deeplab": Architecture(deeplab, (2,), "Chen 2018 (version 2, without its CRF)", deeplab_extent),
    "deepmedic": Architecture(deepmedic, (2, 3), "Kamnitsas 2017", deepmedic_extent),
    "densevnet": Architecture(densevnet, (2, 3), "Gibson 2018", densevnet_extent),
    "drinet": Architecture(drinet, (2, 3), "Chen 2018, after its description", drinet_extent),
    "dsn3d": Architecture(dsn3d, (2, 3), "Dou 2016, widths after our reading", dsn3d_extent),
    "fastfcn": Architecture(fastfcn, (2,), "Wu 2019, with the plain head", fastfcn_extent),
    "fcn": Architecture(fcn, (2,), "Long 2015; Shelhamer 2017", fcn_extent),
    "fusion": Architecture(fusion, (2, 3), "Guo 2019, with U-Nets as streams", fusion_extent),
    "gated_scnn": Architecture(gated_scnn, (2, 3), "Takikawa 2019, on a plain encoder", gated_scnn_extent),
    "highres3dnet": Architecture(highres3dnet, (2, 3), "Li 2017", highres3dnet_extent),
    "segnet": Architecture(segnet, (2, 3), "Badrinarayanan 2017", segnet_extent),
    "super_resolution": Architecture(super_resolution, (2, 3), "Oktay 2016", super_resolution_extent),
    "synthetic_ct": Architecture(synthetic_ct, (2, 3), "Han 2017; Li 2018", synthetic_ct_extent),
    "unet": Architecture(unet, (2, 3), "Ronneberger 2015; Cicek 2016; norm and strides as Isensee 2021", unet_extent),
    "unet_3d_paper": Architecture(unet_3d_paper, (2, 3), "Cicek 2016", unet_3d_paper_extent),
    "unet_paper": Architecture(unet_paper, (2, 3), "Ronneberger 2015", unet_paper_extent),
    "unet_resized": Architecture(
        unet_resized, (2, 3), "Primakov 2022, after a widespread program", unet_resized_extent
    ),
    "vnet": Architecture(vnet, (2, 3), "Milletari 2016", vnet_extent),
}


def extent_of(name: str, arguments: Mapping[str, Any]) -> Extent:
    """The sizes that a network of `ARCHITECTURES` takes and gives, built with these arguments.

    Examples
    --------
    >>> extent_of("unet_paper", {"dims": 2}).output_size((572, 572))
    (388, 388)
    """
    architecture = choose("architecture", name, ARCHITECTURES)
    defaults = getattr(architecture.build, "__kwdefaults__", None) or {}
    return architecture.extent(**{**defaults, **arguments})


def tile_for(name: str, arguments: Mapping[str, Any], planned: Shape) -> Shape:
    """Voxels (z, y, x) that a tile of a network sees, so that it gives a planned patch or a little more."""
    dims = int(arguments["dims"])
    size = extent_of(name, arguments).input_size(planned[3 - dims :])
    return (1, size[0], size[1]) if dims == 2 else (size[0], size[1], size[2])


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
    networks: Sequence[nn.Module],
    device: torch.device,
    *,
    precision: str = "fp32",
    entropy: bool = False,
    regions: bool = False,
) -> Forward:
    """A callable from a batch of image tiles to class probabilities: the mean softmax of the networks.

    Parameters
    ----------
    networks : sequence of modules
        In evaluation mode and on the device; several are an ensemble.
    device : torch.device
        Where to compute.
    precision : 'fp32', 'bf16' or 'fp16'
        Arithmetic of the networks; the softmax is always fp32. On a CPU fp16 is computed as fp32.
    entropy : bool
        Add a channel: the mean over the networks of the entropy of their own probabilities, in bits.
    regions : bool
        The networks find regions: the mean of what `region_probabilities` makes of them, instead of the softmax.

    Returns
    -------
    callable
        float32 array (n, channel, ...) to float32 array (n, class, ...), or (n, class + 1, ...) with the entropy.
    """
    half = torch.float16 if precision == "fp16" else torch.bfloat16
    enabled = precision == "bf16" or (precision == "fp16" and device.type == "cuda")

    def forward(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        images = torch.from_numpy(batch).to(device)
        total: Tensor | None = None
        with torch.inference_mode():
            for network in networks:
                with torch.autocast(device.type, half, enabled=enabled):
                    logits = network(images)
                found = region_probabilities(logits) if regions else torch.softmax(logits.float(), dim=1)
                if entropy:
                    own = torch.special.entr(found).sum(dim=1, keepdim=True) / math.log(2.0)
                    found = torch.cat([found, own], dim=1)
                total = found if total is None else total.add_(found)
        if total is None:
            raise ValueError("there is no network")
        result: npt.NDArray[np.float32] = total.cpu().numpy()
        return np.divide(result, len(networks), out=result)

    return forward
