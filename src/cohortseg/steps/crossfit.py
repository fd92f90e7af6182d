"""Step `crossfit`: a case of the cross-validation -> the label that a cascade is given where it is trained for a fold.

For the cascade of fold k, a case of another fold j is labelled by a network that saw the cases of neither: it has not
learnt the case by heart, and nothing of what the cascade is scored on has gone into the label. The held-out cases of
fold k, which the training curve looks at, have the label that they will be predicted with.
"""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from cohortseg.cohort import Case, read_cases
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import TEST, Layout, model_name
from cohortseg.stages import CrossfitStage
from cohortseg.steps.arguments import add_experiment_batch, add_threads
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.cascade import on_model_grid
from cohortseg.steps.loaded import Network, alone, load, weights_in
from cohortseg.steps.predict import device_of, predict_trained

__all__ = ["add_arguments", "run"]

Networks = Callable[[str], tuple[Any, Network]]
"""By the other fold whose cases they have not seen: ready to call, and how they are built."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A batch of an experiment, and the fold that its cascade is kept from."""
    add_experiment_batch(parser)
    add_threads(parser)
    parser.add_argument("--fold", required=True, metavar="K", help="fold that the cascade is trained for")


def run(arguments: argparse.Namespace) -> None:
    """Label the members of the fold in a batch; networks are loaded when the first case needs them.

    Raises
    ------
    StudyError
        When a case is of the independent test set.
    """
    settings = CrossfitStage.model_validate_json(arguments.settings)
    layout, fold = arguments.study, arguments.fold
    rows = {case.case: case for case in read_cases(layout.cases_table)}
    if any(rows[name].fold == TEST for name in arguments.cases):
        raise StudyError("cases of the test set take no part in a training")
    members = read_json(layout.members(fold))
    known = {*members["train"], *members["validation"]}
    with ExitStack() as held:
        device = cache(lambda: held.enter_context(device_of(layout, arguments.threads)))

        @cache
        def networks(other: str) -> tuple[Any, Network]:
            folder = layout.pair(settings.source, fold, other, settings.seed)
            return load({"weights": weights_in(folder)}, settings.source, alone(settings.source_method), device())

        def work(case: str) -> Work:
            if rows[case].fold == fold:
                return _held_out(layout, arguments.experiment, fold, rows[case], settings)
            return _crossfit(layout, arguments.experiment, fold, rows[case], settings, networks)

        run_batch([name for name in arguments.cases if name in known], work, arguments.settings, arguments.token)


def _work(folder: Path, inputs: dict[str, Any], upstream: Record, make: Any) -> Work:
    stores = (folder / "before.zarr",)
    return Work("crossfit", folder / "before.json", stores, inputs, upstream, make)


def _held_out(layout: Layout, experiment: str, fold: str, case: Case, settings: CrossfitStage) -> Work:
    """What the model of the fold has found."""
    raw = layout.prediction(settings.source, model_name(fold, settings.seed), case.case)
    prepared = read_json(layout.prepared(case.case).with_suffix(".json"))
    record, folder = read_json(raw / "raw.json"), layout.before(experiment, fold, case.case)

    def make() -> Record:
        target = folder / "before.zarr"
        return {"content": on_model_grid(raw / "raw.zarr", layout.prepared(case.case), target)}

    inputs = {"prepared": prepared["content"], "before": record["content"]}
    return _work(folder, inputs, record if prepared["status"] == "ok" else prepared, make)


def _crossfit(layout: Layout, experiment: str, fold: str, case: Case, settings: CrossfitStage, networks: Any) -> Work:
    """What a model finds that saw neither this case nor those of the fold."""
    seen = read_json(layout.pair(settings.source, fold, case.fold, settings.seed) / "train.json")
    if case.case in seen["members"]["train"]:
        raise StudyError(f"case {case.case!r} was learnt from by the network that shall label it")
    full, low = (read_json(layout.prepared(case.case, one).with_suffix(".json")) for one in ("full", "low"))
    folder = layout.before(experiment, fold, case.case)

    def make() -> Record:
        native = folder / "native.zarr"
        try:
            forward, built = networks(case.fold)
            method = alone(settings.source_method)
            predict_trained(layout, case.case, native, forward, built, method, len(settings.classes))
            return {"content": on_model_grid(native, layout.prepared(case.case), folder / "before.zarr")}
        finally:
            store.remove(native)

    inputs = {"prepared": full["content"], "low": low["content"], "weights": seen["weights"]}
    return _work(folder, inputs, low if full["status"] == "ok" else full, make)
