"""What shapes there are, learnt from label maps alone: an autoencoder whose code a training is held to (ACNN)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from cohortseg.infer.architectures.autoencoder import Autoencoder
from cohortseg.infer.architectures.parts import middle
from cohortseg.infer.networks import build_network
from cohortseg.train.losses import LossFunction, cross_entropy, voxels_of
from cohortseg.train.patches import Source
from cohortseg.train.recipe import Recipe

FEATURES = (16, 32, 64)
LEARNING_RATE = 3e-3


def learn_shapes(
    source: Source, *, dims: int, n_classes: int, steps: int, code: int, seed: int, device: torch.device
) -> Autoencoder:
    """An autoencoder of the label maps that a source draws, in evaluation mode, whose weights stay.

    Parameters
    ----------
    source : Source
        Patches of the training cases; their images are not looked at.
    dims : 2 or 3
    n_classes : int
        Background included.
    steps : int
        Optimiser steps of its own training, by cross entropy.
    code : int
        Channels of the code.
    seed : int
        Of its first weights; with the source it decides the result.

    References
    ----------
    Oktay et al. 2018, stage 1 of the T-L network; here the code is compared directly, so a predictor of it from images
    is not needed.
    """
    sizes = {"dims": dims, "in_channels": n_classes, "out_channels": n_classes, "features": FEATURES, "code": code}
    network = build_network("autoencoder", sizes, seed=seed).to(device)
    if not isinstance(network, Autoencoder):
        raise TypeError("the network of shapes is an autoencoder")
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    loss = cross_entropy()
    for step in range(steps):
        labels = torch.from_numpy(source.batch(step)[1]).to(device)
        truth = voxels_of(torch.zeros(len(labels), n_classes, *labels.shape[1:], device=device), labels).truth
        whole = _padded(truth)
        logits = middle(network(whole), truth.shape[2:])
        optimiser.zero_grad()
        loss(logits, labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.eval().requires_grad_(requires_grad=False)


def code_distance(network: Autoencoder, logits: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of the codes of the softmax and of the truth: 0 exactly when the codes are equal.

    Voxels that nobody annotated are of no class in both.
    """
    voxels = voxels_of(logits, target)
    codes = [network.encode(_padded(maps)) for maps in (voxels.probabilities, voxels.truth)]
    return ((codes[0] - codes[1]) ** 2).mean()


def held_to_shapes(loss: LossFunction, network: Autoencoder, weight: float, size: Sequence[int]) -> LossFunction:
    """A loss, and `weight` times the distance of the codes, of results of the size that the network of shapes knows.

    The coarser results of deep supervision have another size, and no shape of theirs was learnt.
    """

    def held(logits: Tensor, target: Tensor) -> Tensor:
        plain = loss(logits, target)
        if weight == 0 or tuple(logits.shape[2:]) != tuple(size):
            return plain
        return plain + weight * code_distance(network, logits, target)

    return held


def with_shapes(recipe: Recipe, network: Autoencoder, weight: float, size: Sequence[int]) -> Recipe:
    """A recipe whose loss is held to shapes at every step."""
    loss_at = recipe.loss_at
    return replace(
        recipe,
        loss=held_to_shapes(recipe.loss, network, weight, size),
        loss_at=None if loss_at is None else lambda step: held_to_shapes(loss_at(step), network, weight, size),
    )


def _padded(maps: Tensor) -> Tensor:
    """Repeat the border on both sides until the poolings of the network of shapes divide the size."""
    step = 2 ** (len(FEATURES) - 1)
    sides: list[int] = []
    for size in reversed(maps.shape[2:]):
        more = -size % step
        sides += [more // 2, more - more // 2]
    return pad(maps, sides, mode="replicate") if any(sides) else maps
