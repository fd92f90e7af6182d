"""Step `evaluate`: raw and cleaned label against the reference -> one JSON of metrics per case."""

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.errors import Rejected, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import EvaluateStage
from cohortseg.steps.arguments import add_experiment_batch_of_slabs as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.evaluate_image import image_work
from cohortseg.steps.slabbed import OpenVolume, is_oversize, measurer, open_label
from cohortseg.steps.units import split_unit, units_of
from cohortseg.volume import Array, Grid, Volume

__all__ = ["add_arguments", "run"]

PARTS = ("metrics", "lesions", "trimap", "instances", "voxels")
"""What the record holds of each stage (raw, post)."""


def run(arguments: argparse.Namespace) -> None:
    """Measure a batch."""
    settings = EvaluateStage.model_validate_json(arguments.settings)
    run_batch(
        units_of(arguments.study, arguments.experiment, arguments.cases),
        lambda unit: _work(arguments.study, arguments.experiment, unit, settings, getattr(arguments, "most_voxels", 0)),
        arguments.settings,
        arguments.token,
    )


def _work(layout: Layout, experiment: str, unit: str, settings: EvaluateStage, most_voxels: int) -> Work:
    if settings.synthesis is not None:
        return image_work(layout, experiment, unit, settings, settings.synthesis)
    folder = layout.prediction(experiment, *split_unit(unit))
    post, raw = read_json(folder / "post.json"), read_json(folder / "raw.json")
    known = read_json(layout.case(split_unit(unit)[1]) / "image.json").get("contents", {})
    inputs = {"prediction": post["content"], "raw": post["inputs"].get("raw"), "reference": known.get("label")}
    objects = {"objects": post.get("contents", {}).get("instances"), "reference objects": known.get("instances")}
    inputs |= {name: content for name, content in objects.items() if content}
    if settings.types is not None:
        inputs["image"] = read_json(layout.case(split_unit(unit)[1]) / "image.json")["content"]
    if "probabilities" in raw:
        inputs["probabilities"] = digest([raw["probabilities"], raw.get("probability_sums"), raw.get("contents")])
    return Work(
        stage="evaluate",
        sidecar=folder / "metrics.json",
        stores=(),
        inputs=inputs,
        upstream=post,
        make=lambda: evaluate(layout, experiment, unit, settings, most_voxels),
    )


def evaluate(layout: Layout, experiment: str, unit: str, settings: EvaluateStage, most_voxels: int = 0) -> Record:
    """Metrics of each label, for the raw and the cleaned prediction.

    A case of more than `most_voxels` is never in memory as a whole; 0: every case is.

    Returns
    -------
    dict
        `metrics`, `lesions`, `trimap` and, where the reference numbers objects, `instances`: of each stage, then of
        each label. `voxels`, and `panoptic` where it is asked for: of each stage the counts of all classes.
        `detection`, where it is asked for, and `location` of the reference: of each label. `region`: its features,
        where types are asked for.

    Raises
    ------
    Rejected
        NO_REFERENCE when the case has no label.
    StudyError
        When a prediction lies on another grid than the reference.
    """
    model, case = split_unit(unit)
    folder = layout.prediction(experiment, model, case)
    if not (layout.case(case) / "label.zarr").exists():
        raise Rejected("NO_REFERENCE", "predicted, but not scored: the scan has no label")
    from cohortseg.metrics.confusion import count_classes

    read: Any = open_label if is_oversize(layout.case(case) / "label.zarr", most_voxels) else store.read_volume
    reference = read(layout.case(case) / "label.zarr")
    found: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    found["location"] = {}
    for stage in ("raw", "post"):
        if stage == "post" and read_json(folder / "post.json")["n_voxels_changed"] == 0:
            for part in PARTS:
                found[part]["post"] = found[part]["raw"] and dict(found[part]["raw"])
            continue
        prediction = read(folder / f"{stage}.zarr")
        if not prediction.grid.matches(reference.grid):
            raise StudyError(f"the {stage} label of {unit} is not on the grid of its reference: `cohortseg verify`")
        measured, found["location"] = _labels(reference, prediction, settings, folder)
        found["instances"][stage] = _instances(layout, case, prediction) if len(settings.classes) == 1 else None
        found["voxels"][stage] = count_classes(reference.array, prediction.array, n_classes=len(settings.classes))
        for part, by_label in measured.items():
            found[part][stage] = by_label
    is_numbered = "instances" in read_json(folder / "post.json").get("contents", {})
    if is_numbered and len(settings.classes) == 1:  # objects of several classes: `panoptic`
        found["instances"]["post"] = _numbered(layout, case, store.read_volume(folder / "instances.zarr").array)
    found |= _asked_for(layout, case, folder, reference, settings)
    _add_probabilities(found["metrics"], read_json(folder / "raw.json"), settings)
    return {"content": digest(found), **found}


