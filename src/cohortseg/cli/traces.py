"""What a study holds of one subject: files, rows of tables, entries of records, and the models that learned from it.

Every trace knows how to remove itself in one step: a folder is renamed before it is taken apart, a table is written
anew beside the old one. So a removal that was cut off is finished by looking for traces again.
"""

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cohortseg.cli.header_rows import header_trace
from cohortseg.io.sidecar import dumps, read_json, write_text
from cohortseg.layout import Layout

LEFT_OVER = ".forgotten-"
"""Begins the name of a folder that is being removed."""
FOLDERS_OF_CASES = ("cases", "experiments/*/*/cases")
FOLDERS_OF_REMOVALS = (*FOLDERS_OF_CASES, "experiments/*", "experiments/*/tune", "export/*")
RESULTS = ("tables/*.csv", "types/*", "report/*", "ro-crate-metadata.json")


@dataclass(frozen=True)
class Subject:
    """A person of the cohort: pseudonym, original id (None when no longer known) and names of the scans."""

    name: str
    original: str | None
    cases: frozenset[str]


@dataclass(frozen=True)
class Model:
    """A trained model whose training or validation saw the subject."""

    folder: Path
    is_trained_on: bool


@dataclass(frozen=True)
class Trace:
    """Something of a subject.

    Parameters
    ----------
    path : Path
        Where it is.
    n_entries : int
        Rows or entries that go; 0 when the whole file or folder goes.
    remove : callable
        Removes it; what is gone already is no error.
    """

    path: Path
    n_entries: int
    remove: Callable[[], None]

    @property
    def size(self) -> int:
        """Bytes of what goes as a whole; 0 for entries."""
        if self.n_entries:
            return 0
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.lstat().st_size for file in files if not file.is_dir())


def models_of(layout: Layout, subject: Subject) -> list[Model]:
    """The finished models whose records name a case of the subject, sorted."""
    found: dict[Path, bool] = {}
    for folder, trained, validated in _trainings(layout):
        if subject.cases & (trained | validated):
            found[folder] = found.get(folder, False) or bool(subject.cases & trained)
    return [Model(folder, found[folder]) for folder in sorted(found)]


def _trainings(layout: Layout) -> Iterator[tuple[Path, set[str], set[str]]]:
    """Folder of each finished model with the cases that it was trained and validated on."""
    # `done.json` stays where Snakemake took `train.json` away to run the job again.
    for name in ("train.json", "done.json"):
        for path in sorted(layout.root.glob(f"experiments/*/*/{name}")):
            record = read_json(path)
            members = record.get("members", {})
            trained = {*record.get("trained_on", {}), *members.get("train", [])}
            yield path.parent, trained, set(members.get("validation", []))


def traces(layout: Layout, subject: Subject, models: list[Model], *, with_models: bool) -> list[Trace]:
    """All that is to go, in the order in which it goes: what leads to the rest comes last.

    Models that stay need the frozen lists that they were trained on, or the next run would train them anew: then the
    pseudonym stays in the ledger and in the members of the folds.
    """
    found = [*(_models(layout, subject, models) if with_models else []), *_cases(layout, subject)]
    found += [*_texts(layout, subject), *_records(layout, subject)]
    found += _searches(layout, subject, is_kept=bool(models) and not with_models)
    if with_models or not models:
        found += _frozen(layout, subject)
    found += _private(layout, subject)
    named = [path for pattern in RESULTS for path in layout.root.glob(pattern) if names(path, subject)]
    if found or named:
        # Every number of the results was made with the subject, also where its name does not stand.
        found = [*(whole(path) for pattern in RESULTS for path in sorted(layout.root.glob(pattern))), *found]
    going = {trace.path for trace in found if not trace.n_entries}
    return [trace for trace in found if not going.intersection(trace.path.parents)]


# ---- removing -------------------------------------------------------------------------------------------------------


def whole(path: Path) -> Trace:
    """A file or folder that goes as a whole."""
    return Trace(path, 0, partial(_remove, path))


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # Taken apart under another name: a half-removed folder must not look like a case or a model.
    doomed = path if path.name.startswith(LEFT_OVER) else path.with_name(f"{LEFT_OVER}{path.name}")
    if doomed != path:
        if doomed.exists():
            shutil.rmtree(doomed)
        path.rename(doomed)
    shutil.rmtree(doomed)


def _rewritten(path: Path, n_entries: int, text: str) -> Trace:
    return Trace(path, n_entries, partial(write_text, path, text))


# ---- files ----------------------------------------------------------------------------------------------------------


