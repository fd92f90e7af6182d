"""Augmentation of a batch on the device it lies on: one affine sampling, mirroring, intensities.

Parameters are drawn per sample, those of intensities per channel too. On CPU the same seed gives the same bytes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from cohortseg.train.team import Share


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
    stretch : float
        Largest change of size of each axis by itself: factors from 1 - stretch to 1 + stretch.
    elastic : float
        Standard deviation, in voxels, of the random displacement at the nodes of a grid, between which it is cubic;
        along an axis of one voxel nothing moves.
    nodes : int
        Nodes of that grid along each axis, the outer ones at the ends of the patch; two at least.
    match : float in [0, 1]
        Probability with which the intensities of a sample get the histogram of another sample of the batch.
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
    stretch: float = 0.0
    elastic: float = 0.0
    nodes: int = 3
    match: float = 0.0
    source: str = "-"


QUANTILES = 128
"""Points of a histogram that is matched."""

AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(source="-"),
    "shift_rotate_zoom": Augmentation(
        rotation_deg=10.0,
        shift=0.1,
        stretch=0.1,
        source="Primakov 2022 and its program: shift and zoom of each axis 0.1, 10 degrees; labels stay whole here",
    ),
    "elastic": Augmentation(elastic=10.0, source="Ronneberger 2015: 3 x 3 grid, 10 voxels, bicubic"),
    "vnet": Augmentation(
        elastic=15.0,
        nodes=2,
        match=1.0,
        source="Milletari 2016: 2 x 2 x 2 grid, 15 voxels; histograms of other patches of the batch instead of scans",
    ),
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
    share: Share | None = None,
) -> tuple[Tensor, Tensor]:
    """A changed copy of a batch; image and label of a sample move together.

    Parameters
    ----------
    images : float32 tensor, shape (n, channel, z, y, x) or (n, channel, y, x)
    labels : int64 tensor, shape (n, z, y, x) or (n, y, x)
        Sampled by the nearest voxel, so no value appears that was not there. Floats, the values of an image that is to
        be made, are sampled linearly as the image is; no change of intensities touches them.
    how : Augmentation
        For instance an entry of `AUGMENTATIONS`.
    seed : int
        Decides everything that is drawn.
    spacing_mm : tuple of float, optional
        Voxel size per spatial axis, so that rotations are rigid in space; equal sizes when absent.
    share : Share, optional
        The rows of a larger batch that these are: each changes as it would there.

    Returns
    -------
    images, labels
        Same shapes and types. Beyond the border the last voxels are repeated.
    """
    draws = Draws(torch.Generator(device=images.device).manual_seed(seed), len(images), share)
    dims = images.ndim - 2
    if how.rotation_deg or how.scale or how.shift or how.stretch or how.elastic:
        images, labels = _move(images, labels, how, draws, spacing_mm or (1.0,) * dims)
    for axis in how.flip_axes:
        if axis < dims:
            images, labels = _flip(images, labels, axis, draws)
    images = _recolour(images, how, draws)
    return (matched(images, how.match, draws) if how.match else images), labels


@dataclass(frozen=True)
class Draws:
    """Random numbers for `n` samples; where they are rows of a larger batch, those that the batch gives them."""

    generator: torch.Generator
    n: int
    share: Share | None = None

    def chances(self) -> Tensor:
        """A number in [0, 1) per sample."""
        whole = self.n if self.share is None else self.share.of
        numbers = torch.rand(whole, generator=self.generator, device=self.generator.device)
        return self._own(numbers, 1)

    def normal(self, sizes: Sequence[int]) -> Tensor:
        """Normal numbers of a size per sample."""
        whole = self.n if self.share is None else self.share.of
        return self._own(torch.randn((whole, *sizes), generator=self.generator, device=self.generator.device), 1)

    def uniform(self, limit: float, share: float, *, each: int = 1) -> Tensor:
        """`each` numbers per sample in [-limit, limit], and zero for all but the share of them."""
        return self._own(self._uniform(limit, share, each), each)

    def uniform_and_noise(
        self, limit: float, share: float, sizes: Sequence[int], *, each: int
    ) -> tuple[Tensor, Tensor]:
        """The same, and normal numbers of a size for those that are not zero."""
        whole = self._uniform(limit, share, each)
        changed = whole != 0.0
        noise = torch.randn((int(changed.sum()), *sizes), generator=self.generator, device=whole.device)
        own = self._own(whole, each)
        if self.share is not None:
            place = changed.cumsum(0) - 1
            noise = noise[self._own(place, each)[own != 0.0]]
        return own, noise

    def _uniform(self, limit: float, share: float, each: int) -> Tensor:
        n = each * (self.n if self.share is None else self.share.of)
        numbers, chance = torch.rand((2, n), generator=self.generator, device=self.generator.device)
        return torch.where(chance < share, (2.0 * numbers - 1.0) * limit, torch.zeros_like(numbers))

    def _own(self, whole: Tensor, each: int) -> Tensor:
        return whole if self.share is None else whole[self._places(each)]

    def _places(self, each: int) -> Tensor:
        rows = self.share.rows if self.share is not None else range(self.n)
        return torch.tensor([row * each + one for row in rows for one in range(each)], device=self.generator.device)


def _move(
    images: Tensor, labels: Tensor, how: Augmentation, draws: Draws, spacing_mm: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Rotate, scale and shift by one sampling of the image and one of the label; who stays is not sampled."""
    dims = images.ndim - 2
    angles = [draws.uniform(math.radians(how.rotation_deg), how.share) for _ in range(3 if dims == 3 else 1)]
    sizes = draws.uniform(math.log1p(how.scale), how.share)
    shifts = [draws.uniform(how.shift, how.share) for _ in range(dims)]
    factors = [draws.uniform(how.stretch, how.share) for _ in range(dims)] if how.stretch else []
    bends = _bends(tuple(images.shape[2:]), how, draws) if how.elastic else None
    moves = [*angles, sizes, *shifts, *factors, *([] if bends is None else [bends.flatten(1).abs().amax(1)])]
    chosen = _chosen(torch.stack(moves, 1))
    if not len(chosen):
        return images, labels
    matrix = _rotation([angle[chosen] for angle in angles], dims) * torch.exp(sizes[chosen]).view(-1, 1, 1)
    if factors:
        matrix = matrix * torch.stack([1.0 + factor[chosen] for factor in factors], 1).unsqueeze(1)
    spacing = torch.tensor(spacing_mm, device=images.device)
    matrix = matrix * (spacing.view(1, 1, -1) / spacing.view(1, -1, 1))
    grid = _sampling_grid(matrix, [shift[chosen] for shift in shifts], tuple(images.shape[2:]))
    if bends is not None:
        grid = grid + _in_grid(bends[chosen])
    moved = grid_sample(images[chosen], grid, mode="bilinear", padding_mode="border", align_corners=True)
    truth, mode = labels[chosen].unsqueeze(1).float(), "bilinear" if labels.is_floating_point() else "nearest"
    kept = grid_sample(truth, grid, mode=mode, padding_mode="border", align_corners=True)
    return images.index_copy(0, chosen, moved), labels.index_copy(0, chosen, kept.squeeze(1).to(labels.dtype))


