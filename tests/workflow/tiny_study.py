"""A tiny study of identified phantom patients, how Snakemake is run over it, and what can be compared afterwards."""

import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cohortseg.phantom.cohort import write_cohort

ROOT = Path(__file__).parents[2]
SOURCE = "ward-Wunderlich"
"""Name of the source folder: an identity in a path."""
COHORT, NEWCOMER, SPOILED = range(1, 7), 7, {9: "MISSING_SLICE", 10: "TRUNCATED", 11: "LABEL_OTHER_PATIENT"}
"""Numbers of the patients of the first cohort, of one that comes later, and of spoiled ones with their reason."""

# What is written over the phantom's harmless identity, byte for byte, because a truncated file cannot be parsed.
IDENTITY = {
    b"PHANTOM^P": b"XANTHIPP^",
    b"PHANTOM-": b"MRN4711-",
    b"19000101": b"19310227",
    b"Synthetic thorax": b"Quecksilber 0815",
    b"Synthetic Hospital": b"St Aurelius Clinic",
    b"\x12\x00\x62\x00CS\x04\x00YES ": b"\x12\x00\x62\x00CS\x04\x00NO  ",
}
SECRETS = ("wunderlich", "xanthipp", "mrn4711", "19310227", "quecksilber", "aurelius", "1.2.826.0.1.3680043")
"""What may stand nowhere but in `private/`, in lower case: path, name, id, birth date, free text, UIDs."""

CONFIG: dict[str, Any] = {
    "study": "tiny",
    "cohort": {
        "source": SOURCE,
        "series": {"modality": "CT", "min_slices": 8},
        "labels": {
            "structures": {"tumour": "GTV.*"},
            "values": {"tumour": 1},
            "files": r"(?P<subject>[^/]+)/label\.nii\.gz$",
        },
    },
    "split": {"folds": 2, "seed": 1},
    "plan": {"dims": 2, "window_hu": [-1000, 400], "patch_voxels": 4096},
    "experiments": {
        "otsu": {"method": "threshold", "rule": "otsu", "inside": "lungs"},
        "unet": {"method": "unet", "features": [4, 8], "steps": 6, "batch": 2, "validate_every": 3},
    },
    "jobs": {"cases_per_job": 1},
}
CLEANING = {"postprocess": {"min_volume_ml": 0.5, "fill_holes": True}}
"""A change of one group of settings that changes labels."""


# ---- patients -------------------------------------------------------------------------------------------------------


def write_patients(pool: Path) -> None:
    """Eight good and four spoiled patients, small, with an identity that must not get out."""
    write_cohort(pool, subjects=8, seed=3, matrix=64, slices=12, spoiled=True)
    for path in sorted(pool.rglob("*")):
        if path.suffix == ".dcm":
            content = path.read_bytes()
            for harmless, secret in IDENTITY.items():
                content = content.replace(harmless, secret)
            path.write_bytes(content)


def patient_folder(home: Path, number: int) -> Path:
    """Where a patient's scan and label lie in the source folder: name and id in the path."""
    return home / SOURCE / f"Xanthippe_{number}" / f"MRN4711-{number:03d}"


def admit(home: Path, pool: Path, number: int) -> None:
    """Put a patient into the source folder."""
    shutil.copytree(pool / f"PHANTOM-{number:03d}", patient_folder(home, number))


# ---- settings and runs ----------------------------------------------------------------------------------------------


def write_config(home: Path, changes: Mapping[str, Any] | None = None) -> None:
    """The settings as `config.yaml`; `changes` replaces keys of its groups (a value that is no group: the key)."""
    values = {key: {**value} if isinstance(value, dict) else value for key, value in CONFIG.items()}
    for key, change in (changes or {}).items():
        values[key] = {**values.get(key, {}), **change} if isinstance(change, Mapping) else change
    (home / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


@dataclass(frozen=True)
class Run:
    """One call of a command: exit status, what it printed, and the jobs by rule (planned, finished)."""

    returncode: int
    output: str

    @property
    def planned(self) -> Counter[str]:
        """Jobs of the table that Snakemake prints before it starts, without `all`."""
        table = re.search(r"^Job stats:\njob +count\n-+ +-+\n(.*?)^total ", self.output, re.DOTALL | re.MULTILINE)
        rows = [line.split() for line in table[1].splitlines()] if table else []
        return Counter({rule: int(count) for rule, count in rows if rule != "all"})

    @property
    def finished(self) -> Counter[str]:
        """Jobs that ended well, without `all`."""
        rules = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", self.output, re.MULTILINE)
        return Counter(rule for rule in rules if rule != "all")


def environment() -> dict[str, str]:
    """One thread for each job, and no settings of the person who runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "COHORTSEG_"))}
    return {**kept, "OMP_NUM_THREADS": "1"}


def snakemake_command(*arguments: str, snakefile: Path = ROOT / "Snakefile") -> list[str]:
    """The command line of Snakemake over `config.yaml` of the working directory."""
    head = [sys.executable, "-m", "snakemake", "-s", str(snakefile), "--cores", "2"]
    return [*head, "--configfile", "config.yaml", *arguments]


def call(command: Sequence[str], cwd: Path) -> Run:
    """Run a command to its end."""
    done = subprocess.run(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )
    return Run(done.returncode, done.stdout)


def run(home: Path, *arguments: str) -> Run:
    """Run the study in a working directory."""
    return call(snakemake_command(*arguments), home)


def cohortseg(home: Path, *arguments: str) -> Run:
    """Call the command of the package in a working directory."""
    return call([sys.executable, "-m", "cohortseg", *arguments], home)


# ---- what can be compared -------------------------------------------------------------------------------------------


def study_of(home: Path) -> Path:
    """The study's folder."""
    return home / "results" / "tiny"


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV or TSV table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def case_of(home: Path, number: int) -> str:
    """The name of a patient's case, as the private record of its source files says."""
    found = sorted((study_of(home) / "private" / "sources").glob("*.json"))
    (name,) = [path.stem for path in found if f"MRN4711-{number:03d}/" in path.read_text()]
    return name


def stores(home: Path) -> dict[str, tuple[int, str]]:
    """Time and digest of every file of the results of stages: images, predictions, weights, plan, exports."""
    study = study_of(home)
    files = [path for top in ("cases", "experiments", "export") for path in (study / top).rglob("*")]
    return {
        path.relative_to(study).as_posix(): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted([*files, study / "plan.json"])
        if path.is_file() and "done" not in path.parts
    }


def touched(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """The files that came, went or were written again, as cases, models or files of the study."""
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    return {match[0] if (match := re.search(r"[a-z0-9-]+_ct\d+", path)) else path for path in changed}
