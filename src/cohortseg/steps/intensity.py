"""What `train` and `predict` do for images made by intensities alone: numbers of a fold, and an image from them."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.arrays import read_arrays, write_arrays
from cohortseg.io.sidecar import digest, read_json, read_sidecar, run_path, write_json
from cohortseg.layout import Layout
from cohortseg.methods.intensity import Model, Pair, learn, make
from cohortseg.settings import IntensityMethod, SynthesisSettings
from cohortseg.stages import STAGES, ExperimentStage
from cohortseg.steps.batch import Record, Work, log, run_batch, run_record
from cohortseg.steps.image_pairs import lacks, read_input, read_target, with_target
from cohortseg.steps.learners import WEIGHTS, is_whole
from cohortseg.steps.units import folds_of_model, plan_units, split_unit
from cohortseg.volume import Volume


def task_of(settings: ExperimentStage) -> SynthesisSettings:
    """Which image is made.

    Raises
    ------
    StudyError
        When the study makes none.
    """
    if settings.synthesis is None:
        raise StudyError("the study makes no images: say which in `synthesis`")
    return settings.synthesis


def train_intensity(arguments: argparse.Namespace, settings: ExperimentStage, method: IntensityMethod) -> None:
    """Learn from the members of one fold, or see that it is done.

    Raises
    ------
    StudyError
        When no member of the fold can be learnt from.
    """
    layout: Layout = arguments.study
    task = task_of(settings)
    folder = layout.model(arguments.experiment, arguments.fold, arguments.seed)
    folder.mkdir(parents=True, exist_ok=True)
    started, cpu = time.perf_counter(), time.process_time()
    members = read_json(layout.members(arguments.fold))
    recipe = [STAGES["train"].revision, method.model_dump_json(), task.model_dump_json(), settings.channels]
    key = digest(["train", recipe, arguments.fold, arguments.seed, arguments.upstream, members])
    done = read_sidecar(arguments.token) or read_sidecar(folder / "done.json")
    if done is not None and done["key"] == key and is_whole(folder, done):
        log("already done")
        write_json(arguments.token, done)
        return
    channel = _channel(settings, method)
    used = {
        role: [name for name in with_target(layout, members[role], task.target) if not lacks(layout, name, channel)]
        for role in ("train", "validation")
    }
    if not used["train"]:
        raise StudyError(f"fold {arguments.fold} has no case with both images to learn from")

    def pairs() -> Iterator[Pair]:
        for case in used["train"]:
            own = read_input(layout, case, channel, settings.channels, task).array
            yield own, read_target(layout, case, settings.channels, task).array

    model = learn(pairs, rule=method.rule, above=task.body_above)
    weights = write_arrays(folder / WEIGHTS, model, {"method": "intensity", "rule": method.rule, "channel": channel})
    record = {
        "status": "ok",
        "stage": "train",
        "revision": STAGES["train"].revision,
        "key": key,
        "inputs": {},
        "members": used,
        "trained_on": {case: read_json(layout.case(case) / "image.json")["content"] for case in used["train"]},
        "trained_from": "image",
        "channel": channel,
        "weights": weights,
        "content": weights,
        "n_parameters": sum(int(np.size(array)) for array in model.values()),
    }
    write_json(run_path(arguments.token), {**run_record(started, cpu), "threads": arguments.threads})
    write_json(folder / "done.json", record)
    write_json(arguments.token, record)


def _channel(settings: ExperimentStage, method: IntensityMethod) -> str:
    return method.channel or task_of(settings).inputs_among(settings.channels)[0]


def predict_intensity(arguments: argparse.Namespace, settings: ExperimentStage, method: IntensityMethod) -> None:
    """Make the images of a batch; of the test set the mean of what the models of all folds make."""
    layout: Layout = arguments.study

    def work(unit: str) -> Work:
        model, case = split_unit(unit)
        image = read_json(layout.case(case) / "image.json")
        target = layout.prediction(arguments.experiment, model, case) / "raw.zarr"
        folders = {f: layout.model(arguments.experiment, f, 1) for f in folds_of_model(layout, model)}
        weights = {f"weights fold {fold}": _weights(folder, arguments.experiment) for fold, folder in folders.items()}
        return Work(
            stage="predict",
            sidecar=target.with_name("raw.json"),
            stores=(target,),
            inputs={"image": image["content"], **weights},
            upstream=image,
            make=lambda: _image(
                layout, case, target, settings, method, [read_arrays(f / WEIGHTS) for f in folders.values()]
            ),
        )

    run_batch(plan_units(layout, arguments.cases, [1]), work, arguments.settings, arguments.token)


def _image(
    layout: Layout,
    case: str,
    target: Path,
    settings: ExperimentStage,
    method: IntensityMethod,
    models: list[Model],
) -> Record:
    task = task_of(settings)
    volume = read_input(layout, case, _channel(settings, method), settings.channels, task)
    low, high = task.range
    made = [make(volume.array, model, rule=method.rule, low=low, high=high) for model in models]
    mean = made[0] if len(made) == 1 else np.mean(np.stack(made), axis=0)
    return {"content": store.write_volume(target, Volume(np.asarray(mean), volume.grid))}


def _weights(folder: Path, experiment: str) -> str:
    record = read_sidecar(folder / "train.json")
    if record is None:
        raise StudyError(f"experiment {experiment!r}, {folder.name} is not trained")
    return str(record["weights"])
