"""Step `survey`: the fingerprints of all cases -> one file for the plan and the report."""

import argparse

from cohortseg.cohort import read_cases
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.steps.arguments import add_study as add_arguments

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Gather the fingerprints of all usable cases, by case."""
    layout = arguments.study
    gathered = {}
    for case in read_cases(layout.cases_table):
        record = read_json(layout.case(case.case) / "fingerprint.json")
        if record["status"] == "ok":
            modality = read_json(layout.case(case.case) / "image.json")["facts"]["modality"]
            gathered[case.case] = {"fold": case.fold, "role": case.role, "modality": modality, **record["fingerprint"]}
    write_json(layout.cohort_fingerprint, gathered)
