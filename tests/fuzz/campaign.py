"""Damaged files and series against their undamaged truth: what was found, by outcome and reason."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from child import Child
from mutate import SERIES, SeriesDamage, damage, undetectable
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from cohortseg.errors import REASONS
from cohortseg.phantom.dicom import write_series
from cohortseg.volume import Grid

SHAPE, SPACING_MM, ORIGIN_MM = (9, 20, 16), (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25)
BASES = ("explicit", "explicit", "explicit", "implicit", "big-endian", "deflated", "rle", "jpegls")
FINDINGS = (
    *(
        "HANG",
        "DIED",
        "CRASH",
        "WRONG PLACE",
        "WRONG VALUES",
        "SLICES GONE",
        "UNLISTED",
        "UNKNOWN REASON",
        "REFUSED",
        "FOREIGN",
    ),
)
ALONG_MM, ACROSS_MM = 0.11, 0.2
"""A slice may lie this far from its place: what the settings call even, and a quarter of a pixel."""


@dataclass
class Tally:
    """What a campaign met: outcomes by kind of damage, and findings."""

    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def add(self, kind: str, outcomes: Sequence[str]) -> None:
        words = [word if not is_finding(word) else word.split(":")[0] for word in outcomes]
        self.outcomes.update(words)
        self.kinds.update((kind, word) for word in words)

    def note(self, what: str, words: Sequence[str]) -> None:
        self.findings += [f"{what}: {word}" for word in words if is_finding(word)]


def hu_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 2000, SHAPE).astype(np.int16)


def write_base(folder: Path, base: str, seed: int, **options: Any) -> list[Path]:
    """A series in one of the transfer syntaxes, in the order of its slices."""
    known = base if base in ("implicit", "rle", "jpegls") else "explicit"
    options = {"spacing_mm": SPACING_MM, "origin_mm": ORIGIN_MM, "patient_id": "P7", "syntax": known} | options
    files = write_series(folder, hu_of(seed), **options)
    for path in files if base in ("big-endian", "deflated") else ():
        one = pydicom.dcmread(path)
        if base == "big-endian":
            one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
            one["PixelData"].VR = "OW"
        turned = pydicom.Dataset()
        turned.update({element.tag: element for element in one})
        turned.file_meta = one.file_meta
        turned.file_meta.TransferSyntaxUID = (
            ExplicitVRBigEndian if base == "big-endian" else DeflatedExplicitVRLittleEndian
        )
        turned.save_as(path, enforce_file_format=True)
    return files


def place_of(grid: Grid) -> np.ndarray | None:
    """The slice of the truth on which each slice of a grid lies; None where one lies elsewhere."""
    if not np.allclose(np.array(grid.axes), np.eye(3)[::-1], atol=2e-3):
        return None
    if not np.allclose(grid.spacing_mm[1:], SPACING_MM[1:], rtol=2e-4):
        return None
    offsets = np.array([grid.world((k, 0, 0)) for k in range(grid.shape[0])]) - ORIGIN_MM
    k = np.rint(offsets[:, 2] / SPACING_MM[0]).astype(int)
    inside = (k >= 0) & (k < SHAPE[0])
    near = np.abs(offsets[:, :2]).max() <= ACROSS_MM and np.abs(offsets[:, 2] - k * SPACING_MM[0]).max() <= ALONG_MM
    return k if inside.all() and near and (np.diff(k) == 1).all() else None


def judged(outcome: Any, truths: Sequence[np.ndarray], hidden: Any, lost: Any) -> str:
    """'same', 'hidden' or 'shorter' for an accepted volume; else what is wrong with it.

    `hidden`: slices (series, k) whose values nobody can check; `lost(series, k, case)`: whether that slice is no longer
    there, or accounted for as something else than an image of the case.
    """
    places = place_of(outcome.grid)
    if places is None or outcome.array.shape[1:] != SHAPE[1:]:
        return f"WRONG PLACE: {outcome.grid}"
    equal = [(outcome.array == truth[places]).reshape(len(places), -1).all(axis=1) for truth in truths]
    wrong = [
        [int(k) for k, same in zip(places, own, strict=True) if not same and (series, int(k)) not in hidden]
        for series, own in enumerate(equal)
    ]
    series = min(range(len(truths)), key=lambda one: (len(wrong[one]), -int(equal[one].sum())))
    if wrong[series]:
        return f"WRONG VALUES: slices {wrong[series]}"
    gone = [k for k in range(SHAPE[0]) if k not in places and not lost(series, k, outcome.name)]
    if gone:
        return f"SLICES GONE: {gone} without a word"
    if len(places) < SHAPE[0]:
        return "shorter, the lost slice is listed"
    return "same" if equal[series].all() else "other values that nobody can notice"


def outcomes_of(answer: Any, truths: Sequence[np.ndarray], hidden: Any, lost: Any) -> list[str]:
    """A word on each case of an answer of the child; capitals where it is a finding."""
    if isinstance(answer, str):
        return [answer if answer.startswith(("HANG", "DIED")) else f"CRASH: {answer}"]
    words = []
    for outcome in answer.outcomes:
        if outcome.reason is not None:
            words.append(outcome.reason if outcome.reason in REASONS else f"UNKNOWN REASON: {outcome.reason}")
        else:
            words.append(judged(outcome, truths, hidden, lost))
    if not answer.files or not all(row["fate"] for row in answer.files.values()):
        words.append("UNLISTED: a file has no fate")
    return words


def is_finding(word: str) -> bool:
    """Whether a word is neither an acceptance nor a reason."""
    return word.split(":")[0] in FINDINGS


def fuzz_files(n: int, seed: int, child: Child, tally: Tally) -> None:
    """Damage one file of a series, `n` times."""
    draw = np.random.default_rng([seed, 1])
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        bases = {base: write_base(Path(home) / base, base, 5) for base in sorted(set(BASES))}
        truth = hu_of(5)
        for number in range(n):
            base = BASES[int(draw.integers(len(BASES)))]
            files = bases[base]
            k = int(draw.integers(len(files)))
            whole = files[k].read_bytes()
            found = damage(whole, draw, explicit=base in ("explicit", "rle", "jpegls"))
            files[k].write_bytes(found.data)
            why = undetectable(whole, found.data)
            answer = child.accept(files[k].parent, labels={"kind": "none", "structures": {"x": "x"}})
            rows = {} if isinstance(answer, str) else answer.files

            def lost(_: int, slice_: int, case: str, k: int = k, rows: Any = rows, name: str = files[k].name) -> bool:
                return slice_ == k and (rows[name]["case"], rows[name]["fate"]) != (case, "image")

            words = outcomes_of(answer, [truth], {(0, k)} if why else set(), lost)
            tally.add(found.kind, words)
            tally.note(f"file {number} of seed {seed}: {base}, slice {k}, {found.kind} ({found.where})", words)
            files[k].write_bytes(whole)


def fuzz_series(n: int, seed: int, child: Child, tally: Tally) -> None:
    """Damage a folder of two series, `n` times."""
    draw = np.random.default_rng([seed, 2])
    truths = [hu_of(5), hu_of(6)]
    for number in range(n):
        with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
            source = Path(home) / "source"
            files = [
                write_base(source / name, "explicit", 5 + one, series=str(one + 1)) for one, name in enumerate("ab")
            ]
            found: SeriesDamage = SERIES[int(draw.integers(len(SERIES)))](files, draw)
            answer = child.accept(source, labels={"kind": "none", "structures": {"x": "x"}})
            rows = {} if isinstance(answer, str) else answer.files

            def lost(series: int, k: int, case: str, rows: Any = rows, files: Any = files, home: Path = source) -> bool:
                row = rows.get(str(files[series][k].relative_to(home)))
                return row is None or (row["case"], row["fate"]) != (case, "image")

            words = outcomes_of(answer, truths, found.hidden, lost)
            if found.exact and words != ["same", "same"]:
                words.append("REFUSED: nothing that matters had changed")
            if found.foreign and words == ["same", "same"]:
                words.append("FOREIGN: a slice of something else is part of an accepted volume")
            tally.add(found.kind, words)
            tally.note(f"series {number} of seed {seed}: {found.kind} ({found.where})", words)


def fuzz_others(n: int, seed: int, child: Child, tally: Tally) -> None:
    """Damage an RTSTRUCT, a DICOM-SEG, a NIfTI file and a PNG file in turn."""
    from SimpleITK import GetImageFromArray, WriteImage

    from cohortseg.phantom.labels import write_nifti, write_rtstruct, write_seg

    draw = np.random.default_rng([seed, 3])
    mask = np.zeros(SHAPE, bool)
    mask[2:6, 3:12, 4:13] = True
    mask[4, 5:7, 6:8] = False
    grid = Grid(SHAPE, SPACING_MM, ORIGIN_MM)
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "rtstruct": ("rs.dcm", {}),
        "seg": ("seg.dcm", {}),
        "nifti": ("p_label.nii.gz", {"labels": {"files": r"(?P<subject>p)_label\.nii\.gz", "values": {"tumour": 1}}}),
        "png": ("p.png", {"images": r"(?P<subject>p)\.png", "labels": {"kind": "none", "values": {"tumour": 1}}}),
    }
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        for name, (file, _) in wanted.items():
            folder = Path(home) / name
            folder.mkdir()
            if name == "png":
                WriteImage(GetImageFromArray((np.abs(hu_of(7)[0]) % 256).astype(np.uint8)), str(folder / file))
                continue
            series = write_base(folder / "ct", "explicit", 5, patient_id="p")
            if name == "rtstruct":
                write_rtstruct(folder / file, {"GTV-1": mask}, series)
            elif name == "seg":
                write_seg(folder / file, mask, series)
            else:
                write_nifti(folder / file, mask, grid)
        for number in range(n):
            name = list(wanted)[number % len(wanted)]
            file, options = wanted[name]
            path = Path(home) / name / file
            whole = path.read_bytes()
            found = damage(whole, draw, explicit=name in ("rtstruct", "seg"))
            path.write_bytes(found.data)
            answer = child.accept(path.parent, **options)
            path.write_bytes(whole)
            words = _label_words(answer, name, mask, undetectable(whole, found.data))
            tally.add(found.kind, words)
            tally.note(f"{name} {number} of seed {seed}: {found.kind} ({found.where})", words)


def _label_words(answer: Any, name: str, mask: np.ndarray, why: str | None) -> list[str]:
    if isinstance(answer, str):
        return outcomes_of(answer, [], set(), None)
    words = []
    for outcome in answer.outcomes:
        if outcome.reason is not None:
            words.append(outcome.reason if outcome.reason in REASONS else f"UNKNOWN REASON: {outcome.reason}")
        elif name == "png":
            words.append("accepted (a picture without a grid)")
        elif outcome.label is None:
            words.append("accepted without the label, which is listed")
        elif np.array_equal(outcome.label, mask):
            words.append("same")
        elif why:
            words.append("other label that nobody can notice")
        else:
            words.append(f"WRONG VALUES: {int((outcome.label != mask).sum())} voxels of {int(mask.sum())}")
    return words or ["no case"]


def run(n_files: int, n_series: int, n_others: int, seed: int) -> Tally:
    """A whole campaign."""
    tally, child = Tally(), Child()
    try:
        fuzz_files(n_files, seed, child, tally)
        fuzz_series(n_series, seed, child, tally)
        fuzz_others(n_others, seed, child, tally)
    finally:
        child.close()
    return tally
