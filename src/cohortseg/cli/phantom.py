"""`cohortseg phantom`: make the synthetic cohort."""

import argparse
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, how many, how large."""
    parser.add_argument("dest", type=Path, help="folder to write; left alone when it is complete already")
    parser.add_argument("--subjects", type=int, default=16, help="number of good subjects (default 16)")
    parser.add_argument("--seed", type=int, default=1, help="seed; the same seed gives the same bytes (default 1)")
    parser.add_argument("--matrix", type=int, default=256, help="rows and columns of a slice (default 256)")
    parser.add_argument("--slices", type=int, default=40, help="slices of a scan (default 40)")
    parser.add_argument("--clean", action="store_true", help="leave out the four scans spoiled on purpose")


def run(arguments: argparse.Namespace) -> None:
    """Write the cohort."""
    from cohortseg.phantom.cohort import write_cohort

    rows = write_cohort(
        arguments.dest,
        subjects=arguments.subjects,
        seed=arguments.seed,
        matrix=arguments.matrix,
        slices=arguments.slices,
        spoiled=not arguments.clean,
        workers=os.cpu_count() or 1,
    )
    print(f"phantom: {len(rows)} subjects in {arguments.dest}", file=sys.stderr)
