"""Quick validation of a network that makes an image: its error on a box of a few cases, in the unit of the target."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from cohortseg.infer.blend import Floats
from cohortseg.infer.extent import Extent
from cohortseg.infer.images import image_forward_of
from cohortseg.infer.sliding import read_region
from cohortseg.train.losses import LossFunction
from cohortseg.train.patches import Case
from cohortseg.train.validate import Validation, box_in, predicted, spread
from cohortseg.volume import Shape


def validation_of_images(  # noqa: PLR0913 (numbers of one validation)
    cases: Sequence[Case],
    *,
    patch: Shape,
    loss: LossFunction,
    unit: float,
    n_cases: int = 8,
    overlap: float = 0.25,
    max_voxels: int = 500_000,
    precision: str = "fp32",
    extent: Extent | None = None,
) -> Validation:
    """A callable from a network to its mean loss and mean absolute error on some cases.

    Parameters
    ----------
    cases, patch, loss, n_cases, overlap, max_voxels, precision, extent
        As for `validate.validation`; the label of a case is its target, in shares of its range.
    unit : float
        The range: what a difference of 1 is in the unit of the target.

    Returns
    -------
    callable
        Network to ``{"validation_loss": …, "mae": …}``: means over the cases, `mae` in the unit of the target. NaN
        without a case.
    """
    boxes = []
    for case in spread([case for case in cases if len(case.foreground)], n_cases):
        start, box = box_in(case, patch, max_voxels)
        target: Floats = read_region(case.label, start, box)[0]
        boxes.append((read_region(case.image, start, box), target))

    def validate(network: nn.Module) -> dict[str, float]:
        device = next(network.parameters()).device
        forward = image_forward_of([network], device, precision=precision)
        was_training = network.training
        network.eval()
        losses, errors = [], []
        for image, target in boxes:
            found = predicted(image, forward, 1, patch=patch, extent=extent, overlap=overlap)
            losses.append(float(loss(torch.from_numpy(found)[None], torch.from_numpy(target)[None])))
            errors.append(float(np.abs(found[0] - target).mean()) * unit)
        network.train(was_training)
        return {
            "validation_loss": float(np.mean(losses)) if losses else float("nan"),
            "mae": float(np.mean(errors)) if errors else float("nan"),
        }

    return validate
