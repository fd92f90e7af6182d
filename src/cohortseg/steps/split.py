"""Step `split`: write the folds of all usable cases, and fail when one scan stands under two subjects."""

import argparse
from collections import defaultdict

from cohortseg.cohort import Case, read_cases
from cohortseg.errors import LeakageError
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.io.store import voxels_part
from cohortseg.layout import Layout
from cohortseg.steps.arguments import add_cohort as add_arguments

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Check for leakage and write `folds.json`."""
    layout: Layout = arguments.study
    usable, digests = [], {}
    for case in read_cases(layout.cases_table):
        record = read_json(layout.case(case.case) / "image.json")
        if record["status"] == "ok":
            usable.append(case)
            digests[case.case] = voxels_part(record["contents"]["image"])
    check_leakage(usable, digests)
    folds: dict[str, list[str]] = defaultdict(list)
    for case in usable:
        folds[case.fold].append(case.case)
    cases = {case.case: {"subject": case.subject, "fold": case.fold, "role": case.role} for case in usable}
    write_json(layout.folds, {"folds": {fold: sorted(names) for fold, names in folds.items()}, "cases": cases})


def check_leakage(cases: list[Case], pixels: dict[str, str]) -> None:
    """No image may stand under two subjects.

    Parameters
    ----------
    cases : list of Case
        Usable cases.
    pixels : dict
        Digest of each case's voxels.

    Raises
    ------
    LeakageError
        Naming the first pair, and the way out.
    """
    first: dict[str, Case] = {}
    for case in sorted(cases, key=lambda c: c.case):
        twin = first.setdefault(pixels[case.case], case)
        if twin.subject != case.subject:
            raise LeakageError(
                f"cases {twin.case!r} and {case.case!r} hold the same voxels under two subjects: "
                f"training and test would mix. Put one of them into cohort.exclude"
            )
