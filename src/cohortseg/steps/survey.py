"""Step `survey`: the fingerprints of all cases -> one file for the plan and the report."""

import argparse
from typing import Any

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
            facts = read_json(layout.case(case.case) / "image.json")["facts"]
            modalities = _modalities(facts, record["fingerprint"]["channels"])
            gathered[case.case] = {
                "fold": case.fold,
                "role": case.role,
                "modalities": modalities,
                **record["fingerprint"],
            }
    write_json(layout.cohort_fingerprint, gathered)


def _modalities(facts: dict[str, Any], channels: dict[str, Any]) -> dict[str, str]:
    """The modality of each channel that the case has."""
    of_channel = facts.get("channels", {})
    return {
        name: of_channel.get(name, facts)["modality"] for name, measured in channels.items() if measured is not None
    }
