"""Step `plan`: the fingerprints of the first cohort -> model space, normalisation, network size; frozen once made."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from cohortseg.cohort import read_cases
from cohortseg.errors import SettingsError, StudyError
from cohortseg.io.sidecar import read_json
from cohortseg.layout import TEST, Layout
from cohortseg.preprocess.plan import make_plan
from cohortseg.report.ways_out import way_out
from cohortseg.settings.cohort import ONE_CHANNEL
from cohortseg.stages import PlanStage
from cohortseg.steps.arguments import add_cohort as add_arguments
from cohortseg.steps.model_space import check_channels, read_package, write_plan

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Write `plan.json`: a new one, or that of the model package whose networks the study uses.

    Raises
    ------
    StudyError
        When no case is usable.
    SettingsError
        When a channel mixes modalities (one network cannot serve HU and SUV), or no case has it.
    """
    settings = PlanStage.model_validate_json(arguments.settings)
    layout: Layout = arguments.study
    if settings.model is not None:
        write_plan(layout, plan_of_package(settings.model, settings.classes, settings.channels))
        return
    gathered = read_json(layout.cohort_fingerprint)
    # The independent test set is kept out; validation folds are seen, and the plan names all cases it saw.
    seen = {name: case for name, case in gathered.items() if case["fold"] != TEST and case["role"] == "cohort"}
    if not seen:
        raise StudyError(f"no usable case to plan for{_why(layout)}")
    plan = make_plan(
        [seen[name] for name in sorted(seen)],
        cases=sorted(seen),
        modalities={channel: _modality(list(seen.values()), channel) for channel in settings.channels},
        **settings.plan.model_dump(),
    )
    write_plan(layout, plan)


def _why(layout: Layout) -> str:
    """The commonest reason why cases of the cohort were refused, with what one can do about it."""
    names = [case.case for case in read_cases(layout.cases_table)]
    records = [read_json(layout.case(name) / "image.json") for name in names]
    refused = [record for record in records if record["status"] == "rejected"]
    if not refused:
        return f"; {len(names)} cases are in the cohort" if names else ": no scan of the source folder was taken"
    ((reason, n),) = Counter(record["reason"] for record in refused).most_common(1)
    found = next(record["found"] for record in refused if record["reason"] == reason)
    return f"; {n} of {len(names)} cases are refused with {reason}: {found}. {way_out(reason)}"


def plan_of_package(model: Path, classes: list[str], channels: list[str]) -> dict[str, Any]:
    """The plan of finished networks.

    Raises
    ------
    SettingsError
        When the settings name other classes or channels than the networks know.
    """
    known = read_package(model)["classes"]
    if classes != known:
        raise SettingsError(
            f"cohort.labels: the model knows {', '.join(known)}, the settings name {', '.join(classes)}"
        )
    plan: dict[str, Any] = read_json(model / "plan.json")
    check_channels(plan, channels)
    return plan


def _modality(cases: list[dict[str, Any]], channel: str) -> str:
    """The one modality that a channel has in all cases; empty where no case has the channel."""
    modalities = Counter(case["modalities"][channel] for case in cases if channel in case["modalities"])
    if len(modalities) > 1:
        mixed = ", ".join(f"{n} {name}" for name, n in sorted(modalities.items()))
        where = "cohort.series" if channel == ONE_CHANNEL else f"cohort.channels.{channel}"
        raise SettingsError(f"{where}.modality: one plan cannot serve several modalities (found {mixed}); choose one")
    return next(iter(modalities), "")
