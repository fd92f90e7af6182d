"""Readers of DICOM on folders with one defect each: who reads it right, who refuses, who is wrong in silence.

usage: python benchmarks/defects.py --peers /path/to/python [--write docs/dicom.md]

`--peers` is the interpreter of an environment with SimpleITK, dcm2niix, highdicom, dicom2nifti, pydicom and numpy; without it
those columns are left out. The folders are those of tests/io/defects.py. A volume is right when each of its voxels, taken
where the reader says it lies, has the value of the truth there.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "io"), str(ROOT / "tests")]

from defects import DEFECTS, Defect, Truth  # noqa: E402  a table of the tests
from fuzz.pipeline import LABELS, accept_all  # noqa: E402

from cohortseg.errors import Rejected  # noqa: E402

TIMEOUT_S = 60
NEAR_MM = 0.05
"""A voxel centre this far from the truth's is in its place."""
WORDS = {
    "exact": "every voxel has the value of the truth, at its place",
    "right": "within one unit of it",
    "in part": "right where it is, but slices are left out",
    "warned": "wrong, with a warning",
    "SILENTLY WRONG": "wrong values or places, without a word",
    "refused": "an error, or no output",
    "crashed": "the process died",
    "hung": f"no answer within {TIMEOUT_S} s",
}
PEERS = ("SimpleITK", "dcm2niix", "highdicom", "dicom2nifti")

READER = r"""
import json, sys, tempfile, warnings
from pathlib import Path
import numpy as np

def folders(source):
    return sorted({path.parent for path in Path(source).rglob("*") if path.is_file()})

def from_nifti(path):
    import nibabel
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj)
    # Colours are fields; a picture is no volume.
    return None if voxels.dtype.names else voxels, np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine

def simpleitk(source):
    import SimpleITK as sitk
    for folder in folders(source):
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)):
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid))
            image = reader.Execute()
            affine = np.eye(4)
            affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
            affine[:3, 3] = image.GetOrigin()
            yield sitk.GetArrayFromImage(image).T if image.GetNumberOfComponentsPerPixel() == 1 else None, affine

def dcm2niix(source):
    import subprocess
    import dcm2niix as package
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run([package.bin, "-z", "n", "-f", "%s_%d", "-o", out, source], capture_output=True, text=True)
        print(done.stdout, done.stderr, file=sys.stderr)
        if done.returncode < 0:
            raise SystemExit(99)
        for path in sorted(Path(out).glob("*.nii")):
            yield from_nifti(path)

def dicom2nifti(source):
    import dicom2nifti as package
    with tempfile.TemporaryDirectory() as out:
        package.convert_directory(source, out, compression=False, reorient=False)
        for path in sorted(Path(out).glob("*.nii*")):
            yield from_nifti(path)

def highdicom(source):
    import highdicom as hd
    import pydicom
    series = {}
    for path in sorted(Path(source).rglob("*")):
        try:
            one = pydicom.dcmread(path)
            series.setdefault(one.SeriesInstanceUID, []).append(one)
        except Exception:
            continue
    for members in series.values():
        if "PerFrameFunctionalGroupsSequence" in members[0]:
            volume = hd.Image.from_dataset(members[0]).get_volume()
        else:
            volume = hd.get_volume_from_series(members)
        yield volume.array, volume.affine

kind, source, out = sys.argv[1:]
count, failures = 0, []
try:
    for array, affine in {"SimpleITK": simpleitk, "dcm2niix": dcm2niix, "dicom2nifti": dicom2nifti, "highdicom": highdicom}[kind](source):
        if array is not None and array.ndim >= 3:
            np.savez(f"{out}/{count}.npz", array=array, affine=affine)
            count += 1
except Exception as error:
    failures.append(f"{type(error).__name__}: {error}")
Path(out, "failures.json").write_text(json.dumps(failures))
"""


