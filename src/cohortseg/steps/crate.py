"""What a study folder holds, for machines: an RO-Crate 1.1 metadata file without identity."""

from pathlib import Path
from typing import Any

from cohortseg import __version__
from cohortseg.io.sidecar import file_digest
from cohortseg.layout import Layout
from cohortseg.metrics.dictionary import TABLES
from cohortseg.stages import AggregateStage

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "https://w3id.org/ro/crate/1.1"
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".parquet": "application/vnd.apache.parquet",
}
AFTERWARDS = ("quality",)
"""Tables that the report writes: they would be those of an earlier one."""


def crate(layout: Layout, settings: AggregateStage) -> dict[str, Any]:
    """The metadata of a study folder.

    Nothing is read but files that hold no identity: `private/` is not described, and neither are the stores of single
    cases. Files that are written after the tables (the report) are not part of it.

    Parameters
    ----------
    layout : Layout
        The study; its tables are written.
    settings : AggregateStage

    Returns
    -------
    dict
        JSON-LD; the same study gives the same, for no date is in it.
    """
    files = [_file(layout, path, description) for path, description in described(layout) if path.is_file()]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": settings.study,
        "description": f"{_what(settings)} by {', '.join(settings.experiment_names)}",
        "hasPart": [{"@id": entry["@id"]} for entry in files],
    }
    made = {
        "@id": "#aggregate",
        "@type": "CreateAction",
        "instrument": {"@id": "#cohortseg"},
        "result": [{"@id": entry["@id"]} for entry in files if entry["@id"].startswith("tables/")],
    }
    software = {"@id": "#cohortseg", "@type": "SoftwareApplication", "name": "cohortseg", "version": __version__}
    about = {
        "@id": layout.crate.name,
        "@type": "CreativeWork",
        "conformsTo": {"@id": PROFILE},
        "about": {"@id": "./"},
    }
    return {"@context": CONTEXT, "@graph": [about, root, software, made, *files]}


def _what(settings: AggregateStage) -> str:
    if settings.synthesis is not None:
        return f"Study that makes images of {settings.synthesis.target}"
    return f"Segmentation study of {', '.join(settings.classes)}"


def described(layout: Layout) -> list[tuple[Path, str]]:
    """The files of a study that hold no identity, and what they are."""
    cohort = [
        (layout.cases_table, "the cases of the cohort with fold and batch"),
        (layout.rejected_table, "series that the index refused, with reason"),
        (layout.folds, "folds of the cases, after the leakage check"),
        (layout.plan, "the frozen plan of the model space"),
        (layout.settings, "the settings of the study"),
    ]
    tables = [(layout.table(name), table.description) for name, table in TABLES.items() if name not in AFTERWARDS]
    parquet = [(path.with_suffix(".parquet"), f"{description}, as Parquet") for path, description in tables]
    return [*cohort, *tables, *parquet]


def _file(layout: Layout, path: Path, description: str) -> dict[str, Any]:
    name = path.relative_to(layout.root).as_posix()
    entry = {
        "@id": name,
        "@type": "File",
        "name": path.name,
        "description": description,
        "encodingFormat": MEDIA_TYPES[path.suffix],
    }
    if path.stem == "metrics_by_case":
        return entry  # it holds seconds, which differ from run to run
    return {**entry, "contentSize": str(path.stat().st_size), "sha256": file_digest(path).removeprefix("sha256:")}
