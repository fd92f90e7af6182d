"""DICOM to a compressed volume: ours with all checks, against `dcm2niix -z y` and SimpleITK's series reader.

usage: python convert.py FOLDER [FOLDER …]      each folder holds one CT series (other objects are ignored)
       python convert.py --made 1000            a made series of so many 512×512 slices
       python convert.py --made 0 --index 20000 the index of so many small files, the first and the second time

dcm2niix is taken from PATH or the environment variable DCM2NIIX. The gate comes first: voxels equal SimpleITK's.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import in_turn, machine, run

from cohortseg.settings import Study

SIMPLEITK = """
import sys, SimpleITK as sitk
reader = sitk.ImageSeriesReader()
for number, uid in enumerate(reader.GetGDCMSeriesIDs(sys.argv[1])):
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(sys.argv[1], uid))
    sitk.WriteImage(reader.Execute(), f"{sys.argv[2]}/{number}.nii.gz")
"""


def made_series(folder: Path, n_slices: int) -> Path:
    """Write a series of smooth structures and noise."""
    from cohortseg.phantom.dicom import write_series

    y, x = np.mgrid[:512, :512]
    body = ((y - 256) ** 2 / 180**2 + (x - 256) ** 2 / 230**2 < 1).astype(np.int16)
    draw = np.random.default_rng(1)
    hu = np.empty((n_slices, 512, 512), dtype=np.int16)
    for z in range(n_slices):
        hu[z] = np.clip(
            -1000 + body * (1040 + 100 * np.sin(x / 40 + z / 25)) + draw.normal(0, 12, (512, 512)), -1024, None
        )
    write_series(folder, hu, spacing_mm=(0.7, 0.7, 0.7))
    return folder


def study_of(source: Path, folder: Path) -> Study:
    """A study of the CT below a folder, without labels."""
    from cohortseg.settings import load_study

    return load_study(
        {
            "study": "bench",
            "results": str(folder),
            "cohort": {
                "source": str(source),
                "series": {"modality": "CT"},
                "labels": {"kind": "none", "structures": {"x": "x"}},
            },
            "experiments": {"t": {"method": "threshold"}},
        }
    )


def prepared_study(source: Path, folder: Path) -> list[str]:
    """Index a source; returns the command that converts its cases."""
    from cohortseg.layout import Layout
    from cohortseg.stages import stage_settings
    from cohortseg.steps.index import index

    study = study_of(source, folder)
    index(study)
    layout = Layout(study.folder)
    cases = [path.stem for path in layout.source("x").parent.glob("*.json")]
    settings = ["--settings", stage_settings(study, "convert"), "--token", str(folder / "token.json")]
    return [
        sys.executable,
        "-m",
        "cohortseg",
        "convert",
        "--study",
        str(layout.root),
        "--cases",
        *sorted(cases),
        *settings,
    ]


def fresh(command: list[str], folder: Path) -> list[str]:
    """The command, made to start from nothing each time."""
    return ["sh", "-c", f'rm -rf {folder}; mkdir -p {folder}; exec "$@"', "sh", *command]


def gate(source: Path, command: list[str], folder: Path) -> str:
    """Convert once and compare every voxel with SimpleITK's series reader."""
    import subprocess

    import SimpleITK as sitk

    from cohortseg.io.store import read_volume

    subprocess.run(command, check=True, capture_output=True)
    ours = read_volume(next(folder.glob("bench/cases/*/image.zarr")))
    reader = sitk.ImageSeriesReader()
    uids = reader.GetGDCMSeriesIDs(str(source))
    names = max((reader.GetGDCMSeriesFileNames(str(source), uid) for uid in uids), key=len)
    reader.SetFileNames(names)
    theirs = reader.Execute()
    same = np.array_equal(sitk.GetArrayFromImage(theirs), ours.array)
    near = np.allclose(theirs.GetOrigin(), ours.grid.origin_mm) and np.allclose(
        theirs.GetSpacing()[::-1], ours.grid.spacing_mm
    )
    size = sum(path.stat().st_size for path in folder.glob("bench/cases/*/image.zarr/**/*") if path.is_file())
    return f"voxels {'equal' if same else 'DIFFER'}, grid {'equal' if near else 'DIFFERS'}, store {size / 1e6:.1f} MB"


def copies_of(source: Path, folder: Path, n_copies: int) -> Path:
    """The CT slices of a folder as so many series, each of a patient of its own."""
    import pydicom

    from cohortseg.io.uids import derived_uid

    for path in sorted(only_ct(source, folder / "links").iterdir()):
        for copy in map(str, range(n_copies)):
            one = pydicom.dcmread(path)
            one.PatientID = f"P{copy}"
            for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
                setattr(one, keyword, derived_uid(copy, one[keyword].value))
            one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
            (folder / copy).mkdir(exist_ok=True)
            target = folder / copy / f"{copy}-{path.name}"
            one.save_as(target)
    shutil.rmtree(folder / "links")
    return folder


