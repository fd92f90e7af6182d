"""What a search is made of on disk: inner folds, trials, and the settings that were chosen."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cohortseg.cohort import Case, inner_folds, members
from cohortseg.io.sidecar import dumps, read_json, read_sidecar, write_if_changed
from cohortseg.layout import TEST, Layout
from cohortseg.search.propose import Axis, Finished, Point, propose, round_of
from cohortseg.settings import METHOD_SETTINGS, Method, Part, Range, Study, TuneSettings
from cohortseg.settings.tune import is_whole

Record = dict[str, Any]


# ---- inner folds ----------------------------------------------------------------------------------------------------


def searched_folds(study: Study, experiment: str) -> list[str]:
    """The folds that an experiment is searched in.

    Each fold by itself, without its held-out cases. The test set is segmented by an ensemble of networks, each with the
    settings of its own fold. A method without weights has no ensemble: for the test set it is searched once more, on
    all cases of the cross-validation.
    """
    has_own = study.split.test_fraction > 0 and experiment not in study.trained
    return [*map(str, range(study.split.folds)), *([TEST] if has_own else [])]


def write_inner_folds(layout: Layout, study: Study, ledger: Record, cases: list[Case]) -> None:
    """Write the inner split of every search; it follows from frozen things, so it is frozen as well."""
    subjects = {name: str(entry["subject"]) for name, entry in ledger["cases"].items()}
    written = set()
    for experiment, search in study.tune.items():
        for fold in searched_folds(study, experiment):
            listed = members(ledger, cases, fold, refit=study.split.refit)
            if fold == TEST:
                write_if_changed(layout.members(TEST), dumps(listed, indent=1) + "\n")
            path = layout.inner(experiment, fold)
            written.add(path)
            found = inner_split(list(listed["train"]), subjects, search, trains=experiment in study.trained)
            write_if_changed(path, dumps({"folds": found}, indent=1) + "\n")
    for path in layout.inner("any", "any").parent.glob("fold-*-inner-*.json"):
        if path not in written:
            path.unlink()


def inner_split(
    train: list[str], subjects: dict[str, str], search: TuneSettings, *, trains: bool
) -> list[dict[str, list[str]]]:
    """What a trial trains on and is scored on; a method that learns nothing is scored on all training cases."""
    if not trains:
        return [{"train": [], "validation": sorted(train)}]
    return inner_folds(train, subjects, folds=search.inner_folds, seed=search.seed)[: search.scored_folds]


# ---- trials ---------------------------------------------------------------------------------------------------------


def read_trials(layout: Layout, experiment: str, fold: str, n_trials: int) -> list[Record]:
    """The records of the finished trials of a fold, by number."""
    found = (read_sidecar(layout.trial(experiment, fold, number)) for number in range(n_trials))
    return [record for record in found if record is not None]


def best_of(records: Sequence[Record]) -> Record | None:
    """The trial with the highest score, of equal ones the first; None when none succeeded."""
    scored = [record for record in records if record["score"] is not None]
    return max(scored, key=lambda record: (record["score"], -record["number"]), default=None)


def needed_trials(search: TuneSettings, number: int) -> int:
    """How many trials must be finished before a trial can start."""
    return round_of(number, search.at_once) if search.search == "bayes" else 0


def point_of(search: TuneSettings, method: Method, number: int, earlier: Sequence[Record]) -> Point:
    """What trial `number` tries; the settings as written come first, where they lie in the space."""
    model = METHOD_SETTINGS[method.method]
    if search.search == "grid":
        return next(point for place, point in enumerate(search.grid(model)) if place == number)
    space = {name: axis_of(search, model, name) for name in search.space}
    written = {name: getattr(method, name) for name in search.space}
    return propose(
        space,
        [Finished(one["number"], one["settings"], one["score"]) for one in earlier],
        number=number,
        kind=search.search,
        at_once=search.at_once,
        startup=search.startup,
        seed=search.seed,
        first=written if all(axis.holds(written[name]) for name, axis in space.items()) else None,
    )


def axis_of(search: TuneSettings, model: type[Part], name: str) -> Axis:
    """One setting of a space as the search knows it."""
    axis = search.space[name]
    if isinstance(axis, Range):
        return Axis(low=axis.low, high=axis.high, is_log=axis.log, is_whole=is_whole(model, name))
    return Axis(values=tuple(axis))


# ---- what was chosen ------------------------------------------------------------------------------------------------


def with_settings(method: Method, chosen: Point) -> Method:
    """The method with some settings replaced.

    Raises
    ------
    pydantic.ValidationError
        When they cannot be together.
    """
    replaced: Method = METHOD_SETTINGS[method.method].model_validate({**method.model_dump(), **chosen})  # type: ignore[assignment]
    return replaced


def tuned_method(method: Method, path: Path | None) -> Method:
    """The method as the search of its fold has chosen it; as written where there was none."""
    return method if path is None else with_settings(method, read_json(path)["settings"])


def score_text(score: float | None) -> str:
    """A score for people."""
    return "failed" if score is None or math.isnan(score) else f"{score:.4f}"
