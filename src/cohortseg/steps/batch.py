"""Run one stage over a batch of cases: skip what is done, reject what is bad, leave a token behind.

A case is done when its sidecar carries the key of this work: stage, revision, settings and the contents it was made
from. A rejected case never spoils the others; a fault of the machine (disk, memory) does not stop them either, but
fails the job at its end, so that the scheduler tries again and only the rest is made.
"""

import os
import platform
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohortseg import __version__
from cohortseg.errors import CohortError, Rejected, StudyError
from cohortseg.io import sidecar
from cohortseg.stages import STAGES

Record = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What one stage does with one case.

    Parameters
    ----------
    stage : str
        Name of the stage.
    sidecar : Path
        The JSON file that says it is done.
    stores : tuple of Path
        What else the stage writes; removed when the case is rejected.
    inputs : dict
        Name to content digest of everything the result depends on, beside the settings.
    upstream : dict or None
        The sidecar of the stage before; a rejection there is handed on.
    make : callable
        Does the work; returns what the sidecar shall say beside the key (at least `content`).
    guard : (Path, str) or None
        A private file and its expected text, where the result depends on what no sidecar may hold (paths, times).
    """

    stage: str
    sidecar: Path
    stores: tuple[Path, ...]
    inputs: dict[str, Any]
    upstream: Record | None
    make: Callable[[], Record]
    guard: tuple[Path, str] | None = None


def run_batch(units: list[str], work_of: Callable[[str], Work], settings: str, token: Path) -> None:
    """Do the work of each unit (`case`, or `model/case`) that is not done, then write the token.

    Raises
    ------
    StudyError
        At the end, when cases failed by a fault that is not theirs.
    """
    results: dict[str, Record] = {}
    faults: list[str] = []
    for place, unit in enumerate(units, start=1):
        started = time.perf_counter()
        try:
            record, note = run_case(work_of(unit), settings)
        except Exception as error:
            # The other cases go on; the fault is raised at the end.
            faults.append(f"case {unit!r}: {describe(error)}")
            log(f"{place}/{len(units)} {unit}: FAILED: {describe(error)}")
            _traceback(error)
            continue
        log(f"{place}/{len(units)} {unit}: {note} ({time.perf_counter() - started:.1f} s)")
        results[unit] = {key: record.get(key) for key in ("status", "stage", "reason", "content")}
        if record.get("contents"):
            results[unit]["contents"] = record["contents"]
    if faults:
        raise StudyError("; ".join(faults))
    sidecar.write_json(token, {"cases": results})


def run_case(work: Work, settings: str) -> tuple[Record, str]:
    """One case: the sidecar, and a word on what was done."""
    key = sidecar.digest([work.stage, STAGES[work.stage].revision, settings, work.inputs])
    present = sidecar.read_sidecar(work.sidecar)
    if present is not None and present.get("key") == key and _complete(present, work):
        return present, "already done" if present["status"] == "ok" else f"rejected: {present['reason']}"
    # From here on the stores change: an old sidecar must not vouch for them if this work dies half way.
    work.sidecar.unlink(missing_ok=True)
    _sweep(work.sidecar)
    started, cpu = time.perf_counter(), time.process_time()
    record: Record = {"key": key, "stage": work.stage, "revision": STAGES[work.stage].revision, "inputs": work.inputs}
    if work.upstream is not None and work.upstream["status"] == "rejected":
        record |= {name: work.upstream[name] for name in ("status", "stage", "reason", "found")}
    else:
        try:
            record |= {"status": "ok", "reason": None, "found": None, **work.make()}
        except Rejected as rejected:
            record |= {"status": "rejected", "reason": rejected.reason, "found": rejected.found}
    if record["status"] == "rejected":
        record["content"] = sidecar.digest([record["reason"], record["found"]])
        _remove(work.stores)
    sidecar.write_json(sidecar.run_path(work.sidecar), run_record(started, cpu))
    sidecar.write_json(work.sidecar, record)
    if work.guard is not None:
        sidecar.write_text(*work.guard)
    return record, "done" if record["status"] == "ok" else f"rejected: {record['reason']}: {record['found']}"


def _complete(present: Record, work: Work) -> bool:
    if work.guard is not None:
        path, text = work.guard
        if not path.is_file() or path.read_text() != text:
            return False
    return present["status"] == "rejected" or all(store.exists() for store in work.stores)


def _sweep(path: Path) -> None:
    """Remove what a writer of the sidecar, or of its run record, left half written when it was killed."""
    for left in path.parent.glob(f".{path.stem}.*.part"):
        if left.is_file():
            left.unlink()


def _remove(stores: tuple[Path, ...]) -> None:
    for store in stores:
        if store.is_dir():
            shutil.rmtree(store)
        else:
            store.unlink(missing_ok=True)


def run_record(started: float, cpu: float) -> Record:
    """Seconds, peak memory, host and versions of the work since `started` (perf_counter) and `cpu` (process_time)."""
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "device": _device(),
        "python": platform.python_version(),
        "cohortseg": __version__,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _device() -> str:
    """Name of the graphics card that this process works on, or 'cpu'; asks no library that was not loaded."""
    torch = sys.modules.get("torch")
    return str(torch.cuda.get_device_name()) if torch is not None and torch.cuda.is_initialized() else "cpu"


def describe(error: BaseException) -> str:
    """One line about a fault. The text of a foreign error could hold a path or an id, so only its kind is told."""
    if isinstance(error, CohortError | MemoryError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__


def log(text: str) -> None:
    """A line for the log of the job."""
    print(text, file=sys.stderr, flush=True)


def _traceback(error: BaseException) -> None:
    """The place of a bug, line by line; with COHORTSEG_DEBUG set the full text, which may hold paths of patients."""
    if os.environ.get("COHORTSEG_DEBUG"):
        traceback.print_exception(error)
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        log(f"    {Path(code.co_filename).name}:{frame.tb_lineno} {code.co_name}")
        frame = frame.tb_next
