"""Training step and sliding window beside nnU-Net and MONAI: same network, same patch, same precision, one thread.

    PYTHONPATH=src PEER_PYTHON benchmarks/throughput.py [--out FILE.csv]

PEER_PYTHON is the Python of an environment with nnunetv2 2.8, monai 1.6 and their torch. In one process, turn by turn; CPU
seconds, median of the rounds. A training step is: augmentation of the batch, forward, Dice and cross-entropy, backward,
clipping, update. nnU-Net's step is put together from its own parts (its transforms, loss and optimiser), without its worker
processes, so that their start and copying are not counted against it. "plain" is without augmentation. In the sliding window
all three blend tiles with a Gaussian, overlap 0.5, no mirroring.
"""

import argparse
import csv
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from measure import machine
from monai.inferers import sliding_window_inference
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from cohortseg.infer.networks import build_network, forward_of
from cohortseg.infer.sliding import predict_slabs, slab_array
from cohortseg.train.augment import AUGMENTATIONS, augment
from cohortseg.train.losses import LOSSES
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES
from cohortseg.train.step import initial_state, one_step

PATCH, BATCH, FEATURES, N_CLASSES = (40, 56, 40), 2, [16, 32, 64, 128], 3
VOLUME = (96, 128, 112)


def network() -> torch.nn.Module:
    arguments = {"dims": 3, "in_channels": 1, "out_channels": N_CLASSES, "features": FEATURES}
    return build_network("unet", arguments, seed=1)


def blobs(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth image and a label that goes with it."""
    draw = torch.Generator().manual_seed(1)
    image = torch.nn.functional.avg_pool3d(torch.randn((shape[0], 1, *shape[1:]), generator=draw), 7, 1, 3) * 10
    return image, (image[:, 0] > 0.3).long() + (image[:, 0] > 0.8).long()


def our_step(images: torch.Tensor, labels: torch.Tensor, *, augmented: bool, precision: str) -> Callable[[], object]:
    how = AUGMENTATIONS["full"]
    recipe = Recipe(
        loss=LOSSES["dice_ce"].build(),
        schedule=SCHEDULES["constant"].factor,
        steps=1000,
        learning_rate=1e-3,
        seed=1,
        precision=precision,
        augmentation=(lambda x, y, *, seed: augment(x, y, how, seed=seed)) if augmented else None,
    )
    state = initial_state(network().train(), recipe)
    return lambda: one_step(state, recipe, images, labels)


def nnunet_step(images: torch.Tensor, labels: torch.Tensor, *, augmented: bool) -> Callable[[], object]:
    net = network().train()
    loss = DC_and_CE_loss(
        {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        weight_ce=1,
        weight_dice=1,
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    optimiser = torch.optim.SGD(net.parameters(), 0.01, weight_decay=3e-5, momentum=0.99, nesterov=True)
    turn = (-30.0 / 360 * 2 * np.pi, 30.0 / 360 * 2 * np.pi)
    transform = nnUNetTrainer.get_training_transforms(PATCH, turn, None, (0, 1, 2), do_dummy_2d_data_aug=False)

    def step() -> None:
        data, target = images, labels[:, None].float()
        if augmented:
            made = [
                transform(image=one, segmentation=truth[None].short())
                for one, truth in zip(images, labels, strict=True)
            ]
            data = torch.stack([one["image"] for one in made])
            target = torch.stack([one["segmentation"] for one in made])
        optimiser.zero_grad(set_to_none=True)
        loss(net(data), target).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 12)
        optimiser.step()

    return step


def windows(net: torch.nn.Module) -> dict[str, Callable[[], object]]:
    """The three ways to segment one volume; each returns the most probable class of each voxel."""
    image, _ = blobs((1, *VOLUME))
    forward = {p: forward_of([net], torch.device("cpu"), precision=p) for p in ("fp32", "bf16")}
    peer = nnUNetPredictor(tile_step_size=0.5, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    peer.network, peer.allowed_mirroring_axes = net, None
    peer.configuration_manager = SimpleNamespace(patch_size=PATCH)
    peer.label_manager = SimpleNamespace(num_segmentation_heads=N_CLASSES)

    def ours(precision: str) -> np.ndarray:
        options = {"patch": PATCH, "n_channels_out": N_CLASSES, "overlap": 0.5}
        return slab_array(predict_slabs(image[0].numpy(), forward[precision], **options)).argmax(0)

    def monai() -> np.ndarray:
        with torch.inference_mode():
            return sliding_window_inference(image, PATCH, 1, net, overlap=0.5, mode="gaussian")[0].argmax(0).numpy()

    return {
        "ours": lambda: ours("fp32"),
        "ours, bf16": lambda: ours("bf16"),
        "nnU-Net": lambda: peer.predict_sliding_window_return_logits(image[0]).argmax(0).numpy(),
        "MONAI": monai,
    }


def in_turn(calls: dict[str, Callable[[], object]], n_rounds: int) -> dict[str, float]:
    """Median CPU seconds of each call, after one call of each that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(n_rounds + 1):
        for name, call in calls.items():
            began = time.process_time()
            call()
            if turn:
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(found) for name, found in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    print(machine())
    images, labels = blobs((BATCH, *PATCH))
    steps: dict[str, Callable[[], object]] = {}
    for name, augmented in (("step", True), ("plain step", False)):
        steps[f"{name}: ours"] = our_step(images, labels, augmented=augmented, precision="fp32")
        steps[f"{name}: ours, bf16"] = our_step(images, labels, augmented=augmented, precision="bf16")
        steps[f"{name}: nnU-Net"] = nnunet_step(images, labels, augmented=augmented)
    net = network().eval()
    found = windows(net)
    first = found["ours"]()
    for name, call in found.items():
        print(f"{name}: {100 * np.mean(call() == first):.3f}% of the voxels as ours in fp32")
    rows = []
    for what, calls, unit in (("training", steps, BATCH), ("window", found, 1)):
        for name, seconds in in_turn(calls, arguments.rounds).items():
            rows.append({"what": what, "name": name, "cpu_s": round(seconds, 4), "per_cpu_s": round(unit / seconds, 3)})
            print(rows[-1], flush=True)
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
