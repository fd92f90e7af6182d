"""`cohortseg explain STUDY CASE`: the way from the source series to each metric of a case."""

import argparse
import csv
from pathlib import Path
from typing import Any

from cohortseg.cohort import read_cases
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import read_json, read_sidecar, run_path, write_text
from cohortseg.layout import TEST, Layout
from cohortseg.steps.model_space import read_plan
from cohortseg.steps.tuning import best_of, read_trials, score_text
from cohortseg.steps.units import all_units, folds_of_model, seed_of_model, split_unit

CHOICES = {"raw": {"models": "model"}, "post": {"threshold": "threshold", "cleaning": "cleaning"}}
"""By the name of a sidecar: an input that tells of a choice, and what was chosen."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The study and the case."""
    parser.add_argument("study", type=Path, help="study folder, for example results/demo")
    parser.add_argument("case", help="name of the case, as in the tables")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page with pictures instead, without the source"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the way, stage by stage, or write it with the pictures of the case."""
    layout = Layout(arguments.study)
    if arguments.html is None:
        print("\n".join(explain(layout, arguments.case)))
        return
    way = explain(layout, arguments.case, with_source=False)
    # pandas and the drawing are loaded only for those who ask for the page.
    from cohortseg.cli.case_content import case_content
    from cohortseg.report.case_page import render_case

    write_text(arguments.html, render_case(case_content(layout, arguments.case, way)))
    print(arguments.html)


def explain(layout: Layout, name: str, *, with_source: bool = True) -> list[str]:
    """Lines that lead from SeriesInstanceUID to every metric row of a case, or say why a series is none.

    Without the source the identity stays out: such lines may be written to a file.

    Raises
    ------
    StudyError
        When the study has no such case.
    """
    cases = {case.case: case for case in read_cases(layout.cases_table)}
    if name not in cases:
        refused = _refused(layout, name, with_source=with_source)
        if refused:
            return refused
        close = [case for case in cases if name[:6] in case][:5]
        raise StudyError(f"no case {name!r} in {layout.root}; for example: {', '.join(close or list(cases)[:5])}")
    case = cases[name]
    lines = [f"case {name}: subject {case.subject}, fold {case.fold} ({case.role})"]
    lines += _source(layout, name) if with_source else []
    folder = layout.case(name)
    for stage in ("image", "fingerprint", "prepared", "prepared-low"):
        lines += _stage(folder / f"{stage}.json")
    if layout.plan.exists():
        lines.append(f"plan: {read_plan(layout)[1]}")
    for experiment in sorted(path.name for path in (layout.root / "experiments").glob("*")):
        lines += _taught_by(layout, experiment, name)
        for unit in all_units(layout, experiment, "predict"):
            if split_unit(unit)[1] == name:
                lines += _prediction(layout, experiment, unit)
    return lines


def _refused(layout: Layout, name: str, *, with_source: bool) -> list[str]:
    """Why the index refused a series, and its files; nothing for a name that it never gave."""
    for row in _rows(layout.rejected_table):
        if row["case"] == name:
            paths = [one["path"] for one in _rows(layout.files_table) if one["case"] == name]
            files = (
                [f"source (private): {len(paths)} files, first {paths[0]}, last {paths[-1]}"]
                if paths and with_source
                else []
            )
            return [
                f"case {name}: subject {row['subject']}, not in the cohort",
                f"  {row['reason']}: {row['found']}",
                *files,
            ]
    return []


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _source(layout: Layout, name: str) -> list[str]:
    """Original identity and files; only on this screen and in `private/`."""
    source = read_json(layout.source(name))
    lines = [f"source (private): folder {source['root']}"]
    for number, channel in enumerate(source["channels"], start=1):
        if channel is None:
            lines.append(f"  channel {number}: missing")
            continue
        part = f", volume {channel['part']}" if channel["part"] else ""
        lines += _files(
            f"{channel['modality']}: {_series(channel['files'][0], channel['key'])}{part}", channel["files"]
        )
    label = source["label"]
    for part in label["parts"] if label else []:
        classes = f" of {', '.join(part['classes'])}" if part["classes"] else ""
        first = part["files"][0]
        lines += _files(f"label ({label['kind']}){classes}: {_series(first, first['path'])}", part["files"])
    return lines


def _series(file: dict[str, Any], otherwise: str) -> str:
    """SeriesInstanceUID of a DICOM file; another name for other files."""
    uid = (file["header"] or {}).get("series_uid")
    return f"SeriesInstanceUID {uid}" if uid else f"file {otherwise}"


def _files(what: str, files: list[dict[str, Any]]) -> list[str]:
    n_frames = sum(len(file["frames"]) for file in files if "frames" in file)
    frames = f", {n_frames} frames of them" if n_frames else ""
    return [
        f"  {what}, {len(files)} file{'s' if len(files) > 1 else ''}{frames}",
        f"    first {files[0]['path']}, last {files[-1]['path']}" if len(files) > 1 else f"    {files[0]['path']}",
    ]


def _stage(path: Path) -> list[str]:
    record = read_sidecar(path)
    if record is None:
        return []
    lines = [f"{record['stage']} (revision {record['revision']}): {record['status']}"]
    if record["status"] == "rejected":
        lines.append(f"  {record['reason']}: {record['found']}")
    lines += [f"  from {key}: {value}" for key, value in record["inputs"].items()]
    lines += [f"  key {record['key']}", f"  content {record['content']}", *_run(path)]
    return lines