def peer(python: str, name: str, source: Path) -> tuple[str, list[tuple[np.ndarray, np.ndarray]], str]:
    """How a reader ended, its volumes with affines (index of its array to LPS mm), and what it said."""
    with tempfile.TemporaryDirectory() as out:
        command = [python, "-c", READER, name, str(source), out]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return "hung", [], ""
        if done.returncode:
            return "crashed", [], done.stderr[-300:]
        failures = json.loads(Path(out, "failures.json").read_text())
        volumes = [np.load(path) for path in sorted(Path(out).glob("*.npz"))]
        found = [(np.asarray(one["array"]), np.asarray(one["affine"])) for one in volumes]
        return "ended", found, done.stderr + " ".join(failures)


def agreement(array: np.ndarray, affine: np.ndarray, truth: Truth) -> tuple[float, int]:
    """Largest difference of values where all voxels lie on the truth's (else infinite), and the number of its slices met."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        return np.inf, 0
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    across, down = np.array(truth.orientation, float).reshape(2, 3)
    normal, flat = np.cross(across, down), array.reshape(-1).astype(np.float64)
    best = (np.inf, 0)
    for values in (truth.array, *truth.also):
        worst, placed, met = 0.0, np.zeros(len(flat), bool), 0
        for plane, position in zip(values, truth.positions_mm, strict=True):
            offset = world - position
            row, column = offset @ down / truth.spacing_yx_mm[0], offset @ across / truth.spacing_yx_mm[1]
            r, c = np.rint(row).astype(int), np.rint(column).astype(int)
            here = np.abs(offset @ normal) <= NEAR_MM
            here &= (np.abs(row - r) * truth.spacing_yx_mm[0] <= NEAR_MM) & (
                np.abs(column - c) * truth.spacing_yx_mm[1] <= NEAR_MM
            )
            here &= (r >= 0) & (r < plane.shape[0]) & (c >= 0) & (c < plane.shape[1])
            if here.any():
                worst = max(worst, float(np.abs(flat[here] - plane[r[here], c[here]]).max()))
                met += 1
                placed |= here
        if placed.all() and worst < best[0]:
            best = (worst, met)
    return best


def verdict(volumes: Sequence[tuple[np.ndarray, np.ndarray]], truths: Sequence[Truth], said: str) -> str:
    """One of `WORDS` for all volumes that a reader made of a folder."""
    if not volumes:
        return "refused"
    met, worst = 0, 0.0
    for array, affine in volumes:
        difference, own = min((agreement(array, affine, truth) for truth in truths), default=(np.inf, 0))
        scale = max([1.0, *(float(np.abs(truth.array).max()) for truth in truths)])
        worst, met = max(worst, difference), met + own
        if not difference <= max(1.0, 1e-6 * scale):
            return (
                "warned"
                if re.search(r"warn|non uniform|not supported|error", said, re.IGNORECASE)
                else "SILENTLY WRONG"
            )
    if met < len(truths[0].array):
        return "in part"
    return "exact" if worst <= 1e-3 else "right"


def ours(source: Path, defect: Defect, truths: Sequence[Truth]) -> str:
    """Our own outcome in the same words, with the reason."""
    labels = LABELS if defect.labelled else {**LABELS, "kind": "none"}
    try:
        found = accept_all(source, labels=labels)
    except Exception as error:
        return f"crashed ({str(error).splitlines()[0][:60]})"
    outcomes = found.outcomes
    reasons = sorted({one.reason for one in outcomes if one.reason is not None})
    # A file that cannot be read belongs to no case.
    reasons = reasons or ([] if outcomes else sorted({row["fate"] for row in found.files.values()}))
    volumes = [(one.array, one.grid.affine) for one in outcomes if one.reason is None]
    if not volumes:
        return f"refused ({', '.join(reasons)})"
    word = verdict(volumes, truths, "")
    if defect.labelled and not any(np.array_equal(one.label, truths[0].label) for one in outcomes):
        word = "SILENTLY WRONG"
    return word + (f"; {', '.join(reasons)}" if reasons else "")


def table(python: str | None) -> str:
    """The table of defects as Markdown."""
    columns = ["defect", "cohortseg", *(PEERS if python else ())]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, defect in DEFECTS.items():
        with tempfile.TemporaryDirectory() as home:
            source = Path(home) / "source"
            source.mkdir()
            truths = defect.make(source)
            row = [ours(source, defect, truths)]
            for tool in PEERS if python else ():
                if defect.labelled:
                    row.append("–")
                    continue
                how, volumes, said = peer(str(python), tool, source)
                row.append(how if how != "ended" else verdict(volumes, truths, said))
        for tool, word in zip(columns[1:], row, strict=True):
            counts[tool][re.split(r"[;(]", word)[0].strip()] += 1
        print(name, row, file=sys.stderr, flush=True)
        lines.append("| " + " | ".join([defect.what, *row]) + " |")
    words = [word for word in WORDS if any(counts[tool][word] for tool in counts)]
    lines += ["", "| outcome | meaning | " + " | ".join(columns[1:]) + " |", "|" + "---|" * (len(columns) + 1)]
    lines += [
        f"| {word} | {WORDS[word]} | " + " | ".join(str(counts[tool][word]) for tool in columns[1:]) + " |"
        for word in words
    ]
    return "\n".join(lines)


def pydicom_table() -> str:
    """pydicom's own test files: what each is, and what became of it."""
    import pydicom

    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = accept_all(folder, labels={**LABELS, "kind": "none"}, series={"min_slices": 1})
    reasons = {one.name: one.reason or "converted" for one in found.outcomes}
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, row in found.files.items():
        fate = reasons[row["case"]] if row["fate"] == "image" else row["fate"]
        groups[row["kind"], fate].append(path)
    lines = ["| kind | outcome | files | which |", "|---|---|---|---|"]
    for (kind, fate), paths in sorted(groups.items()):
        names = sorted({_short(path) for path in paths})
        lines.append(f"| {kind} | {fate} | {len(paths)} | {', '.join(names)} |")
    lines += ["", "What could not be read, each file taken on its own (its first frame), and why:", ""]
    lines += ["| reason | found | which |", "|---|---|---|"]
    undecoded: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in found.files:
        if problem := _undecoded(folder / path):
            undecoded[problem].append(path)
    for (reason, text), paths in sorted(undecoded.items()):
        lines.append(f"| {reason} | {text} | {', '.join(sorted({_short(path) for path in paths}))} |")
    return "\n".join(lines)


