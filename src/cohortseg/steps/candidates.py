"""Step `candidates`: what each way of cleaning would leave of the raw label of a validation case."""

import argparse
from typing import Any

from cohortseg.errors import Rejected
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import CandidatesStage
from cohortseg.steps.arguments import add_experiment_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.chosen import folds_to_serve, label_at, name_of, threshold_of
from cohortseg.steps.units import split_unit, units_of

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Look at a batch."""
    settings = CandidatesStage.model_validate_json(arguments.settings)
    layout, experiment = arguments.study, arguments.experiment
    thresholds = thresholds_in_use(layout, experiment, settings)
    run_batch(
        units_of(layout, experiment, arguments.cases),
        lambda unit: _work(layout, experiment, unit, settings, thresholds),
        arguments.settings,
        arguments.token,
    )


def thresholds_in_use(layout: Layout, experiment: str, settings: CandidatesStage) -> dict[str, float | None]:
    """The probability thresholds that were chosen for any fold, by the text that names them."""
    if not settings.choose_threshold:
        return {name_of(None): None}
    n_folds = read_json(layout.ledger)["split"]["folds"]
    values = {threshold_of(layout, experiment, fold) for fold in folds_to_serve(n_folds)}
    return {name_of(value): value for value in sorted(values, key=name_of)}


def _work(
    layout: Layout, experiment: str, unit: str, settings: CandidatesStage, thresholds: dict[str, float | None]
) -> Work:
    folder = layout.prediction(experiment, *split_unit(unit))
    raw = read_json(folder / "raw.json")
    reference = read_json(layout.case(split_unit(unit)[1]) / "image.json").get("contents", {}).get("label")
    inputs = {"raw": raw["content"], "reference": reference, "thresholds": list(thresholds)}
    if settings.choose_threshold:
        inputs["probabilities"] = raw.get("contents", {}).get("probabilities")
    return Work(
        stage="candidates",
        sidecar=folder / "candidates.json",
        stores=(),
        inputs=inputs,
        upstream=raw,
        make=lambda: candidates(layout, experiment, unit, settings, thresholds),
    )


def candidates(
    layout: Layout, experiment: str, unit: str, settings: CandidatesStage, thresholds: dict[str, float | None]
) -> Record:
    """Components of each class at each threshold.

    Raises
    ------
    Rejected
        NO_REFERENCE: the case takes no part in the choice.
    """
    from cohortseg.postprocess.candidates import tally

    model, case = split_unit(unit)
    if not (layout.case(case) / "label.zarr").exists():
        raise Rejected("NO_REFERENCE", "takes no part in the choice of post-processing: the scan has no label")
    reference = store.read_volume(layout.case(case) / "label.zarr").array
    found: dict[str, list[Any]] = {}
    for name, threshold in thresholds.items():
        label = label_at(layout.prediction(experiment, model, case), threshold)
        found[name] = tally(label.array, reference, spacing_mm=label.grid.spacing_mm, n_classes=len(settings.classes))
    return {"content": digest(found), "spacing_mm": list(label.grid.spacing_mm), "tally": found}
