"""Step `postprocess`: a raw predicted label -> the same label, cleaned; both are kept."""

import argparse
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from cohortseg.cohort import read_cases
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import PostprocessStage
from cohortseg.steps.arguments import add_blocks, add_experiment_batch
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.block_workers import BlockWorkers
from cohortseg.steps.chosen import label_at, threshold_of
from cohortseg.steps.objects import STORE, write_objects
from cohortseg.steps.postprocess_blocks import clean_by_blocks
from cohortseg.steps.refine import refined, seen_by_field
from cohortseg.steps.units import split_unit, units_of
from cohortseg.volume import Volume

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A batch of an experiment, and who does the blocks of oversize cases."""
    add_experiment_batch(parser)
    add_blocks(parser)


def run(arguments: argparse.Namespace) -> None:
    """Clean a batch."""
    layout, settings = arguments.study, PostprocessStage.model_validate_json(arguments.settings)
    folds = {case.case: case.fold for case in read_cases(layout.cases_table)}
    with ExitStack() as held:
        workers = BlockWorkers(arguments, held)
        run_batch(
            units_of(layout, arguments.experiment, arguments.cases),
            lambda unit: _work(layout, arguments.experiment, unit, folds[split_unit(unit)[1]], settings, workers),
            arguments.settings,
            arguments.token,
        )


def _work(
    layout: Layout, experiment: str, unit: str, fold: str, settings: PostprocessStage, workers: BlockWorkers
) -> Work:
    folder = layout.prediction(experiment, *split_unit(unit))
    raw = read_json(folder / "raw.json")
    cleaning = cleaning_of(layout, experiment, fold, settings)
    threshold = threshold_of(layout, experiment, fold) if settings.choose_threshold else None
    rule = settings.instances.rule if settings.instances is not None else None
    inputs = {"raw": raw["content"], **seen_by_field(layout, split_unit(unit)[1], raw, settings.postprocess.crf)}
    if settings.postprocess.choose:
        inputs["cleaning"] = digest(cleaning)
    if threshold is not None:
        inputs["threshold"] = threshold
    if threshold is not None or rule == "probability":
        inputs["probabilities"] = raw.get("contents", {}).get("probabilities")
    return Work(
        stage="postprocess",
        sidecar=folder / "post.json",
        stores=(folder / "post.zarr", *([folder / STORE] if rule else [])),
        inputs=inputs,
        upstream=raw,
        make=lambda: postprocess(layout, experiment, unit, cleaning, threshold, settings, workers),
    )


def cleaning_of(layout: Layout, experiment: str, fold: str, settings: PostprocessStage) -> dict[str, dict[str, Any]]:
    """What is done to each class, in their order, in the cases of a fold: what was chosen, or what settings name."""
    if settings.postprocess.choose:
        chosen = read_json(layout.chosen(experiment, "cleaning", fold))
        return {name: chosen[name] for name in settings.classes}
    return dict.fromkeys(settings.classes, settings.postprocess.named())


def postprocess(
    layout: Layout,
    experiment: str,
    unit: str,
    cleaning: Mapping[str, Mapping[str, Any]],
    threshold: float | None,
    settings: PostprocessStage,
    workers: BlockWorkers,
) -> Record:
    """Write `post.zarr` and, where objects are told apart, `instances.zarr`."""
    from cohortseg.metrics.shape import label_shapes
    from cohortseg.postprocess.chain import postprocess_classes

    folder = layout.prediction(experiment, *split_unit(unit))
    if workers.by_blocks:
        return {
            **clean_by_blocks(folder, cleaning, threshold, workers.start()),
            "done": {"threshold": threshold, "cleaning": cleaning},
        }
    field = refined(layout, split_unit(unit)[1], folder, settings.postprocess.crf, settings.channels)
    before = label_at(folder, threshold) if field is None else field[0]
    spacing_mm = before.grid.spacing_mm
    post = postprocess_classes(before.array, spacing_mm=spacing_mm, options=list(cleaning.values()))
    content = store.write_volume(folder / "post.zarr", Volume(post, before.grid), name="label")
    raw = before if threshold is None and field is None else store.read_volume(folder / "raw.zarr")
    return {
        "content": content,
        "n_voxels_changed": int(np.count_nonzero(post != raw.array)),
        "shapes": label_shapes(post, spacing_mm=spacing_mm, n_classes=len(cleaning)),
        "done": {"threshold": threshold, "cleaning": cleaning, **({"crf": field[1]} if field is not None else {})},
        **write_objects(folder, Volume(post, before.grid), settings.instances, len(cleaning), settings.things),
    }
