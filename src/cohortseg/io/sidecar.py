"""The small JSON files beside the stores: what was made from what, and with which result.

`X.json` is deterministic and is what later steps look at; `X.run.json` (seconds, memory, host) is nobody's input.
Both are written by a temporary name and `os.replace`, the sidecar after its store.
"""

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from cohortseg.errors import StudyError


def digest(value: Any) -> str:
    """SHA-256 of plain values (numbers, strings, lists, dicts); equal values have equal digests."""
    return "sha256:" + hashlib.sha256(dumps(value).encode()).hexdigest()


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON with sorted keys; NaN and infinity become null, because JSON knows neither."""
    return json.dumps(_finite(value), sort_keys=True, indent=indent, ensure_ascii=True, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write plain values as readable JSON, in one step."""
    write_text(path, dumps(value, indent=1) + "\n")


def write_if_changed(path: Path, text: str) -> bool:
    """Write a text file only when its content changes, so that its time tells of a change; whether it did."""
    if path.is_file() and path.read_text() == text:
        return False
    write_text(path, text)
    return True


def read_json(path: Path) -> Any:
    """Values of a JSON file.

    Raises
    ------
    StudyError
        When the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise StudyError(f"missing: {path.parent.name}/{path.name}; run the workflow again") from None
    except ValueError:
        raise StudyError(f"damaged: {path.parent.name}/{path.name}; remove it and run the workflow again") from None


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """A sidecar, or None when there is none (or only a damaged one, which counts as none)."""
    try:
        found = read_json(path)
    except StudyError:
        return None
    return found if isinstance(found, dict) and "status" in found else None


def run_path(path: Path) -> Path:
    """Where the run record of a sidecar lies."""
    return path.with_suffix(".run.json")


def run_seconds(path: Path) -> float | None:
    """Wall seconds of the work behind a sidecar, from its run record; None where there is none."""
    try:
        return float(read_json(run_path(path))["seconds"])
    except (StudyError, KeyError):
        return None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
