"""Losses of networks that make an image: result (n, 1, ...) and target (n, ...), both floats, to a scalar.

Both are in shares of the range of the target (0 its lowest value, 1 its highest), so that a learning rate means the
same for every unit. All voxels of the batch count the same.
"""

from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss, smooth_l1_loss

from cohortseg.train.losses import Loss, LossFunction

BETA = 0.05
"""Share of the range below which `smooth_l1` is quadratic; with 1, usual for z-scores, it would be L2 everywhere."""


def _made(result: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return result[:, 0].float(), target.float()


def l1() -> LossFunction:
    """Mean of the absolute differences."""
    return lambda result, target: l1_loss(*_made(result, target))


def l2() -> LossFunction:
    """Mean of the squared differences."""
    return lambda result, target: mse_loss(*_made(result, target))


def smooth_l1(*, beta: float = BETA) -> LossFunction:
    """Mean over the voxels of d² / (2 beta) where the difference d is below beta, of d - beta / 2 where it is not."""
    return lambda result, target: smooth_l1_loss(*_made(result, target), beta=beta)


IMAGE_LOSSES: dict[str, Loss] = {
    "l1": Loss(l1, "Han 2017; Li 2018"),
    "l2": Loss(l2, "Li 2018"),
    "smooth_l1": Loss(smooth_l1, "Girshick 2015; for super-resolution Oktay 2016"),
}
