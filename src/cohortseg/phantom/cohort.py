"""A cohort of synthetic thorax CTs on disk: good subjects, four spoiled ones, and the truth about them."""

import csv
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.errors import SettingsError
from cohortseg.phantom.dicom import write_series
from cohortseg.phantom.labels import write_nifti, write_rtstruct, write_seg
from cohortseg.phantom.thorax import thorax
from cohortseg.volume import Array, Grid, Shape, Triple

REVISION = 1
"""Raised when the same parameters give other bytes, so that older cohorts are made again."""
STAMP, README, TRUTH = "phantom.json", "README.txt", "truth.csv"
COLUMNS = (
    "patient_id",
    "n_tumours",
    "tumour_ml",
    "scanner",
    "kernel",
    "slice_thickness_mm",
    "label_kind",
    "spoiled",
)
SLICES, THICKEST = 40, 2.0
"""Slices that a scan has at its true thickness; with fewer they grow thicker, up to this factor."""
FIELD_MM = (335.0, 395.0)

ABOUT = """SYNTHETIC THORAX CT COHORT: no scan in this folder shows a person.

Made by `cohortseg phantom`, revision {revision}, with
subjects={subjects} seed={seed} matrix={matrix} slices={slices} spoiled={spoiled}.
The same parameters give the same bytes.

Each subject has a folder with one CT series (one DICOM file a slice, shuffled names) and its reference label:
rtstruct.dcm (ROIs GTV-1 and Lungs), seg.dcm (segment GTV-1) or label.nii.gz (1 = tumour). A subject without tumour has
an RTSTRUCT whose GTV-1 holds no contours.
Anatomy is drawn from the seed: superellipses, ellipsoids and tubes with soft edges, vessel trees grown to random tips,
tumours of 1 to 5 cm as balls with bumps, in the lung, on the pleura or at the mediastinum; then the noise and sharpness
of one of two reconstruction kernels. The scanners, the hospital and all names are invented.
Four more subjects are spoiled on purpose (unless left out). truth.csv says what is true of each subject.
"""


@dataclass(frozen=True)
class Plan:
    """What one subject gets."""

    scanner: str
    kernel: str
    thickness_mm: float
    syntax: str
    label: str
    places: tuple[str, ...]
    spoiled: str = ""


SUBJECTS = (
    Plan("aurora", "soft", 5.0, "explicit", "rtstruct", ("lung",)),
    Plan("tropic", "soft", 3.0, "jpegls", "seg", ("mediastinum",)),
    Plan("aurora", "sharp", 5.0, "explicit", "nifti", ("pleura", "lung")),
    Plan("tropic", "sharp", 5.0, "explicit", "rtstruct", ()),
    Plan("aurora", "soft", 3.0, "explicit", "seg", ("pleura",)),
    Plan("tropic", "soft", 5.0, "jpeg2000", "rtstruct", ("lung", "mediastinum")),
    Plan("aurora", "soft", 5.0, "explicit", "rtstruct", ("mediastinum",)),
    Plan("tropic", "soft", 2.5, "rle", "nifti", ("lung",)),
    Plan("aurora", "soft", 5.0, "explicit", "rtstruct", ()),
    Plan("tropic", "sharp", 5.0, "rle", "rtstruct", ("pleura",)),
    Plan("aurora", "soft", 3.0, "explicit", "seg", ("lung", "pleura", "mediastinum")),
    Plan("tropic", "soft", 5.0, "explicit", "seg", ("lung",)),
    Plan("aurora", "sharp", 5.0, "explicit", "rtstruct", ("pleura",)),
    Plan("tropic", "soft", 3.0, "jpegls", "rtstruct", ()),
    Plan("aurora", "soft", 5.0, "explicit", "nifti", ("mediastinum",)),
    Plan("tropic", "soft", 5.0, "jpeg2000", "rtstruct", ("lung", "lung")),
)
"""Repeated when there are more subjects."""

SPOILED = (
    Plan("aurora", "soft", 5.0, "explicit", "rtstruct", ("lung",), "missing slice"),
    Plan("tropic", "soft", 3.0, "explicit", "rtstruct", ("pleura",), "truncated file"),
    Plan("aurora", "soft", 5.0, "explicit", "rtstruct", ("lung",), "label of another patient"),
    Plan("tropic", "soft", 5.0, "rle", "none", ("mediastinum",), "no label"),
)


@dataclass(frozen=True)
class Job:
    """One subject to write."""

    folder: Path
    number: int
    plan: Plan
    seed: int
    matrix: int
    slices: int


