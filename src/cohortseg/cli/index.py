"""`cohortseg index`: look for scans and labels."""

import argparse
import json
import sys
from pathlib import Path

from cohortseg.cli.config import load_config
from cohortseg.errors import SettingsError
from cohortseg.settings import load_study
from cohortseg.steps.index import index, preview


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Either a config file, or the settings as JSON (as the workflow does)."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--configfile", type=Path, default=Path("config/config.yaml"), help="settings as YAML")
    choice.add_argument("--settings", metavar="JSON", help="settings as JSON")
    parser.add_argument("--dry-run", action="store_true", help="only show which series the settings take, and why not")


def run(arguments: argparse.Namespace) -> None:
    """Index and say what there is."""
    if arguments.settings is None:
        study = load_config(arguments.configfile)
    else:
        try:
            study = load_study(json.loads(arguments.settings))
        except ValueError as error:
            raise SettingsError(str(error)) from None
    if arguments.dry_run:
        rows, sentences = preview(study)
        print("\n".join([*_aligned(rows), "", *(_printable(sentence) for sentence in sentences)]))
    else:
        print(f"index: {index(study)}", file=sys.stderr)


def _aligned(rows: list[list[str]]) -> list[str]:
    clean = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in clean]


def _printable(text: str) -> str:
    """Line breaks and control characters of a description shall not draw on the screen."""
    return "".join(c if c.isprintable() else " " for c in text)
