"""Small trainings by one process or several, which must give the same weights; see test_team.py.

As a script: `python trained_together.py FOLDER PORT RANK SIZE [STOP]`. The first process writes what came out; with
STOP the last one is sent SIGUSR1 at that step.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cohortseg.infer.networks import build_network
from cohortseg.train.augment import AUGMENTATIONS, augment
from cohortseg.train.loop import Interrupted, train
from cohortseg.train.losses import LOSSES
from cohortseg.train.patches import Case, foreground_rows, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES
from cohortseg.train.team import ALONE, join, leave

UNET = {"dims": 2, "in_channels": 1, "out_channels": 3, "features": (4, 8, 8), "deep_supervision": True}
TRAININGS = {
    "dice_ce": {},
    "lovasz_softmax": {},
    "generalised_dice": {"accumulate": 2},
    "focal": {"ema_decay": 0.9, "keep": "best"},
}


def cases():
    """Two classes, the second rare, so that no share of a batch is like another."""
    generator = np.random.default_rng(0)
    found = []
    for number in range(4):
        label = np.zeros((3, 24, 28), np.uint8)
        label[:, 3 : 9 + number, 5:14] = 1
        label[1, 15 : 16 + number, 20:23] = 2
        image = (label + generator.normal(size=label.shape)).astype(np.float32)
        found.append(Case(image, label, foreground_rows(label)))
    return found


def recipe(loss, share, **numbers):
    standard = {"steps": 5, "learning_rate": 0.01, "seed": 5, "validate_every": 3, "optimiser": "sgd_nesterov"}
    return Recipe(
        loss=LOSSES[loss].build(),
        schedule=SCHEDULES["cosine"].factor,
        augmentation=partial(augment, how=AUGMENTATIONS["full"], share=share),
        **{**standard, **numbers},
    )


def normalised():
    """A network that looks at the statistics of a batch."""
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))


class Stopping:
    """A source that sends this process a signal when a step is drawn."""

    def __init__(self, source, step):
        self.source, self.step, self.steps_per_epoch = source, step, source.steps_per_epoch

    def batch(self, step):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGUSR1)
        return self.source.batch(step)


def train_one(name, team=ALONE, checkpoint=None, stop=None):
    """Weights and history of a training."""
    numbers = TRAININGS.get(name, {})
    share = team.share(4, numbers.get("accumulate", 1))
    network = normalised() if name == "batch_norm" else build_network("unet", UNET, seed=1)
    source = patch_source(cases(), patch=(1, 16, 16), batch_size=4, foreground_share=0.5, seed=3, share=share)
    made = recipe(name if name in LOSSES else "dice_ce", share, **numbers)
    history = train(
        network,
        source if stop is None else Stopping(source, stop),
        lambda network: {"dice": float(next(network.parameters()).detach().abs().mean())},
        made,
        checkpoint=checkpoint,
        team=team,
    )
    return network.state_dict(), [(row["step"], row["loss"], row["dice"]) for row in history]


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, (port, rank, size) = Path(sys.argv[1]), map(int, sys.argv[2:5])
    team = join("127.0.0.1", port, rank, size, silence_s=60.0)
    if len(sys.argv) > 5:
        stop = int(sys.argv[5]) if rank == size - 1 else None
        try:
            train_one("dice_ce", team, folder / "resume.pt", stop)
        except Interrupted as error:
            (folder / f"stopped-{rank}").write_text(str(error))
        # What another process wrote is read by the first and told to all.
        came = train_one("dice_ce", team, folder / "resume.pt")
        torch.save(came, folder / f"resumed-{rank}.pt")
    else:
        for name in [*TRAININGS, "batch_norm"]:
            torch.save(train_one(name, team), folder / f"{name}-{rank}.pt")
    leave()