def _cases(layout: Layout, subject: Subject) -> Iterator[Trace]:
    """Stores, predictions and exported files of the cases, and folders that an earlier removal left."""
    for folder in FOLDERS_OF_REMOVALS:
        yield from (whole(path) for path in sorted(layout.root.glob(f"{folder}/{LEFT_OVER}*")))
    # What a killed job left of images that it changed, or predicted elsewhere.
    yield from (whole(path) for path in sorted(layout.scratch("any").parent.glob("*")))
    for folder in FOLDERS_OF_CASES:
        yield from (whole(path) for path in sorted(layout.root.glob(f"{folder}/*")) if path.name in subject.cases)
    # After the name comes the format, or the class; what else begins so is of the same subject.
    begins = re.compile("|".join(rf"{re.escape(case)}(?![A-Za-z0-9])" for case in sorted(subject.cases)) or "(?!)")
    exported = sorted(layout.root.glob("export/*/*/*"))
    yield from (whole(path) for path in exported if begins.match(path.name.removeprefix(".part-")))


def _texts(layout: Layout, subject: Subject) -> Iterator[Trace]:
    """Logs and benchmarks that name the subject or one of its cases."""
    for folder in ("logs", "benchmarks"):
        files = sorted(path for path in (layout.root / folder).rglob("*") if path.is_file())
        yield from (whole(path) for path in files if names(path, subject))


def names(path: Path, subject: Subject, *, only_cases: bool = False) -> bool:
    """Whether a text file holds the name of a case, or the pseudonym, as a word of its own."""
    wanted = subject.cases if only_cases else {subject.name, *subject.cases}
    if not path.is_file() or not wanted:
        return False
    words = "|".join(re.escape(name) for name in sorted(wanted))
    text = path.read_text(errors="replace")
    return re.search(rf"(?<![A-Za-z0-9_-])({words})(?![A-Za-z0-9_-])", text) is not None


def _models(layout: Layout, subject: Subject, models: list[Model]) -> Iterator[Trace]:
    """The models with all they predicted, the ensembles they are part of, and the plan that saw the subject."""
    for experiment in sorted({model.folder.parent for model in models}):
        own = [model.folder.name for model in models if model.folder.parent == experiment]
        ensembles = [f"ensemble-seed-{seed}" for seed in sorted({name.rpartition("-seed-")[2] for name in own})]
        exported = [layout.root / "export" / experiment.name / name for name in [*own, *ensembles]]
        # Without tokens the next run looks at every case, and makes only what is missing. The models go last: they
        # tell what else belongs to them.
        going = [*exported, experiment / "done", *(experiment / name for name in [*ensembles, *own])]
        yield from (whole(path) for path in going if path.exists())
    if names(layout.plan, subject, only_cases=True):
        yield whole(layout.plan)


# ---- tables and records ---------------------------------------------------------------------------------------------


def _records(layout: Layout, subject: Subject) -> Iterator[Trace]:
    """Tokens of batches, trainings that are not finished, the tables of the cohort."""
    for home in ("cohort", "experiments/*"):
        for path in sorted(layout.root.glob(f"{home}/done/*/*.json")):
            units = read_json(path)["cases"]
            kept = {unit: entry for unit, entry in units.items() if unit.rpartition("/")[2] not in subject.cases}
            if len(kept) < len(units):
                text = _json({"cases": kept})
                yield _rewritten(path, len(units) - len(kept), text) if kept else whole(path)
    for path in sorted(layout.root.glob("experiments/*/*/resume.pt")):
        members = layout.members(path.parent.name.split("-")[1])
        if members.exists() and any(subject.cases & set(listed) for listed in read_json(members).values()):
            # What it learned so far would go on into a model whose record no longer says so.
            yield whole(path)
    for path in (layout.cohort_fingerprint, layout.folds):
        if path.exists():
            yield from _without(path, subject)
    for path in (layout.cases_table, layout.series_table, layout.rejected_table):
        yield from _without_rows(path, lambda row: _is_of(row, subject))


def _searches(layout: Layout, subject: Subject, *, is_kept: bool) -> Iterator[Trace]:
    """Searches that saw the subject; where models stay only its scores go, or the models would be made anew."""
    for folder in sorted(layout.root.glob("experiments/*/tune/fold-*")):
        experiment, fold = folder.parts[-3], folder.name.removeprefix("fold-")
        if is_kept:
            yield from (whole(path) for path in sorted(folder.glob("*.scratch")))
            for path in sorted(folder.glob("trial-*[0-9].json")):
                yield from _without(path, subject)
        elif names(layout.inner(experiment, fold), subject, only_cases=True):
            tokens = layout.token("trial", f"fold-{fold}-*", experiment)
            yield from (whole(path) for path in sorted(tokens.parent.glob(tokens.name)))
            yield whole(folder)


def _frozen(layout: Layout, subject: Subject) -> Iterator[Trace]:
    """The ledger and the members of the folds."""
    for path in [*sorted(layout.members("any").parent.glob("*.json")), layout.ledger]:
        if path.exists():
            yield from _without(path, subject)


