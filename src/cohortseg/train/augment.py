"""Augmentation of a batch on the device it lies on: one affine sampling, mirroring, intensities.

Parameters are drawn per sample, those of intensities per channel too. On CPU the same seed gives the same bytes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


@dataclass(frozen=True)
class Augmentation:
    """How far a batch is changed; all numbers zero is no change.

    Parameters
    ----------
    share : float in [0, 1]
        Probability with which each kind of change befalls a sample; of intensities, a channel of a sample.
    rotation_deg : float
        Largest rotation: about each axis in 3D, in the plane in 2D.
    scale : float
        Largest change of size: factors from 1 / (1 + scale) to 1 + scale.
    shift : float
        Largest shift, as a share of the patch.
    flip_axes : tuple of int
        Spatial axes that are mirrored half of the time (0 is the first: z in 3D, y in 2D). Leave out an axis whose
        sides the labels tell apart.
    noise : float
        Largest standard deviation of added Gaussian noise, in standard deviations of the sample's channel.
    brightness : float
        Largest relative change of all intensities.
    contrast : float
        Largest relative change of the distance from the mean; the old range is kept.
    gamma : float
        Largest change of the exponent on intensities scaled to [0, 1]: from 1 / (1 + gamma) to 1 + gamma.
    low_resolution : float
        Largest coarsening: down to this share of the voxels fewer per axis, and back.
    source : str
        Where the numbers come from.
    """

    share: float = 1.0
    rotation_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    flip_axes: tuple[int, ...] = ()
    noise: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    low_resolution: float = 0.0
    source: str = "-"


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(source="-"),
    "light": Augmentation(
        share=0.5,
        rotation_deg=15.0,
        scale=0.15,
        noise=0.1,
        brightness=0.1,
        contrast=0.15,
        gamma=0.2,
        source="own choice for short trainings; no mirroring",
    ),
    "full": Augmentation(
        share=0.3,
        rotation_deg=30.0,
        scale=0.4,
        flip_axes=(0, 1, 2),
        noise=0.3,
        brightness=0.25,
        contrast=0.35,
        gamma=0.5,
        low_resolution=0.5,
        source="kinds and ranges after Isensee 2021 (nnU-Net), one share for all",
    ),
}


def augment(
    images: Tensor,
    labels: Tensor,
    how: Augmentation,
    *,
    seed: int,
    spacing_mm: tuple[float, ...] | None = None,
) -> tuple[Tensor, Tensor]:
    """A changed copy of a batch; image and label of a sample move together.

    Parameters
    ----------
    images : float32 tensor, shape (n, channel, z, y, x) or (n, channel, y, x)
    labels : int64 tensor, shape (n, z, y, x) or (n, y, x)
        Sampled by the nearest voxel, so no value appears that was not there.
    how : Augmentation
        For instance an entry of `AUGMENTATIONS`.
    seed : int
        Decides everything that is drawn.
    spacing_mm : tuple of float, optional
        Voxel size per spatial axis, so that rotations are rigid in space; equal sizes when absent.

    Returns
    -------
    images, labels
        Same shapes and types. Beyond the border the last voxels are repeated.
    """
    generator = torch.Generator(device=images.device).manual_seed(seed)
    dims = images.ndim - 2
    if how.rotation_deg or how.scale or how.shift:
        images, labels = _move(images, labels, how, generator, spacing_mm or (1.0,) * dims)
    for axis in how.flip_axes:
        if axis < dims:
            images, labels = _flip(images, labels, axis, generator)
    return _recolour(images, how, generator), labels


def _uniform(n: int, limit: float, share: float, generator: torch.Generator) -> Tensor:
    """`n` numbers in [-limit, limit], and zero for all but the share of them."""
    numbers, chance = torch.rand((2, n), generator=generator, device=generator.device)
    return torch.where(chance < share, (2.0 * numbers - 1.0) * limit, torch.zeros_like(numbers))


def _move(
    images: Tensor, labels: Tensor, how: Augmentation, generator: torch.Generator, spacing_mm: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Rotate, scale and shift by one sampling of the image and one of the label."""
    grid = _sampling_grid(images.shape, how, generator, spacing_mm)
    moved = grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True)
    kept = grid_sample(labels.unsqueeze(1).float(), grid, mode="nearest", padding_mode="border", align_corners=True)
    return moved, kept.squeeze(1).long()


