"""Step `contest`: how far each model, and each mean of models, shares the reference of a validation case."""

import argparse
from pathlib import Path

from cohortseg.cohort import read_cases
from cohortseg.errors import Rejected
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import ELECTED, Layout
from cohortseg.stages import BestStage
from cohortseg.steps.arguments import add_experiment_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.best import contents_of, contestants, counts_of, folder_of, label_of
from cohortseg.steps.units import split_unit

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Look at a batch."""
    settings = BestStage.model_validate_json(arguments.settings)
    layout: Layout = arguments.study
    folds = {case.case: case.fold for case in read_cases(layout.cases_table)}
    models = contestants(settings.members)

    def work_of(unit: str) -> Work:
        case = split_unit(unit)[1]
        folders = {
            name: [folder_of(layout, model, case, folds[case]) for model in made_of] for name, made_of in models.items()
        }
        return _work(layout, arguments.experiment, case, folders, len(settings.classes))

    run_batch([f"{ELECTED}/{case}" for case in arguments.cases], work_of, arguments.settings, arguments.token)


def _work(layout: Layout, experiment: str, case: str, folders: dict[str, list[Path]], n_classes: int) -> Work:
    image = read_json(layout.case(case) / "image.json")
    reference = image.get("contents", {}).get("label")
    return Work(
        stage="contest",
        sidecar=layout.prediction(experiment, ELECTED, case) / "contest.json",
        stores=(),
        inputs={"reference": reference, **{name: contents_of(parts) for name, parts in folders.items()}},
        upstream=image,
        make=lambda: contest(layout.case(case) / "label.zarr", folders, n_classes),
    )


def contest(label: Path, folders: dict[str, list[Path]], n_classes: int) -> Record:
    """Voxels of reference, prediction and both, of each class, for each contestant; nothing for one that was rejected.

    Raises
    ------
    Rejected
        NO_REFERENCE: the case takes no part in the choice.
    """
    if not label.exists():
        raise Rejected("NO_REFERENCE", "takes no part in the choice of the model: the scan has no label")
    reference = store.read_volume(label).array
    found = {
        name: counts_of(label_of(parts).array, reference, n_classes)
        for name, parts in folders.items()
        if all(read_json(part / "raw.json")["status"] == "ok" for part in parts)
    }
    return {"content": digest(found), "counts": found}