def _asked_for(layout: Layout, case: str, folder: Path, reference: Volume, settings: EvaluateStage) -> dict[str, Any]:
    """`detection`, `panoptic` and `region`, each only where the study asks for it."""
    found: dict[str, Any] = {}
    if settings.detection is not None:
        from cohortseg.steps.detect import detected

        stored, post = _stored_probabilities(folder, settings), store.read_volume(folder / "post.zarr")
        found["detection"] = detected(reference, post, stored, settings.labels, settings.detection)
    if settings.panoptic is not None:
        from cohortseg.steps.panoptic import segments_matched

        found["panoptic"] = segments_matched(layout, case, folder, reference, settings.classes, settings.panoptic)
    if settings.types is not None:
        from cohortseg.steps.describe import described

        found["region"] = described(layout, case, folder, reference, settings)
    return found


def _labels(
    reference: Volume | OpenVolume, prediction: Volume | OpenVolume, settings: EvaluateStage, folder: Path
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Row, lesions and trimap curve of each class and region; where the reference of each lies in the image.

    Where the probabilities of the voxels were stored, the lesions have scores.
    """
    measured: dict[str, dict[str, Any]] = {"metrics": {}, "lesions": {}, "trimap": {}}
    location = {}
    probabilities = _stored_probabilities(folder, settings)
    measure = measurer(reference, prediction)
    for name, numbers in settings.labels.items():
        found = measure(
            numbers,
            spacing_mm=reference.grid.spacing_mm,
            nsd_tolerance_mm=settings.metrics.nsd_tolerance_mm,
            boundary_band_mm=settings.metrics.boundary_band_mm,
            trimap_bands_mm=tuple(settings.metrics.trimap_bands_mm),
            probability=probabilities.get(name),
        )
        measured["metrics"][name] = dict(found.row)
        measured["lesions"][name] = found.lesions
        measured["trimap"][name] = found.trimap
        location[name] = place_in(reference.grid, found.reference_centre)
    return measured, location


def _stored_probabilities(folder: Path, settings: EvaluateStage) -> dict[str, Any]:
    """By label the probability of each voxel, as far as it was stored: regions of classes are the sums of theirs.

    Of networks that find regions a class has one where it is a region too.
    """
    from cohortseg.metrics.regions import Summed

    stored = folder / "probabilities.zarr"
    if not stored.exists():
        return {}
    _, *channels = store.channels_of(store.open_array(stored))
    if (names := read_json(folder / "raw.json").get("regions")) is not None:
        return dict(zip(names, channels, strict=True))
    return {
        name: channels[numbers[0] - 1] if len(numbers) == 1 else Summed([channels[number - 1] for number in numbers])
        for name, numbers in settings.labels.items()
    }


def place_in(grid: Grid, index: tuple[float, float, float] | None) -> dict[str, float] | None:
    """Where a voxel index (z, y, x) lies in the box of the image: 0 to 1 towards left, back and head of the patient."""
    if index is None:
        return None
    z, y, x = (n - 1 for n in grid.shape)
    corners = np.array([grid.world(corner) for corner in itertools.product((0, z), (0, y), (0, x))])
    low, size = corners.min(axis=0), np.ptp(corners, axis=0)
    share = (np.asarray(grid.world(index)) - low) / np.where(size > 0, size, 1.0)
    return {name: round(float(value), 6) for name, value in zip(("left", "back", "head"), share, strict=True)}


def _instances(layout: Layout, case: str, prediction: Volume) -> dict[str, float | int] | None:
    """The same of a label whose objects nobody told apart: they are its connected components."""
    from cohortseg.metrics.instances import objects_of

    if not layout.instances(case).exists():
        return None
    return _numbered(layout, case, objects_of(prediction.array > 0))


def _numbered(layout: Layout, case: str, ids: Array) -> dict[str, float | int] | None:
    """Agreement of numbered objects, where the reference numbers them."""
    from cohortseg.metrics.instances import instance_metrics

    if not layout.instances(case).exists():
        return None
    return instance_metrics(store.read_volume(layout.instances(case)).array, ids)


def _add_probabilities(metrics: dict[str, Any], raw: Record, settings: EvaluateStage) -> None:
    """Calibration and areas of each label: of the raw label, which is the one that the probabilities gave.

    Counted were the classes, or the regions where the network finds these; the others have none.
    """
    from cohortseg.metrics.columns import PROBABILITY_COLUMNS
    from cohortseg.metrics.probabilities import from_record, probability_metrics

    nothing = dict.fromkeys(PROBABILITY_COLUMNS, float("nan"))
    counted = raw.get("regions", settings.classes) if "probabilities" in raw else []
    for name in settings.labels:
        found = probability_metrics(from_record(raw, counted.index(name))) if name in counted else nothing
        metrics["post"][name] = {**metrics["post"][name], **nothing}
        metrics["raw"][name] = {**metrics["raw"][name], **found}
