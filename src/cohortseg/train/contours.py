"""The second task of networks with a head for contours: where one class ends and another begins."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool2d, max_pool3d

from cohortseg.ignored import IGNORE


def contour_of(target: Tensor, *, reach: int = 1) -> Tensor:
    """Voxels with another class within `reach` voxels along or across the axes.

    Parameters
    ----------
    target : int64 tensor, shape (n, ...)
        Unlabelled voxels (`IGNORE`) are no class: nothing ends at them.
    reach : int
        Half width of the contour; one voxel on each side of the border by default.

    Returns
    -------
    bool tensor, shape (n, ...)
    """
    pool = max_pool2d if target.ndim == 3 else max_pool3d
    size = 2 * reach + 1
    ignored = target == IGNORE

    def highest(values: Tensor) -> Tensor:
        # Outside of the patch nothing is assumed: the pooling pads with minus infinity.
        return pool(values.unsqueeze(1).float(), size, stride=1, padding=reach).squeeze(1)

    top = highest(torch.where(ignored, torch.full_like(target, -1), target))
    low = -highest(torch.where(ignored, torch.full_like(target, -IGNORE), -target))
    return (top != low) & ~ignored


def contour_loss(edges: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of a contour, its voxels and the others with half of the weight each.

    Parameters
    ----------
    edges : float tensor, shape (n, 1, ...) or (n, 2, ...)
        Logits: of the contour, or of none and contour.
    target : int64 tensor, shape (n, ...)
        Classes.

    Returns
    -------
    float tensor
        A scalar; 0 where nothing is annotated. Of a batch without contour the mean over all voxels.

    References
    ----------
    Weights of Xie and Tu 2015 (HED), as Takikawa 2019 uses; Chen 2017 (DCAN) adds the plain cross entropy.
    """
    scores = edges.float()
    logit = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]
    truth = contour_of(target).float()
    counted = (target != IGNORE).float()
    n, n_contour = counted.sum(), truth.sum()
    n_other = n - n_contour
    half = torch.where(truth > 0, 0.5 * n / n_contour.clamp_min(1.0), 0.5 * n / n_other.clamp_min(1.0))
    weights = counted * torch.where((n_contour > 0) & (n_other > 0), half, torch.ones_like(half))
    entropy = binary_cross_entropy_with_logits(logit, truth, reduction="none")
    return (weights * entropy).sum() / n.clamp_min(1.0)
