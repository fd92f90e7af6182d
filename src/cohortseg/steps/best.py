"""The method `best`: which models take part, what each of them or their mean says of a case, and the prediction."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import StudyError
from cohortseg.ignored import left_out
from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import ELECTED, TEST, UNTRAINED, Layout, ensemble_name, model_name
from cohortseg.settings.best import Member
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.units import split_unit
from cohortseg.volume import Array, Volume

PLANES = 16
"""Planes that are counted at a time."""

Model: TypeAlias = tuple[str, str]
"""An experiment and a seed; the seed is empty for a method without."""


def contestants(members: Sequence[Member]) -> dict[str, list[Model]]:
    """By name the models that make each contestant: every single model, then the means of several.

    Several seeds of an experiment are averaged by themselves, and all models of all experiments together, as far as
    they keep their probabilities.
    """
    singles: dict[str, list[Model]] = {}
    means: dict[str, list[Model]] = {}
    for member in members:
        models = models_of(member)
        singles |= {f"{name} seed {seed}" if len(models) > 1 else name: [(name, seed)] for name, seed in models}
        if len(models) > 1 and member.has_probabilities:
            means[f"mean of the seeds of {member.experiment}"] = models
    averaged = [member for member in members if member.has_probabilities]
    if len(averaged) > 1:
        name = f"mean of {', '.join(member.experiment for member in averaged)}"
        means[name] = [model for member in averaged for model in models_of(member)]
    return singles | means


def models_of(member: Member) -> list[Model]:
    """The models of an experiment: one for each seed."""
    return [(member.experiment, str(seed)) for seed in member.seeds or []] or [(member.experiment, "")]


def folder_of(layout: Layout, model: Model, case: str, fold: str) -> Path:
    """Where a model's prediction of a case of a fold lies."""
    experiment, seed = model
    if not seed:
        return layout.prediction(experiment, UNTRAINED, case)
    name = ensemble_name(int(seed)) if fold == TEST else model_name(fold, int(seed))
    return layout.prediction(experiment, name, case)


def label_of(folders: Sequence[Path]) -> Volume:
    """The label of one prediction, or the most probable class by the mean of the stored probabilities of several."""
    if len(folders) == 1:
        return store.read_volume(folders[0] / "raw.zarr")
    if any("regions" in read_json(folder / "raw.json") for folder in folders):
        raise StudyError("probabilities of regions are not averaged: leave that experiment out of `among`")
    from cohortseg.infer.native import labels_from

    grid = store.read_grid(folders[0] / "raw.zarr")
    stacks = [store.channels_of(store.open_array(folder / "probabilities.zarr")) for folder in folders]
    found = np.zeros(grid.shape, np.uint8)
    for start in range(0, grid.shape[0], store.CHUNK):
        part = slice(start, start + store.CHUNK)
        found[part] = labels_from(_means(stacks, part))
    return Volume(found, grid)


def _means(stacks: Sequence[Sequence[Any]], part: slice) -> Iterator[npt.NDArray[np.float32]]:
    """The mean probability of each class in some planes, one class after the other."""
    for channels in zip(*stacks, strict=True):
        yield np.mean([np.asarray(channel[(part,)], np.float32) for channel in channels], axis=0)


def contents_of(folders: Sequence[Path]) -> list[Any]:
    """What a label is made from: the label of one prediction, or the probabilities of several."""
    records = [read_json(folder / "raw.json") for folder in folders]
    if len(records) == 1:
        return [records[0]["content"]]
    return [record.get("contents", {}).get("probabilities", record["content"]) for record in records]


# ---- prediction -------------------------------------------------------------------------------------------------


def predict_best(arguments: argparse.Namespace, folds: dict[str, str]) -> None:
    """Give each case of a batch the label of the models that were elected for its fold."""
    layout, experiment = arguments.study, arguments.experiment
    run_batch(
        [f"{ELECTED}/{case}" for case in arguments.cases],
        lambda unit: _work(layout, experiment, split_unit(unit)[1], folds[split_unit(unit)[1]]),
        arguments.settings,
        arguments.token,
    )


def _work(layout: Layout, experiment: str, case: str, fold: str) -> Work:
    elected = [(name, seed) for name, seed in read_json(layout.chosen(experiment, "model", fold))["models"]]
    folders = [folder_of(layout, model, case, fold) for model in elected]
    records = [read_json(folder / "raw.json") for folder in folders]
    folder = layout.prediction(experiment, ELECTED, case)
    return Work(
        stage="predict",
        sidecar=folder / "raw.json",
        stores=(folder / "raw.zarr",),
        inputs={"models": [" ".join(model).strip() for model in elected], "contents": contents_of(folders)},
        upstream=next((record for record in records if record["status"] == "rejected"), records[0]),
        make=lambda: _predict(folders, folder / "raw.zarr", records),
    )


def _predict(folders: Sequence[Path], target: Path, records: list[Record]) -> Record:
    content = store.write_volume(target, label_of(folders), name="label")
    # The histograms of a single model stay what they are; nobody has counted those of a mean.
    kept = ("probabilities", "probability_sums", "regions") if len(records) == 1 else ()
    return {"content": content, **{key: records[0][key] for key in kept if key in records[0]}}


# ---- the contest ------------------------------------------------------------------------------------------------


def counts_of(label: Array, reference: Array, n_classes: int) -> list[list[int]]:
    """Of each class the voxels of reference, prediction and both, where the reference was judged.

    Raises
    ------
    StudyError
        When the two are not on one grid.
    """
    if label.shape != reference.shape:
        raise StudyError("a prediction is not on the grid of its reference: `cohortseg verify`")
    size = n_classes + 1
    found = np.zeros((3, size), np.int64)
    for start in range(0, len(label), PLANES):
        truth, mine = (array[start : start + PLANES].ravel() for array in (reference, label))
        mine = left_out(mine, truth)
        for row, values in zip(found, (truth, mine, mine[mine == truth]), strict=True):
            row += np.bincount(values, minlength=size)[:size]
    return [[int(n) for n in row] for row in found.T[1:]]
