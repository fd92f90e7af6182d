"""Names of subjects and cases that say nothing about who they are, and never change their owner."""

import hashlib
import re
from dataclasses import dataclass, field

NO_ID = "study "
"""Begins the id of a subject whose scans carry none: the study stands for it."""


@dataclass
class Identities:
    """Original ids and the names that stand for them; only ever grows, so that a name never changes its owner."""

    subjects: dict[str, str] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)


def slug(text: str) -> str:
    """A name that is safe in paths: lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


def hash_of(text: str) -> str:
    """SHA-256 of an original id; ids that are no text keep their bytes."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def name_subjects(patients: list[tuple[str, bool]], identities: Identities) -> None:
    """Name new subjects: their own id where it is known to be no identity, else a number in a shuffled order."""
    keep: dict[str, bool] = {}
    for patient, deidentified in patients:
        keep[patient] = keep.get(patient, True) and deidentified
    taken = set(identities.subjects.values())
    number = max((int(name[4:]) for name in taken if re.fullmatch(r"sub-\d{4,}", name)), default=0)
    # By hash, so that the order of the numbers says nothing about the order of the ids.
    for patient in sorted(set(keep) - set(identities.subjects), key=hash_of):
        name = slug(patient) if keep[patient] and not patient.startswith(NO_ID) else ""
        if not name or name in taken or re.fullmatch(r"sub-\d{4,}", name):
            number += 1
            name = f"sub-{number:04d}"
        taken.add(name)
        identities.subjects[patient] = name


def name_cases(scans: list[tuple[str, str, str]], identities: Identities) -> None:
    """Name new cases, given as (key, patient, modality): subject, modality and a number."""
    taken = set(identities.cases.values())
    for key, patient, modality in sorted(scans, key=lambda scan: hash_of(scan[0])):
        if key not in identities.cases:
            stem = f"{identities.subjects[patient]}_{slug(modality)}"
            number = next(n for n in range(1, len(taken) + 2) if f"{stem}{n}" not in taken)
            identities.cases[key] = f"{stem}{number}"
            taken.add(f"{stem}{number}")
