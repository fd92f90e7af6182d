"""Types told of segmented cases: for each fold by a classifier of the other folds' cases, for the test set by all.

The cases that teach are validation cases: their regions were found by models that had not seen them, as that of the
case to be told was. Which type they are, no segmentation has seen.
"""

import shutil
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cohortseg.cohort import read_cases
from cohortseg.errors import SettingsError
from cohortseg.io.arrays import write_arrays
from cohortseg.layout import Layout
from cohortseg.methods.region_types import fit_types, predict_types
from cohortseg.metrics.dictionary import TABLES
from cohortseg.metrics.region_features import FEATURES
from cohortseg.metrics.summary import FEW_SUBJECTS
from cohortseg.metrics.types import accuracies, area_of_type
from cohortseg.settings import StatisticsSettings, TypesSettings
from cohortseg.steps.clinical import read_clinical
from cohortseg.steps.curves import Scored

REFERENCE = "reference"
ENDS = ("", "_ci_low", "_ci_high")
NAMES = ("types", "types_by_case", "region_features")


class Region(NamedTuple):
    """A case of known type and its region; `features` is None for an empty one."""

    case: str
    subject: str
    fold: str
    split: str
    type: str
    features: dict[str, float] | None

    @property
    def row(self) -> list[float]:
        """The features in order."""
        return [(self.features or {})[name] for name in FEATURES]


class Told(NamedTuple):
    """What a classifier says of a region."""

    region: Region
    type: str
    scores: dict[str, float]
    usual: str
    model: str


def type_results(
    layout: Layout, scored: list[Scored], settings: TypesSettings | None, statistics: StatisticsSettings
) -> dict[str, pd.DataFrame]:
    """The tables `NAMES`, without lines where the study asks for none; writes the classifiers."""
    shutil.rmtree(layout.types, ignore_errors=True)
    lines: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    for (source, seed), regions in _sources(layout, scored, settings).items():
        key = {"source": source, "seed": seed}
        told = _told(layout, source, seed, regions, settings) if settings is not None else []
        for region in regions:
            head = {**key, **{name: getattr(region, name) for name in ("split", "case", "subject", "fold")}}
            lines["region_features"].append({**head, **(region.features or {})})
        lines["types_by_case"] += [{**key, **_line_of_case(one)} for one in told]
        for split in sorted({one.region.split for one in told}):
            here = [one for one in told if one.region.split == split]
            lines["types"] += [{**key, "split": split, **line} for line in _lines(here, statistics)]
    return {name: pd.DataFrame(rows, columns=list(TABLES[name].columns)) for name, rows in lines.items()}


def _sources(
    layout: Layout, scored: list[Scored], settings: TypesSettings | None
) -> dict[tuple[str, str], list[Region]]:
    """By source and seed the cases of known type; the reference comes first, each case of it once."""
    if settings is None:
        return {}
    types = _types(layout, settings)
    found: dict[tuple[str, str], dict[str, Region]] = {(REFERENCE, ""): {}}
    for head, metrics, _ in scored:
        case = head["case"]
        if case not in types or "region" not in metrics:
            continue
        place = (case, head["subject"], head["fold"])
        for key, name in (((REFERENCE, ""), "reference"), ((head["experiment"], head["seed"]), "prediction")):
            region = Region(*place, head["split"], types[case], metrics["region"][name])
            found.setdefault(key, {}).setdefault(case, region)
    return {key: [regions[case] for case in sorted(regions)] for key, regions in sorted(found.items(), key=_order)}


def _order(item: tuple[tuple[str, str], Any]) -> tuple[bool, tuple[str, str]]:
    return item[0][0] != REFERENCE, item[0]


def _types(layout: Layout, settings: TypesSettings) -> dict[str, str]:
    """The type of each case that has one."""
    table = read_clinical(layout, {case.case: case.subject for case in read_cases(layout.cases_table)})
    if settings.column not in table:
        raise SettingsError(f"types.column: no case has a {settings.column!r} in the clinical table")
    return {str(case): str(value) for case, value in table[settings.column].items() if str(value)}


