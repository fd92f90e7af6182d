"""What was chosen on the validation folds: the cases it is chosen by, the files it stands in, the label it makes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cohortseg.cohort import read_cases
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.layout import TEST, Layout
from cohortseg.metrics.bootstrap import Floats
from cohortseg.metrics.choice import Judged, Rules
from cohortseg.stages import BestStage, ChooseStage
from cohortseg.steps.model_space import read_package
from cohortseg.steps.units import split_unit, validation_cases
from cohortseg.volume import Volume

AS_PREDICTED = "as predicted"
"""Instead of a threshold: the most probable class."""
OF_PACKAGE = "as in the model package"


def folds_to_serve(n_folds: int) -> list[str]:
    """Every fold, and the test set: each gets a choice of its own."""
    return [*(str(fold) for fold in range(n_folds)), TEST]


def rules_of(settings: ChooseStage | BestStage) -> Rules:
    """When a candidate is kept."""
    return Rules(
        settings.keep_if, settings.min_subjects, settings.seed, settings.bootstrap, confidence=settings.confidence
    )


def voters(layout: Layout, units: Iterable[str]) -> list[tuple[str, str, str]]:
    """(unit, fold, subject) of the units that take part in choices: validation cases of the folds."""
    cases = {case.case: case for case in read_cases(layout.cases_table)}
    kept_out = validation_cases(layout)
    named = [(unit, cases[split_unit(unit)[1]]) for unit in units]
    return [(unit, case.fold, case.subject) for unit, case in named if case.fold != TEST and case.case in kept_out]


def line(fold: str, label: str, what: str, candidate: str, judged: Judged, **more: Any) -> dict[str, Any]:
    """One row of `candidates.csv`."""
    return {"applied_to": fold, "label": label, "choice": what, "candidate": candidate, **asdict(judged), **more}


def held_out(before: Any, after: Any) -> dict[str, Any]:
    """The gain on the cases of the fold itself, which took no part in the choice."""
    n = len(before)
    return {"held_out_gain": float(np.mean(after - before)) if n else None, "n_held_out": n}


def write_choice(layout: Layout, experiment: str, what: str, chosen: dict[str, Any], lines: list[Any]) -> None:
    """Write what was chosen for each fold, then what it was chosen from."""
    for fold, value in chosen.items():
        write_json(layout.chosen(experiment, what, fold), value)
    write_json(layout.choices(experiment, what), lines)


def name_of(threshold: float | None) -> str:
    """A threshold as a key of the record."""
    return AS_PREDICTED if threshold is None else f"{threshold:g}"


def of_package(settings: ChooseStage, what: str) -> Any:
    """What the study that made a model package chose by all its folds; None without a package, or a choice in it."""
    package = read_package(settings.model) if settings.model is not None else {}
    return package.get("chosen", {}).get(what)


class Decision(NamedTuple):
    """What is kept of some candidates, and by name what each was judged to be worth, and was on the cases kept out."""

    kept: Any
    worth: dict[str, tuple[Judged, dict[str, Any]]]


def decide(
    values: Mapping[str, Any],
    judged: Sequence[Judged],
    kept_out: Floats,
    settings: ChooseStage,
    packaged: Sequence[Any],
) -> Decision:
    """Keep what the verdicts say; what a package holds where too few subjects could judge.

    `values` are the candidates by name, the first of them doing nothing; `judged` and the rows of `kept_out`, scores
    of the cases of the fold itself, are in their order. `packaged` is empty without a package, else its one value
    (which for a threshold may be None).
    """
    gains = [held_out(kept_out[0], after) for after in kept_out]
    worth = dict(zip(values, zip(judged, gains, strict=True), strict=True))
    first = judged[0]
    if packaged and first.n_subjects < settings.min_subjects:
        unknown = replace(first, after=math.nan, gain=math.nan, ci_low=math.nan, ci_high=math.nan, verdict="kept")
        worth = {name: (replace(one, verdict="too few subjects"), more) for name, (one, more) in worth.items()}
        worth[OF_PACKAGE] = (unknown, held_out([], []))
    kept = next(name for name, (one, _) in worth.items() if one.verdict == "kept")
    return Decision(packaged[0] if kept == OF_PACKAGE else values[kept], worth)


def threshold_of(layout: Layout, experiment: str, fold: str) -> float | None:
    """The probability threshold for the cases of a fold; None: the most probable class."""
    value: float | None = read_json(layout.chosen(experiment, "threshold", fold))["threshold"]
    return value


@dataclass(frozen=True)
class ThresholdedLabel:
    """The label of a single class at a probability threshold, made from the stored probabilities where it is read."""

    folder: Path
    threshold: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along z, y, x."""
        return tuple(self._probabilities().shape)

    @property
    def dtype(self) -> Any:
        """Type of a voxel."""
        return np.dtype(np.uint8)

    def __getitem__(self, region: Any, /) -> Any:
        """The voxels of a region."""
        found = np.asarray(self._probabilities()[region]) >= np.float16(self.threshold)
        return found.astype(np.uint8)

    def _probabilities(self) -> Any:
        return store.channels_of(store.open_array(self.folder / "probabilities.zarr"))[1]


def label_at(folder: Path, threshold: float | None) -> Volume:
    """The label of a single class at a probability threshold, from the stored probabilities; or as predicted."""
    if threshold is None:
        return store.read_volume(folder / "raw.zarr")
    label, grid = ThresholdedLabel(folder, threshold), store.read_grid(folder / "raw.zarr")
    found = np.zeros(grid.shape, np.uint8)
    for start in range(0, grid.shape[0], store.CHUNK):
        part = slice(start, start + store.CHUNK)
        found[part] = label[(part,)]
    return Volume(found, grid)
