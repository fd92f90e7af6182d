"""Every file below a folder with its DICOM header, read once: headers are cached by path, size and time."""

import json
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohortseg.errors import Rejected, SettingsError

CACHE_VERSION = 2
"""Raised when headers are read differently, so that old ones are read again."""
PARALLEL_FROM = 400
"""Fewer new files than this are read quicker in one process than by starting several."""


@dataclass(frozen=True)
class FoundFile:
    """One file below the source folder.

    Parameters
    ----------
    path : str
        Relative to the source folder, with `/`.
    size, mtime_ns : int
        Bytes, and time of the last change in ns.
    header : dict or None
        Header record (see io/headers.py); None for a file that is no DICOM.
    problem : str
        Why the header could not be read, or an empty string.
    """

    path: str
    size: int
    mtime_ns: int
    header: dict[str, Any] | None
    problem: str = ""


def scan(source: Path, cache: Path, *, workers: int = 1) -> list[FoundFile]:
    """All files below `source`, sorted by path.

    Raises
    ------
    SettingsError
        When the folder is missing, unreadable or empty.
    """
    if not source.is_dir():
        raise SettingsError(f"cohort.source: no such folder (got {str(source)!r})")
    try:
        stats = dict(_walk(source))
    except OSError as error:
        raise SettingsError(f"cohort.source: a folder cannot be read ({error.strerror}): {error.filename}") from None
    if not stats:
        raise SettingsError(f"cohort.source: the folder is empty (got {str(source)!r})")
    with closing(_open_cache(cache)) as database:
        known = {
            path: json.loads(text)
            for path, size, mtime, text in database.execute("SELECT path, size, mtime_ns, record FROM headers")
            if stats.get(path) == (size, mtime)
        }
        new = sorted(set(stats) - set(known))
        read = dict(zip(new, _read_all([str(source / path) for path in new], workers), strict=True))
        # What could not be read is tried again next time: a share may have been away, a permission missing.
        rows = [(path, *stats[path], json.dumps(record)) for path, record in read.items() if not record[1]]
        with database:
            database.executemany("INSERT OR REPLACE INTO headers VALUES (?, ?, ?, ?)", rows)
    records = known | read
    return [FoundFile(path, *stats[path], *records[path]) for path in sorted(stats)]


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, tuple[int, int]]]:
    """Relative path, size and time of every regular file; links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                stat = entry.stat()
                yield f"{prefix}{entry.name}", (stat.st_size, stat.st_mtime_ns)


def _open_cache(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError:
        # A cache cut short by a kill holds nothing that cannot be read again.
        database.close()
        path.unlink()
        database, version = sqlite3.connect(path), 0
    if version != CACHE_VERSION:
        database.execute("DROP TABLE IF EXISTS headers")
    database.execute(
        "CREATE TABLE IF NOT EXISTS headers (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, record TEXT)"
    )
    database.execute(f"PRAGMA user_version = {CACHE_VERSION}")
    return database


def _read_all(paths: list[str], workers: int) -> list[tuple[dict[str, Any] | None, str]]:
    if workers < 2 or len(paths) < PARALLEL_FROM:
        return [_read(path) for path in paths]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(_read, paths, chunksize=100))


def _read(path: str) -> tuple[dict[str, Any] | None, str]:
    from cohortseg.io.headers import read_header

    try:
        return read_header(path), ""
    except Rejected as rejected:
        return None, rejected.found
    except OSError as error:
        return None, str(error.strerror)
