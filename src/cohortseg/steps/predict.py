"""Step `predict`: a case -> its raw label on the native grid, by whatever method the experiment uses."""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.choose import choose
from cohortseg.errors import Rejected, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, read_sidecar
from cohortseg.layout import Layout
from cohortseg.methods import segmenter
from cohortseg.settings import Part, UNetMethod
from cohortseg.stages import ExperimentStage
from cohortseg.steps.arguments import add_experiment_batch, add_threads
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.model_space import patch_zyx, read_plan
from cohortseg.steps.units import folds_of_model, plan_units, seed_of_model, split_unit
from cohortseg.volume import Array, Grid, Volume

__all__ = ["add_arguments", "run"]

PROBABILITY_BINS = 50
TILE_VOXELS = 131_072
"""Voxels that go through the network at a time: small tiles of a plane go together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A batch of an experiment, and threads."""
    add_experiment_batch(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    """Predict a batch; weights are loaded once, when the first case needs them."""
    settings = ExperimentStage.model_validate_json(arguments.settings)
    if isinstance(settings.experiment, UNetMethod):
        _run_trained(arguments, settings.experiment, len(settings.classes))
    else:
        _run_classical(arguments, settings.experiment, settings.channels)


# ---- methods without weights -----------------------------------------------------------------------------------


def _run_classical(arguments: argparse.Namespace, method: Part, channels: list[str]) -> None:
    layout: Layout = arguments.study
    run_batch(
        plan_units(layout, arguments.cases, None),
        lambda unit: _classical_work(layout, arguments.experiment, unit, method, channels),
        arguments.settings,
        arguments.token,
    )


def _classical_work(layout: Layout, experiment: str, unit: str, method: Part, channels: list[str]) -> Work:
    image = read_json(layout.case(split_unit(unit)[1]) / "image.json")
    folder = layout.prediction(experiment, *split_unit(unit))
    return Work(
        stage="predict",
        sidecar=folder / "raw.json",
        stores=(folder / "raw.zarr",),
        inputs={"image": image["content"]},
        upstream=image,
        make=lambda: predict_classical(layout, split_unit(unit)[1], folder / "raw.zarr", method, channels),
    )


def predict_classical(layout: Layout, case: str, target: Path, method: Part, channels: list[str]) -> Record:
    """Write the label that a classical method finds on one channel of the converted image.

    Raises
    ------
    Rejected
        MISSING_CHANNEL when the case lacks that channel: zeros have no threshold.
    """
    values = method.model_dump()
    method_name = values.pop("method")
    name = values.pop("channel", None) or channels[0]
    image = choose("channel", name, dict(zip(channels, layout.images(case, channels), strict=True)))
    if name in read_json(layout.case(case) / "image.json")["facts"].get("missing_channels", []):
        raise Rejected("MISSING_CHANNEL", f"channel {name}, which the method works on")
    segment = segmenter(method_name, values)
    volume = store.read_volume(image)
    content = store.write_volume(target, Volume(segment(volume), volume.grid), name="label")
    return {"content": content}


# ---- methods with weights --------------------------------------------------------------------------------------


def _run_trained(arguments: argparse.Namespace, method: UNetMethod, n_classes: int) -> None:
    layout: Layout = arguments.study
    loaded: dict[str, Any] = {}
    with ExitStack() as held:

        def forward(model: str) -> Any:
            """Networks of a model, ready to call; device and weights are taken at the first use."""
            if model not in loaded:
                device = loaded.get("device") or held.enter_context(_device(layout, arguments.threads))
                loaded.clear()
                loaded.update({"device": device, model: _load(layout, arguments.experiment, model, method, device)})
            return loaded[model]

        run_batch(
            plan_units(layout, arguments.cases, method.seeds),
            lambda unit: _trained_work(layout, arguments.experiment, unit, method, n_classes, forward),
            arguments.settings,
            arguments.token,
        )


def _device(layout: Layout, threads: int) -> Any:
    from cohortseg.infer.device import limit_threads, take_device

    limit_threads(threads)
    return take_device(lock_dir=layout.locks)


def _load(layout: Layout, experiment: str, model: str, method: UNetMethod, device: Any) -> Any:
    from cohortseg.infer.networks import forward_of
    from cohortseg.infer.weights import load_network

    folds = folds_of_model(layout, model)
    paths = [layout.model(experiment, fold, int(seed_of_model(model))) / "weights.safetensors" for fold in folds]
    return forward_of([load_network(path, device)[0] for path in paths], device, precision=method.precision)


def _trained_work(
    layout: Layout,
    experiment: str,
    unit: str,
    method: UNetMethod,
    n_classes: int,
    forward: Callable[[str], Any],
) -> Work:
    model, case = split_unit(unit)
    prepared = read_json(layout.case(case) / "prepared.json")
    folder = layout.prediction(experiment, model, case)
    weights = {
        f"weights fold {fold}": _weights_of(layout, experiment, fold, int(seed_of_model(model)))
        for fold in folds_of_model(layout, model)
    }
    return Work(
        stage="predict",
        sidecar=folder / "raw.json",
        stores=(folder / "raw.zarr",),
        inputs={"prepared": prepared["content"], "image": prepared["inputs"]["image"], **weights},
        upstream=prepared,
        make=lambda: predict_trained(layout, case, folder / "raw.zarr", forward(model), method, n_classes),
    )


def _weights_of(layout: Layout, experiment: str, fold: str, seed: int) -> str:
    record = read_sidecar(layout.model(experiment, fold, seed) / "train.json")
    if record is None:
        raise StudyError(f"experiment {experiment!r}, fold {fold}, seed {seed} is not trained")
    return str(record["weights"])


def predict_trained(
    layout: Layout, case: str, target: Path, forward: Any, method: UNetMethod, n_classes: int
) -> Record:
    """Write the most probable class of each voxel of the native grid; memory holds a few slabs."""
    from cohortseg.infer.native import resample_slabs
    from cohortseg.infer.sliding import predict_slabs

    folder, (plan, _) = layout.case(case), read_plan(layout)
    native = store.read_grid(folder / "image.zarr")
    slabs = predict_slabs(
        store.open_array(folder / "prepared.zarr"),
        forward,
        patch=patch_zyx(plan),
        n_channels_out=n_classes + 1,
        overlap=method.overlap,
        mirror=method.mirror,
        batch=max(1, TILE_VOXELS // math.prod(patch_zyx(plan))),
    )
    counts = np.zeros((n_classes, 2, PROBABILITY_BINS), dtype=np.int64)
    finished = resample_slabs(slabs, store.read_grid(folder / "prepared.zarr"), native)
    labels = _labels(finished, method.threshold, _reference(folder, native), counts)
    content = store.write(target, native, np.uint8, labels, name="label")
    return {"content": content, "probabilities": counts.tolist()}


def _reference(folder: Path, grid: Grid) -> Any:
    """The reference label, to be sliced; nothing where there is none."""
    path = folder / "label.zarr"
    return store.open_array(path) if path.exists() else np.broadcast_to(np.uint8(255), grid.shape)


def _labels(
    slabs: Iterator[tuple[int, int, Array]], threshold: float | None, reference: Any, counts: Array
) -> Iterator[tuple[int, Array]]:
    """Slabs of labels; on the way, counts voxels by class, reference (no, yes) and probability.

    The counts are all that calibration and curves need, so no probabilities are stored.
    """
    from cohortseg.infer.native import labels_from

    for start, end, probabilities in slabs:
        truth = np.asarray(reference[start:end])
        for number, channel in enumerate(probabilities[1:], start=1):
            place = np.minimum((channel * PROBABILITY_BINS).astype(np.intp), PROBABILITY_BINS - 1)
            for belongs, inside in ((0, (truth != number) & (truth != 255)), (1, truth == number)):
                counts[number - 1, belongs] += np.bincount(place[inside], minlength=PROBABILITY_BINS)
        yield start, labels_from(probabilities, threshold=threshold)
