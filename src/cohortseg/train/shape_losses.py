"""Losses that look at shapes: distances to the border, components, gaps between objects; and classes by weight.

Same signature as `losses`. What they look at is made of the target (and of the decided prediction) without gradient, on
the processor, patch by patch: a shape that the border of a patch cuts is taken as it is seen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cohortseg.errors import SettingsError
from cohortseg.ignored import IGNORE
from cohortseg.train.losses import SMOOTH, Loss, LossFunction, dice, generalised_dice, voxels_of

Spacing = Sequence[float] | None
Mask = npt.NDArray[np.bool_]


def weighted_cross_entropy(*, class_weights: Sequence[float] = ()) -> LossFunction:
    """Mean over the voxels of -w log p, p the softmax probability of the true class and w its weight.

    Not divided by the weights: of two classes with weights (1, b) it is -(b t log q + (1 - t) log(1 - q)).

    Parameters
    ----------
    class_weights : sequence of float
        Of each class, background first; all one when empty.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        if class_weights and len(class_weights) != logits.shape[1]:
            raise SettingsError(f"class_weights names {len(class_weights)} classes, there are {logits.shape[1]}")
        weights = torch.tensor(class_weights or [1.0] * logits.shape[1], device=logits.device)
        shaped = weights.view(1, -1, *[1] * (target.ndim - 1))
        return -voxels.mean((voxels.log_probabilities * voxels.truth * shaped).sum(dim=1))

    return loss


def border_weighted_cross_entropy(
    *, border_weight: float = 10.0, border_sigma: float = 5.0, spacing: Spacing = None
) -> LossFunction:
    """Cross entropy in which voxels between two objects count more: 1 + w0 exp(-(d1 + d2)^2 / 2 sigma^2).

    d1 and d2 are the distances to the nearest and to the second nearest object (component of the foreground). Inside
    an object the weight is 1: it is the gap that must be learnt.

    Parameters
    ----------
    border_weight, border_sigma : float
        w0, and sigma in the unit of the spacing.
    spacing : sequence of float, optional
        Voxel size per axis; ones when absent.

    References
    ----------
    Ronneberger 2015, equation 2, with a class weight of one.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        maps = [gap_weights(mask, border_weight, border_sigma, spacing) for mask in _masks(target)]
        weights = torch.from_numpy(np.stack(maps)).to(logits.device)
        return -voxels.mean(weights * (voxels.log_probabilities * voxels.truth).sum(dim=1))

    return loss


def gap_weights(mask: Mask, weight: float, sigma: float, spacing: Spacing = None) -> npt.NDArray[np.float32]:
    """Weights of the voxels of one patch, as `border_weighted_cross_entropy` says; ones with fewer than two objects."""
    from scipy import ndimage

    objects, n = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    found = np.ones(mask.shape, np.float32)
    if n < 2:
        return found
    nearest, second = np.full(mask.shape, np.inf), np.full(mask.shape, np.inf)
    for number in range(1, n + 1):
        far = ndimage.distance_transform_edt(objects != number, sampling=spacing)
        second = np.minimum(second, np.maximum(nearest, far))
        nearest = np.minimum(nearest, far)
    gap = ~mask
    found[gap] += weight * np.exp(-((nearest + second)[gap] ** 2) / (2 * sigma**2))
    return found


def boundary(
    *,
    region_weight: float = 1.0,
    boundary_weight: float = 0.01,
    spacing: Spacing = None,
    smooth: float = SMOOTH,
) -> LossFunction:
    """Generalised Dice plus the mean of signed distance to the true border times probability, of each foreground class.

    Outside a class the distance is that to it, inside minus that to the background, plus one step: the voxels next to
    the border count nothing inside. So the truth is the minimum, and it may be negative. A class that a patch lacks
    has no border there.

    Parameters
    ----------
    region_weight, boundary_weight : float
        Of the two parts.
    spacing : sequence of float, optional
        Voxel size per axis; ones when absent.

    References
    ----------
    Kervadec 2019, equations 4 to 6; 2021.
    """
    region = generalised_dice(smooth=smooth)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        far = torch.zeros_like(voxels.truth[:, 1:])
        for number in range(1, logits.shape[1]):
            for place, mask in enumerate(_masks(target, number)):
                far[place, number - 1] = torch.from_numpy(signed_distance(mask, spacing)).to(logits.device)
        inside = voxels.mean((far * voxels.probabilities[:, 1:]).mean(dim=1))
        return region_weight * region(logits, target) + boundary_weight * inside

    return loss


def signed_distance(mask: Mask, spacing: Spacing = None) -> npt.NDArray[np.float32]:
    """Distance to a mask outside of it; inside minus that to its outside, plus the smallest step.

    Zeros where a patch holds nothing else, or nothing of it: there is no border.
    """
    from scipy import ndimage

    if mask.all() or not mask.any():
        return np.zeros(mask.shape, np.float32)
    step = min(spacing) if spacing is not None else 1.0
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    return np.where(mask, step - inside, outside).astype(np.float32)


def hausdorff(*, exponent: float = 2.0, spacing: Spacing = None, smooth: float = SMOOTH) -> LossFunction:
    """Dice plus the mean of (p - t)^2 (d_p^a + d_t^a), in equal parts: an estimate of the Hausdorff distance.

    d_p and d_t are the distances to the border of the decided prediction and of the truth. The second part is scaled,
    batch by batch and without gradient, to the value of the first.

    References
    ----------
    Karimi and Salcudean 2020, equations 8 and 9 (there the scale is found anew each epoch).
    """
    overlap = dice(smooth=smooth)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        found, truth = voxels.probabilities[:, 1:], voxels.truth[:, 1:]
        far = torch.zeros_like(truth)
        for masks in ((found.detach() > 0.5).cpu().numpy(), (truth > 0.5).cpu().numpy()):
            powers = [[border_distance(mask, spacing) ** exponent for mask in of_patch] for of_patch in masks]
            far += torch.from_numpy(np.stack([np.stack(of_patch) for of_patch in powers])).to(far.device)
        first = overlap(logits, target)
        second = voxels.mean(((found - truth * voxels.counted) ** 2 * far).mean(dim=1))
        return first + second * (first / second.clamp_min(1e-8)).detach()

    return loss


def border_distance(mask: Mask, spacing: Spacing = None) -> npt.NDArray[np.float32]:
    """Distance of each voxel to the nearest one of the other kind; 0 where there is only one kind."""
    from scipy import ndimage

    if mask.all() or not mask.any():
        return np.zeros(mask.shape, np.float32)
    both = [ndimage.distance_transform_edt(part, sampling=spacing) for part in (mask, ~mask)]
    return np.asarray(both[0] + both[1], np.float32)


def iou_balanced(*, eta: float = 1.5) -> LossFunction:
    """Cross entropy in which the voxels of well found objects count more: w = iou^eta sum(CE) / sum(iou^eta CE).

    Wu and Li weigh the boxes of a detector. Here an object is a component of a foreground class, its iou that with the
    components of the decided prediction that touch it; the rest of a patch, and all where no object is found, has the
    weight one. The weights have no gradient, and the sum over the objects is what it would be without them.

    References
    ----------
    Wu and Li 2020, equations 2 and 3, on components instead of boxes.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        entropy = -(voxels.log_probabilities * voxels.truth).sum(dim=1)
        decided = logits.detach().argmax(dim=1)
        powers = np.zeros(target.shape, np.float32)
        for number in range(1, logits.shape[1]):
            pairs = zip(_masks(target, number), _masks(decided, number), strict=True)
            for place, (truth, found) in enumerate(pairs):
                powers[place] += iou_of_objects(truth, found) ** eta * truth
        weights, objects = torch.from_numpy(powers).to(logits.device), _foreground(target)
        plain, heavy = (entropy.detach() * objects).sum(), (entropy.detach() * weights).sum()
        if heavy > 0:
            weights = torch.where(objects, weights * plain / heavy, torch.ones_like(weights))
        else:
            weights = torch.ones_like(weights)
        return voxels.mean(weights * entropy)

    return loss


