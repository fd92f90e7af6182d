"""Fully convolutional networks of Long 2015: VGG-16, scored at strides 32, 16 and 8, enlarged bilinearly."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cohortseg.errors import SettingsError
from cohortseg.infer.architectures.parts import conv
from cohortseg.infer.architectures.vgg import VGG_FEATURES, vgg_stages
from cohortseg.infer.extent import Extent, same

BORDER = 100
"""Zeros around the image, so that the 7 wide window of the classifier fits even on small images."""
OFFSETS = {"pool4": 5, "pool3": 9}
"""First element of a skip's scores that lies on the first of the enlarged ones, which the border's voxels decide."""
CROPS = {32: 19, 16: 27, 8: 31}
"""First voxel of the image among the enlarged scores of each stride."""


def bilinear_kernel(factor: int) -> Tensor:
    """Weights (2 factor, 2 factor) of a transposed convolution that enlarges by `factor` with linear interpolation.

    Examples
    --------
    >>> bilinear_kernel(2)[1].tolist()
    [0.1875, 0.5625, 0.5625, 0.1875]
    """
    centre = factor - 0.5
    line = 1.0 - (torch.arange(2 * factor, dtype=torch.float32) - centre).abs() / factor
    return torch.outer(line, line)


class Bilinear(nn.Module):
    """Enlargement of each channel by a fixed bilinear kernel; a constant stays constant but at the very border."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor
        self.kernel: Tensor
        self.register_buffer("kernel", bilinear_kernel(factor), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, y, x) to (n, channel, factor (y + 1), factor (x + 1))."""
        weight = self.kernel.expand(x.shape[1], 1, *self.kernel.shape)
        return nn.functional.conv_transpose2d(x, weight, stride=self.factor, groups=x.shape[1])


def _window(x: Tensor, first: int, size: Sequence[int]) -> Tensor:
    return x[..., first : first + size[0], first : first + size[1]]


class FCN(nn.Module):
    """Stages of VGG-16, the classifier as convolutions, scores of the skips; see `fcn`."""

    def __init__(self, stages: Sequence[nn.Module], classifier: nn.Module, scores: dict[str, nn.Module], stride: int):
        super().__init__()
        self.encoder, self.classifier = nn.ModuleList(stages), classifier
        self.scores = nn.ModuleDict(scores)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.stride = stride
        self.twice, self.rest = Bilinear(2), Bilinear(stride)

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, channel, y, x) to logits (n, class, y, x)."""
        size = x.shape[2:]
        x = nn.functional.pad(x, (BORDER,) * 4)
        skips = {}
        for number, stage in enumerate(self.encoder, start=1):
            x = self.pool(stage(x))
            skips[f"pool{number}"] = x
        return self.fused(self.classifier(x), {name: score(skips[name]) for name, score in self.scores.items()}, size)

    def fused(self, coarse: Tensor, scores: dict[str, Tensor], size: Sequence[int]) -> Tensor:
        """The coarse scores, enlarged and added to those of the skips, at the image's size."""
        for name, finer in scores.items():
            coarse = self.twice(coarse)
            coarse = coarse + _window(finer, OFFSETS[name], coarse.shape[2:])
        return _window(self.rest(coarse), CROPS[self.stride], size)


def fcn(
    *,
    dims: int,
    in_channels: int,
    out_channels: int,
    stride: int = 8,
    features: Sequence[int] = VGG_FEATURES,
    hidden: int = 4096,
    dropout: float = 0.5,
) -> nn.Module:
    """FCN-32s, 16s or 8s: the classifier of VGG-16 as convolutions, its scores and those of the skips enlarged.

    Parameters
    ----------
    dims : 2
        Dimensions of the image.
    in_channels, out_channels : int
        Image channels; classes, background included.
    stride : 32, 16 or 8
        Of the finest scores: 16 adds those of the fourth pooling, 8 also those of the third.
    features : sequence of five int
        Channels of the stages.
    hidden : int
        Channels of the two layers of the classifier.
    dropout : float in [0, 1)
        After each of them.

    Raises
    ------
    SettingsError
        When the stride is none of the three.

    Notes
    -----
    With three channels and 21 classes FCN-32s has 134,346,581 parameters, FCN-8s 16,170 more. Any size of image keeps
    its size. The enlarging kernels are fixed, as in the authors' published settings; scores begin as zeros.

    References
    ----------
    Long et al., CVPR 2015; Shelhamer et al., TPAMI 2017.
    """
    if stride not in CROPS:
        raise SettingsError(f"the stride of an FCN is 32, 16 or 8, got {stride}")
    layers = [*conv(dims, features[-1], hidden, 7, padding=0), nn.Dropout(dropout)]
    layers += [*conv(dims, hidden, hidden, 1), nn.Dropout(dropout), nn.Conv2d(hidden, out_channels, 1)]
    skips = {"pool4": features[3], "pool3": features[2]}
    used = [name for name, finest in (("pool4", 16), ("pool3", 8)) if stride <= finest]
    scores: dict[str, nn.Module] = {name: nn.Conv2d(skips[name], out_channels, 1) for name in used}
    for score in scores.values():
        nn.init.zeros_(score.weight)  # type: ignore[arg-type]
        nn.init.zeros_(score.bias)  # type: ignore[arg-type]
    return FCN(vgg_stages(in_channels, features), nn.Sequential(*layers), scores, stride)


def fcn_extent(*, dims: int, **_: Any) -> Extent:
    """Sizes of `fcn`: any. Only tiles displaced by multiples of 32 see the same grid of poolings."""
    return same(dims, 1, context=202)
