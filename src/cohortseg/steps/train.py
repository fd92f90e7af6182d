"""Step `train`: the frozen members of a fold -> the weights of one network; resumes where it was interrupted."""

import argparse
import csv
import io
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.choose import choose
from cohortseg.errors import StudyError
from cohortseg.infer.device import limit_threads, take_device
from cohortseg.infer.networks import build_network
from cohortseg.infer.weights import save_weights, weights_digest
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, read_sidecar, run_path, write_json, write_text
from cohortseg.layout import Layout
from cohortseg.settings import UNetMethod
from cohortseg.stages import STAGES, ExperimentStage
from cohortseg.steps.arguments import add_experiment, add_settings, add_study, add_threads
from cohortseg.steps.batch import log, run_record
from cohortseg.steps.model_space import patch_zyx, read_foreground, read_plan
from cohortseg.train.augment import AUGMENTATIONS, augment
from cohortseg.train.loop import train
from cohortseg.train.losses import LOSSES
from cohortseg.train.patches import Case, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES
from cohortseg.train.validate import validation

__all__ = ["add_arguments", "run"]

VALIDATION_CASES, VALIDATION_VOXELS = 6, 150_000
"""What one point of the training curve may cost; the real measure of a model is `evaluate`."""
NOT_FOR_TRAINING = {
    "overlap",
    "mirror",
    "threshold",
    "skip_empty",
    "probabilities",
    "uncertainty",
    "checkpoint_minutes",
    "seeds",
}
"""Settings that say how prediction is done, and how often is saved: they do not change the weights."""
CACHE_MB = 2048.0
"""Decoded training cases kept in memory; of the others only patches are read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One experiment, fold and seed."""
    add_study(parser)
    add_settings(parser)
    add_experiment(parser)
    add_threads(parser)
    parser.add_argument("--fold", required=True, metavar="K", help="fold that is kept out of the training")
    parser.add_argument("--seed", type=int, required=True, metavar="S", help="seed of weights and patches")
    parser.add_argument("--upstream", default="", metavar="DIGEST", help="digest of the settings that shape the images")
    parser.add_argument("--token", type=Path, required=True, metavar="FILE", help="train.json, written last")


def run(arguments: argparse.Namespace) -> None:
    """Train, or see that it is done."""
    layout: Layout = arguments.study
    settings = ExperimentStage.model_validate_json(arguments.settings)
    method = settings.experiment
    if not isinstance(method, UNetMethod):
        raise StudyError(f"experiment {arguments.experiment!r} has nothing to train")
    (plan, plan_digest), members = read_plan(layout), read_json(layout.members(arguments.fold))
    recipe = [STAGES["train"].revision, recipe_text(method), arguments.fold, arguments.seed, arguments.upstream]
    key = digest(["train", recipe, plan_digest, members])
    folder = layout.model(arguments.experiment, arguments.fold, arguments.seed)
    done = read_sidecar(arguments.token) or read_sidecar(folder / "done.json")
    if done is not None and done["key"] == key and _weights_match(folder, done):
        log("already done")
        write_json(arguments.token, done)
        return
    folder.mkdir(parents=True, exist_ok=True)
    started, cpu = time.perf_counter(), time.process_time()
    used = {role: _usable(layout, list(members[role])) for role in ("train", "validation")}
    if not used["train"]:
        raise StudyError(f"fold {arguments.fold} has no labelled case to train on")
    record = fit(layout, folder, method, plan, settings.classes, used, arguments, key)
    write_json(run_path(arguments.token), {**run_record(started, cpu), "threads": arguments.threads})
    # Kept beside the declared output, which Snakemake removes before it runs a job again.
    write_json(folder / "done.json", record)
    write_json(arguments.token, record)
    (folder / "resume.pt").unlink(missing_ok=True)


def recipe_text(method: UNetMethod) -> str:
    """The settings that decide the weights: how prediction is done, and how often is saved, are not among them."""
    return method.model_dump_json(exclude=NOT_FOR_TRAINING)


def _weights_match(folder: Path, done: dict[str, Any]) -> bool:
    path = folder / "weights.safetensors"
    return path.exists() and weights_digest(path) == done["weights"]


def _usable(layout: Layout, names: list[str]) -> list[str]:
    """The members that are there, were not rejected and have a label."""
    found = []
    for name in names:
        record = read_sidecar(layout.case(name) / "prepared.json")
        image = read_sidecar(layout.case(name) / "image.json")
        if record is None or image is None or record["status"] != "ok":
            log(f"{name}: not used ({'gone' if record is None else record['reason']})")
        elif image["contents"]["label"] is not None:
            found.append(name)
    return found


