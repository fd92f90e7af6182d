"""Step `evaluate`: raw and cleaned label against the reference -> one JSON of metrics per case."""

import argparse
from typing import Any

from cohortseg.errors import Rejected
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import EvaluateStage
from cohortseg.steps.arguments import add_experiment_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.units import split_unit, units_of

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Measure a batch."""
    settings = EvaluateStage.model_validate_json(arguments.settings)
    run_batch(
        units_of(arguments.study, arguments.experiment, arguments.cases),
        lambda unit: _work(arguments.study, arguments.experiment, unit, settings),
        arguments.settings,
        arguments.token,
    )


def _work(layout: Layout, experiment: str, unit: str, settings: EvaluateStage) -> Work:
    folder = layout.prediction(experiment, *split_unit(unit))
    post = read_json(folder / "post.json")
    reference = read_json(layout.case(split_unit(unit)[1]) / "image.json").get("contents", {}).get("label")
    return Work(
        stage="evaluate",
        sidecar=folder / "metrics.json",
        stores=(),
        inputs={"prediction": post["content"], "raw": post["inputs"].get("raw"), "reference": reference},
        upstream=post,
        make=lambda: evaluate(layout, experiment, unit, settings),
    )


def evaluate(layout: Layout, experiment: str, unit: str, settings: EvaluateStage) -> Record:
    """Metrics of each label, for the raw and the cleaned prediction.

    Raises
    ------
    Rejected
        NO_REFERENCE when the case has no label.
    """
    from cohortseg.metrics.case import case_metrics

    model, case = split_unit(unit)
    folder = layout.prediction(experiment, model, case)
    if not (layout.case(case) / "label.zarr").exists():
        raise Rejected("NO_REFERENCE", "predicted, but not scored: the scan has no label")
    reference = store.read_volume(layout.case(case) / "label.zarr")
    metrics: dict[str, Any] = {}
    for stage in ("raw", "post"):
        if stage == "post" and read_json(folder / "post.json")["n_voxels_changed"] == 0:
            metrics["post"] = metrics["raw"]
            continue
        prediction = store.read_volume(folder / f"{stage}.zarr")
        metrics[stage] = {
            name: case_metrics(
                reference.array == number,
                prediction.array == number,
                spacing_mm=reference.grid.spacing_mm,
                nsd_tolerance_mm=settings.metrics.nsd_tolerance_mm,
            )
            for number, name in enumerate(settings.classes, start=1)
        }
    return {"content": digest(metrics), "metrics": metrics}
