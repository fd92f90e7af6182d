"""What planning costs: `snakemake -n` over 1,000 and 10,000 cases with two experiments, nothing done yet.

The cohort is made up (a table of cases, no images), because planning looks at headers only.
"""

import sys
import tempfile
from pathlib import Path

import yaml
from measure import machine, run

from cohortseg.cohort import Case, assign, cases_text, members
from cohortseg.io.sidecar import dumps, write_text
from cohortseg.layout import Layout
from cohortseg.settings import load_study

ROOT = Path(__file__).parents[1]


def made_up_study(folder: Path, n_cases: int, cases_per_job: int | None) -> Path:
    """A study folder with a table of cases and nothing else; returns its config file."""
    (folder / "source").mkdir(parents=True)
    config = {
        "study": "big",
        "index": "manual",
        "results": str(folder / "results"),
        "cohort": {"source": str(folder / "source"), "labels": {"structures": {"tumour": "GTV.*"}}},
        "experiments": {"unet": {"method": "unet"}, "otsu": {"method": "threshold"}},
        "jobs": {"cases_per_job": cases_per_job},
    }
    study = load_study(config)
    layout = Layout(study.folder)
    plain = [
        Case(
            f"sub-{n:05d}_ct1",
            f"sub-{n:05d}",
            "CT",
            "A",
            "B",
            "C",
            "5",
            "100x512x512",
            26214400,
            "rtstruct",
            "yes",
            f"{n}",
        )
        for n in range(n_cases)
    ]
    split = study.split.model_dump(mode="json", exclude={"refit"})
    cases, ledger = assign(plain, {}, split=split, per_job=cases_per_job, per_predict_job=None)
    for fold in range(study.split.folds):
        write_text(layout.members(str(fold)), dumps(members(ledger, cases, str(fold), refit=False)))
    for path, text in ((layout.rejected_table, "case\n"), (layout.series_table, "case\n"), (layout.settings, "")):
        write_text(path, text)
    write_text(layout.ledger, dumps(ledger))
    write_text(layout.cases_table, cases_text(cases))
    write_text(layout.root / "study.json", '{"format": 1}\n')
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def main() -> None:
    """Print a row for each size."""
    print(machine())
    print(f"{'cases':>7} {'cases per job':>14} {'CPU s':>7} {'wall s':>7} {'peak MB':>8}")
    for n_cases, per_job in ((1_000, None), (2_000, None), (10_000, None), (10_000, 1)):
        with tempfile.TemporaryDirectory() as folder:
            config = made_up_study(Path(folder) / "study", n_cases, per_job)
            command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--quiet", "all"]
            cost = run([*command, "--cores", "2", "--configfile", str(config), "--directory", folder])
        note = "" if cost.returncode == 0 else f"  FAILED ({cost.returncode})"
        shown = per_job or "default"
        print(f"{n_cases:>7} {shown:>14} {cost.cpu_s:>7.1f} {cost.wall_s:>7.1f} {cost.peak_mb:>8.0f}{note}", flush=True)


if __name__ == "__main__":
    main()
