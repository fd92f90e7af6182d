"""The bytes of a study without what may differ between two runs: time, host, logs, private paths."""

import csv
import io
from pathlib import Path

LEFT_OUT = ("logs", "benchmarks", "private", ".locks")
"""Folders of a study that tell of one run, or of the place of the source."""


def comparable_bytes(study: Path) -> dict[str, bytes]:
    """Path to content of every file that the promise of equal bytes covers."""
    files = sorted(path for path in study.rglob("*") if path.is_file())
    kept = [path for path in files if path.relative_to(study).parts[0] not in LEFT_OUT]
    return {
        path.relative_to(study).as_posix(): comparable(path) for path in kept if not path.name.endswith(".run.json")
    }


def comparable(path: Path) -> bytes:
    """One file: tables without `seconds_*` columns, the report without run times."""
    if path.suffix == ".csv":
        return without_seconds(path.read_text()).encode()
    if path.name == "report.html":
        return without_run_times(path.read_text()).encode()
    return path.read_bytes()


def without_seconds(text: str) -> str:
    """A table without its `seconds_*` columns."""
    rows = list(csv.reader(io.StringIO(text)))
    kept = [place for place, name in enumerate(rows[0]) if not name.startswith("seconds_")] if rows else []
    return "\n".join(",".join(row[place] for place in kept) for row in rows)


def without_run_times(page: str) -> str:
    """A report without its section of resources: the only place that tells of seconds and memory."""
    before, mark, rest = page.partition('<section aria-labelledby="resources">')
    assert mark, "the report has no section of resources"
    return before + rest.partition("</section>")[2]
