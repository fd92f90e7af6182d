"""Step `threshold`: the probability threshold of each fold, chosen by the validation cases of the other folds.

The histograms that `predict` keeps of each case hold everything needed; no voxel is read.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.metrics.choice import judge, overlap_score
from cohortseg.metrics.probabilities import BINS, from_record
from cohortseg.stages import ChooseStage
from cohortseg.steps.arguments import add_cohort, add_experiment
from cohortseg.steps.chosen import (
    decide,
    folds_to_serve,
    line,
    name_of,
    of_package,
    rules_of,
    voters,
    write_choice,
)
from cohortseg.steps.units import all_units, split_unit

__all__ = ["add_arguments", "run"]

THRESHOLDS = (None, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9, 0.06, 0.94, 0.02, 0.98)
"""What is tried; None is the most probable class, that is 0.5. All are borders of bins of the histograms."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study, settings, experiment."""
    add_cohort(parser)
    add_experiment(parser)


def run(arguments: argparse.Namespace) -> None:
    """Choose, and write down."""
    settings = ChooseStage.model_validate_json(arguments.settings)
    chosen, lines = thresholds(arguments.study, arguments.experiment, settings)
    write_choice(arguments.study, arguments.experiment, "threshold", chosen, lines)


def thresholds(layout: Layout, experiment: str, settings: ChooseStage) -> tuple[dict[str, Any], list[Any]]:
    """The threshold of each fold and of the test set, and what each candidate was worth."""
    scored, folds, subjects = [], [], []
    for unit, fold, subject in voters(layout, all_units(layout, experiment, "predict")):
        record = read_json(layout.prediction(experiment, *split_unit(unit)) / "raw.json")
        if record["status"] == "ok" and np.any(record["probabilities"][0]):  # nothing is counted without a reference
            scored.append(outcomes(record))
            folds.append(fold)
            subjects.append(subject)
    table = np.asarray(scored, dtype=np.float64).reshape(-1, len(THRESHOLDS), 2)
    chosen, lines = {}, []
    given = of_package(settings, "threshold")
    values = {name_of(value): value for value in THRESHOLDS}
    for fold in folds_to_serve(settings.folds):
        others = [place for place, own in enumerate(folds) if own != fold]
        own = table[[place for place, one in enumerate(folds) if one == fold], :, 0]
        scores, changed = table[others].transpose(2, 1, 0)
        _, judged = judge(scores, changed, [subjects[place] for place in others], rules_of(settings))
        packaged = [given["threshold"]] if given is not None else []
        value, worth = decide(values, judged, own.T, settings, packaged)
        chosen[fold] = {"threshold": value}
        lines += [
            line(fold, settings.classes[0], "threshold", name, one, options={}, **more)
            for name, (one, more) in worth.items()
        ]
    return chosen, lines


def outcomes(record: Mapping[str, Any]) -> list[tuple[float, int]]:
    """Score of a case at each threshold, and by how many voxels its label changes."""
    counts = from_record(record, 0).counts
    found = [counts[:, round((0.5 if value is None else value) * BINS) :].sum(axis=1) for value in THRESHOLDS]
    n_reference, n_before = int(counts[1].sum()), int(found[0].sum())
    return [(overlap_score(n_reference, int(one.sum()), int(one[1])), abs(int(one.sum()) - n_before)) for one in found]
