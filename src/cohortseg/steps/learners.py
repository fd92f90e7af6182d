"""What `train` and `predict` do for a method that learns without a network.

It sees images as they were converted. A case that is kept out of the training is segmented by the model of its fold; a
case of the test set by the models of all folds, each of which has one vote in each voxel.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.choose import choose
from cohortseg.errors import Rejected, StudyError
from cohortseg.io import store
from cohortseg.io.arrays import read_arrays, write_arrays
from cohortseg.io.sidecar import digest, file_digest, read_json, read_sidecar, run_path, write_json
from cohortseg.layout import Layout
from cohortseg.methods.learned import LEARNERS, Labelled, Learner, Model, vote
from cohortseg.settings import LearnedMethod, seeds_of
from cohortseg.stages import STAGES, ExperimentStage
from cohortseg.steps.batch import Record, Work, log, run_batch, run_record
from cohortseg.steps.channels import read_channel
from cohortseg.steps.taught import NOBODY_TO_LEARN_FROM, REFERENCES, Taught, taught
from cohortseg.steps.units import folds_of_model, plan_units, seed_of_model, split_unit
from cohortseg.volume import Volume

WEIGHTS = "weights.safetensors"
NOT_OF_THE_FIT = {"method", "channel", "cases", "seeds", "labels_from", "reference_share"}
"""Settings that are no arguments of a learner: which one, on what, and which model of several."""


def train_learner(arguments: argparse.Namespace, settings: ExperimentStage, method: LearnedMethod) -> None:
    """Fit one fold and seed, or see that it is done.

    Raises
    ------
    StudyError
        When no member of the fold can be learnt from.
    """
    layout: Layout = arguments.study
    folder = layout.model(arguments.experiment, arguments.fold, arguments.seed)
    folder.mkdir(parents=True, exist_ok=True)
    started, cpu = time.perf_counter(), time.process_time()
    members = read_json(layout.members(arguments.fold))
    labels = taught(layout, arguments.experiment, arguments.fold, method, in_model_space=False)
    made_of = [labels.contents, sorted(labels.left_out)] if method.labels_from is not None else []
    recipe = [STAGES["train"].revision, method.model_dump_json(exclude={"seeds"}), settings.classes, settings.channels]
    key = digest(["train", recipe, arguments.fold, arguments.seed, arguments.upstream, members, *made_of])
    done = read_sidecar(arguments.token) or read_sidecar(folder / "done.json")
    if done is not None and done["key"] == key and is_whole(folder, done):
        log("already done")
        write_json(arguments.token, done)
        return
    used = {
        role: list(_usable(layout, members[role], method.channel, settings.channels, labels))
        for role in ("train", "validation")
    }
    if not used["train"]:
        raise StudyError(f"fold {arguments.fold} {NOBODY_TO_LEARN_FROM}")
    used["train"] = drawn(used["train"], _most(method), arguments.seed)
    fitted = fit(layout, folder, settings, method, used["train"], arguments.seed, labels)
    record = {"key": key, "members": used, **fitted, **labels.record(method, used["train"])}
    if method is not settings.experiment:
        record["tuned"] = read_json(arguments.tuned)["settings"]
    write_json(run_path(arguments.token), {**run_record(started, cpu), "threads": arguments.threads})
    write_json(folder / "done.json", record)
    write_json(arguments.token, record)


def fit(
    layout: Layout,
    folder: Path,
    settings: ExperimentStage,
    method: LearnedMethod,
    cases: list[str],
    seed: int,
    labels: Taught = REFERENCES,
) -> Record:
    """Fit on the named cases and write the arrays; returns what the sidecar says of it."""
    values = method.model_dump()
    name = str(values["method"])
    options = {key: value for key, value in values.items() if key not in NOT_OF_THE_FIT}
    if "seeds" in values:
        options["seed"] = seed

    def labelled() -> Iterator[Labelled]:
        for case in cases:
            log(f"{case}: learning")
            label = store.read_volume(labels.stores.get(case, layout.case(case) / "label.zarr")).array
            yield read_channel(layout, case, method.channel, settings.channels), label

    model = choose("method", name, LEARNERS).fit(labelled(), len(settings.classes), **options)
    metadata = {"method": name, "classes": settings.classes, "channel": method.channel or settings.channels[0]}
    weights = write_arrays(folder / WEIGHTS, model, metadata)
    return {
        "status": "ok",
        "stage": "train",
        "revision": STAGES["train"].revision,
        "inputs": {},
        "trained_on": {case: read_json(layout.case(case) / "image.json")["content"] for case in cases},
        "trained_from": "image",
        "channel": metadata["channel"],
        "weights": weights,
        "content": weights,
        "n_parameters": sum(int(np.size(array)) for array in model.values()),
    }


def drawn(cases: list[str], n: int | None, seed: int) -> list[str]:
    """At most n of the cases, in their order; which, the seed says."""
    if n is None or len(cases) <= n:
        return cases
    places = np.random.default_rng(seed).choice(len(cases), n, replace=False)
    return [cases[place] for place in sorted(places.tolist())]


def is_whole(folder: Path, done: dict[str, Any]) -> bool:
    """Whether what was fitted is there as its record says."""
    path = folder / WEIGHTS
    return path.exists() and file_digest(path) == f"sha256:{done['weights']}"


def _usable(
    layout: Layout, names: list[str], channel: str | None, channels: list[str], labels: Taught = REFERENCES
) -> Iterator[str]:
    """The members that are there, were not rejected, have a label (reference or given) and the channel."""
    wanted = channel or channels[0]
    for name in names:
        record = read_sidecar(layout.case(name) / "image.json")
        if record is None or record["status"] != "ok":
            log(f"{name}: not used ({'gone' if record is None else record['reason']})")
        elif name in labels.left_out:
            log(f"{name}: not used (no label from the source)")
        elif wanted not in record["facts"].get("missing_channels", []) and (
            record["contents"]["label"] is not None or name in labels.stores
        ):
            yield name


# ---- predict --------------------------------------------------------------------------------------------------------

Fitted = tuple[Model, str]
"""The arrays of one fold, and the channel that they were learnt from."""


def predict_learned(arguments: argparse.Namespace, settings: ExperimentStage, method: LearnedMethod) -> None:
    """Segment a batch; the arrays of a model are read once."""
    layout: Layout = arguments.study
    learner = LEARNERS[_name_of(method)]
    loaded: dict[str, list[Fitted]] = {}

    def models_of(model: str) -> list[Fitted]:
        if model not in loaded:
            loaded.clear()
            records = _trained(layout, arguments.experiment, model).values()
            loaded[model] = [(read_arrays(folder / WEIGHTS), str(record["channel"])) for folder, record in records]
        return loaded[model]

    def work(unit: str) -> Work:
        model, case = split_unit(unit)
        image = read_json(layout.case(case) / "image.json")
        folder = layout.prediction(arguments.experiment, model, case)
        trained = _trained(layout, arguments.experiment, model)
        weights = {f"weights fold {fold}": record["weights"] for fold, (_, record) in trained.items()}
        return Work(
            stage="predict",
            sidecar=folder / "raw.json",
            stores=(folder / "raw.zarr",),
            inputs={"image": image["content"], **weights},
            upstream=image,
            make=lambda: {
                "content": _segment(layout, case, folder / "raw.zarr", learner, models_of(model), settings.channels)
            },
        )

    units = plan_units(layout, arguments.cases, seeds_of(method))
    run_batch(units, work, arguments.settings, arguments.token)


def fit_and_segment(
    layout: Layout, folder: Path, settings: ExperimentStage, method: LearnedMethod, parts: dict[str, list[str]]
) -> dict[str, Path | None]:
    """Fit on the part `train` and segment the part `validation` into a folder; None for a case that lacks the channel.

    Raises
    ------
    StudyError
        When nothing can be learnt from.
    """
    seed = seeds_of(method)[0]
    cases = drawn(list(_usable(layout, parts["train"], method.channel, settings.channels)), _most(method), seed)
    if not cases:
        raise StudyError("no labelled case to train on")
    folder.mkdir(parents=True, exist_ok=True)
    channel = str(fit(layout, folder, settings, method, cases, seed)["channel"])
    fitted, found = [(read_arrays(folder / WEIGHTS), channel)], dict[str, Path | None]()
    for case in parts["validation"]:
        target = folder / f"{case}.zarr"
        try:
            _segment(layout, case, target, LEARNERS[_name_of(method)], fitted, settings.channels)
            found[case] = target
        except Rejected as rejected:
            log(f"{case}: {rejected}")
            found[case] = None
    return found


def _segment(
    layout: Layout, case: str, target: Path, learner: Learner, models: list[Fitted], channels: list[str]
) -> str:
    """Write the label on which most models agree; returns its digest."""
    volumes = {name: read_channel(layout, case, name, channels) for name in sorted({name for _, name in models})}
    label = vote([learner.predict(model, volumes[name]) for model, name in models])
    grid = next(iter(volumes.values())).grid
    return store.write_volume(target, Volume(label, grid), name="label")


def _trained(layout: Layout, experiment: str, model: str) -> dict[str, tuple[Path, Record]]:
    """Folder and record of a model by fold: of its own, or of each for the test set."""
    seed, found = int(seed_of_model(model)), {}
    for fold in folds_of_model(layout, model):
        folder = layout.model(experiment, fold, seed)
        record = read_sidecar(folder / "train.json")
        if record is None:
            raise StudyError(f"experiment {experiment!r}, fold {fold}, seed {seed} is not trained")
        found[fold] = (folder, record)
    return found


def _name_of(method: LearnedMethod) -> str:
    return str(method.model_dump()["method"])


def _most(method: LearnedMethod) -> int | None:
    """The largest number of cases that a method learns from."""
    most: int | None = getattr(method, "cases", None)
    return most
