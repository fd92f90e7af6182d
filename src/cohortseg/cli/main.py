"""The command `cohortseg`: choose a subcommand, turn errors into one line.

Nothing heavy is imported here: `cohortseg --help` must not wait for torch.
"""

import argparse
import importlib
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NoReturn

from cohortseg import __version__
from cohortseg.errors import CohortError


@dataclass(frozen=True)
class Command:
    """A subcommand: the module with `add_arguments(parser)` and `run(arguments)`, and what it is for."""

    module: str
    summary: str


# What people call.
COMMANDS: dict[str, Command] = {
    "demo": Command("cohortseg.cli.demo", "run the whole workflow on the phantom cohort"),
    "phantom": Command("cohortseg.cli.phantom", "make a synthetic thorax CT cohort as DICOM"),
    "index": Command("cohortseg.cli.index", "look for scans and labels; write the tables of the cohort"),
    "status": Command("cohortseg.cli.status", "show each stage: done, rejected, to do, time left"),
    "explain": Command("cohortseg.cli.explain", "show the way from a scan to each of its metrics"),
    "compare": Command("cohortseg.cli.compare", "two studies on the scans they share, and the settings that differ"),
    "figures": Command("cohortseg.cli.figures", "figures for a paper from the tables of a study, as PNG and SVG"),
    "verify": Command("cohortseg.cli.verify", "find damaged or missing stores"),
    "clean": Command("cohortseg.cli.clean", "remove what the workflow can make again"),
    "forget": Command("cohortseg.cli.forget", "remove all that a study holds of one person"),
    "plan-study": Command("cohortseg.cli.plan_study", "what a study will cost: jobs, hours, memory, disk"),
    "check-cluster": Command("cohortseg.cli.check_cluster", "ask SLURM whether the profile fits the site"),
    "package": Command("cohortseg.cli.package", "put the finished networks of an experiment into one movable folder"),
    "methods": Command("cohortseg.cli.methods", "list every method with source, scope, test and how it is reached"),
    "settings": Command("cohortseg.cli.settings", "check a config file; write schema, default config and tables"),
}

# What the rules of the workflow call; the command that a failing job prints can be pasted as it is.
STEPS: dict[str, Command] = {
    "convert": Command("cohortseg.steps.convert", "read scans and labels, check geometry, write OME-Zarr"),
    "fingerprint": Command("cohortseg.steps.fingerprint", "measure intensities, spacings and class sizes"),
    "survey": Command("cohortseg.steps.survey", "gather the fingerprints"),
    "plan": Command("cohortseg.steps.plan", "choose grid, normalisation and network size"),
    "preprocess": Command("cohortseg.steps.preprocess", "bring images and labels into model space"),
    "split": Command("cohortseg.steps.split", "write the folds, check for leakage"),
    "trial": Command("cohortseg.steps.trial", "try settings of an experiment on the inner folds of a fold"),
    "tune": Command("cohortseg.steps.tune", "choose the settings of the best trial of a fold"),
    "pseudolabel": Command("cohortseg.steps.pseudolabel", "label training cases by another experiment"),
    "train": Command("cohortseg.steps.train", "train one network"),
    "crossfit": Command("cohortseg.steps.crossfit", "label cases for a cascade by networks that have not seen them"),
    "predict": Command("cohortseg.steps.predict", "segment cases on their native grids"),
    "contest": Command("cohortseg.steps.contest", "look at what each model shares with the references"),
    "elect": Command("cohortseg.steps.elect", "choose the best model or mean of models on validation folds"),
    "threshold": Command("cohortseg.steps.threshold", "choose a probability threshold on validation folds"),
    "candidates": Command("cohortseg.steps.candidates", "look at what each way of cleaning would leave"),
    "choose": Command("cohortseg.steps.choose", "choose the cleaning of each class on validation folds"),
    "postprocess": Command("cohortseg.steps.postprocess", "clean predicted labels"),
    "evaluate": Command("cohortseg.steps.evaluate", "measure predictions against references"),
    "stability": Command("cohortseg.steps.stability", "measure how far labels bear changes of the image"),
    "aggregate": Command("cohortseg.steps.aggregate", "gather all metrics into tables"),
    "report": Command("cohortseg.steps.report", "write the report; `cohortseg report STUDY` makes it anew"),
    "export": Command("cohortseg.steps.export", "write labels for other software"),
}


def main() -> NoReturn:
    """Run a subcommand and exit: 0 done, 1 a known error (one line), 2 wrong arguments."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"cohortseg {__version__}")
        sys.exit(0)
    commands = COMMANDS | STEPS
    if arguments[0] not in commands:
        print(f"cohortseg: unknown command {arguments[0]!r}; choices: {', '.join(commands)}", file=sys.stderr)
        sys.exit(2)
    command = commands[arguments[0]]
    # Threads that wait for each other by spinning cost three times the CPU as soon as two jobs share the cores. OpenMP
    # reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Zarr's pool would grow with the machine, and each of its threads keeps memory; here jobs run in parallel.
    os.environ.setdefault("ZARR_THREADING__MAX_WORKERS", "1")
    module = importlib.import_module(command.module)
    parser = argparse.ArgumentParser(prog=f"cohortseg {arguments[0]}", description=command.summary)
    module.add_arguments(parser)
    try:
        parsed = parser.parse_args(arguments[1:])
        with _alone(arguments[0], parsed):
            module.run(parsed)
        sys.stdout.flush()
    except CohortError as error:
        if error.out_of_time:
            from cohortseg.cli.requeue import go_on_later

            go_on_later()
        sys.exit(f"cohortseg {arguments[0]}: {error}")
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing more is said to it, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        # A full disk or a folder without permission is the machine's matter, not a bug; the path may name a patient.
        sys.exit(f"cohortseg {arguments[0]}: {error.strerror or error}: {_last_part(error)}")
    sys.exit(0)


def _alone(command: str, arguments: argparse.Namespace) -> AbstractContextManager[None]:
    """The lock of a job of the workflow: a process that a killed run left behind may still be at the same work."""
    if command not in STEPS or arguments.study is None:
        return nullcontext()
    from cohortseg.alone import alone

    return alone(arguments.study.locks / "jobs.lock", f"{command} {getattr(arguments, 'token', '')}".strip())


def _last_part(error: OSError) -> str:
    return str(error.filename).rsplit("/", 1)[-1] if error.filename else "(no file named)"


def _help() -> str:
    def lines(table: dict[str, Command]) -> str:
        return "\n".join(f"  {name:<14} {command.summary}" for name, command in table.items())

    return (
        "usage: cohortseg COMMAND [-h] …\n\nFrom a folder of hospital DICOM to a segmentation study one can publish.\n"
        "The study itself is run by `snakemake --cores all [--configfile FILE] [--profile slurm]`.\n\n"
        f"commands:\n{lines(COMMANDS)}\n\nsteps, called by the workflow:\n{lines(STEPS)}\n"
    )
