"""Losses of networks whose outputs are regions, one logit for each, which may lie in each other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cohortseg.ignored import IGNORE
from cohortseg.train.losses import LossFunction


def region_target(target: Tensor, numbers: Sequence[int]) -> Tensor:
    """1 where a target (int64, any shape) is one of these classes, else 0; `IGNORE` stays."""
    inside = torch.zeros_like(target, dtype=torch.bool)
    for number in numbers:
        inside |= target == number
    return torch.where(target == IGNORE, target, inside.long())


def per_region(loss: LossFunction, members: Sequence[Sequence[int]]) -> LossFunction:
    """The mean over regions of a loss of two classes, inside and outside.

    The logits (0, s) of two classes have the softmax (1 - p, p), where p is the sigmoid of s. So each loss of the
    tables is one of regions: `dice_ce` is soft Dice plus binary cross entropy, both the mean over the channels, as
    nnU-Net trains them for BraTS (Isensee et al. 2020); `focal` is the binary one of Lin 2017.

    Parameters
    ----------
    loss : callable
        Of logits (n, 2, ...) and a target (n, ...).
    members : sequence of sequence of int
        The class numbers of each region.

    Returns
    -------
    callable
        Of logits (n, region, ...) and a target of classes (n, ...).
    """

    def of_all(logits: Tensor, target: Tensor) -> Tensor:
        if logits.shape[1] != len(members):
            raise ValueError(f"{logits.shape[1]} logits for {len(members)} regions")
        found = []
        for score, numbers in zip(torch.split(logits.float(), 1, dim=1), members, strict=True):
            both = torch.cat([torch.zeros_like(score), score], dim=1)
            found.append(loss(both, region_target(target, numbers)))
        return torch.stack(found).mean()

    return of_all
