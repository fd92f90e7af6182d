"""Run `snakemake --lint` over the workflow with a made-up study; exit 1 and show the findings where there are any."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from cohortseg.cohort import Case, cases_text

ROOT = Path(__file__).parents[1]
CONFIG: dict[str, Any] = {
    "study": "made-up",
    "cohort": {"source": "nowhere", "labels": {"structures": {"tumour": "GTV"}}},
    "experiments": {"otsu": {"method": "threshold"}, "unet": {"method": "unet"}},
}


def write_study(folder: Path, cases: Iterable[Case], config: dict[str, Any]) -> None:
    """Settings with `index: manual` and a written table of cases: all that planning needs."""
    values = {**config, "index": "manual"}
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    table = folder / "results" / values["study"] / "cohort" / "cases.tsv"
    table.parent.mkdir(parents=True)
    table.write_text(cases_text(cases))


def main() -> int:
    """Exit status of the linter."""
    with tempfile.TemporaryDirectory() as folder:
        write_study(Path(folder), [], CONFIG)
        command = [sys.executable, "-m", "snakemake", "--lint", "-s", str(ROOT / "Snakefile")]
        done = subprocess.run(
            [*command, "--configfile", "config.yaml"], cwd=folder, check=False, capture_output=True, text=True
        )
    if done.returncode != 0:
        print(done.stdout, done.stderr, sep="\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
