"""One process of a training, as `training_team` starts it: meet the others, train, say by the exit status how it ended.

Its place is told in the environment under the names that torch uses (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), or by
SLURM (SLURM_PROCID, SLURM_LOCALID).
"""

import argparse
import io
import os
import signal
import sys
import threading
import time
from contextlib import nullcontext, redirect_stderr

from cohortseg.errors import CohortError
from cohortseg.infer.device import take_device
from cohortseg.steps import train
from cohortseg.train.loop import Interrupted
from cohortseg.train.team import join, leave

POLL_S = 0.5


def main(arguments: argparse.Namespace) -> int:
    """Train as one of several; the exit status, 128 and the number of the signal where one stopped it."""
    told = os.environ
    rank, size = int(told.get("RANK", told.get("SLURM_PROCID", "0"))), int(told["WORLD_SIZE"])
    number = int(told.get("LOCAL_RANK", told.get("SLURM_LOCALID", "0")))
    if "PARENT" in told:
        threading.Thread(target=_end_with, args=(int(told["PARENT"]),), daemon=True).start()
    arguments.threads = max(1, arguments.threads // size)
    try:
        with take_device(lock_dir=arguments.study.locks, number=number) as device:
            if device.type == "cuda":
                import torch

                torch.cuda.set_device(device)
            team = join(told["MASTER_ADDR"], int(told["MASTER_PORT"]), rank, size)
            # All say the same while they train; the first says it.
            with redirect_stderr(io.StringIO()) if rank else nullcontext():
                train.train_fold(arguments, team=team, device=device)
            leave()
    except Interrupted as stopped:
        # All is written. srun ends those that are still leaving, which must not look like another end.
        for number in signal.SIGTERM, signal.SIGUSR1:
            signal.signal(number, signal.SIG_IGN)
        if not rank:
            print(f"cohortseg train: {stopped}", file=sys.stderr, flush=True)
        return 128 + int(signal.Signals[str(stopped).split()[0]])
    except CohortError as error:
        print(f"cohortseg train: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    sys.exit(main(parser.parse_args()))