def _told(layout: Layout, source: str, seed: str, regions: list[Region], settings: TypesSettings) -> list[Told]:
    """What is told of every case; without a `model` where the other folds show fewer than two types."""
    found: list[Told] = []
    for fold in sorted({region.fold for region in regions}):
        others = [one for one in regions if one.split == "val" and one.fold != fold and one.features is not None]
        types = sorted({one.type for one in others})
        if len(types) < 2:
            found += [Told(one, "", {}, "", "") for one in regions if one.fold == fold]
            continue
        model = fit_types(
            np.array([one.row for one in others]), [types.index(one.type) for one in others], penalty=settings.penalty
        )
        path = layout.types / f"{source}{f'-seed-{seed}' if seed else ''}-fold-{fold}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, model, {"types": types, "features": list(FEATURES), "cases": [one.case for one in others]})
        usual = min(types, key=lambda name: (-Counter(one.type for one in others)[name], name))
        for region in (one for one in regions if one.fold == fold):
            if region.features is None:
                found.append(Told(region, "", {}, usual, path.name))
                continue
            guess, scores = predict_types(model, np.array([region.row]))
            by_type = {types[number]: float(score) for number, score in zip(model["classes"], scores[0], strict=True)}
            found.append(Told(region, types[int(guess[0])], by_type, usual, path.name))
    return found


def _line_of_case(one: Told) -> dict[str, Any]:
    region = one.region
    return {
        **{name: getattr(region, name) for name in ("split", "case", "subject", "fold", "type")},
        "told": one.type,
        "score": one.scores.get(one.type, np.nan),
        "score_of_type": one.scores.get(region.type, 0.0) if one.model else np.nan,
        "model": one.model,
    }


def _lines(told: list[Told], statistics: StatisticsSettings) -> list[dict[str, Any]]:
    """A line for all types together, then one for each; cases that no classifier could tell are counted apart."""
    n_untold, told = sum(not one.model for one in told), [one for one in told if one.model]
    if not told:
        return [{"type": "", "n_cases": 0, "n_untold": n_untold, "note": "fewer than two types to learn from"}]
    options: dict[str, Any] = {
        "seed": statistics.seed,
        "n_bootstrap": statistics.bootstrap,
        "confidence": statistics.confidence,
    }
    truth, subjects = [one.region.type for one in told], [one.region.subject for one in told]
    shares = accuracies(truth, [one.type for one in told], subjects, **options)
    types = sorted(set(truth))
    areas = {
        name: area_of_type(
            np.array([one.scores.get(name, 0.0) for one in told]), np.array(truth) == name, subjects, **options
        )
        for name in types
    }
    defined = [area[0] for area in areas.values() if not np.isnan(area[0])]
    # Of two types both areas are the same, and the mean has their interval.
    whole = areas[types[0]] if len(types) == 2 else (float(np.mean(defined)) if defined else np.nan, np.nan, np.nan)
    lines = []
    for name in ("", *types):
        own = [one for one in told if not name or one.region.type == name]
        rates = {"type_accuracy": shares[name or "accuracy"], "type_roc_auc": areas[name] if name else whole}
        rates |= {} if name else {"balanced_accuracy": shares["balanced_accuracy"]}
        lines.append(
            {
                "type": name,
                "n_cases": len(own),
                "n_subjects": len({one.region.subject for one in own}),
                "n_untold": np.nan if name else n_untold,
                "n_empty": sum(one.region.features is None for one in own),
                **{
                    f"{key}{end}": value
                    for key, values in rates.items()
                    for end, value in zip(ENDS, values, strict=True)
                },
                "most_frequent": np.nan if name else float(np.mean([one.usual == one.region.type for one in own])),
                "note": "few subjects" if len(set(subjects)) < FEW_SUBJECTS else "",
            }
        )
    return lines
