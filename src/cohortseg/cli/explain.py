"""`cohortseg explain STUDY CASE`: the way from the source series to each metric of a case."""

import argparse
from pathlib import Path
from typing import Any

from cohortseg.cohort import read_cases
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import read_json, read_sidecar, run_path, write_text
from cohortseg.layout import Layout
from cohortseg.steps.model_space import read_plan
from cohortseg.steps.units import all_units, folds_of_model, seed_of_model, split_unit


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
    """Lines that lead from SeriesInstanceUID to every metric row of a case.

    Without the source the identity stays out: such lines may be written to a file.

    Raises
    ------
    StudyError
        When the study has no such case.
    """
    cases = {case.case: case for case in read_cases(layout.cases_table)}
    if name not in cases:
        close = [case for case in cases if name[:6] in case][:5]
        raise StudyError(f"no case {name!r} in {layout.root}; for example: {', '.join(close or list(cases)[:5])}")
    case = cases[name]
    lines = [f"case {name}: subject {case.subject}, fold {case.fold} ({case.role})"]
    lines += _source(layout, name) if with_source else []
    folder = layout.case(name)
    for stage in ("image", "fingerprint", "prepared"):
        lines += _stage(folder / f"{stage}.json")
    if layout.plan.exists():
        lines.append(f"plan: {read_plan(layout)[1]}")
    for experiment in sorted(path.name for path in (layout.root / "experiments").glob("*")):
        for unit in all_units(layout, experiment, "predict"):
            if split_unit(unit)[1] == name:
                lines += _prediction(layout, experiment, unit)
    return lines


def _source(layout: Layout, name: str) -> list[str]:
    """Original identity and files; only on this screen and in `private/`."""
    source = read_json(layout.source(name))
    lines = [f"source (private): folder {source['root']}"]
    for channel in filter(None, source["channels"]):
        files = channel["files"]
        series = files[0]["header"] or {}
        what = f"SeriesInstanceUID {series['series_uid']}" if series else f"file {channel['key']}"
        part = f", volume {channel['part']}" if channel["part"] else ""
        lines.append(f"  {channel['modality']}: {what}{part}, {len(files)} files")
        lines.append(f"    first {files[0]['path']}, last {files[-1]['path']}")
    if source["label"]:
        for part in source["label"]["parts"]:
            lines.append(f"  label ({source['label']['kind']}) {part['files'][0]['path']}")
    return lines


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


def _prediction(layout: Layout, experiment: str, unit: str) -> list[str]:
    model, name = split_unit(unit)
    lines = [f"experiment {experiment}, model {model}"]
    seed = seed_of_model(model)
    for fold in folds_of_model(layout, model) if seed else []:
        record = read_sidecar(layout.model(experiment, fold, int(seed)) / "train.json")
        if record is not None:
            lines += [
                f"  trained: fold {fold}, seed {seed}, {len(record['members']['train'])} cases",
                f"    revision {record['revision']}",
                f"    key {record['key']}",
                f"    weights {record['weights']}",
            ]
    folder = layout.prediction(experiment, model, name)
    for stage in ("raw", "post", "metrics", "export"):
        lines += [f"  {line}" for line in _stage(folder / f"{stage}.json")]
    metrics: dict[str, Any] = (read_sidecar(folder / "metrics.json") or {}).get("metrics") or {}
    for stage, labels in metrics.items():
        for label, values in labels.items():
            shown = ", ".join(
                f"{key} {values[key]:.4g}" for key in ("dice", "hd95_mm", "nsd") if values[key] is not None
            )
            lines.append(f"  row {stage} {label}: {shown or values['undefined']}")
    return lines
