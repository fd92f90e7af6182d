"""What a network consists of, seen while an image of a given size goes through it: its layers with what they give."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("up", ("ConvTranspose", "Upsample", "MaxUnpool", "PixelShuffle")),
    ("convolution", ("Conv",)),
    ("pooling", ("MaxPool", "AvgPool", "AdaptiveAvgPool")),
)
"""Kind of a layer: how the names of its class begin; norms, activations and dropout are no node of a diagram."""


class Node(NamedTuple):
    """One layer, in the order in which the image reaches it."""

    kind: str
    kernel: tuple[int, ...]
    channels: int
    size: tuple[int, ...]
    n_parameters: int


def nodes_of(network: nn.Module, *, in_channels: int, size: Sequence[int]) -> list[Node]:
    """The layers that an image passes, by hooks on the forward pass; shapes alone are computed where it lies on `meta`.

    Parameters
    ----------
    network : Module
        Its weights may lie on the device `meta`: then nothing is computed but shapes.
    in_channels : int
        Channels of the image.
    size : sequence of int
        Its size.

    Returns
    -------
    list of Node
        A layer that is passed twice is there twice.
    """
    found: list[Node] = []

    def seen(module: nn.Module, _: Any, output: Any) -> None:
        result = output[0] if isinstance(output, tuple | list) else output
        kind = kind_of(module)
        if kind and isinstance(result, Tensor):
            kernel = getattr(module, "kernel_size", ())
            kernel = tuple(kernel) if isinstance(kernel, tuple | list) else (kernel,) * len(size)
            weights = sum(weight.numel() for weight in module.parameters())
            found.append(Node(kind, kernel, int(result.shape[1]), tuple(result.shape[2:]), weights))

    hooks = [module.register_forward_hook(seen) for module in network.modules() if not list(module.children())]
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros((1, in_channels, *size), device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return found


def kind_of(module: nn.Module) -> str:
    """The kind of a layer; empty for one that is no node."""
    name = type(module).__name__
    return next((kind for kind, begins in KINDS if name.startswith(begins)), "")
