"""A small training in a process of its own that says each step it has done; see test_loop.py."""

import sys
from pathlib import Path

import numpy as np
import torch

from cohortseg.infer.networks import build_network
from cohortseg.infer.weights import save_weights
from cohortseg.train.augment import AUGMENTATIONS, augment
from cohortseg.train.loop import train
from cohortseg.train.losses import LOSSES
from cohortseg.train.patches import Case, foreground_rows, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES

torch.set_num_threads(1)
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
label = np.zeros((4, 20, 20), np.uint8)
label[:, 4:12, 6:15] = 1
image = label + np.random.default_rng(0).normal(size=label.shape).astype(np.float32)
arguments = {"dims": 2, "in_channels": 1, "out_channels": 2, "features": [4, 8], "dropout": 0.1}
network = build_network("unet", arguments, seed=1)
train(
    network,
    patch_source(
        [Case(image, label, foreground_rows(label))], patch=(1, 16, 16), batch_size=2, foreground_share=0.5, seed=1
    ),
    lambda _: {"dice": 0.0},
    Recipe(
        loss=LOSSES["dice_ce"].build(),
        schedule=SCHEDULES["cosine"].factor,
        steps=20,
        learning_rate=0.01,
        seed=1,
        augmentation=lambda images, labels, *, seed: augment(images, labels, AUGMENTATIONS["full"], seed=seed),
        validate_every=7,
        ema_decay=0.9,
    ),
    checkpoint=folder / "resume.pt",
    checkpoint_minutes=0.0,
    progress=lambda done: print(done, flush=True),
)
save_weights(folder / "weights.safetensors", network, {"architecture": "unet", "arguments": arguments})
