"""Step `elect`: the model, or the mean of models, of each fold, chosen by the validation cases of the other folds."""

import argparse
from typing import Any

import numpy as np

from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.metrics.choice import judge, overlap_score
from cohortseg.stages import BestStage
from cohortseg.steps.arguments import add_cohort, add_experiment
from cohortseg.steps.best import contestants
from cohortseg.steps.chosen import folds_to_serve, held_out, line, rules_of, voters, write_choice
from cohortseg.steps.units import all_units, split_unit

__all__ = ["add_arguments", "run"]

ALL_CLASSES = "all classes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study, settings, experiment."""
    add_cohort(parser)
    add_experiment(parser)


def run(arguments: argparse.Namespace) -> None:
    """Choose, and write down."""
    settings = BestStage.model_validate_json(arguments.settings)
    chosen, lines = elect(arguments.study, arguments.experiment, settings)
    write_choice(arguments.study, arguments.experiment, "model", chosen, lines)


def elect(layout: Layout, experiment: str, settings: BestStage) -> tuple[dict[str, Any], list[Any]]:
    """The models of each fold and of the test set, and what each contestant was worth.

    The score of a case is the mean over its classes; a case that some contestant could not predict is left out.
    """
    models = contestants(settings.members)
    scored, folds, subjects = [], [], []
    for unit, fold, subject in voters(layout, all_units(layout, experiment, "contest")):
        record = read_json(layout.prediction(experiment, *split_unit(unit)) / "contest.json")
        if record["status"] == "ok" and set(record["counts"]) == set(models):
            scored.append([_score(record["counts"][name]) for name in models])
            folds.append(fold)
            subjects.append(subject)
    table = np.asarray(scored, dtype=np.float64).reshape(-1, len(models)).T
    # Of equal models the one made of fewer is taken, then the first.
    costs = np.repeat([[float(len(made_of))] for made_of in models.values()], table.shape[1], axis=1)
    chosen, lines = {}, []
    for fold in folds_to_serve(settings.folds):
        others = [place for place, one in enumerate(folds) if one != fold]
        own = table[:, [place for place, one in enumerate(folds) if one == fold]]
        best, judged = judge(
            table[:, others], costs[:, others], [subjects[place] for place in others], rules_of(settings)
        )
        chosen[fold] = {"models": list(models.values())[best]}
        lines += [
            line(fold, ALL_CLASSES, "model", name, judged[place], options={}, **held_out(own[0], own[place]))
            for place, name in enumerate(models)
        ]
    return chosen, lines


def _score(counts: list[list[int]]) -> float:
    return float(np.mean([overlap_score(*of_class) for of_class in counts]))
