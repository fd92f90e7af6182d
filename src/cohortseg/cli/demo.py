"""`cohortseg demo`: the phantom cohort through the whole workflow, with progress a person can follow."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from cohortseg.cli.config import load_config
from cohortseg.cli.status import failures, follow
from cohortseg.errors import StudyError
from cohortseg.layout import Layout

CONFIG = Path("config/config.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing to choose but the number of cores."""
    parser.add_argument("--cores", default="all", help="as for snakemake (default all)")


def run(arguments: argparse.Namespace) -> None:
    """Make the cohort where it is missing, run `snakemake`, say where the report lies.

    Raises
    ------
    StudyError
        When a job failed: with the case, the log and what to do.
    """
    if not CONFIG.is_file() or not Path("Snakefile").is_file():
        raise StudyError("run this in the root of the repository, where the Snakefile is")
    study = load_config(CONFIG)
    layout = Layout(study.folder)
    started = time.monotonic()
    _say(f"1/2 phantom cohort in {study.cohort.source}")
    subprocess.run([sys.executable, "-m", "cohortseg", "phantom", str(study.cohort.source)], check=True)
    command = ["snakemake", "--cores", arguments.cores]
    _say(f"2/2 {' '.join(command)}")
    log = layout.root / "logs" / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=file, stderr=subprocess.STDOUT)
        follow(layout, process.pid)
    if process.wait() != 0:
        _say(log.read_text()[-3000:])
        raise StudyError("\n".join(failures(layout)) or f"snakemake ended with an error; its log is {log}")
    minutes = (time.monotonic() - started) / 60
    _say(f"done in {minutes:.1f} minutes; the report is {layout.report}")
    _say(f"next: cohortseg status {layout.root}; cohortseg explain {layout.root} CASE; tables in {layout.root}/tables")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
