"""The command-line arguments that steps share."""

import argparse
from pathlib import Path

from cohortseg.layout import Layout


def add_study(parser: argparse.ArgumentParser) -> None:
    """`--study`: the study's folder."""
    parser.add_argument(
        "--study", type=lambda text: Layout(Path(text)), required=True, metavar="DIR", help="study folder"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """`--settings`: the step's part of the settings as JSON."""
    parser.add_argument("--settings", required=True, metavar="JSON", help="settings of this step")


def add_batch(parser: argparse.ArgumentParser) -> None:
    """What every step over a batch of cases takes."""
    add_study(parser)
    add_settings(parser)
    parser.add_argument("--cases", nargs="+", required=True, metavar="CASE", help="names of the cases")
    parser.add_argument("--token", type=Path, required=True, metavar="FILE", help="written when all cases are done")


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """What every step over the whole cohort takes."""
    add_study(parser)
    add_settings(parser)


def add_experiment_batch(parser: argparse.ArgumentParser) -> None:
    """What every step over a batch of an experiment takes."""
    add_batch(parser)
    add_experiment(parser)


def add_experiment_batch_of_slabs(parser: argparse.ArgumentParser) -> None:
    """The same for a step that reads an oversize case by slabs; a matter of the machine, not of the result."""
    add_experiment_batch(parser)
    parser.add_argument(
        "--most-voxels", type=int, default=0, metavar="N", help="a case of more is read by slabs; 0: none is"
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """`--threads`."""
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="number of threads")


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """`--experiment`."""
    parser.add_argument("--experiment", required=True, metavar="NAME", help="name of the experiment")


def add_tuned(parser: argparse.ArgumentParser) -> None:
    """`--tuned`."""
    parser.add_argument("--tuned", type=Path, metavar="FILE", help="settings that the search of the fold has chosen")


def add_blocks(parser: argparse.ArgumentParser) -> None:
    """What a step takes that works through oversize cases by blocks; a matter of the machine, not of the result."""
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="0: no case is oversize; else processes for their blocks"
    )
    parser.add_argument("--worker-mb", type=int, default=2000, metavar="MB", help="memory of a worker")
    parser.add_argument("--minutes", type=int, default=240, metavar="N", help="time limit of a worker on SLURM")
