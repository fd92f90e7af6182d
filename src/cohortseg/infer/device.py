"""Which device a job computes on, so that two jobs never share a graphics card by accident; threads."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch


@contextmanager
def take_device(
    *, lock_dir: Path | None, count: int | None = None, number: int = 0, poll_seconds: float = 1.0
) -> Iterator[torch.device]:
    """A device for the length of a `with` block.

    A scheduler that set CUDA_VISIBLE_DEVICES has shared the cards out already: the first visible one is taken. Else
    one card per job is taken by a lock on a file per card, and a job waits until one is free. The operating system
    frees the lock when the process ends, however it ends. Without a card: the CPU.

    Parameters
    ----------
    lock_dir : Path, optional
        Folder of the lock files on this machine; without it there is no locking and the first card is taken.
    count : int, optional
        Number of cards; asked from torch when absent.
    number : int
        Of this process among those of the job on this machine: of the cards that a scheduler gave, each takes its own.
    poll_seconds : float
        Pause between two looks for a free card.
    """
    n_cards = torch.cuda.device_count() if count is None else count
    if n_cards == 0:
        yield torch.device("cpu")
    elif lock_dir is None or os.environ.get("CUDA_VISIBLE_DEVICES"):
        yield torch.device("cuda", number % n_cards)
    else:
        lock_dir.mkdir(parents=True, exist_ok=True)
        card, handle = _wait_for_card(lock_dir, n_cards, poll_seconds)
        with handle:
            yield torch.device("cuda", card)


def _wait_for_card(lock_dir: Path, n_cards: int, poll_seconds: float) -> tuple[int, IO[bytes]]:
    while True:
        for card in range(n_cards):
            handle = (lock_dir / f"gpu-{os.uname().nodename}-{card}.lock").open("ab")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
            else:
                return card, handle
        time.sleep(poll_seconds)


def native_precision(device: torch.device) -> str:
    """'bf16' where the device multiplies such numbers in hardware, which is quicker, else 'fp32'."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


def limit_threads(n_threads: int) -> None:
    """Use so many CPU threads, and arithmetic that gives the same bytes every time where torch has it.

    On CPU everything here is repeatable with the same number of threads. On a graphics card torch warns where an
    operation is not.
    """
    torch.set_num_threads(n_threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
