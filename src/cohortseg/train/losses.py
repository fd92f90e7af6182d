"""Losses, all with one signature: logits and target to a scalar.

`logits` is a float tensor (n, class, ...) with the background as class 0, `target` an int64 tensor (n, ...). Voxels
whose target is `IGNORE` (sparse annotation) count for nothing and have no gradient. Everything is computed in fp32.
One-hot products stand where indexing would do, because they are repeatable on a graphics card too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from cohortseg.ignored import IGNORE

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]

SMOOTH = 1.0
"""Voxels added to both sides of a Dice fraction: a class absent from a batch has a gradient of at most one a voxel."""


@dataclass(frozen=True)
class Loss:
    """An entry of `LOSSES`: how the loss is built (keyword options, all with defaults) and where it is described."""

    build: Callable[..., LossFunction]
    source: str


def one_hot(target: Tensor, n_classes: int) -> Tensor:
    """float32 tensor (n, class, ...) of zeros and ones from an int64 tensor (n, ...)."""
    classes = torch.arange(n_classes, device=target.device).view(1, -1, *[1] * (target.ndim - 1))
    return (target.unsqueeze(1) == classes).float()


def soft_dice(probabilities: Tensor, truth: Tensor, *, smooth: float = SMOOTH) -> Tensor:
    """Soft Dice per class over the whole batch, float tensor (class,); 1 when a class is neither there nor predicted.

    Both arguments are float tensors (n, class, ...).
    """
    axes = [0, *range(2, truth.ndim)]
    shared = (probabilities * truth).sum(axes)
    return (2.0 * shared + smooth) / (probabilities.sum(axes) + truth.sum(axes) + smooth)


@dataclass(frozen=True)
class Voxels:
    """What most losses are made of: logarithm of the softmax, one-hot truth (n, class, ...), which voxels count."""

    log_probabilities: Tensor
    truth: Tensor
    counted: Tensor

    @property
    def probabilities(self) -> Tensor:
        """The softmax, 0 where a voxel does not count."""
        return self.log_probabilities.exp() * self.counted

    def mean(self, of_voxels: Tensor) -> Tensor:
        """Mean of a tensor (n, ...) over the voxels that count; 0 where none does."""
        counted = self.counted[:, 0]
        return (of_voxels * counted).sum() / counted.sum().clamp_min(1.0)


def voxels_of(logits: Tensor, target: Tensor) -> Voxels:
    """Softmax, truth (all 0 where ignored) and a mask (n, 1, ...) of ones."""
    counted = (target != IGNORE).unsqueeze(1).float()
    return Voxels(torch.log_softmax(logits.float(), dim=1), one_hot(target, logits.shape[1]), counted)


def dice(*, smooth: float = SMOOTH, background: bool = False) -> LossFunction:
    """One minus the mean soft Dice of the classes, of the softmax, over the batch; without background by default."""
    first = 0 if background else 1

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        return 1.0 - soft_dice(voxels.probabilities[:, first:], voxels.truth[:, first:], smooth=smooth).mean()

    return loss


def cross_entropy() -> LossFunction:
    """Mean over the voxels of -log of the softmax probability of the true class."""
    return focal(gamma=0.0)


def focal(*, gamma: float = 2.0) -> LossFunction:
    """Mean over the voxels of -(1 - p)^gamma log p, p the softmax probability of the true class."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return _focal(voxels_of(logits, target), gamma)

    return loss


def _focal(voxels: Voxels, gamma: float) -> Tensor:
    log_true = (voxels.log_probabilities * voxels.truth).sum(dim=1)
    if gamma == 0.0:
        return -voxels.mean(log_true)
    return -voxels.mean((1.0 - log_true.exp()).clamp_min(0.0) ** gamma * log_true)


def dice_ce(*, smooth: float = SMOOTH, dice_weight: float = 1.0, entropy_weight: float = 1.0) -> LossFunction:
    """Dice loss without background plus cross entropy, with equal weights unless others are given."""
    return dice_focal(smooth=smooth, gamma=0.0, dice_weight=dice_weight, entropy_weight=entropy_weight)


def dice_focal(
    *, smooth: float = SMOOTH, gamma: float = 2.0, dice_weight: float = 1.0, entropy_weight: float = 1.0
) -> LossFunction:
    """Dice loss without background plus focal loss, with equal weights unless others are given."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        overlap = soft_dice(voxels.probabilities[:, 1:], voxels.truth[:, 1:], smooth=smooth).mean()
        return dice_weight * (1.0 - overlap) + entropy_weight * _focal(voxels, gamma)

    return loss


def dice_bce(*, smooth: float = SMOOTH, dice_weight: float = 1.0, entropy_weight: float = 1.0) -> LossFunction:
    """Dice plus binary cross entropy of each foreground class against everything else; equal weights unless given.

    The probability of foreground class k is the sigmoid of its logit minus the background's. So the largest softmax
    channel is class k exactly when its sigmoid is the largest and above one half, prediction needs no other activation,
    and with a single foreground class both probabilities are the same number.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        scores = logits.float()
        scores = scores[:, 1:] - scores[:, :1]
        voxels = voxels_of(logits, target)
        truth = voxels.truth[:, 1:]
        overlap = soft_dice(torch.sigmoid(scores) * voxels.counted, truth, smooth=smooth).mean()
        entropy = binary_cross_entropy_with_logits(scores, truth, reduction="none").mean(dim=1)
        return dice_weight * (1.0 - overlap) + entropy_weight * voxels.mean(entropy)

    return loss