def iou_of_objects(truth: Mask, found: Mask) -> npt.NDArray[np.float32]:
    """Of each voxel of the truth the intersection over union of its component with the found components it touches."""
    from scipy import ndimage

    structure = ndimage.generate_binary_structure(truth.ndim, truth.ndim)
    objects, n = ndimage.label(truth, structure)
    others, _ = ndimage.label(found, structure)
    out = np.zeros(truth.shape, np.float32)
    for number in range(1, n + 1):
        one = objects == number
        touching = np.unique(others[one & found])
        other = np.isin(others, touching[touching > 0])
        out[one] = (one & other).sum() / (one | other).sum()
    return out


def _masks(target: Tensor, number: int | None = None) -> list[Mask]:
    """Of each patch the voxels of a class, or of all foreground classes; without those that nobody annotated."""
    array: npt.NDArray[Any] = target.detach().cpu().numpy()
    return list((array > 0) & (array != IGNORE) if number is None else array == number)


def _foreground(target: Tensor) -> Tensor:
    return (target > 0) & (target != IGNORE)


SHAPE_LOSSES: dict[str, Loss] = {
    "border_weighted": Loss(border_weighted_cross_entropy, "Ronneberger 2015, equation 2"),
    "boundary": Loss(boundary, "Kervadec 2019, with generalised Dice"),
    "hausdorff": Loss(hausdorff, "Karimi and Salcudean 2020, with Dice"),
    "iou_balanced": Loss(iou_balanced, "Wu and Li 2020, on components"),
    "weighted_cross_entropy": Loss(weighted_cross_entropy, "Ronneberger 2015; weights of classes"),
}
