"""The cohort: its table of cases, and the frozen assignment of cases to folds and batches.

Folds are by subject. The first cohort is shared out evenly within its strata and frozen; a newcomer's fold is a hash of
its subject, so nobody ever moves. Batches are append-only: adding a case never changes a batch that is done.
"""

import csv
import hashlib
import io
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cohortseg.errors import StudyError
from cohortseg.layout import TEST

DEFAULT_PREDICT_BATCH = 20
CASES_BEFORE_BATCHES = 200


@dataclass(frozen=True)
class Case:
    """One image to be segmented, as the index saw it. All values are strings or numbers without identity.

    Parameters
    ----------
    source : str
        Digest of the source files (UIDs, sizes, times): changes when the scan changes.
    label : str
        Kind of the label object: rtstruct, seg, files, none; or `rejected`.
    positive : str
        Whether the header says that the label holds anything: yes, no, unknown.
    fold, role : str
        Fold number or `test`; `cohort` (there when the folds were frozen) or `newcomer`.
    """

    case: str
    subject: str
    modality: str
    manufacturer: str
    model: str
    kernel: str
    slice_thickness_mm: str
    shape: str
    voxels: int
    label: str
    positive: str
    source: str
    fold: str = ""
    role: str = ""
    batch: str = ""
    fold_batch: str = ""


