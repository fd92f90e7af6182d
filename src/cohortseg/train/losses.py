"""Losses, all with one signature: logits and target to a scalar.

`logits` is a float tensor (n, class, ...) with the background as class 0, `target` an int64 tensor (n, ...). Everything
is computed in fp32. One-hot products stand where indexing would do, because they are repeatable on a graphics card too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

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


def dice(*, smooth: float = SMOOTH, background: bool = False) -> LossFunction:
    """One minus the mean soft Dice of the classes, of the softmax, over the batch; without background by default."""
    first = 0 if background else 1

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        truth = one_hot(target, logits.shape[1])[:, first:]
        return 1.0 - soft_dice(torch.softmax(logits.float(), dim=1)[:, first:], truth, smooth=smooth).mean()

    return loss


def cross_entropy() -> LossFunction:
    """Mean over the voxels of -log of the softmax probability of the true class."""
    return focal(gamma=0.0)


def focal(*, gamma: float = 2.0) -> LossFunction:
    """Mean over the voxels of -(1 - p)^gamma log p, p the softmax probability of the true class."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return _true_log(torch.log_softmax(logits.float(), dim=1), target, gamma)

    return loss


def _true_log(log_probabilities: Tensor, target: Tensor, gamma: float) -> Tensor:
    log_true = (log_probabilities * one_hot(target, log_probabilities.shape[1])).sum(dim=1)
    if gamma == 0.0:
        return -log_true.mean()
    return -((1.0 - log_true.exp()).clamp_min(0.0) ** gamma * log_true).mean()


def dice_ce(*, smooth: float = SMOOTH) -> LossFunction:
    """Dice loss without background plus cross entropy, with equal weights."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        truth = one_hot(target, logits.shape[1])
        log_probabilities = torch.log_softmax(logits.float(), dim=1)
        overlap = soft_dice(log_probabilities.exp()[:, 1:], truth[:, 1:], smooth=smooth).mean()
        return 1.0 - overlap - (log_probabilities * truth).sum(dim=1).mean()

    return loss


def dice_bce(*, smooth: float = SMOOTH) -> LossFunction:
    """Dice plus binary cross entropy of each foreground class against everything else, with equal weights.

    The probability of foreground class k is the sigmoid of its logit minus the background's. So the largest softmax
    channel is class k exactly when its sigmoid is the largest and above one half, prediction needs no other activation,
    and with a single foreground class both probabilities are the same number.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        scores = logits.float()
        scores = scores[:, 1:] - scores[:, :1]
        truth = one_hot(target, logits.shape[1])[:, 1:]
        overlap = soft_dice(torch.sigmoid(scores), truth, smooth=smooth).mean()
        return 1.0 - overlap + binary_cross_entropy_with_logits(scores, truth)

    return loss


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss(cross_entropy, "Shannon; Ronneberger 2015"),
    "dice": Loss(dice, "Milletari 2016, without the squares; over the batch as Isensee 2021"),
    "dice_bce": Loss(dice_bce, "Primakov 2022; sum with constant equal weights"),
    "dice_ce": Loss(dice_ce, "Isensee 2021"),
    "focal": Loss(focal, "Lin 2017, gamma 2, without class weights"),
}
