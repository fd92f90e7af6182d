"""Augmentation of what a network of a cascade sees: the image changes as ever, the label before it moves along.

Its intensities are classes: nothing recolours them, and they are never interpolated. It is also spoilt at random, so
that the network learns what such labels are worth (Isensee et al. 2021; numbers as in nnU-Net version 2): components
are taken away, and what is left is opened, closed, dilated or eroded.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, max_pool3d, pad

from cohortseg.train.augment import Augmentation
from cohortseg.train.team import Share

MORPHOLOGY_CHANCE = 0.4
"""Of a sample: each of its classes is dilated, eroded, opened or closed."""
LARGEST_RADIUS = 8
"""Voxels, from 1; of a box, where nnU-Net has a ball."""
REMOVAL_CHANCE = 0.2
"""Of a sample: each of its classes loses one component."""
LARGEST_REMOVED = 0.15
"""Share of the patch above which a component stays."""
COUNT = 1000
"""Factor by which the class before stands above the class of the reference while both move together."""
POOL = {2: max_pool2d, 3: max_pool3d}


def change_with_label(
    change: Callable[..., tuple[Tensor, Tensor]],
    images: Tensor,
    labels: Tensor,
    how: Augmentation,
    *,
    seed: int,
    n_classes: int,
    share: Share | None = None,
) -> tuple[Tensor, Tensor]:
    """A changed copy of a batch whose last `n_classes` channels are a label, one-hot.

    Parameters
    ----------
    change : callable
        `augment.augment` with its numbers.
    images : float32 tensor, shape (n, channel + n_classes, ...)
    labels : int64 tensor, shape (n, ...)
        Up to 255.
    how, seed, share
        As for `augment`. With an augmentation that changes nothing the label is not spoilt either.
    n_classes : int
        Without the background.

    Returns
    -------
    images, labels
        Same shapes and types.
    """
    numbers = torch.arange(1, n_classes + 1, device=images.device).view(1, -1, *[1] * (images.ndim - 2))
    before = (images[:, -n_classes:] * numbers).sum(1).round().long()
    moved, both = change(images[:, :-n_classes], labels + COUNT * before, how, seed=seed)
    before = (both // COUNT).unsqueeze(1) == numbers
    if how != Augmentation(source=how.source):
        rows = list(share.rows) if share is not None else list(range(len(images)))
        before = torch.stack([spoilt(one, seed=(seed, row)) for one, row in zip(before, rows, strict=True)])
    return torch.cat([moved, before.to(moved.dtype)], 1), both % COUNT


def spoilt(masks: Tensor, *, seed: tuple[int, int]) -> Tensor:
    """The classes of one sample (bool, shape (class, ...)) with errors such as networks make."""
    draw = np.random.default_rng(seed)
    if draw.random() < MORPHOLOGY_CHANCE:
        masks = _grown_or_shrunk(masks, int(draw.integers(4)), int(draw.integers(1, LARGEST_RADIUS + 1)))
    if draw.random() < REMOVAL_CHANCE:
        masks = torch.stack([_without_a_component(mask, draw) for mask in masks])
    return masks


def _grown_or_shrunk(masks: Tensor, kind: int, radius: int) -> Tensor:
    """Dilated, eroded, opened or closed by a box; a class that grows takes from those before it.

    Beyond the border of the patch things go on as they are there.
    """
    steps = ((1,), (-1,), (-1, 1), (1, -1))[kind]
    dims = masks.ndim - 1
    found = pad(masks.float().unsqueeze(0), [radius] * (2 * dims), mode="replicate")
    for sign in steps:
        found = sign * _largest_about(sign * found, radius)
    inside: Any = (0, slice(None), *[slice(radius, -radius)] * dims)
    grown: Tensor = found[inside] > 0.5
    taken = torch.zeros_like(grown[0])
    exclusive: list[Tensor] = []
    for mask in reversed(grown):
        exclusive.insert(0, mask & ~taken)
        taken = taken | mask
    return torch.stack(exclusive)


def _largest_about(values: Tensor, radius: int) -> Tensor:
    """The largest value within a box about each voxel, one axis after the other; nothing lies beyond the border."""
    dims = values.ndim - 2
    for axis in range(dims):
        size = [2 * radius + 1 if number == axis else 1 for number in range(dims)]
        values = POOL[dims](values, size, stride=1, padding=[n // 2 for n in size])
    return values


def _without_a_component(mask: Tensor, draw: Any) -> Tensor:
    """A class without one of its components that are no larger than a share of the patch."""
    from scipy import ndimage

    found, n = ndimage.label(mask.cpu().numpy())
    sizes = np.bincount(found.ravel(), minlength=n + 1)[1:]
    small = np.flatnonzero(sizes <= LARGEST_REMOVED * found.size) + 1
    if not len(small):
        return mask
    gone = torch.from_numpy(found == small[draw.integers(len(small))]).to(mask.device)
    return mask & ~gone
