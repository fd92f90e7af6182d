"""The rows of the private cache of headers that belong to one person."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

from cohortseg.errors import StudyError
from cohortseg.layout import Layout
from cohortseg.names import NO_ID


def header_trace(
    layout: Layout, original: str | None, paths: set[str]
) -> tuple[tuple[int, Callable[[], None]] | None, set[str]]:
    """How many rows of the cache are the person's and how to remove them, and the paths of all its source files.

    Parameters
    ----------
    original : str or None
        Original id of the subject, as the index keyed it.
    paths : set of str
        Source files that are known to be the person's.

    Returns
    -------
    (trace, paths)
        The trace is None without a row; with 0 rows the whole cache goes, because it cannot be read.
    """
    cache = layout.headers_cache
    if not cache.exists():
        return None, paths
    try:
        with closing(sqlite3.connect(cache)) as database:
            rows = [
                path
                for path, record in database.execute("SELECT path, record FROM headers")
                if os.fsdecode(path) in paths or (original is not None and _owner(record) == original)
            ]
    except (sqlite3.DatabaseError, ValueError):
        return (0, partial(cache.unlink, missing_ok=True)), paths
    found = paths | {os.fsdecode(path) for path in rows}
    return ((len(rows), partial(_delete, cache, rows)) if rows else None), found


def _owner(record: str) -> str | None:
    """Original id in a stored header: that of the patient, or the study that stands for one."""
    header = json.loads(record)[0]
    if not isinstance(header, dict):
        return None
    patient = header.get("patient_id")
    return str(patient) if patient else f"{NO_ID}{header.get('study_uid')}"


def _delete(cache: Path, paths: Iterable[bytes]) -> None:
    """Delete rows and overwrite what they held: a plain DELETE leaves the bytes in the file."""
    try:
        with closing(sqlite3.connect(cache)) as database:
            database.execute("PRAGMA secure_delete = ON")
            with database:
                database.executemany("DELETE FROM headers WHERE path = ?", [(path,) for path in paths])
            database.execute("VACUUM")
    except sqlite3.OperationalError as error:
        raise StudyError(f"{cache.name} cannot be written ({error}); is an index at work?") from None
