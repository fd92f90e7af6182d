"""What the settings make of a source folder, in sentences: what a user wants to know before the first run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from cohortseg.ignored import IGNORE_CLASS
from cohortseg.settings import Study

MOST_NAMES = 12
"""More names of structures than these are counted."""


def sentences(study: Study, series: Sequence[dict[str, Any]]) -> list[str]:
    """Cases, subjects and labels, and what will go wrong.

    Parameters
    ----------
    study : Study
    series : sequence of dict
        Rows of a catalogue: `status` (case, rejected, label, not used), `reason`, `case`, `subject`; of label objects
        `structures`, a list of names.
    """
    cases = {row["case"]: row["subject"] for row in series if row["status"] == "case"}
    labelled = {row["case"] for row in series if row["status"] == "label"} & cases.keys()
    n_subjects = len(set(cases.values()))
    said = [f"{counted(len(cases), 'case')} of {counted(n_subjects, 'subject')}, {len(labelled)} with a label"]
    if not cases:
        reasons = Counter(row["reason"] for row in series if row["status"] == "rejected")
        why = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
        said.append(f"no case to work on: {why}" if why else "no case to work on: no image was found")
    elif few := few_subjects(len({cases[case] for case in labelled}), study.split.folds):
        said.append(few)
    return [*said, *_unmatched(study, series)]


def few_subjects(n_labelled: int, folds: int) -> str:
    """What is wrong with so few labelled subjects for the folds; empty where there are enough, or none is labelled."""
    if n_labelled == 0 or n_labelled >= folds:
        return ""
    subjects = counted(n_labelled, "labelled subject")
    return f"split.folds: {folds} folds and {subjects}; {counted(folds - n_labelled, 'fold')} would score nobody"


def _unmatched(study: Study, series: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The classes that no structure of any label object is called like, with the names that there are."""
    from cohortseg.io.classes import is_structure  # and with it NumPy, which the index does without

    objects = [row["structures"] for row in series if row["status"] == "label" and row.get("structures")]
    names = sorted({name for structures in objects for name in structures})
    there = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
    for label, patterns in study.cohort.labels.patterns.items():
        if label == IGNORE_CLASS or not names:
            continue
        n_found = sum(any(is_structure(patterns, name) for name in structures) for structures in objects)
        wanted = " or ".join(repr(pattern) for pattern in patterns)
        if n_found < len(objects):
            yield (
                f"cohort.labels.structures.{label}: {wanted} is the whole name of a structure in {n_found} of "
                f"{counted(len(objects), 'label object')}; names there: {there}"
            )


def counted(n: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
