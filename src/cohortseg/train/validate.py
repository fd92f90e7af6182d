"""Quick validation while training: Dice of a few cases by the sliding window, within a box of bounded size."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from cohortseg.ignored import left_out
from cohortseg.infer.blend import Floats
from cohortseg.infer.extent import Extent
from cohortseg.infer.native import labels_from
from cohortseg.infer.networks import Forward, forward_of
from cohortseg.infer.overlap_tile import overlap_tile_slabs
from cohortseg.infer.regions import Regions, classes_from
from cohortseg.infer.sliding import predict_slabs, read_region, slab_array
from cohortseg.metrics.regions import holds
from cohortseg.train.losses import LossFunction
from cohortseg.train.patches import Case
from cohortseg.volume import Array, Shape

Validation: TypeAlias = Callable[[nn.Module], dict[str, float]]


def validation(  # noqa: PLR0913 (numbers of one validation)
    cases: Sequence[Case],
    *,
    patch: Shape,
    n_classes: int,
    loss: LossFunction,
    n_cases: int = 8,
    overlap: float = 0.25,
    max_voxels: int = 500_000,
    precision: str = "fp32",
    extent: Extent | None = None,
    regions: Regions | None = None,
) -> Validation:
    """A callable from a network to its mean loss and Dice on some cases.

    Parameters
    ----------
    cases : sequence of Case
        Validation cases; `n_cases` of them are used, evenly spread over those with labelled voxels.
    patch : (int, int, int)
        Size of a tile.
    n_classes : int
        Background included.
    loss : callable
        As in training.
    extent : Extent, optional
        Of a network; where it gives less than it sees, tiles are laid side by side instead of blended.
    regions : Regions, optional
        Those that the network finds, as many as there are classes; then `dice_1` is that of the first region.
    n_cases, overlap, max_voxels, precision
        What it may cost: per case a box about the labelled voxels of at most `max_voxels` is predicted (but at least
        one patch), with this overlap of the tiles.

    Returns
    -------
    callable
        Network to ``{"validation_loss": …, "dice": …, "dice_1": …}``. A class's Dice is the mean over the cases that
        hold it, NaN when none does; `dice` is the mean over the classes that are not NaN.
    """
    labelled = [case for case in cases if len(case.foreground)]
    boxes = [_box(case, patch, max_voxels) for case in spread(labelled, n_cases)]
    members = [[number] for number in range(1, n_classes)] if regions is None else regions.members

    def validate(network: nn.Module) -> dict[str, float]:
        device = next(network.parameters()).device
        forward = forward_of([network], device, precision=precision, regions=regions is not None)
        was_training = network.training
        network.eval()
        losses, scores = [], []
        for image, label in boxes:
            probabilities = predicted(image, forward, n_classes, patch=patch, extent=extent, overlap=overlap)
            losses.append(_loss(probabilities, label, loss, regions is not None))
            found = labels_from(probabilities) if regions is None else classes_from(probabilities, regions.decoded)
            scores.append(_dice(left_out(found, label), label, members))
        network.train(was_training)
        return _row(losses, np.array(scores).reshape(-1, n_classes - 1))

    return validate


def predicted(
    image: Array, forward: Forward, n_channels: int, *, patch: Shape, extent: Extent | None, overlap: float
) -> Floats:
    """What a network gives of a box: tiles laid side by side where it gives less than it sees, else blended."""
    if extent is not None and extent.is_smaller:
        return slab_array(overlap_tile_slabs(image, forward, extent=extent, patch=patch, n_channels_out=n_channels))
    return slab_array(predict_slabs(image, forward, patch=patch, n_channels_out=n_channels, overlap=overlap))


def spread(cases: Sequence[Case], n: int) -> Sequence[Case]:
    """At most n of the cases, evenly spread."""
    return [cases[number * len(cases) // n] for number in range(n)] if len(cases) > n else cases


def _box(case: Case, patch: Shape, max_voxels: int) -> tuple[Floats, Array]:
    """Image and label of `box_in`."""
    start, box = box_in(case, patch, max_voxels)
    return read_region(case.image, start, box), read_region(case.label, start, box)[0].astype(np.uint8)


def box_in(case: Case, patch: Shape, max_voxels: int) -> tuple[Shape, Shape]:
    """First voxel and size of a box about the middle of the foreground: the largest multiple of the patch allowed."""
    sizes = np.array(case.image.shape[-3:])
    times = 1
    while np.prod(np.minimum(np.array(patch) * (times + 1), sizes)) <= max_voxels and np.any(
        np.array(patch) * times < sizes
    ):
        times += 1
    shape = np.minimum(np.array(patch) * times, sizes)
    middle = np.median(case.foreground[:, 1:], axis=0).astype(int)
    z, y, x = (int(number) for number in np.clip(middle - shape // 2, 0, sizes - shape))
    return (z, y, x), (int(shape[0]), int(shape[1]), int(shape[2]))


def _loss(probabilities: Floats, label: Array, loss: LossFunction, is_regions: bool) -> float:
    found = torch.from_numpy(probabilities)[None]
    # The softmax, or the sigmoid, of these is the probabilities.
    logits = torch.logit(found[:, 1:], eps=1e-7) if is_regions else found.clamp_min(1e-7).log()
    return float(loss(logits, torch.from_numpy(label.astype(np.int64))[None]))


def _dice(prediction: Array, reference: Array, members: Sequence[Sequence[int]]) -> list[float]:
    scores = []
    for numbers in members:
        found, truth = holds(prediction, numbers), holds(reference, numbers)
        scores.append(2.0 * float((found & truth).sum()) / float(found.sum() + truth.sum()) if truth.any() else np.nan)
    return scores


def _row(losses: list[float], scores: Array) -> dict[str, float]:
    counts = (~np.isnan(scores)).sum(axis=0)
    means = np.divide(np.nansum(scores, axis=0), counts, out=np.full(scores.shape[1], np.nan), where=counts > 0)
    there = means[~np.isnan(means)]
    row = {
        "validation_loss": float(np.mean(losses)) if losses else float("nan"),
        "dice": float(there.mean()) if len(there) else float("nan"),
    }
    return row | {f"dice_{number}": float(mean) for number, mean in enumerate(means, start=1)}