def _run(path: Path) -> list[str]:
    try:
        run = read_json(run_path(path))
    except StudyError:
        return []
    return [f"  {run['seconds']} s, {run['peak_memory_mb']} MB, cohortseg {run['cohortseg']}, {run['finished']}"]


def _chosen(layout: Layout, experiment: str, name: str, sidecar: Path) -> list[str]:
    """What a result owes to choices on validation folds, and what these were worth there."""
    used = (read_sidecar(sidecar) or {}).get("inputs", {})
    fold = next(case.fold for case in read_cases(layout.cases_table) if case.case == name)
    judges = "all folds" if fold == TEST else "the other folds"
    lines = []
    for key, what in CHOICES[sidecar.stem].items():
        path = layout.choices(experiment, what)
        # A label that was made without a choice says so: an older choice may still lie there.
        for one in read_json(path) if key in used and path.exists() else []:
            if one["applied_to"] == fold and one["verdict"] == "kept":
                gain = f", gain {one['gain']:+.4f} ({one['n_subjects']} subjects)" if one["n_subjects"] else ""
                lines.append(f"    chosen for fold {fold} by {judges}: {one['label']} {what} {one['candidate']}{gain}")
    return lines


def _taught_by(layout: Layout, experiment: str, name: str) -> list[str]:
    """The labels of a case that an experiment learnt from instead of its reference, fold by fold."""
    lines = []
    for fold in (str(number) for number in range(read_json(layout.ledger)["split"]["folds"])):
        sidecar = layout.pseudo(experiment, fold, name) / "pseudo.json"
        if sidecar.exists():
            lines.append(f"experiment {experiment}, label for the training of fold {fold}, made by another experiment")
            lines += [f"  {line}" for line in _stage(sidecar)]
    return lines


def _labels_of(record: dict[str, Any], name: str) -> list[str]:
    """Whose labels a model learnt from, and of this case which; nothing where all were references."""
    labels = record.get("labels")
    if labels is None:
        return []
    n_own = len(labels["reference"])
    own = f"{n_own} with their references" if n_own else "none with its reference"
    lines = [f"    labels of {labels['from']} on {len(labels['pseudo'])} cases, {own}"]
    if name in record["members"]["train"]:
        lines.append(f"    this case with {'its reference' if name in labels['reference'] else 'such a label'}")
    return lines


def _stability(sidecar: Path) -> list[str]:
    """How far the label stayed the same under each change of the image, where it was asked."""
    changes = (read_sidecar(sidecar) or {}).get("stability") or {}
    return [
        f"  stable under {change}: {', '.join(f'{label} {_number(value)}' for label, value in found.items())}"
        for change, found in changes.items()
    ]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "undefined" if value is None else str(value)


def _prediction(layout: Layout, experiment: str, unit: str) -> list[str]:
    model, name = split_unit(unit)
    lines = [f"experiment {experiment}, model {model}"]
    seed = seed_of_model(model)
    for fold in folds_of_model(layout, model) if seed else []:
        record = read_sidecar(layout.model(experiment, fold, int(seed)) / "train.json")
        if record is not None:
            lines += _search(layout, experiment, fold, record.get("tuned"))
            lines += [
                f"  trained: fold {fold}, seed {seed}, {len(record['members']['train'])} cases",
                f"    revision {record['revision']}",
                f"    key {record['key']}",
                f"    weights {record['weights']}",
                *_labels_of(record, name),
            ]
    folder = layout.prediction(experiment, model, name)
    raw = read_sidecar(folder / "raw.json") or {}
    if "tuned" in raw.get("inputs", {}):
        fold = next(case.fold for case in read_cases(layout.cases_table) if case.case == name)
        lines += _search(layout, experiment, fold, read_json(layout.tuned(experiment, fold))["settings"])
    for stage in ("raw", "post", "metrics", "stability", "export"):
        lines += [f"  {line}" for line in _stage(folder / f"{stage}.json")]
        lines += _chosen(layout, experiment, name, folder / f"{stage}.json") if stage in CHOICES else []
    metrics: dict[str, Any] = (read_sidecar(folder / "metrics.json") or {}).get("metrics") or {}
    for stage in ("raw", "post"):
        for label, values in metrics.get(stage, {}).items():
            shown = [f"{key} {values[key]:.4g}" for key in ("dice", "hd95_mm", "nsd") if values[key] is not None]
            lines.append(f"  row {stage} {label}: {'; '.join(filter(None, [', '.join(shown), values['undefined']]))}")
    return lines + _stability(folder / "stability.json")


def _search(layout: Layout, experiment: str, fold: str, chosen: dict[str, Any] | None) -> list[str]:
    """The trial that gave a fold its settings; nothing where they are as written."""
    if chosen is None:
        return []
    n_trials = len(list(layout.trial(experiment, fold, 0).parent.glob("trial-*[0-9].json")))
    best = best_of([one for one in read_trials(layout, experiment, fold, n_trials) if one["settings"] == chosen])
    settings = ", ".join(f"{name} {value}" for name, value in chosen.items())
    if best is None:
        return [f"  settings of a search, whose trial is gone: {settings}"]
    score = f"{best['metric']} {score_text(best['score'])} on {best['n_cases']} training cases"
    return [f"  settings of trial {best['number']} of {n_trials} in fold {fold} ({score}): {settings}"]
