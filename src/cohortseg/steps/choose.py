"""Step `choose`: the cleaning of each class, for each fold by the validation cases of the other folds.

So no case takes part in a choice that is applied to it. The test set is no fold: its choice is made by all of them.
"""

import argparse
import math
from typing import Any, NamedTuple

import numpy as np

from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.metrics.bootstrap import Floats
from cohortseg.metrics.choice import judge, overlap_score
from cohortseg.postprocess.candidates import CANDIDATES, left_by, usual_part_ml
from cohortseg.stages import ChooseStage
from cohortseg.steps.arguments import add_cohort, add_experiment
from cohortseg.steps.chosen import (
    decide,
    folds_to_serve,
    line,
    name_of,
    of_package,
    rules_of,
    threshold_of,
    voters,
    write_choice,
)
from cohortseg.steps.units import all_units, split_unit

__all__ = ["add_arguments", "run"]


class Seen(NamedTuple):
    """A validation case: its fold and subject, and what each candidate would leave of it at each threshold."""

    fold: str
    subject: str
    voxel_ml: float
    tally: dict[str, list[dict[str, Any]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study, settings, experiment."""
    add_cohort(parser)
    add_experiment(parser)


def run(arguments: argparse.Namespace) -> None:
    """Choose, and write down."""
    settings = ChooseStage.model_validate_json(arguments.settings)
    chosen, lines = choices(arguments.study, arguments.experiment, settings)
    write_choice(arguments.study, arguments.experiment, "cleaning", chosen, lines)


def choices(layout: Layout, experiment: str, settings: ChooseStage) -> tuple[dict[str, Any], list[Any]]:
    """For each fold and the test set the options of each class, and what each candidate was worth."""
    seen, given = cases_seen(layout, experiment), of_package(settings, "cleaning")
    chosen: dict[str, Any] = {}
    lines = []
    for fold in folds_to_serve(settings.folds):
        at = name_of(threshold_of(layout, experiment, fold) if settings.choose_threshold else None)
        others = [case for case in seen if case.fold != fold]
        own = [case for case in seen if case.fold == fold]
        chosen[fold] = {}
        for number, label in enumerate(settings.classes):
            usual_ml = usual_part_ml([case.tally[at][number] for case in others], [case.voxel_ml for case in others])
            scores, changed = outcomes(others, at, number, usual_ml)
            _, judged = judge(scores, changed, [case.subject for case in others], rules_of(settings))
            kept_out, _ = outcomes(own, at, number, usual_ml)
            options = {name: candidate.options(usual_ml) for name, candidate in CANDIDATES.items()}
            packaged = [given[label]] if given is not None else []
            chosen[fold][label], worth = decide(options, judged, kept_out, settings, packaged)
            lines += [
                line(
                    fold,
                    label,
                    "cleaning",
                    name,
                    one,
                    options=options.get(name, *packaged),
                    **more,
                )
                for name, (one, more) in worth.items()
            ]
    return chosen, lines


def cases_seen(layout: Layout, experiment: str) -> list[Seen]:
    """The validation cases with a reference and a prediction, by unit."""
    found = []
    for unit, fold, subject in voters(layout, all_units(layout, experiment, "candidates")):
        record = read_json(layout.prediction(experiment, *split_unit(unit)) / "candidates.json")
        if record["status"] == "ok":
            voxel_ml = math.prod(record["spacing_mm"]) / 1000.0
            found.append(Seen(fold, subject, voxel_ml, record["tally"]))
    return found


def outcomes(cases: list[Seen], at: str, number: int, usual_ml: float) -> tuple[Floats, Floats]:
    """Score of each candidate in each case, and the voxels it changes: float arrays, shape (candidates, cases)."""
    scores = np.zeros((len(CANDIDATES), len(cases)))
    changed = np.zeros_like(scores)
    for column, case in enumerate(cases):
        record = case.tally[at][number]
        for row, candidate in enumerate(CANDIDATES.values()):
            left = left_by(record, candidate, usual_ml=usual_ml, voxel_ml=case.voxel_ml)
            scores[row, column] = overlap_score(record["n_reference"], left.n_left, left.n_shared)
            changed[row, column] = left.n_changed
    return scores, changed