def _bends(sizes: tuple[int, ...], how: Augmentation, draws: Draws) -> Tensor:
    """Displacements in voxels, shape (n, axis, ...): drawn at the nodes of each axis, the outer ones on the border."""
    dims, device = len(sizes), draws.generator.device
    nodes = draws.normal((dims, *(how.nodes,) * dims)) * how.elastic
    kept = draws.chances() < how.share
    nodes = nodes * kept.view(-1, *[1] * (dims + 1))
    for axis, size in enumerate(sizes):
        if size == 1:
            nodes[:, axis] = 0.0
        nodes = torch.tensordot(nodes, _cubic(size, how.nodes).to(device), dims=([2], [1]))  # the new axis comes last
    return nodes


def _cubic(size: int, nodes: int = 3) -> Tensor:
    """Matrix (size, nodes) that interpolates nodes, the outer ones at the first and the last voxel."""
    if size == 1:
        return torch.eye(nodes)[nodes // 2].view(1, nodes)
    return interpolate(torch.eye(nodes)[None, None], (size, nodes), mode="bicubic", align_corners=True)[0, 0]


def _in_grid(displacements: Tensor) -> Tensor:
    """Displacements (n, axis, ...) in voxels, as `grid_sample` counts (last axis x, y, z)."""
    sizes = displacements.shape[2:]
    parts = [displacements[:, axis] * (2.0 / max(size - 1, 1)) for axis, size in enumerate(sizes)]
    return torch.stack(parts[::-1], dim=-1)


def _chosen(amounts: Tensor) -> Tensor:
    """Numbers of the samples, or channels of samples, that are changed at all: rows of `amounts` that are not zero."""
    return amounts.reshape(len(amounts), -1).any(1).nonzero().flatten()


def _sampling_grid(matrix: Tensor, shifts: list[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """Where each voxel is taken from, in the coordinates of `grid_sample` (last axis x, y, z)."""
    n, dims, device = len(matrix), len(sizes), matrix.device
    grid = torch.empty((n, *sizes, dims), device=device)
    for row, size in enumerate(sizes):
        position = (shifts[row] * size).view(n, *[1] * dims)
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


def _flip(images: Tensor, labels: Tensor, axis: int, draws: Draws) -> tuple[Tensor, Tensor]:
    chosen = draws.chances() < 0.5
    chosen = chosen.view(-1, *[1] * (labels.ndim - 1))
    return (
        torch.where(chosen.unsqueeze(1), images.flip(axis + 2), images),
        torch.where(chosen, labels.flip(axis + 1), labels),
    )


def _recolour(images: Tensor, how: Augmentation, draws: Draws) -> Tensor:
    """Coarsen, add noise, change brightness, contrast and gamma, in this order; each channel by its own numbers.

    Only channels that something befalls are touched, in a copy.
    """
    _, n_channels, *sizes = images.shape
    axes = tuple(range(1, 1 + len(sizes)))
    flat = images.flatten(0, 1)

    def changed(limit: float, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        amounts = draws.uniform(limit, how.share, each=n_channels).view(-1, *[1] * len(sizes))
        chosen = _chosen(amounts)
        return flat.index_copy(0, chosen, change(flat[chosen], amounts[chosen])) if len(chosen) else flat

    def noisy() -> Tensor:
        amounts, noise = draws.uniform_and_noise(how.noise, how.share, sizes, each=n_channels)
        chosen = _chosen(amounts)
        if not len(chosen):
            return flat
        some, amount = flat[chosen], amounts[chosen].view(-1, *[1] * len(sizes))
        return flat.index_copy(0, chosen, some + noise * amount.abs() * some.std(axes, keepdim=True))

    def contrast(some: Tensor, amount: Tensor) -> Tensor:
        mean, low, high = some.mean(axes, keepdim=True), some.amin(axes, keepdim=True), some.amax(axes, keepdim=True)
        return ((some - mean) * (1.0 + amount) + mean).clamp(low, high)

    if how.low_resolution:
        flat = changed(how.low_resolution, _coarsen)
    if how.noise:
        flat = noisy()
    if how.brightness:
        flat = changed(how.brightness, lambda some, amount: some * (1.0 + amount))
    if how.contrast:
        flat = changed(how.contrast, contrast)
    if how.gamma:
        flat = changed(math.log1p(how.gamma), lambda some, amount: _gamma(some, torch.exp(amount), axes))
    return flat.view(images.shape)


def matched(images: Tensor, share: float, draws: Draws) -> Tensor:
    """Give a share of the samples the histogram of another sample of the batch, channel by channel.

    The map is piecewise linear between `QUANTILES` quantiles of the two (Nyul & Udupa 1999), so equal values stay equal
    and the order of intensities is kept. A batch of one sample stays as it is.
    """
    n = len(images)
    wanted, other = draws.chances() < share, draws.chances()
    if n < 2:
        return images
    partners = (torch.arange(n, device=images.device) + 1 + (other * (n - 1)).long().clamp_max(n - 2)) % n
    places = torch.linspace(0.0, 1.0, QUANTILES, device=images.device)
    flat = images.flatten(2)
    # Sorted values at even ranks: quantiles of any number of voxels, which `torch.quantile` does not take.
    ranks = (places * (flat.shape[2] - 1)).round().long()
    levels = flat.sort(dim=2).values[..., ranks]
    changed = flat.clone()
    for row in wanted.nonzero().flatten().tolist():
        for channel in range(flat.shape[1]):
            changed[row, channel] = _between(flat[row, channel], levels[row, channel], levels[partners[row], channel])
    return changed.view(images.shape)


def _between(values: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """Values by straight lines from their own quantiles to those of the other; beyond them as the outer ones."""
    high = torch.searchsorted(own.contiguous(), values.contiguous()).clamp(1, len(own) - 1)
    low = high - 1
    width = (own[high] - own[low]).clamp_min(1e-12)
    weight = ((values - own[low]) / width).clamp(0.0, 1.0)
    return others[low] + weight * (others[high] - others[low])


def _coarsen(images: Tensor, amounts: Tensor) -> Tensor:
    """Each channel of each sample with its share of voxels fewer."""
    mode = "trilinear" if images.ndim == 4 else "bilinear"
    parts = []
    for image, amount in zip(torch.split(images[:, None], 1), amounts.abs().flatten().tolist(), strict=True):
        size = [max(1, round(length * (1.0 - amount))) for length in image.shape[2:]]
        parts.append(interpolate(interpolate(image, size, mode="nearest-exact"), image.shape[2:], mode=mode))
    return torch.cat(parts)[:, 0]


def _gamma(images: Tensor, exponent: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Raise intensities, scaled to [0, 1], to a power, then restore mean and standard deviation."""
    low = images.amin(axes, keepdim=True)
    spread = (images.amax(axes, keepdim=True) - low).clamp_min(1e-6)
    bent = ((images - low) / spread).clamp(0.0, 1.0) ** exponent
    mean, deviation = bent.mean(axes, keepdim=True), bent.std(axes, keepdim=True).clamp_min(1e-6)
    return (bent - mean) / deviation * images.std(axes, keepdim=True) + images.mean(axes, keepdim=True)
