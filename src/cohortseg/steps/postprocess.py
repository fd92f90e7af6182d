"""Step `postprocess`: a raw predicted label -> the same label, cleaned; both are kept."""

import argparse

import numpy as np

from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.stages import PostprocessStage
from cohortseg.steps.arguments import add_experiment_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.refine import can_refine, refined
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
    return Work(
        stage="postprocess",
        sidecar=folder / "post.json",
        stores=(folder / "post.zarr",),
        inputs={"raw": raw["content"], **_seen(layout, unit, raw, settings)},
        upstream=raw,
        make=lambda: postprocess(layout, experiment, unit, settings),
    )


def _seen(layout: Layout, unit: str, raw: Record, settings: PostprocessStage) -> Record:
    """What the random field looks at, where there is one."""
    if settings.postprocess.crf is None or not can_refine(raw):
        return {}
    image = read_json(layout.case(split_unit(unit)[1]) / "image.json")
    return {"probabilities": raw["contents"]["probabilities"], "image": image["content"]}


def postprocess(layout: Layout, experiment: str, unit: str, settings: PostprocessStage) -> Record:
    """Write `post.zarr`."""
    from cohortseg.metrics.shape import label_shapes
    from cohortseg.postprocess.chain import postprocess_label

    folder = layout.prediction(experiment, *split_unit(unit))
    raw = store.read_volume(folder / "raw.zarr")
    before, crf = raw, settings.postprocess.crf
    done: Record = {}
    if crf is not None and can_refine(read_json(folder / "raw.json")):
        before, done = refined(layout, split_unit(unit)[1], folder, crf, settings.channels)
    post = postprocess_label(
        before.array,
        spacing_mm=raw.grid.spacing_mm,
        n_classes=len(settings.classes),
        **settings.postprocess.model_dump(exclude={"crf"}),
    )
    content = store.write_volume(folder / "post.zarr", Volume(post, raw.grid), name="label")
    shapes = label_shapes(post, spacing_mm=raw.grid.spacing_mm, n_classes=len(settings.classes))
    changed = int(np.count_nonzero(post != raw.array))
    return {"content": content, "n_voxels_changed": changed, "shapes": shapes, **done}
