"""Several processes that train one network: each takes its rows of every batch, and all take the same step.

Every process draws the same batch and computes its own rows. The logits and targets of all rows are gathered before
the loss, so that a loss over the whole batch (Dice, Lovász, …) is what one process would compute; each process goes
backward through its own rows alone, and the gradients are added up. The result is that of one process, up to the order
of the sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cohortseg.errors import SettingsError
from cohortseg.train.losses import LossFunction

SILENCE_S = 1800.0
"""A process that waits longer for another gives up; one that died is noticed at once by whoever started it."""


@dataclass(frozen=True)
class Share:
    """The rows of a batch of `of` that one process computes, in this order."""

    rows: tuple[int, ...]
    of: int


@dataclass(frozen=True)
class Team:
    """The processes of one training, seen by one of them; with a `size` of 1 nothing is exchanged.

    Parameters
    ----------
    rank : int
        Number of this process; the first validates, writes and decides.
    size : int
        Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process validates, writes and decides."""
        return self.rank == 0

    def share(self, batch_size: int, parts: int = 1) -> Share | None:
        """The rows of this process of a batch that goes through the network in so many parts; None for all rows.

        Raises
        ------
        SettingsError
            When the parts cannot be shared out evenly.
        """
        if self.size == 1:
            return None
        parts = min(parts, max(1, batch_size // self.size))
        if batch_size % (parts * self.size):
            raise SettingsError(
                f"a batch of {batch_size} in {parts} parts cannot be shared evenly by {self.size} processes; "
                f"set `batch` to a multiple of {parts * self.size}"
            )
        length = batch_size // (parts * self.size)
        first = [(part * self.size + self.rank) * length for part in range(parts)]
        return Share(tuple(row for start in first for row in range(start, start + length)), batch_size)

    def loss_of_all(self, loss: LossFunction) -> LossFunction:
        """The loss of the rows of all processes, whose gradient reaches this process's rows."""
        if self.size == 1:
            return loss
        return lambda logits, target: loss(self._gather(logits), self._gather(target))

    def _gather(self, own: Tensor) -> Tensor:
        """The rows of all processes, by rank; only this process's carry a gradient."""
        rows = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(rows, own.detach().contiguous())
        rows[self.rank] = own
        return torch.cat(rows)

    def add_up_gradients(self, network: nn.Module) -> None:
        """Replace each gradient by its sum over the processes, in one exchange per type of number."""
        if self.size == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for parameter in network.parameters():
            if parameter.grad is not None:
                by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_type.values():
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            for gradient, total in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
                gradient.copy_(total.view_as(gradient))

    def largest(self, number: int) -> int:
        """The largest of the numbers that the processes give."""
        if self.size == 1:
            return number
        found = torch.tensor([number])
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def from_first(self, value: Any) -> Any:
        """What the first process gives; numbers, texts, CPU tensors and collections of them."""
        if self.size == 1:
            return value
        held = [value if self.is_first else None]
        dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        return held[0]

    def share_statistics(self, network: nn.Module) -> None:
        """Let batch normalisation use the mean and variance of the rows of all processes, in place."""
        if self.size == 1:
            return
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.forward = partial(_normalise, module, self.size)  # type: ignore[method-assign]


ALONE = Team()


class _Total(torch.autograd.Function):
    """Sum over the processes; as each holds a part of the gradient of the sum, so is the way back."""

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _total(own: Tensor) -> Tensor:
    return cast(Tensor, _Total.apply(own))  # type: ignore[no-untyped-call]


def _normalise(module: nn.modules.batchnorm._BatchNorm, size: int, images: Tensor) -> Tensor:
    """What `module` would give for the rows of all processes, of this process's rows."""
    if not module.training:
        return type(module).forward(module, images)
    axes = [0, *range(2, images.ndim)]
    shape = (1, -1, *[1] * (images.ndim - 2))
    whole = images.float()
    mean = _total(whole.mean(axes)) / size
    away = whole - mean.view(shape)
    variance = _total(away.square().mean(axes)) / size
    if module.track_running_stats and module.running_mean is not None and module.running_var is not None:
        count = size * images.numel() / images.shape[1]
        assert module.num_batches_tracked is not None
        module.num_batches_tracked.add_(1)
        pace = module.momentum if module.momentum is not None else 1.0 / float(module.num_batches_tracked)
        with torch.no_grad():
            module.running_mean.lerp_(mean, pace)
            module.running_var.lerp_(variance * (count / max(count - 1.0, 1.0)), pace)
    found = away * torch.rsqrt(variance + module.eps).view(shape)
    if module.affine:
        found = found * module.weight.view(shape) + module.bias.view(shape)
    return found.to(images.dtype)


def join(host: str, port: int, rank: int, size: int, *, silence_s: float = SILENCE_S) -> Team:
    """Meet the other processes at a store that whoever started them holds; afterwards call `leave`.

    On CPU numbers go through gloo, on graphics cards through NCCL.
    """
    wait = timedelta(seconds=silence_s)
    store = dist.TCPStore(host, port, None, is_master=False, timeout=wait)  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=wait)
    return Team(rank, size)


def leave() -> None:
    """End what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rows_of(values: Sequence[Any], share: Share | None) -> list[Any]:
    """The entries of a whole batch that belong to the rows of a process."""
    return list(values) if share is None else [values[row] for row in share.rows]
