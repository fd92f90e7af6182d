"""Does the plan for pictures find the head in ultrasound? By arrays alone, without a study folder.

    python benchmarks/fetal_head.py FOLDER [--steps 600] [--threads 1] [--out FILE.csv]

FOLDER holds images/*.png and labels/*.png of the HC18 pictures, head filled. Every fifth picture is held out; fingerprint
and plan see the others. Dice on the native grid of the held-out pictures, raw label.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from cohortseg.infer.native import labels_from, resample_blocks
from cohortseg.infer.networks import build_network, forward_of
from cohortseg.infer.sliding import predict_blocks
from cohortseg.preprocess.fingerprint import case_fingerprint
from cohortseg.preprocess.intensity import normaliser
from cohortseg.preprocess.plan import make_plan, model_spacing, normalisation_numbers
from cohortseg.preprocess.resample import resample_to
from cohortseg.train.augment import AUGMENTATIONS, augment
from cohortseg.train.loop import train
from cohortseg.train.losses import LOSSES
from cohortseg.train.patches import Case, foreground_rows, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES
from cohortseg.volume import Grid


def read(path: Path) -> np.ndarray:
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return array[None] if array.ndim == 2 else array[None, ..., 0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    names = sorted(path.name for path in (arguments.folder / "images").glob("*.png"))
    images = {name: read(arguments.folder / "images" / name) for name in names}
    labels = {name: (read(arguments.folder / "labels" / name) > 0).astype(np.uint8) for name in names}
    grids = {name: Grid(image.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)) for name, image in images.items()}
    prints = {name: case_fingerprint({"image": images[name]}, labels[name], grids[name], n_classes=1) for name in names}
    held_out = names[::5]
    known = [name for name in names if name not in held_out]
    plan = make_plan([prints[name] for name in known], cases=known, dims=2, modalities={"image": "US"})
    for key in ("spacing_mm", "shape", "patch", "batch"):
        print(key, plan[key])

    def prepared(name: str) -> tuple[Case, Grid]:
        target = grids[name].with_spacing(model_spacing(plan, grids[name].spacing_mm))
        image, label = np.zeros(target.shape, np.float32), np.zeros(target.shape, np.uint8)
        finish = normaliser(plan["normalisation"]["image"]["name"], normalisation_numbers(plan, prints[name], "image"))
        resample_to(image, images[name], grids[name], target, interpolation="linear", workers=1, finish=finish)
        resample_to(label, labels[name], grids[name], target, interpolation="nearest", workers=1)
        return Case(image, label, foreground_rows(label)), target

    levels, patch = plan["network"]["levels"], (1, *plan["patch"]["value"])
    network = build_network(
        "unet",
        {
            "dims": 2,
            "in_channels": 1,
            "out_channels": 2,
            **{key + "s": [level[key] for level in levels] for key in ("stride", "kernel")},
            "features": [level["features"] for level in levels],
        },
        seed=1,
    )
    source = patch_source(
        [prepared(name)[0] for name in known],
        patch=patch,
        batch_size=plan["batch"]["value"],
        foreground_share=0.5,
        seed=1,
    )
    recipe = Recipe(
        loss=LOSSES["dice_ce"].build(),
        schedule=SCHEDULES["cosine"].factor,
        steps=arguments.steps,
        learning_rate=3e-3,
        seed=1,
        ema_decay=0.97,
        augmentation=lambda images, labels, *, seed: augment(images, labels, AUGMENTATIONS["full"], seed=seed),
        validate_every=arguments.steps,
    )
    began = time.process_time()
    train(network, source, lambda _: {"dice": 0.0}, recipe)
    seconds = time.process_time() - began
    scores = []
    for name in held_out:
        case, grid = prepared(name)
        blocks = predict_blocks(
            case.image, forward_of([network.eval()], torch.device("cpu")), patch=patch, n_channels_out=2
        )
        found = np.concatenate(
            [
                labels_from(block.channel(number) for number in range(2))
                for block in resample_blocks(blocks, grid, grids[name])
            ]
        )
        shared = np.count_nonzero((found > 0) & (labels[name] > 0))
        scores.append(2.0 * shared / (np.count_nonzero(found) + np.count_nonzero(labels[name])))
    row = {
        "steps": arguments.steps,
        "threads": arguments.threads,
        "train_cpu_s": round(seconds, 1),
        "n": len(scores),
        "mean_dice": round(float(np.mean(scores)), 4),
        "median_dice": round(float(np.median(scores)), 4),
        "lowest_dice": round(float(np.min(scores)), 4),
    }
    print(row)
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
