"""Begin with the weights of another training; freeze parts of a network."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from cohortseg.choose import choose


@torch.no_grad()
def take_over(network: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Copy weights into a network where name and shape are the same; returns the names of the others.

    A first convolution of another number of image channels takes the mean over the given channels, scaled so that the
    same image in every channel gives the same result.
    """
    left = []
    for name, own in network.state_dict().items():
        given = weights.get(name)
        if given is not None and given.shape == own.shape:
            own.copy_(given)
        elif given is not None and name == first_convolution(network) and given[:, 0].shape == own[:, 0].shape:
            own.copy_(given.sum(dim=1, keepdim=True).expand_as(own) / own.shape[1])
        else:
            left.append(name)
    return left


def first_convolution(network: nn.Module) -> str:
    """Name of the first weight with kernels."""
    return next(name for name, value in network.named_parameters() if value.ndim > 2)


def freeze(network: nn.Module, parts: Iterable[str]) -> None:
    """Parameters of these parts (names of submodules) get no gradient and are never changed.

    Raises
    ------
    SettingsError
        When the network has no such part.
    """
    known = dict(network.named_children())
    for part in parts:
        choose("part to freeze", part, known)
        for parameter in network.get_submodule(part).parameters():
            parameter.requires_grad_(False)