def tversky(*, alpha: float = 0.3, beta: float = 0.7, smooth: float = SMOOTH, gamma: float = 1.0) -> LossFunction:
    """Mean over the foreground classes of (1 - T)^gamma, T = (TP + s) / (TP + alpha FP + beta FN + s), over the batch.

    With beta above alpha, missed voxels cost more than wrong ones. alpha = beta = 1/2 is Dice (with half the smooth).
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        found, truth = voxels.probabilities[:, 1:], voxels.truth[:, 1:]
        axes = [0, *range(2, truth.ndim)]
        shared = (found * truth).sum(axes)
        wrong, missed = found.sum(axes) - shared, truth.sum(axes) - shared
        index = (shared + smooth) / (shared + alpha * wrong + beta * missed + smooth)
        return ((1.0 - index).clamp_min(1e-7) ** gamma).mean() if gamma != 1.0 else 1.0 - index.mean()

    return loss


def focal_tversky(*, gamma: float = 0.75) -> LossFunction:
    """Tversky loss with the exponent 3/4, which weighs the badly found classes more."""
    return tversky(gamma=gamma)


def jaccard(*, smooth: float = SMOOTH) -> LossFunction:
    """One minus the mean soft Jaccard index (intersection over union) of the foreground classes, over the batch."""
    return tversky(alpha=1.0, beta=1.0, smooth=smooth)


def generalised_dice(*, smooth: float = SMOOTH) -> LossFunction:
    """One minus a Dice over all classes together, each weighted by its inverse squared volume; background included.

    A class that is absent from the batch takes the largest weight of those present, as if it were the smallest.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        axes = [0, *range(2, voxels.truth.ndim)]
        volume = voxels.truth.sum(axes)
        present = volume > 0
        weight = torch.where(present, 1.0 / volume.clamp_min(1.0) ** 2, torch.zeros_like(volume))
        largest = torch.where(present.any(), weight.max(), torch.ones_like(weight.max()))
        weight = torch.where(present, weight, largest)
        found = voxels.probabilities
        shared = (weight * (found * voxels.truth).sum(axes)).sum()
        both = (weight * (found.sum(axes) + volume)).sum()
        eps = smooth * weight.max()
        return 1.0 - (2.0 * shared + eps) / (both + eps)

    return loss


def lovasz_softmax() -> LossFunction:
    """Lovász extension of the Jaccard loss, mean over the classes present in the batch; 0 where no voxel counts."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = voxels_of(logits, target)
        counted = voxels.counted.flatten() > 0
        values = []
        for number in range(logits.shape[1]):
            truth = voxels.truth[:, number].flatten()[counted]
            if truth.sum() > 0:
                errors = (truth - voxels.probabilities[:, number].flatten()[counted]).abs()
                values.append(_lovasz(errors, truth))
        return torch.stack(values).mean() if values else logits.sum() * 0.0

    return loss


def _lovasz(errors: Tensor, truth: Tensor) -> Tensor:
    """Errors, largest first, times the growth of the Jaccard loss that each brings."""
    errors, order = torch.sort(errors, descending=True, stable=True)
    truth = truth[order]
    union = truth.sum() + (1.0 - truth).cumsum(0)
    lost = 1.0 - (truth.sum() - truth.cumsum(0)) / union
    return (errors * torch.diff(lost, prepend=lost.new_zeros(1))).sum()


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss(cross_entropy, "Shannon; Ronneberger 2015"),
    "dice": Loss(dice, "Milletari 2016, without the squares; over the batch as Isensee 2021"),
    "dice_bce": Loss(dice_bce, "Primakov 2022, whose weights are not given"),
    "dice_ce": Loss(dice_ce, "Isensee 2021"),
    "dice_focal": Loss(dice_focal, "Zhu 2019 (AnatomyNet), equal weights"),
    "focal": Loss(focal, "Lin 2017, gamma 2, without class weights"),
    "focal_tversky": Loss(focal_tversky, "Abraham and Khan 2019"),
    "generalised_dice": Loss(generalised_dice, "Sudre 2017"),
    "jaccard": Loss(jaccard, "Rahman and Wang 2016"),
    "lovasz_softmax": Loss(lovasz_softmax, "Berman 2018, classes present"),
    "tversky": Loss(tversky, "Salehi 2017"),
}