def _private(layout: Layout, subject: Subject) -> Iterator[Trace]:
    """What leads back to the person: headers, paths and last of all the identities."""
    headers, paths = header_trace(layout, subject.original, _source_paths(layout, subject))
    # Paths that are no text stand in the table with backslashes.
    shown = {path.encode(errors="backslashreplace").decode() for path in paths}
    yield from _without_rows(layout.files_table, lambda row: row["case"] in subject.cases or row["path"] in shown)
    if headers is not None:
        yield Trace(layout.headers_cache, *headers)
    yield from _without_rows(layout.clinical, lambda row: _is_of(row, subject))
    for case in sorted(subject.cases):
        yield from (whole(path) for path in (layout.source_key(case), layout.source(case)) if path.exists())
    if layout.identities.exists():
        known = read_json(layout.identities)
        kept, gone = _take_out(known, {subject.name, *subject.cases}, by_value=True)
        # The pseudonym is never given again: records that stay would take the next person for this one.
        tombstone = tombstone_of(subject.name)
        gone -= known.get("subjects", {}).get(tombstone) == subject.name
        if gone:
            kept.setdefault("subjects", {})[tombstone] = subject.name
            yield _rewritten(layout.identities, gone, _json(kept))


def tombstone_of(name: str) -> str:
    """The key in the identities that keeps a pseudonym from being given again."""
    return f"forgotten {name}"


def _source_paths(layout: Layout, subject: Subject) -> set[str]:
    """Source files of the cases: images and labels."""
    found: set[str] = set()
    for case in sorted(subject.cases):
        if layout.source(case).exists():
            found |= set(_paths_in(read_json(layout.source(case))))
    return found


def _paths_in(value: Any) -> Iterator[str]:
    """Every `path` at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("path"), str):
            yield value["path"]
        value = [item for key, item in value.items() if key != "header"]
    if isinstance(value, list):
        for item in value:
            yield from _paths_in(item)


def _without(path: Path, subject: Subject) -> Iterator[Trace]:
    kept, n_gone = _take_out(read_json(path), set(subject.cases))
    if n_gone:
        yield _rewritten(path, n_gone, _json(kept))


def _take_out(value: Any, names: set[str], *, by_value: bool = False) -> tuple[Any, int]:
    """A record without the entries of lists and mappings that are `names` (mappings: by key, or by value)."""
    if isinstance(value, list):
        below = [_take_out(item, names, by_value=by_value) for item in value]
        kept = [item for item, _ in below if not (isinstance(item, str) and item in names)]
        return kept, len(value) - len(kept) + sum(n for _, n in below)
    if not isinstance(value, dict):
        return value, 0
    result, n_gone = {}, 0
    for key, item in value.items():
        if (item if by_value and isinstance(item, str) else key) in names:
            n_gone += 1
            continue
        result[key], n_below = _take_out(item, names, by_value=by_value)
        n_gone += n_below
    return result, n_gone


def _is_of(row: dict[str, str], subject: Subject) -> bool:
    return row.get("subject") == subject.name or row.get("case") in subject.cases


def _without_rows(path: Path, is_own: Callable[[dict[str, str]], bool]) -> Iterator[Trace]:
    """A table of tabs without some of its rows."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        reader = csv.DictReader(file, delimiter="\t")
        rows, columns = list(reader), list(reader.fieldnames or [])
    kept = [row for row in rows if not is_own(row)]
    if len(kept) < len(rows):
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
        yield _rewritten(path, len(rows) - len(kept), text.getvalue())


def _json(value: Any) -> str:
    return dumps(value, indent=1) + "\n"


def all_cases(layout: Layout) -> dict[str, str]:
    """Every case that the study knows by name, with its subject."""
    identities = read_json(layout.identities).get("cases", {}) if layout.identities.exists() else {}
    found = {name: subject_of(name) for name in identities.values()}
    ledger = read_json(layout.ledger).get("cases", {}) if layout.ledger.exists() else {}
    found |= {name: entry["subject"] for name, entry in ledger.items()}
    for path in (layout.cases_table, layout.series_table, layout.rejected_table):
        if path.exists():
            with path.open(newline="") as file:
                found |= {row["case"]: row["subject"] for row in csv.DictReader(file, delimiter="\t") if row["case"]}
    # Models remember cases that are forgotten everywhere else.
    remembered = {name for _, trained, validated in _trainings(layout) for name in trained | validated}
    return found | {name: subject_of(name) for name in remembered - set(found)}


def subject_of(case: str) -> str:
    """The subject that a case is named after."""
    return case.partition("_")[0]


def original_ids(layout: Layout) -> dict[str, str]:
    """Original id of each subject, as the index keyed it."""
    known: dict[str, str] = read_json(layout.identities)["subjects"] if layout.identities.exists() else {}
    return {name: key for key, name in known.items() if key != tombstone_of(name)}


def is_forgotten(layout: Layout, name: str) -> bool:
    """Whether a pseudonym is kept only so that nobody else gets it."""
    known: dict[str, str] = read_json(layout.identities)["subjects"] if layout.identities.exists() else {}
    return tombstone_of(name) in known
