"""Step `postprocess`: a raw predicted label -> the same label, cleaned; both are kept."""

import argparse

import numpy as np

from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.stages import PostprocessStage
from cohortseg.steps.arguments import add_experiment_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.objects import STORE, write_objects
from cohortseg.steps.units import split_unit, units_of
from cohortseg.volume import Volume

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Clean a batch."""
    settings = PostprocessStage.model_validate_json(arguments.settings)
    run_batch(
        units_of(arguments.study, arguments.experiment, arguments.cases),
        lambda unit: _work(arguments.study, arguments.experiment, unit, settings),
        arguments.settings,
        arguments.token,
    )


def _work(layout: Layout, experiment: str, unit: str, settings: PostprocessStage) -> Work:
    folder = layout.prediction(experiment, *split_unit(unit))
    raw = read_json(folder / "raw.json")
    rule = settings.instances.rule if settings.instances is not None else None
    kept = raw.get("contents", {}).get("probabilities") if rule == "probability" else None
    return Work(
        stage="postprocess",
        sidecar=folder / "post.json",
        stores=(folder / "post.zarr", *([folder / STORE] if rule else [])),
        inputs={"raw": raw["content"], **({"probabilities": kept} if kept else {})},
        upstream=raw,
        make=lambda: postprocess(layout, experiment, unit, settings),
    )


def postprocess(layout: Layout, experiment: str, unit: str, settings: PostprocessStage) -> Record:
    """Write `post.zarr`."""
    from cohortseg.metrics.shape import label_shapes
    from cohortseg.postprocess.chain import postprocess_label

    folder = layout.prediction(experiment, *split_unit(unit))
    raw = store.read_volume(folder / "raw.zarr")
    post = postprocess_label(
        raw.array,
        spacing_mm=raw.grid.spacing_mm,
        n_classes=len(settings.classes),
        **settings.postprocess.model_dump(),
    )
    content = store.write_volume(folder / "post.zarr", Volume(post, raw.grid), name="label")
    shapes = label_shapes(post, spacing_mm=raw.grid.spacing_mm, n_classes=len(settings.classes))
    objects = write_objects(folder, Volume(post, raw.grid), settings.instances, len(settings.classes))
    changed = int(np.count_nonzero(post != raw.array))
    return {"content": content, "n_voxels_changed": changed, "shapes": shapes, **objects}
