"""What `evaluate` does in a study that makes images: the made image against the real one, in each region."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.settings import SynthesisSettings
from cohortseg.settings.synthesis import BODY, WHOLE
from cohortseg.stages import EvaluateStage
from cohortseg.steps.batch import Record, Work
from cohortseg.steps.image_pairs import path_of, read_target
from cohortseg.steps.units import split_unit


def image_work(layout: Layout, experiment: str, unit: str, settings: EvaluateStage, task: SynthesisSettings) -> Work:
    """The work of one made image."""
    model, case = split_unit(unit)
    folder = layout.prediction(experiment, model, case)
    raw, known = read_json(folder / "raw.json"), read_json(layout.case(case) / "image.json").get("contents", {})
    target = path_of(layout, case, task.target, settings.channels).stem
    return Work(
        stage="evaluate",
        sidecar=folder / "metrics.json",
        stores=(),
        inputs={"prediction": raw["content"], "target": known.get(target), "label": known.get("label")},
        upstream=raw,
        make=lambda: evaluate_image(layout, experiment, unit, settings, task),
    )


def evaluate_image(
    layout: Layout, experiment: str, unit: str, settings: EvaluateStage, task: SynthesisSettings
) -> Record:
    """The numbers of each region: body, whole image, and each class of the reference where there is one.

    Raises
    ------
    Rejected
        NO_REFERENCE when the case has no real image of this kind.
    StudyError
        When the made image lies on another grid than the real one.
    """
    from cohortseg.methods.body import body_mask
    from cohortseg.metrics.images import measure_image

    model, case = split_unit(unit)
    real = read_target(layout, case, settings.channels, task)
    made = store.read_volume(layout.prediction(experiment, model, case) / "raw.zarr")
    if not made.grid.matches(real.grid):
        raise StudyError(f"the image of {unit} is not on the grid of the real one: `cohortseg verify`")
    regions: dict[str, Any] = {BODY: body_mask(real.array, task.body_above), WHOLE: np.ones(real.grid.shape, bool)}
    if (layout.case(case) / "label.zarr").exists():
        label = store.read_volume(layout.case(case) / "label.zarr").array
        regions |= {name: label == number for number, name in enumerate(settings.classes, start=1)}
    low, high = task.range
    found = measure_image(real.array, made.array, regions, low=low, high=high, bits=task.bits)
    return {"content": digest(found), "images": found}


def closeness(layout: Layout, case: str, target: Path, channels: Sequence[str], task: SynthesisSettings) -> list[float]:
    """What a search makes as large as possible: 1 - MAE / width of the range, inside the body; NaN without a body.

    The image of the trial is not kept.
    """
    from cohortseg.methods.body import body_mask
    from cohortseg.metrics.regression import mae

    real, made = read_target(layout, case, channels, task).array, store.read_volume(target).array
    shutil.rmtree(target)
    body, (low, high) = body_mask(real, task.body_above), task.range
    return [1.0 - mae(real[body], made[body]) / (high - low) if body.any() else float("nan")]
