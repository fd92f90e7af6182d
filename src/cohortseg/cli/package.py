"""`cohortseg package STUDY EXPERIMENT FOLDER`: the finished networks of an experiment in one folder that can be moved.

It holds the weights of every fold and seed, the plan, the settings of the experiment, where it all comes from, and a
model card. No name of a case is in it. Another study uses it with `method: pretrained`.
"""

import argparse
import csv
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from cohortseg import __version__
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import digest, file_digest, read_json, read_sidecar, write_json, write_text
from cohortseg.layout import TEST, Layout
from cohortseg.settings import UNetMethod
from cohortseg.steps.loaded import alone
from cohortseg.steps.model_space import PACKAGE_FORMAT, read_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study, experiment, folder."""
    parser.add_argument("study", type=Path, help="study folder, for example results/demo")
    parser.add_argument("experiment", help="name of a trained experiment")
    parser.add_argument("folder", type=Path, help="folder to write; must not exist yet")


def run(arguments: argparse.Namespace) -> None:
    """Write the package.

    Raises
    ------
    StudyError
        When nothing is trained, weights differ from their record, or the folder exists.
    """
    from cohortseg.infer.weights import read_metadata

    layout, folder = Layout(arguments.study), arguments.folder
    records = _trainings(layout, arguments.experiment)
    if folder.exists():
        raise StudyError(f"{folder.name!r} exists; name another folder")
    first = layout.root / "experiments" / arguments.experiment / next(iter(records)) / "weights.safetensors"
    known = read_metadata(first)
    if "synthesis" in known:
        raise StudyError(f"experiment {arguments.experiment!r} makes images; only networks that make labels are packed")
    plan, _ = read_plan(layout, None)
    # The plan names the cases it saw; of those only their number leaves the study.
    plan = plan | {"seen": {key: value for key, value in plan["seen"].items() if key != "cases"}}
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    weights = _copied(layout.root / "experiments" / arguments.experiment, records, part)
    cascade = _before(layout, known["cascade"], part) if "cascade" in known else {}
    package = {
        "format": PACKAGE_FORMAT,
        "cohortseg": __version__,
        "study": layout.root.name,
        "experiment": arguments.experiment,
        "classes": known["classes"],
        **({"regions": known["regions"]["names"]} if known.get("regions") else {}),
        **({"resolution": known["resolution"]} if "resolution" in known else {}),
        **cascade,
        "channels": {name: plan["modality"][name] for name in plan["channels"]},
        "weights": weights,
        "plan": digest(plan),
        "trainings": {model: _provenance(record) for model, record in records.items()},
        "chosen": chosen_for_others(layout, arguments.experiment),
        "validation": validation_scores(layout.table("metrics_by_case"), arguments.experiment),
    }
    write_json(part / "plan.json", plan)
    write_json(part / "model.json", package)
    write_text(part / "README.md", model_card(package, plan))
    part.rename(folder)
    n_before = len(cascade["cascade"]["weights"]) if cascade else 0
    print(f"package: {len(weights) + n_before} networks in {folder}", file=sys.stderr)


def _copied(experiment: Path, records: dict[str, dict[str, Any]], part: Path, prefix: str = "") -> dict[str, str]:
    """Copy the weights of these models; their names in the package and their SHA-256."""
    weights = {}
    for model, record in records.items():
        name = f"{prefix}{model}.safetensors"
        shutil.copyfile(experiment / model / "weights.safetensors", part / name)
        if file_digest(part / name) != f"sha256:{record['weights']}":
            raise StudyError(f"the weights of {model} differ from their record; run `cohortseg verify`")
        weights[name] = record["weights"]
    return weights


def _before(layout: Layout, experiment: str, part: Path) -> dict[str, Any]:
    """The networks whose label a cascade is given, of one seed as in the study, and how they predict there."""
    from cohortseg.steps.report import last_study

    settings = last_study(layout).experiments[experiment]
    assert isinstance(settings, UNetMethod)
    records = {
        model: record
        for model, record in _trainings(layout, experiment).items()
        if model.endswith(f"-seed-{settings.seeds[0]}")
    }
    weights = _copied(layout.root / "experiments" / experiment, records, part, f"{experiment}-")
    labelling = alone(settings)
    predict = {key: getattr(labelling, key) for key in ("overlap", "mirror", "skip_empty", "precision", "threshold")}
    trainings = {model: _provenance(record) for model, record in records.items()}
    return {"cascade": {"experiment": experiment, "weights": weights, "predict": predict, "trainings": trainings}}


def _trainings(layout: Layout, experiment: str) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted((layout.root / "experiments" / experiment).glob("fold-*/train.json")):
        record = read_sidecar(path)
        if record is not None and record.get("trained_from") == "image":
            raise StudyError(f"experiment {experiment!r} is no network; only networks are packed")
        if record is not None and record["status"] == "ok":
            found[path.parent.name] = record
    if not found:
        raise StudyError(f"no training of experiment {experiment!r} is done")
    return found


def _provenance(record: dict[str, Any]) -> dict[str, Any]:
    """How a network came about: numbers and digests, no name of a case."""
    return {
        "cases": len(record["members"]["train"]),
        "contents": digest(sorted(record["trained_on"].values())),
        **{name: record[name] for name in ("revision", "key", "steps", "n_parameters")},
    }


def _before_words(package: dict[str, Any]) -> str:
    if "cascade" not in package:
        return ""
    return (
        f" Before them {len(package['cascade']['weights'])} networks\nof low resolution label the image; what they "
        "find is a further input of the others. Both run by themselves."
    )


def _chosen_words(chosen: dict[str, Any]) -> str:
    if not chosen:
        return ""
    return (
        "With `postprocess: auto` (and `threshold: auto` where one was chosen) labels are cleaned as the\n"
        "cross-validation found best, unless that study has references enough to choose by itself.\n\n"
    )


def validation_scores(table: Path, experiment: str) -> dict[str, dict[str, Any]]:
    """Mean and median Dice of each class over the validation cases, raw and cleaned, as far as they were measured."""
    if not table.exists():
        return {}
    scores: dict[str, list[float]] = {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["experiment"] == experiment and row["split"] == "val" and row["dice"]:
                scores.setdefault(f"{row['label']} ({row['stage']})", []).append(float(row["dice"]))
    return {
        name: {
            "n": len(values),
            "mean_dice": round(statistics.mean(values), 4),
            "median_dice": round(statistics.median(values), 4),
        }
        for name, values in sorted(scores.items())
    }


def chosen_for_others(layout: Layout, experiment: str) -> dict[str, Any]:
    """What all folds together chose for scans of others: a threshold, a cleaning of each class; as the tables say."""
    table = layout.table("choices")
    if not table.exists():
        return {}
    with table.open(newline="") as file:
        chosen = {row["choice"] for row in csv.DictReader(file) if row["experiment"] == experiment}
    return {what: read_json(layout.chosen(experiment, what, TEST)) for what in sorted(chosen)}


def model_card(package: dict[str, Any], plan: dict[str, Any]) -> str:
    """A page on what the networks are, what they were made from and how well they did."""
    channels = ", ".join(f"{name} ({modality})" for name, modality in package["channels"].items())
    scores = "".join(
        f"| {name} | {found['n']} | {found['mean_dice']:.3f} | {found['median_dice']:.3f} |\n"
        for name, found in package["validation"].items()
    )
    cases = sorted({training["cases"] for training in package["trainings"].values()})
    n_cases = " to ".join(str(n) for n in dict.fromkeys((cases[0], cases[-1])))
    head = "| class (stage) | cases | mean Dice | median Dice |\n|---|---|---|---|"
    head = head if scores else "No metrics were at hand when the package was made."
    example = {"method": "pretrained", "model": "PATH/OF/THIS/FOLDER"}
    return f"""# {package["experiment"]} of {package["study"]}

{len(package["weights"])} networks that segment {", ".join(package["classes"])} on {channels}. The prediction is the
mean of their probabilities.{_before_words(package)}

**Use**: research on images like those it was trained on. It is no medical device. Each case of a new study whose size,
spacing or intensity lies outside what the plan saw is named in that study's report.

**Trained on** {n_cases} cases per network ({plan["seen"]["n_cases"]} seen by the plan,
{plan["seen"]["n_with_foreground"]} of them with labelled voxels), by cohortseg {package["cohortseg"]}.

## Cross-validation

{head}
{scores}
## To use it

In the config of a study with the classes {", ".join(package["classes"])} and the channels {channels}:

    experiments:
      finished: {json.dumps(example).replace('"', "")}

{_chosen_words(package["chosen"])}\
`plan.json` is read by people too: every decision has its reason. `model.json` lists the files with their SHA-256.
"""
