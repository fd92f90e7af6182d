"""Which predictions somebody should look at, without any reference.

A prediction is compared with the other predictions of the same experiment and class; that most of them are usable is
the one assumption. The score adds up what was found, so that it can be read back from the findings:

* a property whose modified z score exceeds 3.5, among at least 10 predictions of the class: |z| / 3.5, at most 3;
* nothing predicted of a class: 2 times the share of the predictions that hold it, at least 0.5; of several classes the
  largest. So an empty one among full ones weighs most, and where all are empty all are listed;
* models that disagree, where several predicted the case: 5 times what the mean Dice of their labels is below 0.7;
* a property of the scan outside what the plan saw: 1 each.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from cohortseg.metrics.heterogeneity import LARGEST_Z, modified_z

LEAST_PREDICTIONS = 10
LARGEST_SHARE_OF_SCORE = 3.0
EMPTY_SCORE = 2.0
LEAST_EMPTY_SCORE = 0.5
LEAST_AGREEMENT = 0.7
DRIFT_SCORE = 1.0
MOST_NAMED = 5

PROPERTIES: dict[str, tuple[str, str, bool]] = {
    "volume_ml": ("volume", "ml", True),
    "n_components": ("number of components", "", True),
    "largest_share": ("share of the largest component", "", False),
    "extent_mm": ("extent", "mm", True),
    "box_share": ("filled share of the bounding box", "", True),
    "height": ("position along z", "", False),
    "depth": ("position along y", "", False),
    "width": ("position along x", "", False),
    "border_share": ("share at the border of the image", "", False),
    "disagreement_bits": ("disagreement of the networks of an ensemble", "bits", False),
}
"""Column: what it is called, its unit, and whether its logarithm is compared."""

Key: TypeAlias = tuple[str, str, str, str, bool]

QUALITY_COLUMNS = (
    *("rank", "experiment", "model", "case", "subject", "is_scored"),
    *("score", "agreement", "empty", "findings"),
)


def rank_predictions(
    predictions: pd.DataFrame,
    *,
    agreement: Mapping[tuple[str, str], float],
    drift: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """`quality.csv`: every prediction with its score and findings, the most striking first.

    Parameters
    ----------
    predictions : DataFrame
        One row per prediction and class: `experiment, model, case, subject, is_scored, label` and `PROPERTIES`, NaN
        where one is not known.
    agreement : mapping
        (experiment, case): mean Dice between the labels of its models; missing where there is one model only.
    drift : mapping
        Case: in which ways the scan lies outside what the plan saw.

    Returns
    -------
    DataFrame
        Columns `QUALITY_COLUMNS`; `empty` names the classes of which nothing was predicted, separated by semicolons.
        Equal scores in the order of experiment, case and model. Empty without predictions.
    """
    found: dict[Key, list[tuple[float, str]]] = {}
    for key in _keys(predictions):
        dice = agreement.get((key[0], key[2]), math.nan)
        found[key] = [*_disagreement(dice), *((DRIFT_SCORE, text) for text in drift.get(key[2], ()))]
    several = predictions["label"].nunique() > 1 if len(predictions) else False
    for (_, label), part in predictions.groupby(["experiment", "label"], sort=True):
        prefix, keys = f"{label}: " if several else "", _keys(part)
        for row, score, text in _unusual(part):
            found[keys[row]].append((score, f"{prefix}{text}"))
    empty = _empty(predictions)
    for key, classes in empty.items():
        of = _of_classes(classes) if several else ""
        found[key].append((max(classes.values()), f"nothing predicted{of}"))
    lines = [
        [
            *key,
            round(sum(score for score, _ in notes), 3),
            agreement.get((key[0], key[2]), math.nan),
            ";".join(empty.get(key, ())),
            _told(notes),
        ]
        for key, notes in found.items()
    ]
    table = pd.DataFrame(lines, columns=list(QUALITY_COLUMNS[1:]))
    table = table.sort_values(["score", "experiment", "case", "model"], ascending=[False, True, True, True])
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table.reset_index(drop=True)


def _keys(predictions: pd.DataFrame) -> list[Key]:
    """Experiment, model, case, subject and whether it is scored, of each row."""
    columns = predictions[["experiment", "model", "case", "subject", "is_scored"]]
    return [(str(a), str(b), str(c), str(d), bool(e)) for a, b, c, d, e in columns.itertuples(index=False)]


def _told(notes: list[tuple[float, str]]) -> str:
    """The findings, the weightiest first."""
    return "; ".join(text for _, text in sorted(notes, key=lambda note: -note[0]))


def _empty(predictions: pd.DataFrame) -> dict[Key, dict[str, float]]:
    """For each prediction that lacks a class: the classes that it lacks, with the score of each."""
    found: dict[Key, dict[str, float]] = defaultdict(dict)
    for (_, label), part in predictions.groupby(["experiment", "label"], sort=True):
        is_empty = part["volume_ml"] == 0
        score = max(LEAST_EMPTY_SCORE, EMPTY_SCORE * float(1 - is_empty.mean()))
        for key in _keys(part[is_empty]):
            found[key][str(label)] = score
    return found


def _of_classes(classes: Collection[str]) -> str:
    """` of liver, spleen and 3 more`: the first classes by name."""
    names, n_left = list(classes)[:MOST_NAMED], len(classes) - MOST_NAMED
    return f" of {', '.join(names)}{f' and {n_left} more' if n_left > 0 else ''}"


def _disagreement(dice: float) -> Iterator[tuple[float, str]]:
    if dice < LEAST_AGREEMENT:
        yield 5 * (LEAST_AGREEMENT - dice), f"models disagree: mean Dice of their labels {dice:.2f}"


def _unusual(part: pd.DataFrame) -> Iterator[tuple[int, float, str]]:
    """Row, score and words of what is unusual among the predictions of one experiment and class."""
    volumes = part["volume_ml"].to_numpy(dtype=float)
    for name, (words, unit, is_log) in PROPERTIES.items():
        values = part[name].to_numpy(dtype=float)
        known = np.flatnonzero((volumes > 0) & np.isfinite(values))
        if len(known) < LEAST_PREDICTIONS:
            continue
        scores = modified_z(np.log(values[known]) if is_log else values[known])
        usual = f"{np.median(values[known]):.3g} {unit}".strip()
        for row, z in zip(known, scores, strict=True):
            if abs(z) > LARGEST_Z:
                value = f"{values[row]:.3g} {unit}".strip()
                side = "above" if z > 0 else "below"
                share = min(abs(float(z)) / LARGEST_Z, LARGEST_SHARE_OF_SCORE)
                yield int(row), share, f"{words} {value}, far {side} the usual {usual} (z {z:.1f})"
