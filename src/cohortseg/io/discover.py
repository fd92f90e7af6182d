"""Every file below a folder with its DICOM header, read once: headers are cached by path, size and time."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohortseg.errors import Rejected, SettingsError

CACHE_VERSION = 6
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


OF_A_STUDY = ("study.json", "private")
"""What lies in each folder of a study, and nowhere else."""


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
    cache.parent.mkdir(parents=True, exist_ok=True)
    try:
        records = _records(source, cache, stats, workers)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        # A cache damaged by a kill holds nothing that cannot be read again.
        cache.unlink()
        records = _records(source, cache, stats, workers)
    return [FoundFile(path, *stats[path], *records[path]) for path in sorted(stats)]


def forget_headers(cache: Path, paths: Iterable[str]) -> None:
    """Take files out of the cache, and overwrite what it held of them: a plain DELETE leaves the bytes in the file."""
    with closing(sqlite3.connect(cache)) as database:
        database.execute("PRAGMA secure_delete = ON")
        with database:
            rows = [(os.fsencode(path),) for path in paths]
            database.executemany("DELETE FROM headers WHERE path = ?", rows)
        database.execute("VACUUM")


def _records(source: Path, cache: Path, stats: dict[str, tuple[int, int]], workers: int) -> dict[str, Any]:
    """Header and problem of each file: from the cache, or read and put there."""
    with closing(sqlite3.connect(cache)) as database:
        _prepare(database)
        # Paths are bytes there, because a name in another code page is no text.
        rows = database.execute("SELECT path, size, mtime_ns, record FROM headers")
        stored = ((os.fsdecode(path), size, mtime, text) for path, size, mtime, text in rows)
        known = {path: json.loads(text) for path, size, mtime, text in stored if stats.get(path) == (size, mtime)}
        new = sorted(set(stats) - set(known))
        read = dict(zip(new, _read_all([str(source / path) for path in new], workers), strict=True))
        # What could not be read is tried again next time: a share may have been away, a permission missing.
        fresh = [(os.fsencode(path), *stats[path], json.dumps(found)) for path, found in read.items() if not found[1]]
        with database:
            database.executemany("INSERT OR REPLACE INTO headers VALUES (?, ?, ?, ?)", fresh)
    return known | read


def _walk(folder: Path, prefix: str = "", above: frozenset[str] = frozenset()) -> Iterator[tuple[str, tuple[int, int]]]:
    """Relative path, size and time of every regular file; a link back to a folder above is not followed.

    Folders of studies are left out: what a study made and exported is no new scan.
    """
    real = str(folder.resolve())
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_dir():
                if all(Path(entry.path, name).exists() for name in OF_A_STUDY):
                    continue
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", above | {real})
            elif entry.is_file():
                stat = entry.stat()
                yield f"{prefix}{entry.name}", (stat.st_size, stat.st_mtime_ns)


def _prepare(database: sqlite3.Connection) -> None:
    """Make the table where there is none, or one of another version."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != CACHE_VERSION:
        database.execute("DROP TABLE IF EXISTS headers")
    database.execute(
        "CREATE TABLE IF NOT EXISTS headers (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, record TEXT)"
    )
    database.execute(f"PRAGMA user_version = {CACHE_VERSION}")


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
