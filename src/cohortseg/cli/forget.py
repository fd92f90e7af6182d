"""`cohortseg forget SUBJECT --study FOLDER`: remove all that a study holds of one person, and never take it in again.

The id of the person is kept as a hash (SHA-256 of the original id) in `private/forgotten.json`, written first: from
then on the index leaves the scans alone, also when the removal was cut off. Called again, it goes on where it stopped.
The source folder is never touched.
"""

import argparse
import time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cohortseg.cli.traces import (
    Model,
    Subject,
    Trace,
    all_cases,
    is_forgotten,
    models_of,
    names,
    original_ids,
    traces,
)
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.layout import Layout
from cohortseg.names import hash_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The study, the person, and how far to go."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("subject", nargs="?", metavar="SUBJECT", help="name of the subject, as in the tables")
    who.add_argument("--original-id", metavar="ID", help="instead of the name: the id in the source, as PatientID")
    parser.add_argument("--study", type=Path, required=True, metavar="DIR", help="study folder")
    parser.add_argument("--models", action="store_true", help="also remove the models that learned from the subject")
    parser.add_argument("--yes", action="store_true", help="remove; without it, only list (no run must be going on)")


def run(arguments: argparse.Namespace) -> None:
    """List what there is of the subject; remove it with `--yes`.

    Raises
    ------
    StudyError
        When there is no such study or subject.
    """
    layout = Layout(arguments.study)
    if not layout.cases_table.exists():
        raise StudyError(f"no study at {layout.root}")
    name = arguments.subject or pseudonym_of(layout, arguments.original_id)
    subject = find_subject(layout, name)
    models = models_of(layout, subject)
    found = traces(layout, subject, models, with_models=arguments.models)
    print("\n".join(listing(layout, subject, found)))
    if arguments.yes:
        forget(layout, subject, found)
    print("\n".join(remaining(layout, subject, models, with_models=arguments.models)))
    if not arguments.yes and found:
        print("Nothing was removed: add --yes to do so.")
    elif found:
        print("Tables and report are gone; make them anew: snakemake --cores all --configfile <config of the study>")


def pseudonym_of(layout: Layout, original: str) -> str:
    """The name of the subject with this original id.

    Raises
    ------
    StudyError
        When there is none; original ids are never told.
    """
    ids = original_ids(layout)
    for name, known in ids.items():
        if known == original:
            return name
    if hash_of(original) in read_forgotten(layout)["patients"]:
        raise StudyError("the subject of this id is forgotten already; name it by its pseudonym to remove models")
    alike = sorted(name for name, known in ids.items() if _plain(known) == _plain(original))
    hint = f"; one that reads alike is {alike[0]!r}" if alike else ""
    raise StudyError(f"no subject has this original id ({len(ids)} are known){hint}")


def _plain(text: str) -> str:
    """Letters and digits in lower case, without zeros in front."""
    return "".join(character for character in text.casefold() if character.isalnum()).lstrip("0")


def find_subject(layout: Layout, name: str) -> Subject:
    """The subject of a pseudonym, forgotten or not.

    Raises
    ------
    StudyError
        When nobody is called so, with the names that are near.
    """
    ids, cases = original_ids(layout), all_cases(layout)
    known = sorted({*ids, *cases.values()})
    if name not in known and not is_forgotten(layout, name):
        near = get_close_matches(name, known, n=5, cutoff=0.4) or known[:5]
        raise StudyError(f"no subject {name!r} in {layout.root}; near: {', '.join(near) or 'there is none'}")
    return Subject(name, ids.get(name), frozenset(case for case, subject in cases.items() if subject == name))


def forget(layout: Layout, subject: Subject, found: list[Trace]) -> None:
    """Remove the traces; first of all the index is told never to take the subject in again."""
    if subject.original is not None:
        known = read_forgotten(layout)
        digest = hash_of(subject.original)
        if digest not in known["patients"]:
            known["patients"] = sorted([*known["patients"], digest])
            known["dates"][digest] = time.strftime("%Y-%m-%d")
            write_json(layout.forgotten, known)
    for trace in found:
        trace.remove()


def read_forgotten(layout: Layout) -> dict[str, Any]:
    """`patients`: SHA-256 of each original id, in hexadecimal; `dates`: when each was forgotten."""
    found: dict[str, Any] = read_json(layout.forgotten) if layout.forgotten.exists() else {"patients": [], "dates": {}}
    return found


# ---- what is said ---------------------------------------------------------------------------------------------------


def listing(layout: Layout, subject: Subject, found: list[Trace]) -> list[str]:
    """A line for each trace, with its size or its number of entries."""
    if not found:
        return [f"nothing left of {subject.name}"]
    shown = [f"{_amount(trace):>12}  {trace.path.relative_to(layout.root)}" for trace in found]
    cases = ", ".join(sorted(subject.cases)) or "no scan of it is known"
    size = sum(trace.size for trace in found)
    return [f"{subject.name} ({cases}): {len(found)} places, {size / 1e6:.1f} MB", *shown]


def _amount(trace: Trace) -> str:
    if trace.n_entries:
        return f"{trace.n_entries} entr{'y' if trace.n_entries == 1 else 'ies'}"
    return f"{trace.size / 1e6:.1f} MB" if trace.size >= 1e5 else f"{trace.size / 1e3:.1f} kB"


def remaining(layout: Layout, subject: Subject, models: list[Model], *, with_models: bool) -> list[str]:
    """What no removal here reaches, and what one can do about it."""
    lines = []
    if models and not with_models:
        saw = {True: "trained on it", False: "validated on it"}
        lines.append("These models keep what they learned from it, and its pseudonym stays in their records:")
        lines += [f"  {model.folder.relative_to(layout.root)} ({saw[model.is_trained_on]})" for model in models]
        lines += [
            "  Train them anew without it by `split.refit: true`, or remove them by --models: with the plan and all",
            "  that they and their ensembles predicted; the next run then plans and trains again. Until then the",
            "  pseudonym stays in cohort/ledger.json, cohort/members and plan.json too: without it there, every",
            "  model would be trained anew.",
        ]
    elif not with_models and names(layout.plan, subject, only_cases=True):
        lines.append("plan.json keeps its pseudonym and the ranges of the cohort; remove the file to plan anew.")
    if names(layout.settings, subject):
        lines.append("The config file of the study names it: take it out there.")
    if subject.original is None and not is_forgotten(layout, subject.name):
        lines.append("Its original id is not known: the next index will take its scans in again.")
    lines += [
        "Not touched: the source folder (the next index passes over its scans), copies of results elsewhere, and",
        "  .snakemake where the workflow runs (commands with pseudonyms).",
        "Kept: a hash of its id (private/forgotten.json), so that it stays out, and its pseudonym",
        "  (private/identities.json), so that nobody else gets it.",
    ]
    return lines
