"""The tables of single lesions, objects, calibration and curves, from the records of `evaluate` and `predict`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cohortseg.metrics.confusion import SHARES, Counts, added, class_shares
from cohortseg.metrics.detection import case_roc, froc, froc_score, roc_auc
from cohortseg.metrics.probabilities import Histogram, from_record, pr_points, reliability, roc_points
from cohortseg.metrics.summary import FEW_SUBJECTS, groups_of
from cohortseg.settings import StatisticsSettings

Floats = npt.NDArray[np.float64]

BY = ["experiment", "label", "stage", "split"]
HEAD = ["study", "experiment", "fold", "seed", "split", "case", "subject"]
LESION_COLUMNS = [
    *("lesion", "side", "volume_ml", "z", "y", "x", "shared_ml", "n_matched", "largest_match_ml", "dice"),
    *("max_probability", "mean_probability", "match_max_probability"),
]
INSTANCE_COLUMNS = [
    *("n_reference", "n_prediction", "n_matched", "panoptic_quality", "segmentation_quality"),
    *("recognition_quality", "aggregated_jaccard", "precision_at_50", "precision_50_to_95"),
]
CALIBRATION_COLUMNS = ["n_cases", "low", "high", "n_voxels", "mean_probability", "observed"]
CURVE_COLUMNS = ["curve", "n_cases", "threshold", "x", "y"]
FROC_COLUMNS = ["score", "n_cases", "n_lesions", "threshold", "false_per_case", "sensitivity", "mean_sensitivity"]
SCORES = {"max_probability": "match_max_probability", "volume_ml": "largest_match_ml"}
"""Score of a predicted lesion: the column of a reference lesion that holds the best score of those that touch it."""
DETECTION_COLUMNS = ["score", "n_cases", "n_subjects", "n_positive", "roc_auc", "ci_low", "ci_high", "note"]
MOST_POINTS = 400
"""Points of a curve in a table; more are thinned out evenly."""


class Scored(NamedTuple):
    """One evaluated unit: the keys of its rows, and what `evaluate` and `predict` recorded."""

    head: dict[str, Any]
    metrics: dict[str, Any]
    raw: dict[str, Any]


def lesion_table(scored: list[Scored], classes: list[str]) -> pd.DataFrame:
    """`lesions.csv`: one row per lesion of reference and prediction, numbered by size within its mask."""
    rows = []
    for head, metrics, _ in scored:
        for stage, label in _stages(classes):
            numbers = {"reference": 0, "prediction": 0}
            for lesion in metrics["lesions"][stage][label]:
                numbers[lesion["side"]] += 1
                rows.append({**head, "label": label, "stage": stage, "lesion": numbers[lesion["side"]], **lesion})
    return pd.DataFrame(rows, columns=[*HEAD, "label", "stage", *LESION_COLUMNS])


def instance_table(scored: list[Scored], classes: list[str]) -> pd.DataFrame:
    """`instances.csv`: one row per case and stage, where the reference numbers its objects."""
    rows = [
        {**head, "label": classes[0], "stage": stage, **metrics["instances"][stage]}
        for head, metrics, _ in scored
        for stage in ("raw", "post")
        if metrics["instances"][stage] is not None
    ]
    return pd.DataFrame(rows, columns=[*HEAD, "label", "stage", *INSTANCE_COLUMNS])


def class_table(scored: list[Scored]) -> pd.DataFrame:
    """`classes.csv`: shares over all classes at once, from the voxels of all cases."""
    pooled: dict[tuple[str, ...], list[Counts]] = {}
    for head, metrics, _ in scored:
        for stage in ("raw", "post"):
            pooled.setdefault((head["experiment"], stage, head["split"]), []).append(metrics["voxels"][stage])
    rows = [
        {
            "experiment": experiment,
            "stage": stage,
            "split": split,
            "n_cases": len(counts),
            **class_shares(added(counts)),
        }
        for (experiment, stage, split), counts in pooled.items()
    ]
    return pd.DataFrame(rows, columns=["experiment", "stage", "split", "n_cases", *SHARES])


def _stages(classes: list[str]) -> Iterator[tuple[str, str]]:
    for stage in ("raw", "post"):
        for label in classes:
            yield stage, label


def histograms(scored: list[Scored], classes: list[str]) -> dict[tuple[str, ...], tuple[Histogram, int]]:
    """(experiment, label, stage, split): the histogram over its cases, and how many these are.

    Networks that find regions have one for each of these instead of the classes.
    """
    found: dict[tuple[str, ...], tuple[Histogram, int]] = {}
    for head, _, raw in scored:
        if "probabilities" in raw:
            for number, label in enumerate(raw.get("regions", classes)):
                key = (head["experiment"], label, "raw", head["split"])
                one = from_record(raw, number)
                found[key] = (found[key][0] + one, found[key][1] + 1) if key in found else (one, 1)
    return dict(sorted(found.items()))


def calibration_table(pooled: dict[tuple[str, ...], tuple[Histogram, int]]) -> pd.DataFrame:
    """`calibration.csv`: predicted and observed share in each bin of probability, over the voxels of all cases."""
    rows = [
        {**dict(zip(BY, key, strict=True)), "n_cases": n_cases, **line}
        for key, (found, n_cases) in pooled.items()
        for line in reliability(found)
    ]
    return pd.DataFrame(rows, columns=[*BY, *CALIBRATION_COLUMNS])


def curve_table(
    pooled: dict[tuple[str, ...], tuple[Histogram, int]], rows: pd.DataFrame, scored: list[Scored], classes: list[str]
) -> pd.DataFrame:
    """`curves.csv`: ROC and precision-recall over voxels, ROC over cases, and the trimap curve."""
    parts: list[pd.DataFrame] = []
    points: dict[str, Callable[[Histogram], Floats]] = {"roc": roc_points, "precision_recall": pr_points}
    for key, (found, n_cases) in pooled.items():
        parts += [_curve(key, name, n_cases, of(found)) for name, of in points.items()]
    for key, part in groups_of(rows, BY):
        predicted, present = part["prediction_ml"].to_numpy(dtype=np.float64), part["reference_ml"].to_numpy() > 0
        parts.append(_curve(key, "case_roc", len(part), case_roc(predicted, present)))
    for key, (n_cases, curve) in _trimaps(scored, classes).items():
        parts.append(_curve(key, "trimap", n_cases, curve))
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*BY, *CURVE_COLUMNS])


def _curve(key: tuple[Any, ...], name: str, n_cases: int, points: Floats) -> pd.DataFrame:
    table = pd.DataFrame(_thinned(points), columns=["threshold", "x", "y"])
    head = {**dict(zip(BY, key, strict=True)), "curve": name, "n_cases": n_cases}
    return table.assign(**head)[[*BY, *CURVE_COLUMNS]]


def _thinned(points: Floats) -> Floats:
    if len(points) <= MOST_POINTS:
        return points
    return np.asarray(points[np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)])


def _trimaps(scored: list[Scored], classes: list[str]) -> dict[tuple[str, ...], tuple[int, Floats]]:
    """(experiment, label, stage, split): number of cases, and (width, width, mean over the defined cases)."""
    gathered: dict[tuple[str, ...], list[list[tuple[float, float | None]]]] = {}
    for head, metrics, _ in scored:
        for stage, label in _stages(classes):
            curve = metrics["trimap"][stage][label]
            if curve and curve[0][1] is not None:
                gathered.setdefault((head["experiment"], label, stage, head["split"]), []).append(curve)
    found = {}
    for key, curves in sorted(gathered.items()):
        values = np.asarray(curves, dtype=np.float64)
        widths = values[0, :, 0]
        found[key] = (len(curves), np.column_stack((widths, widths, values[:, :, 1].mean(axis=0))))
    return found


def froc_table(rows: pd.DataFrame, lesions: pd.DataFrame, of_candidates: Sequence[pd.DataFrame] = ()) -> pd.DataFrame:
    """`froc.csv`: lesions found and false lesions, as the score varies from which a predicted lesion counts.

    Of the lesions of each label, and of the candidates of detection where there are such lines.
    """
    by_key = dict(groups_of(lesions, BY))
    parts: list[pd.DataFrame] = []
    for key, part in groups_of(rows, BY):
        listed = by_key.get(key, lesions[:0])
        is_true, is_reference = listed["n_matched"] > 0, listed["side"] == "reference"
        n_lesions = int(part["n_lesions_reference"].sum())
        if not n_lesions and (is_true | is_reference).all():
            continue
        for score, matched in SCORES.items():
            found = listed.loc[is_reference & is_true, matched].to_numpy(dtype=np.float64)
            false = listed.loc[~is_reference & ~is_true, score].to_numpy(dtype=np.float64)
            if np.isnan(found).any() or np.isnan(false).any() or (score != "volume_ml" and not found.size + false.size):
                continue  # without probabilities there is the volume alone
            curve = froc(found, false, n_lesions=n_lesions, n_cases=len(part))
            parts.append(froc_points(key, score, curve, n_lesions=n_lesions, n_cases=len(part)))
    parts += of_candidates
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*BY, *FROC_COLUMNS])


def froc_points(key: tuple[Any, ...], score: str, curve: Floats, *, n_lesions: int, n_cases: int) -> pd.DataFrame:
    """The lines of one curve."""
    table = pd.DataFrame(_thinned(curve), columns=["threshold", "false_per_case", "sensitivity"])
    head = {**dict(zip(BY, key, strict=True)), "score": score, "n_cases": n_cases, "n_lesions": n_lesions}
    return table.assign(**head, mean_sensitivity=froc_score(curve))[[*BY, *FROC_COLUMNS]]


def detection_table(rows: pd.DataFrame, lesions: pd.DataFrame, statistics: StatisticsSettings) -> pd.DataFrame:
    """`detection.csv`: the area under the ROC curve over cases, where there are cases of both kinds."""
    predicted = lesions[lesions["side"] == "prediction"]
    unit = ["experiment", "label", "stage", "split", "case", "seed", "fold"]
    best = predicted.groupby(unit, dropna=False)["max_probability"].max()
    found = []
    for key, part in groups_of(rows, BY):
        positive = part["reference_ml"].to_numpy() > 0
        if positive.all() or not positive.any():
            continue
        probability = best.reindex(pd.MultiIndex.from_frame(part[unit])).to_numpy(dtype=np.float64)
        # a case without a predicted lesion has no sign of the structure
        probability = np.where(part["prediction_ml"] > 0, probability, 0.0)
        subjects = pd.factorize(part["subject"])[0]
        small = "few subjects" if subjects.max() + 1 < FEW_SUBJECTS else ""
        for score, values in (("max_probability", probability), ("volume_ml", part["prediction_ml"].to_numpy(float))):
            if np.isnan(values).any():
                continue
            area = roc_auc(
                values,
                positive,
                subjects,
                seed=statistics.seed,
                n_bootstrap=statistics.bootstrap,
                confidence=statistics.confidence,
            )
            line = [score, len(part), int(subjects.max()) + 1, int(positive.sum()), *area, small]
            found.append([*key, *line])
    return pd.DataFrame(found, columns=[*BY, *DETECTION_COLUMNS])
