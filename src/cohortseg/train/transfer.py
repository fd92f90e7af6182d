"""Begin with the weights of another training; freeze parts of a network."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from cohortseg.choose import choose
from cohortseg.errors import SettingsError


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


def freeze_all_but_last(network: nn.Module, layers: int, size: Sequence[int], in_channels: int) -> list[str]:
    """Only the last `layers` convolutions, and the norms among and after them, are trained.

    Parameters
    ----------
    network : nn.Module
        Its layers are put in the order in which an image passes them.
    layers : int
        Layer-wise fine-tuning goes from 1 (the classifier alone) to all of them.
    size : sequence of int
        Spatial size of an image that passes.
    in_channels : int
        Channels of that image.

    Returns
    -------
    list of str
        Names of the modules that are trained, in that order.

    Raises
    ------
    SettingsError
        When there are fewer layers.

    References
    ----------
    Tajbakhsh et al. 2016: fine-tuning from the last layer backwards.
    """
    passed = _in_order(network, size, in_channels)
    convolutions = [name for name, module in passed if any(one.ndim > 2 for one in module.parameters())]
    if layers > len(convolutions):
        raise SettingsError(f"fine_tuned_layers: the network has {len(convolutions)} layers, not {layers}")
    names = [name for name, _ in passed]
    trained = names[names.index(convolutions[-layers]) :]
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for name in trained:
        for parameter in network.get_submodule(name).parameters():
            parameter.requires_grad_(True)
    return trained


@torch.no_grad()
def _in_order(network: nn.Module, size: Sequence[int], in_channels: int) -> list[tuple[str, nn.Module]]:
    """Modules with parameters of their own, in the order in which an image passes them."""
    found: list[tuple[str, nn.Module]] = []
    own = [(name, one) for name, one in network.named_modules() if list(one.parameters(recurse=False))]
    hooks = [
        one.register_forward_hook(
            lambda module, _, __, name=name: found.append((name, module)) if (name, module) not in found else None
        )
        for name, one in own
    ]
    was_training, device = network.training, next(network.parameters()).device
    network.eval()
    try:
        network(torch.zeros(1, in_channels, *size, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return found