def _sampling_grid(
    shape: torch.Size, how: Augmentation, generator: torch.Generator, spacing_mm: tuple[float, ...]
) -> Tensor:
    """Where each voxel is taken from, in the coordinates of `grid_sample` (last axis x, y, z)."""
    n, sizes = shape[0], shape[2:]
    dims, device = len(sizes), generator.device
    angles = [_uniform(n, math.radians(how.rotation_deg), how.share, generator) for _ in range(3 if dims == 3 else 1)]
    factor = torch.exp(_uniform(n, math.log1p(how.scale), how.share, generator))
    matrix = _rotation(angles, dims) * factor.view(n, 1, 1)
    spacing = torch.tensor(spacing_mm, device=device)
    matrix = matrix * (spacing.view(1, 1, -1) / spacing.view(1, -1, 1))
    grid = torch.empty((n, *sizes, dims), device=device)
    for row, size in enumerate(sizes):
        position = (_uniform(n, how.shift, how.share, generator) * size).view(n, *[1] * dims)
        for column, length in enumerate(sizes):
            steps = (torch.arange(length, device=device) - (length - 1) / 2.0).view(-1, *[1] * (dims - 1 - column))
            position = position + matrix[:, row, column].view(n, *[1] * dims) * steps
        grid[..., dims - 1 - row] = position * (2.0 / max(size - 1, 1))
    return grid


def _rotation(angles: list[Tensor], dims: int) -> Tensor:
    """Rotation matrices (n, dims, dims): the product of one rotation in each plane of two axes."""
    planes = [(1, 2), (0, 2), (0, 1)] if dims == 3 else [(0, 1)]
    matrix = torch.eye(dims, device=angles[0].device).repeat(len(angles[0]), 1, 1)
    for (first, second), angle in zip(planes, angles, strict=True):
        cosine, sine = torch.cos(angle).view(-1, 1), torch.sin(angle).view(-1, 1)
        a, b = matrix[:, :, first].clone(), matrix[:, :, second].clone()
        matrix[:, :, first], matrix[:, :, second] = cosine * a + sine * b, cosine * b - sine * a
    return matrix


def _flip(images: Tensor, labels: Tensor, axis: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    chosen = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
    chosen = chosen.view(-1, *[1] * (labels.ndim - 1))
    return (
        torch.where(chosen.unsqueeze(1), images.flip(axis + 2), images),
        torch.where(chosen, labels.flip(axis + 1), labels),
    )


def _recolour(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Coarsen, add noise, change brightness, contrast and gamma, in this order; each channel by its own numbers."""
    n, n_channels = images.shape[:2]
    axes = tuple(range(2, images.ndim))

    def drawn(limit: float) -> Tensor:
        return _uniform(n * n_channels, limit, how.share, generator).view(n, n_channels, *[1] * len(axes))

    if how.low_resolution:
        images = _coarsen(images, drawn(how.low_resolution).abs().flatten().tolist())
    if how.noise:
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        images = images + noise * drawn(how.noise).abs() * images.std(axes, keepdim=True)
    if how.brightness:
        images = images * (1.0 + drawn(how.brightness))
    if how.contrast:
        mean, low, high = (
            images.mean(axes, keepdim=True),
            images.amin(axes, keepdim=True),
            images.amax(axes, keepdim=True),
        )
        images = ((images - mean) * (1.0 + drawn(how.contrast)) + mean).clamp(low, high)
    if how.gamma:
        images = _gamma(images, torch.exp(drawn(math.log1p(how.gamma))), axes)
    return images


def _coarsen(images: Tensor, amounts: list[float]) -> Tensor:
    """Each channel of each sample with its share of voxels fewer."""
    mode = "trilinear" if images.ndim == 5 else "bilinear"
    parts = []
    for image, amount in zip(torch.split(images.flatten(0, 1)[:, None], 1), amounts, strict=True):
        size = [max(1, round(length * (1.0 - amount))) for length in image.shape[2:]]
        coarse = interpolate(image, size, mode="nearest-exact")
        parts.append(interpolate(coarse, image.shape[2:], mode=mode) if amount else image)
    return torch.cat(parts).view(images.shape)


def _gamma(images: Tensor, exponent: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Raise intensities, scaled to [0, 1], to a power, then restore mean and standard deviation."""
    low = images.amin(axes, keepdim=True)
    spread = (images.amax(axes, keepdim=True) - low).clamp_min(1e-6)
    bent = ((images - low) / spread).clamp(0.0, 1.0) ** exponent
    mean, deviation = bent.mean(axes, keepdim=True), bent.std(axes, keepdim=True).clamp_min(1e-6)
    restored = (bent - mean) / deviation * images.std(axes, keepdim=True) + images.mean(axes, keepdim=True)
    return torch.where(exponent == 1.0, images, restored)