def write_cohort(
    dest: Path,
    *,
    subjects: int = 16,
    seed: int = 1,
    matrix: int = 256,
    slices: int = 40,
    spoiled: bool = True,
    workers: int = 1,
) -> list[dict[str, Any]]:
    """Write the cohort, or leave it alone when it is there already, complete and made with the same parameters.

    Parameters
    ----------
    dest : Path
        Made when missing. A cohort that is incomplete or was made otherwise is removed first.
    subjects, seed : int
        Good subjects; seed of everything.
    matrix, slices : int
        Rows and columns of a slice (at least 32), slices of a scan (at least 8). The field of view stays, so fewer
        pixels are larger; fewer slices are thicker, up to twice, beyond that the scan is shorter.
    spoiled : bool
        Four more subjects: a missing slice, a truncated file, a label of another patient, no label.
    workers : int
        Processes; the bytes do not depend on it.

    Returns
    -------
    list of dict
        The rows of truth.csv: patient_id, n_tumours, tumour_ml, scanner, kernel, slice_thickness_mm, label_kind,
        spoiled (how, or empty).

    Raises
    ------
    SettingsError
        For impossible sizes, or a folder that holds something else.
    """
    if subjects < 0 or seed < 0 or matrix < 32 or slices < 8:
        raise SettingsError("needs subjects >= 0, seed >= 0, matrix >= 32 and slices >= 8")
    parameters = {"subjects": subjects, "seed": seed, "matrix": matrix, "slices": slices, "spoiled": spoiled}
    parameters["revision"] = REVISION
    rows = _finished(dest, parameters)
    if rows is not None:
        return rows
    _clear(dest)
    (dest / README).write_text(ABOUT.format(**parameters))
    plans = [SUBJECTS[i % len(SUBJECTS)] for i in range(subjects)] + list(SPOILED if spoiled else ())
    jobs = [Job(dest / _name(n), n, plan, seed, matrix, slices) for n, plan in enumerate(plans, start=1)]
    rows = list(_run(jobs, workers))
    with (dest / TRUTH).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part = dest / f"{STAMP}.part"
    part.write_text(json.dumps({"parameters": parameters, "rows": rows}, indent=1) + "\n")
    part.replace(dest / STAMP)
    return rows


def _finished(dest: Path, parameters: dict[str, int]) -> list[dict[str, Any]] | None:
    """The rows of a cohort that is complete and made with these parameters."""
    stamp = dest / STAMP
    made = json.loads(stamp.read_text()) if stamp.is_file() else {}
    if made.get("parameters") != parameters or not all((dest / row["patient_id"]).is_dir() for row in made["rows"]):
        return None
    return list(made["rows"])


def _name(number: int) -> str:
    return f"PHANTOM-{number:03d}"


def _clear(dest: Path) -> None:
    """An empty folder; only what an earlier run wrote is removed."""
    dest.mkdir(parents=True, exist_ok=True)
    readme = dest / README
    ours = readme.is_file() and readme.read_text().startswith(ABOUT.splitlines()[0])
    if not ours and any(dest.iterdir()):
        raise SettingsError("the folder holds something that is no phantom cohort; choose an empty one")
    for name in (STAMP, TRUTH):
        (dest / name).unlink(missing_ok=True)
    for folder in sorted(dest.glob("PHANTOM-*")):
        shutil.rmtree(folder)


def _run(jobs: list[Job], workers: int) -> Iterator[dict[str, Any]]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_write_subject, jobs)
        return
    # fresh processes: forking one that has threads can hang
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write_subject, jobs)


def _write_subject(job: Job) -> dict[str, Any]:
    """Image, label, damage; returns what is true."""
    plan, patient = job.plan, _name(job.number)
    shape, spacing_mm, origin_mm = _geometry(job)
    hu, masks = thorax(
        [job.seed, job.number],
        shape=shape,
        spacing_mm=spacing_mm,
        n_tumours=len(plan.places),
        places=plan.places,
        kernel=plan.kernel,
    )
    files = write_series(
        job.folder / f"CT_{job.number:03d}",
        hu,
        spacing_mm=spacing_mm,
        origin_mm=origin_mm,
        patient_id=patient,
        patient_name=f"PHANTOM^P{job.number:03d}",
        scanner=plan.scanner,
        kernel=plan.kernel,
        syntax=plan.syntax,
        uid_seed=str(job.seed),
    )
    grid = Grid(shape, spacing_mm, origin_mm)
    _write_label(job, masks, files, grid)
    _spoil(files, plan.spoiled)
    tumour_ml = round(int(masks["tumour"].sum()) * grid.voxel_ml, 3)
    truth = (patient, len(plan.places), tumour_ml, plan.scanner, plan.kernel, spacing_mm[0], plan.label, plan.spoiled)
    return dict(zip(COLUMNS, truth, strict=True))


def _geometry(job: Job) -> tuple[Shape, Triple, Triple]:
    """Shape, spacing (z, y, x) and origin (x, y, z), somewhere in the scanner's room."""
    rng = np.random.default_rng([job.seed, job.number, 1])
    pixel = round(float(rng.uniform(*FIELD_MM)) / job.matrix, 4)
    thickness = round(job.plan.thickness_mm * min(SLICES / job.slices, THICKEST), 4)
    corner = -(job.matrix - 1) / 2 * pixel
    x, y = (round(corner + float(shift), 3) for shift in rng.uniform(-20, 20, 2))
    z = round(float(rng.uniform(-900, 300)), 1)
    return (job.slices, job.matrix, job.matrix), (thickness, pixel, pixel), (x, y, z)


def _write_label(job: Job, masks: dict[str, Array], files: list[Path], grid: Grid) -> None:
    if job.plan.label == "rtstruct":
        other = "PHANTOM-999" if job.plan.spoiled == "label of another patient" else None
        structures = {"GTV-1": masks["tumour"], "Lungs": masks["lung"]}
        write_rtstruct(job.folder / "rtstruct.dcm", structures, files, patient_id=other, patient_name=other)
    elif job.plan.label == "seg":
        write_seg(job.folder / "seg.dcm", masks["tumour"], files)
    elif job.plan.label == "nifti":
        write_nifti(job.folder / "label.nii.gz", masks["tumour"], grid)


def _spoil(files: list[Path], how: str) -> None:
    """Damage that files suffer on the way: one is lost, or its end is."""
    middle = files[len(files) // 2]
    if how == "missing slice":
        middle.unlink()
    elif how == "truncated file":
        content = middle.read_bytes()
        middle.write_bytes(content[: len(content) * 3 // 5])