def only_ct(source: Path, folder: Path) -> Path:
    """The CT slices of a mixed folder, as links: the peers read one series at a time."""
    from cohortseg.io.headers import read_header

    folder.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        header = read_header(path) if path.is_file() else None
        if header is not None and header["kind"] == "image":
            (folder / path.name).symlink_to(path.resolve())
    return folder


def compare(name: str, source: Path, n_runs: int) -> None:
    """Print a row per tool."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        series = only_ct(source, work / "series")
        ours = prepared_study(source, work / "ours")
        print(f"\n{name}: {len(list(series.iterdir()))} slices; {gate(series, ours, work / 'ours')}")
        token = work / "ours" / "bench"
        again = ["sh", "-c", f'rm -rf {token}/cases {token}/private/converted; exec "$@"', "sh", *ours]
        commands = {"cohortseg": again, "cohortseg, start-up alone": [sys.executable, "-c", IMPORTS]}
        (work / "itk").mkdir()
        commands["SimpleITK to .nii.gz"] = [
            sys.executable,
            "-c",
            SIMPLEITK,
            str(series),
            str(work / "itk"),
        ]
        dcm2niix = os.environ.get("DCM2NIIX") or shutil.which("dcm2niix")
        if dcm2niix:
            out = work / "niix"
            commands["dcm2niix -z y"] = fresh([dcm2niix, "-z", "y", "-o", str(out), str(series)], out)
        else:
            print("dcm2niix: not found, left out")
        costs = in_turn(commands, n_runs)
        first = costs["cohortseg"]
        for tool, cost in costs.items():
            ratio = first.cpu_s / cost.cpu_s
            print(
                f"  {tool:<28} {cost.cpu_s:>7.2f} CPU s {cost.wall_s:>7.2f} s {cost.peak_mb:>7.0f} MB   ours/this {ratio:.2f}"
            )


INDEX = """
import sys
from pathlib import Path
sys.path.append(sys.argv[3])
from convert import study_of
from cohortseg.steps.index import index
index(study_of(Path(sys.argv[1]), Path(sys.argv[2])))
"""
IMPORTS = "import cohortseg.steps.convert, cohortseg.io.series, cohortseg.io.geometry, zarr, numpy"


def many_small_files(folder: Path, n_files: int) -> Path:
    """Series of 100 slices of 16×16 pixels, each with UIDs of its own and a patient of its own."""
    import pydicom

    from cohortseg.phantom.dicom import write_series

    hu = np.random.default_rng(1).integers(-1000, 1000, (100, 16, 16)).astype(np.int16)
    made = write_series(folder / "made", hu, spacing_mm=(2.0, 0.8, 0.7), patient_id="P0000")
    whole = {path.name: (path.read_bytes(), pydicom.dcmread(path, stop_before_pixels=True)) for path in made}
    shutil.rmtree(folder / "made")
    for number in range(n_files // 100):
        own = folder / f"P{number:04d}"
        own.mkdir()
        for name, (data, header) in whole.items():
            for uid in (header.SOPInstanceUID, header.SeriesInstanceUID, header.StudyInstanceUID):
                data = data.replace(uid.encode(), f"{uid[:-4]}{number:04d}".encode())
            (own / name).write_bytes(data.replace(b"P0000", f"P{number:04d}".encode()))
    return folder


def index_twice(n_files: int) -> None:
    """Print what the index of many files costs, and what it costs when nothing changed."""
    with tempfile.TemporaryDirectory() as scratch:
        source, results = many_small_files(Path(scratch) / "source", n_files), Path(scratch) / "results"
        command = [sys.executable, "-c", INDEX, str(source), str(results), str(Path(__file__).parent)]
        nothing = run([sys.executable, "-c", "import cohortseg.steps.index"])
        for turn in ("first", "second", "third"):
            cost = run(command)
            rate = n_files / (cost.cpu_s - nothing.cpu_s)
            print(
                f"  index of {n_files} files, {turn} time: {cost.cpu_s:.2f} CPU s, {cost.wall_s:.2f} s,"
                f" {cost.peak_mb:.0f} MB, {rate:,.0f} files a CPU second"
            )


def main() -> None:
    """Compare on each folder, and on a made series."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--made", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--copies", type=int, default=0, help="convert each folder also as so many patients in one job")
    parser.add_argument("--index", type=int, default=0)
    arguments = parser.parse_args()
    print(machine())
    for folder in arguments.folders:
        compare(folder.name[:4] + "…", folder, arguments.runs)
    for folder in arguments.folders if arguments.copies else ():
        with tempfile.TemporaryDirectory() as scratch:
            copies = copies_of(folder, Path(scratch) / "copies", arguments.copies)
            compare(f"{arguments.copies} × {folder.name[:4]}…", copies, arguments.runs)
    if arguments.made:
        with tempfile.TemporaryDirectory() as scratch:
            compare("made series", made_series(Path(scratch) / "made", arguments.made), arguments.runs)
    if arguments.index:
        index_twice(arguments.index)
    print(machine())


if __name__ == "__main__":
    main()
