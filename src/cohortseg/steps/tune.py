"""Step `tune`: the finished trials of a fold -> the settings of the best one."""

import argparse
from pathlib import Path

from cohortseg.errors import StudyError
from cohortseg.io.sidecar import write_json
from cohortseg.layout import Layout
from cohortseg.steps.arguments import add_experiment, add_study
from cohortseg.steps.batch import log
from cohortseg.steps.tuning import best_of, read_trials, score_text

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One experiment and fold."""
    add_study(parser)
    add_experiment(parser)
    parser.add_argument("--fold", required=True, metavar="K", help="fold whose held-out cases the search has not seen")
    parser.add_argument("--trials", type=int, required=True, metavar="N", help="number of trials")
    parser.add_argument("--token", type=Path, required=True, metavar="FILE", help="tuned.json")


def run(arguments: argparse.Namespace) -> None:
    """Write `tuned.json`: only the settings, so that what depends on it is made again only when they change.

    Raises
    ------
    StudyError
        When a trial is missing, or none succeeded.
    """
    layout: Layout = arguments.study
    trials = read_trials(layout, arguments.experiment, arguments.fold, arguments.trials)
    where = f"experiment {arguments.experiment!r}, fold {arguments.fold}"
    if len(trials) < arguments.trials:
        raise StudyError(f"{where}: {arguments.trials - len(trials)} trials are missing; run the workflow again")
    best = best_of(trials)
    if best is None:
        raise StudyError(f"{where}: none of {len(trials)} trials succeeded, the first because {trials[0]['reason']}")
    log(f"trial {best['number']} of {len(trials)}: {score_text(best['score'])} with {best['settings']}")
    write_json(arguments.token, {"settings": best["settings"]})