def read_cases(path: Path) -> list[Case]:
    """The table of cases.

    Raises
    ------
    StudyError
        When the table is missing or has other columns.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return [_case(row) for row in rows]
    except FileNotFoundError:
        raise StudyError(f"no {path.name}: run `cohortseg index` or set `index: auto`") from None
    except (TypeError, KeyError, ValueError) as error:
        raise StudyError(f"{path.name} was made by another version ({error}); remove it and index again") from None


def _case(row: dict[str, Any]) -> Case:
    return Case(**{**row, "voxels": int(row["voxels"])})


def cases_text(cases: Iterable[Case]) -> str:
    """The table of cases as TSV text, sorted by case."""
    return table_text([asdict(case) for case in sorted(cases, key=lambda c: c.case)], [f.name for f in fields(Case)])


def table_text(rows: Iterable[dict[str, Any]], columns: list[str]) -> str:
    """Rows as TSV text, safe to open in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([safe_cell(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def safe_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula, and that stays on its line."""
    if not isinstance(value, str):
        return value
    flat = " ".join(value.split())
    return f"'{flat}" if flat[:1] in ("=", "+", "-", "@") else flat


# ---- folds and batches ----------------------------------------------------------------------------------------------


def assign(
    cases: list[Case],
    ledger: dict[str, Any],
    *,
    split: dict[str, Any],
    per_job: int | None,
    per_predict_job: int | None,
) -> tuple[list[Case], dict[str, Any]]:
    """Give every case its fold, role and batches, keeping what the ledger has frozen.

    Parameters
    ----------
    cases : list of Case
        The cases that are present now.
    ledger : dict
        The ledger of the last index, or an empty dict.
    split : dict
        `folds`, `seed`, `test_fraction`, `stratify`: a change of these deals anew.
    per_job, per_predict_job : int or None
        Cases per batch; None: chosen by the size of the cohort.

    Returns
    -------
    (cases, ledger)
        The cases with their places, and the new ledger, which also remembers cases that are gone.
    """
    known: dict[str, dict[str, str]] = {name: dict(entry) for name, entry in ledger.get("cases", {}).items()}
    if ledger.get("split") != split:
        known = {name: {"batch": entry["batch"]} for name, entry in known.items()}
    fresh = not any("fold" in entry for entry in known.values())
    folds = _first_folds(cases, split) if fresh else {}
    subject_folds = {entry["subject"]: entry["fold"] for entry in known.values() if "fold" in entry}
    for case in cases:
        entry = known.setdefault(case.case, {})
        if "fold" not in entry:
            fold = folds.get(case.subject) or subject_folds.get(case.subject) or newcomer_fold(case.subject, split)
            entry |= {"subject": case.subject, "fold": fold, "role": "cohort" if fresh else "newcomer"}
    names = sorted(case.case for case in cases)
    _fill_batches(known, names, "batch", lambda _: "b", per_job or _default_batch(len(names)))
    _fill_batches(
        known, names, "fold_batch", lambda entry: f"f{entry['fold']}-b", per_predict_job or DEFAULT_PREDICT_BATCH
    )
    placed = [
        Case(**{**asdict(case), **{key: known[case.case][key] for key in ("fold", "role", "batch", "fold_batch")}})
        for case in cases
    ]
    return placed, {"split": split, "cases": {name: known[name] for name in sorted(known) if "fold" in known[name]}}


def newcomer_fold(subject: str, split: dict[str, Any]) -> str:
    """The fold of a subject that came after the folds were frozen: a hash of its name, never the test set."""
    return str(int(_order(subject, split["seed"])[:8], 16) % split["folds"])


def some_of(cases: Iterable[Case], n: int, *, seed: int) -> list[str]:
    """At most n of the cases: one of each subject before a second of any; the order of the subjects is a hash."""
    placed: list[tuple[int, str, str]] = []
    seen: dict[str, int] = defaultdict(int)
    for case in sorted(cases, key=lambda one: one.case):
        placed.append((seen[case.subject], _order(case.subject, seed), case.case))
        seen[case.subject] += 1
    return sorted(name for *_, name in sorted(placed)[:n])


def first_subjects(subjects: Iterable[str], n: int, *, seed: int) -> set[str]:
    """The first n of the subjects in the order of a hash."""
    return set(sorted(subjects, key=lambda subject: _order(subject, seed))[:n])


def _order(subject: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{subject}".encode()).hexdigest()


def _first_folds(cases: list[Case], split: dict[str, Any]) -> dict[str, str]:
    """Deal the subjects of each stratum out in turn; rare strata first, each subject to the smallest fold."""
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for subject, stratum in _strata(cases, split["stratify"]).items():
        strata[stratum].append(subject)
    sizes = {str(fold): 0 for fold in range(split["folds"])}
    result: dict[str, str] = {}
    n_seen = n_tested = 0
    for _, subjects in sorted(strata.items(), key=lambda item: (len(item[1]), item[0])):
        shuffled = sorted(subjects, key=lambda subject: _order(subject, split["seed"]))
        # What one stratum loses by rounding the next one gets: many small strata have their share together.
        n_seen += len(shuffled)
        n_test = math.floor(n_seen * split["test_fraction"] + 0.5) - n_tested
        n_tested += n_test
        result |= dict.fromkeys(shuffled[:n_test], TEST)
        for subject in shuffled[n_test:]:
            smallest = min(sizes, key=lambda fold: (sizes[fold], int(fold)))
            sizes[smallest] += 1
            result[subject] = smallest
    return result


def _strata(cases: list[Case], properties: list[str]) -> dict[str, tuple[str, ...]]:
    """The stratum of each subject: the sorted values of its cases."""
    values: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for case in cases:
        facts = {
            "labelled": str(case.label not in ("none", "rejected")),
            "positive": case.positive,
            "manufacturer": case.manufacturer,
            "modality": case.modality,
        }
        values[case.subject].add(tuple(facts[name] for name in properties))
    return {subject: tuple(part for value in sorted(found) for part in value) for subject, found in values.items()}


def _default_batch(n_cases: int) -> int:
    return max(1, math.ceil(n_cases / CASES_BEFORE_BATCHES))


def _fill_batches(known: dict[str, dict[str, str]], names: list[str], key: str, prefix: Any, size: int) -> None:
    """Put the cases that have no batch yet into new batches of at most `size`, numbered on from the last."""
    waiting: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if key not in known[name]:
            waiting[prefix(known[name])].append(name)
    for start, members in sorted(waiting.items()):
        numbers = [int(e[key][len(start) :]) for e in known.values() if key in e and e[key].startswith(start)]
        first = max(numbers, default=0) + 1
        for place, name in enumerate(members):
            known[name][key] = f"{start}{first + place // size:04d}"


def members(ledger: dict[str, Any], cases: list[Case], fold: str, *, refit: bool) -> dict[str, Any]:
    """The training and validation cases of a fold.

    Frozen: those of the first cohort, gone or not, so that the list never changes. With `refit` all cases that are
    there now, with their source digests, so that any change trains again.
    """
    if refit:
        now = {case.case: {"fold": case.fold, "source": case.source} for case in cases}
        return {
            "train": {name: e["source"] for name, e in sorted(now.items()) if e["fold"] not in (fold, TEST)},
            "validation": {name: e["source"] for name, e in sorted(now.items()) if e["fold"] == fold},
        }
    frozen = {name: entry for name, entry in sorted(ledger["cases"].items()) if entry["role"] == "cohort"}
    return {
        "train": [name for name, entry in frozen.items() if entry["fold"] not in (fold, TEST)],
        "validation": [name for name, entry in frozen.items() if entry["fold"] == fold],
    }


def inner_folds(train: Iterable[str], subjects: dict[str, str], *, folds: int, seed: int) -> list[dict[str, list[str]]]:
    """The training cases of a fold, dealt into inner folds by subject: what a search trains and scores on.

    Parameters
    ----------
    train : iterable of str
        Training cases of the outer fold; its held-out cases and the test set are in no inner fold.
    subjects : dict
        Case: subject.
    folds, seed : int
        Number of inner folds, and what decides the order of the subjects.

    Returns
    -------
    list of dict
        For each inner fold its `train` and `validation` cases, sorted. A fold may be empty when subjects are few.
    """
    names = sorted(train)
    ordered = sorted({subjects[name] for name in names}, key=lambda subject: _order(subject, seed))
    place = {subject: number % folds for number, subject in enumerate(ordered)}
    return [
        {
            "train": [name for name in names if place[subjects[name]] != fold],
            "validation": [name for name in names if place[subjects[name]] == fold],
        }
        for fold in range(folds)
    ]
