"""The tables of detection at an operating point, from the records of `evaluate`."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from cohortseg.metrics.dictionary import TABLES
from cohortseg.metrics.hits import scores_of
from cohortseg.metrics.operating_point import Scan, at_operating_point, froc_of, mean_sensitivity, operating_point
from cohortseg.metrics.summary import FEW_SUBJECTS
from cohortseg.settings import DetectionSettings, StatisticsSettings
from cohortseg.steps.curves import BY, Scored, froc_points

STAGE = "candidates"
"""What stands for the stage: candidates need not be components of a label."""


class Detection(NamedTuple):
    """A case of an experiment as its detector sees it."""

    head: Mapping[str, Any]
    label: str
    source: str
    score: str
    scan: Scan


def detection_results(
    scored: list[Scored], labels: list[str], settings: DetectionSettings | None, statistics: StatisticsSettings
) -> dict[str, pd.DataFrame]:
    """`detections` and `operating_points`; without lines where the study asks for none."""
    lines: dict[str, list[dict[str, Any]]] = {"detections": [], "operating_points": []}
    for _, found in _detectors(scored, labels, settings):
        chosen = _chosen(found, settings, statistics)
        thresholds = {fold: 0.0 if math.isnan(value) else value for fold, value in chosen.items()}
        for split in sorted({str(one.head["split"]) for one in found}):
            here = [one for one in found if one.head["split"] == split]
            lines["detections"] += [_line_of_case(one, thresholds[one.head["fold"]]) for one in here]
            lines["operating_points"].append(_line(here, [chosen[one.head["fold"]] for one in here], statistics))
    return {name: pd.DataFrame(rows, columns=list(TABLES[name].columns)) for name, rows in lines.items()}


def froc_of_candidates(
    scored: list[Scored], labels: list[str], settings: DetectionSettings | None
) -> list[pd.DataFrame]:
    """The lines of `froc.csv` of the candidates."""
    parts = []
    for (experiment, label), found in _detectors(scored, labels, settings):
        for split in sorted({str(one.head["split"]) for one in found}):
            here = [one for one in found if one.head["split"] == split]
            curve, n_lesions = froc_of([one.scan for one in here]), sum(one.scan.n_lesions for one in here)
            key = (experiment, label, STAGE, split)
            parts.append(froc_points(key, here[0].score, curve, n_lesions=n_lesions, n_cases=len(here)))
    return parts


def _detectors(
    scored: list[Scored], labels: list[str], settings: DetectionSettings | None
) -> list[tuple[tuple[str, str], list[Detection]]]:
    """By experiment and label the cases, where the study asks for detection."""
    by_detector: dict[tuple[str, str], list[Detection]] = {}
    for head, metrics, _ in scored:
        for label in labels if settings is not None and "detection" in metrics else []:
            record = metrics["detection"][label]
            score, found, false = scores_of(record, settings.score if settings else "")
            scan = Scan(head["subject"], record["n_lesions"], found, false)
            by_detector.setdefault((head["experiment"], label), []).append(
                Detection(head, label, record["source"], score, scan)
            )
    return sorted(by_detector.items())


def _chosen(
    found: list[Detection], settings: DetectionSettings | None, statistics: StatisticsSettings
) -> dict[str, float]:
    """The threshold of each fold and of the test set, by the validation cases of the other folds; NaN without one."""
    chosen = {}
    for fold in sorted({str(one.head["fold"]) for one in found}):
        others = [one.scan for one in found if one.head["split"] == "val" and one.head["fold"] != fold]
        enough = len({scan.subject for scan in others}) >= statistics.min_subjects
        chosen[fold] = operating_point(others, settings.false_per_scan) if settings and enough else math.nan
    return chosen


def _line_of_case(one: Detection, threshold: float) -> dict[str, Any]:
    n_found, n_false = one.scan.at(threshold)
    return {
        **one.head,
        "label": one.label,
        "stage": STAGE,
        "candidates": one.source,
        "score": one.score,
        "threshold": threshold,
        "n_lesions": one.scan.n_lesions,
        "n_found": n_found,
        "n_false": n_false,
        "n_candidates": one.scan.found.size + one.scan.false.size,
    }


def _line(here: list[Detection], chosen: list[float], statistics: StatisticsSettings) -> dict[str, Any]:
    scans, first = [one.scan for one in here], here[0]
    thresholds = [0.0 if math.isnan(value) else value for value in chosen]
    options: dict[str, Any] = {
        "seed": statistics.seed,
        "n_bootstrap": statistics.bootstrap,
        "confidence": statistics.confidence,
    }
    rates = at_operating_point(scans, thresholds, **options) | {"mean_sensitivity": mean_sensitivity(scans, **options)}
    ends = ("", "_ci_low", "_ci_high")
    reached = [scan.at(threshold) for scan, threshold in zip(scans, thresholds, strict=True)]
    n_subjects = len({scan.subject for scan in scans})
    notes = ["few subjects"] if n_subjects < FEW_SUBJECTS else []
    if any(math.isnan(value) for value in chosen):
        notes.append("every candidate counts where too few subjects, or no lesion, could choose")
    return {
        **dict(zip(BY, (first.head["experiment"], first.label, STAGE, first.head["split"]), strict=True)),
        "candidates": first.source,
        "score": first.score,
        "threshold_low": min(thresholds),
        "threshold_high": max(thresholds),
        "n_cases": len(scans),
        "n_subjects": n_subjects,
        "n_positive": sum(scan.n_lesions > 0 for scan in scans),
        "n_lesions": sum(scan.n_lesions for scan in scans),
        "n_found": sum(n for n, _ in reached),
        "n_false": sum(n for _, n in reached),
        **{f"{name}{end}": value for name, values in rates.items() for end, value in zip(ends, values, strict=True)},
        "note": "; ".join(notes),
    }