def _case(layout: Layout, name: str) -> Case:
    prepared = layout.case(name) / "prepared.zarr"
    return Case(store.open_array(prepared), store.open_array(prepared, "label"), read_foreground(prepared))


def fit(  # noqa: PLR0913 (what one training is made of)
    layout: Layout,
    folder: Path,
    method: UNetMethod,
    plan: dict[str, Any],
    classes: list[str],
    used: dict[str, list[str]],
    arguments: argparse.Namespace,
    key: str,
) -> dict[str, Any]:
    """Train one network; writes weights and history, returns the record for the sidecar."""
    patch, seed = patch_zyx(plan), arguments.seed
    network_arguments = network_of(plan, method, len(classes))
    loss = choose("loss", method.loss, LOSSES).build()
    limit_threads(arguments.threads)
    with take_device(lock_dir=layout.locks) as device:
        network = build_network("unet", network_arguments, seed=seed).to(device)
        history = train(
            network,
            patch_source(
                [_case(layout, name) for name in used["train"]],
                patch=patch,
                batch_size=method.batch,
                foreground_share=method.foreground_share,
                seed=seed,
                cache_mb=CACHE_MB,
            ),
            validation(
                [_case(layout, name) for name in used["validation"]],
                patch=patch,
                n_classes=len(classes) + 1,
                loss=loss,
                n_cases=VALIDATION_CASES,
                max_voxels=VALIDATION_VOXELS,
                overlap=0.0,
                precision=method.precision,
            ),
            _recipe(method, loss, seed, model_spacing_mm(plan)),
            checkpoint=folder / "resume.pt",
            checkpoint_minutes=method.checkpoint_minutes,
            identity=key,
            report=partial(_report, method.steps),
        )
        metadata = {"architecture": "unet", "arguments": network_arguments, "patch": patch, "classes": classes}
        metadata |= {"normalisation": plan["normalisation"], "spacing_mm": plan["spacing_mm"]["value"]}
        metadata |= {"channels": plan["channels"]}
        weights = save_weights(folder / "weights.safetensors", network, metadata)
    write_text(folder / "history.csv", history_text(history))
    return {
        "status": "ok",
        "stage": "train",
        "revision": STAGES["train"].revision,
        "key": key,
        "inputs": {"plan": digest(plan)},
        "members": used,
        "trained_on": {name: read_json(layout.case(name) / "prepared.json")["content"] for name in used["train"]},
        "weights": weights,
        "content": weights,
        "steps": method.steps,
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def network_of(plan: dict[str, Any], method: UNetMethod, n_classes: int) -> dict[str, Any]:
    """The arguments of the network's builder: from the plan, with the settings' features where they name some."""
    levels = plan["network"]["levels"]
    features = list(method.features or [level["features"] for level in levels])
    levels = (levels + [levels[-1]] * len(features))[: len(features)]
    return {
        "dims": plan["dims"],
        "in_channels": len(plan["channels"]),
        "out_channels": n_classes + 1,
        "features": features,
        "strides": [level["stride"] for level in levels],
        "kernels": [level["kernel"] for level in levels],
    }


def model_spacing_mm(plan: dict[str, Any]) -> tuple[float, ...]:
    """Voxel size along the axes the network sees: rotations must know that thick slices are thick."""
    return tuple(float(size) for size in plan["spacing_mm"]["value"][3 - plan["dims"] :])


def _recipe(method: UNetMethod, loss: Any, seed: int, spacing_mm: tuple[float, ...]) -> Recipe:
    how = choose("augmentation", method.augmentation, AUGMENTATIONS)
    return Recipe(
        loss=loss,
        schedule=choose("schedule", method.schedule, SCHEDULES).factor,
        steps=method.steps,
        learning_rate=method.learning_rate,
        weight_decay=method.weight_decay,
        seed=seed,
        optimiser=method.optimiser,
        precision=method.precision,
        augmentation=lambda images, labels, *, seed: augment(images, labels, how, seed=seed, spacing_mm=spacing_mm),
        validate_every=method.validate_every,
    )


def _report(steps: int, row: dict[str, Any]) -> None:
    log(f"step {row['step']} of {steps}: loss {row['loss']:.4f}, validation Dice {row['dice']:.4f}")


def history_text(history: list[dict[str, Any]]) -> str:
    """The training history as CSV; numbers round-trip exactly."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in history)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and np.isnan(value) else value
