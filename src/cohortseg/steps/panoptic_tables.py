"""The tables of panoptic quality, from the records of `evaluate`."""

from typing import Any

import numpy as np
import pandas as pd

from cohortseg.metrics.bootstrap import Floats
from cohortseg.metrics.dictionary import TABLES
from cohortseg.metrics.panoptic import COUNTS, intervals, mean_qualities, qualities
from cohortseg.metrics.summary import FEW_SUBJECTS
from cohortseg.settings import PanopticSettings, StatisticsSettings
from cohortseg.steps.curves import Scored

MEANS = {"thing": "things", "stuff": "stuff"}
"""Kind: what the mean over its classes is called."""


def panoptic_results(
    scored: list[Scored], classes: list[str], settings: PanopticSettings | None, statistics: StatisticsSettings
) -> dict[str, pd.DataFrame]:
    """`panoptic` and `panoptic_by_case`; without lines where the study asks for none."""
    lines: dict[str, list[dict[str, Any]]] = {"panoptic": [], "panoptic_by_case": []}
    groups: dict[tuple[str, str, str], list[tuple[str, Floats]]] = {}
    for head, metrics, _ in scored if settings is not None else []:
        for stage, rows in metrics.get("panoptic", {}).items():
            counts = np.asarray(rows, np.float64)
            groups.setdefault((head["experiment"], stage, head["split"]), []).append((head["subject"], counts))
            for name, own in zip(classes, counts, strict=True):
                kind = _kind(name, settings)
                lines["panoptic_by_case"].append({**head, "label": name, "stage": stage, "kind": kind, **_of_case(own)})
    for (experiment, stage, split), found in sorted(groups.items()):
        key = {"experiment": experiment, "stage": stage, "split": split}
        lines["panoptic"] += [{**key, **line} for line in _lines(found, classes, settings, statistics)]
    return {name: pd.DataFrame(rows, columns=list(TABLES[name].columns)) for name, rows in lines.items()}


def _kind(name: str, settings: PanopticSettings | None) -> str:
    return "thing" if settings is not None and name in settings.things else "stuff"


def _of_case(counts: Floats) -> dict[str, Any]:
    return {
        **_counted(counts[None]),
        "jaccard_sum": counts[3],
        "pq": qualities(dict(zip(COUNTS, counts, strict=True)))[0],
    }


def _counted(counts: Floats) -> dict[str, int]:
    return dict(zip(("n_matched", "n_false", "n_missed"), counts.sum(axis=0)[:3].astype(int).tolist(), strict=True))


def _lines(
    found: list[tuple[str, Floats]],
    classes: list[str],
    settings: PanopticSettings | None,
    statistics: StatisticsSettings,
) -> list[dict[str, Any]]:
    """A line for each class, then one for each mean that has a class."""
    kinds = {name: _kind(name, settings) for name in classes}
    wanted = {name: [name] for name in classes}
    wanted["all"] = classes
    wanted |= {many: [name for name in classes if kinds[name] == one] for one, many in MEANS.items()}
    subjects, by_case = [subject for subject, _ in found], np.stack([counts for _, counts in found])
    lines = []
    for label, members in wanted.items():
        if not members:
            continue
        own = by_case[:, [classes.index(name) for name in members]]
        total = own.sum(axis=0)
        ends = intervals(
            own, subjects, seed=statistics.seed, n_bootstrap=statistics.bootstrap, confidence=statistics.confidence
        )
        is_class = label in kinds
        values = qualities(dict(zip(COUNTS, total[0], strict=True))) if is_class else mean_qualities(total).tolist()
        numbers = {
            f"{name}{end}": number
            for name, value, (low, high) in zip(("pq", "sq", "rq"), values, ends, strict=True)
            for end, number in (("", value), ("_ci_low", low), ("_ci_high", high))
        }
        lines.append(
            {
                "label": label,
                "kind": kinds.get(label, ""),
                "n_cases": len(found),
                "n_subjects": len(set(subjects)),
                "n_classes": int((total[:, :3].sum(axis=1) > 0).sum()),
                **_counted(total),
                **numbers,
                "note": "few subjects" if len(set(subjects)) < FEW_SUBJECTS else "",
            }
        )
    return lines
