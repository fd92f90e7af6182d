"""Step `index`: look through the source folder and write the tables of the cohort, only where they changed."""

import json
import os
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cohortseg.catalogue import Catalogue, catalogue
from cohortseg.cohort import assign, cases_text, members, read_cases, table_text
from cohortseg.errors import REASONS, SettingsError, StudyError
from cohortseg.io.discover import forget_headers, scan
from cohortseg.io.sidecar import dumps, read_json, write_if_changed
from cohortseg.layout import Layout
from cohortseg.names import Identities
from cohortseg.series_facts import FACTS
from cohortseg.settings import Study
from cohortseg.settings.results import COVARIATES, PROPERTIES
from cohortseg.steps.clinical import keep_clinical
from cohortseg.steps.preview import counted, few_subjects, sentences
from cohortseg.steps.tuning import write_inner_folds

SERIES_COLUMNS = ["case", "subject", "channel", "part", *FACTS, "n_files"]
PREVIEW_COLUMNS = (
    *("status", "reason", "case", "channel", "part", "modality", "n_files", "n_slices", "slice_thickness_mm"),
    *("orientation", "kernel", "body_part", "description"),
)
STUDY_FORMAT = 2
"""Format of a study folder; raised when an older one can no longer be continued."""


def index(study: Study) -> str:
    """Index the source of a study; returns a sentence on what there is."""
    layout = Layout(study.folder)
    n_files, result, identities = _look(layout, study)
    split = study.split.model_dump(mode="json", exclude={"refit"})
    cases, ledger = assign(
        result.cases,
        _read(layout.ledger, {}),
        split=split,
        per_job=study.jobs.cases_per_job,
        per_predict_job=study.jobs.cases_per_predict_job,
    )
    write_if_changed(layout.identities, _json(asdict(identities)))
    keep_clinical(study.cohort.clinical, clinical_columns(study), identities, layout)
    _write_sources(layout, study, result)
    write_if_changed(layout.ledger, _json(ledger))
    for fold in range(study.split.folds):
        listed = members(ledger, cases, str(fold), refit=study.split.refit)
        write_if_changed(layout.members(str(fold)), _json(listed))
    write_inner_folds(layout, study, ledger, cases)
    _write_tables(layout, result)
    write_if_changed(layout.settings, settings_text(study))
    before = {case.case for case in read_cases(layout.cases_table)} if layout.cases_table.exists() else set()
    write_if_changed(layout.cases_table, cases_text(cases))
    subjects = {case.subject for case in cases}
    labelled = [case for case in cases if case.label not in ("none", "rejected")]
    n_gone = len(before - {case.case for case in cases})
    said = [
        f"{counted(n_files, 'file')}: {counted(len(cases), 'case')} of {counted(len(subjects), 'subject')}, "
        f"{len(labelled)} with a label, {len(result.rejected)} series not used",
        few_subjects(len({case.subject for case in labelled}), study.split.folds),
        f"{counted(n_gone, 'case')} of the last index not there any more" if n_gone else "",
    ]
    return "; ".join(filter(None, said))


def preview(study: Study) -> tuple[list[list[str]], list[str]]:
    """What an index would take and leave, and why: a heading and one row for each series, and sentences on all.

    No table is written. The rows hold descriptions of series, which may hold names: they are for the screen of who has
    the scans. Columns that are empty in all rows are left out.
    """
    _, result, _ = _look(Layout(study.folder), study)
    shown = [column for column in PREVIEW_COLUMNS if any(str(row[column]) for row in result.series)]
    rows = [[str(row[column]) for column in shown] for row in result.series]
    return [shown, *rows], sentences(study, result.series)


def _look(layout: Layout, study: Study) -> tuple[int, Catalogue, Identities]:
    """Number of files, what they are, and the names given so far with new ones added."""
    if study.cohort.source.resolve().is_relative_to(layout.root.resolve()):
        raise SettingsError(f"cohort.source: lies in {layout.root}, where this study is written; move the scans away")
    try:
        _check_format(layout)
        layout.private.mkdir(parents=True, exist_ok=True)
        layout.private.chmod(0o700)
    except OSError as error:
        raise StudyError(f"results: {layout.root} cannot be written ({error.strerror})") from None
    identities = Identities(**_read(layout.identities, {}))
    try:
        found = scan(study.cohort.source, layout.headers_cache, workers=os.cpu_count() or 1)
    except sqlite3.OperationalError as error:
        # A full disk, a folder that is only to be read, or another index at work.
        raise StudyError(f"{layout.headers_cache.name} of the study cannot be written: {error}") from None
    forgotten = frozenset(_read(layout.forgotten, {"patients": []})["patients"])
    result = catalogue(found, study.cohort, identities, forgotten)
    if forgotten:
        told = {row["path"] for row in result.files}
        gone = [one.path for one in found if one.path.encode(errors="backslashreplace").decode() not in told]
        forget_headers(layout.headers_cache, gone)
    return len(found), result, identities


def settings_text(study: Study) -> str:
    """The settings of a study as YAML, without the paths of its source and clinical table."""
    import yaml

    values = json.loads(study.model_dump_json(exclude_defaults=True))
    values["cohort"].pop("source", None)
    values["cohort"].pop("clinical", None)
    return f"# settings of study {study.study}; everything else has its default\n" + yaml.safe_dump(
        values, sort_keys=False
    )


def clinical_columns(study: Study) -> list[str]:
    """The columns of the clinical table that the settings name."""
    named = [*study.report.subgroups, *study.statistics.covariates]
    asked = [name for name in named if name not in (*PROPERTIES, *COVARIATES)]
    return list(dict.fromkeys([*asked, *([study.types.column] if study.types is not None else [])]))


def _check_format(layout: Layout) -> None:
    path = layout.root / "study.json"
    if not path.exists() and layout.cases_table.exists():
        raise StudyError(f"{layout.root} was made by an older version; move it away or choose another study name")
    if path.exists() and read_json(path).get("format") != STUDY_FORMAT:
        made_by = read_json(path).get("format")
        raise StudyError(
            f"{layout.root} has format {made_by}, this version works with {STUDY_FORMAT}; "
            "move it away, or choose another study name, and run again"
        )
    write_if_changed(path, _json({"format": STUDY_FORMAT}))


def _write_sources(layout: Layout, study: Study, result: Catalogue) -> None:
    """What each case is made of; files of cases that are gone are removed."""
    root = str(study.cohort.source.resolve())
    for case, source in result.sources.items():
        write_if_changed(layout.source(case), dumps({"root": root, **source}) + "\n")
    for path in layout.source("any").parent.glob("*.json"):
        if path.stem not in result.sources:
            path.unlink()


def _write_tables(layout: Layout, result: Catalogue) -> None:
    columns = [*SERIES_COLUMNS, "status", "reason"]
    write_if_changed(layout.series_table, table_text(result.series, columns))
    rejected = [{**row, "stage": "index", "meaning": REASONS[row["reason"]]} for row in result.rejected]
    columns = ["case", "subject", "stage", "reason", "meaning", "found"]
    write_if_changed(layout.rejected_table, table_text(rejected, columns))
    write_if_changed(layout.files_table, table_text(result.files, ["path", "kind", "case", "fate", "problem"]))


def _read(path: Path, default: Any) -> Any:
    return read_json(path) if path.exists() else default


def _json(value: Any) -> str:
    return dumps(value, indent=1) + "\n"