def _undecoded(path: Path) -> tuple[str, str] | None:
    """Reason and finding, where header or pixels of an image cannot be read."""
    from cohortseg.io.headers import read_header
    from cohortseg.io.pixels import check_readable, read_stored
    from cohortseg.slices import slices_of

    try:
        record = read_header(path)
        if record is not None and record["kind"] == "image":
            first = slices_of(record)[0]
            check_readable(first)
            read_stored(path, first)
    except Rejected as rejected:
        return rejected.reason, rejected.found
    return None


def _short(path: str) -> str:
    """The name of a file; of a disc the folder alone, for it holds many alike."""
    return "/".join(path.split("/")[:2]) + "/…" if path.count("/") > 1 else path


def put(document: Path, marker: str, text: str) -> None:
    """Replace what stands between `<!-- marker -->` and `<!-- end of marker -->`."""
    begin, end = f"<!-- {marker} -->", f"<!-- end of {marker} -->"
    before, _, rest = document.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{document.name} lacks the marks of {marker}")
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="Python of an environment with the other readers")
    parser.add_argument("--write", type=Path, help="document to put the tables into")
    chosen = parser.parse_args()
    made: dict[str, Callable[[], Any]] = {"defects": lambda: table(chosen.peers), "pydicom files": pydicom_table}
    for marker, make in made.items():
        text = make()
        if chosen.write:
            put(chosen.write, marker, text)
        else:
            print(text, end="\n\n")


if __name__ == "__main__":
    main()
