"""`cohortseg index`: look for scans and labels."""

import argparse
import json
import sys
from pathlib import Path

from cohortseg.cli.config import load_config
from cohortseg.errors import SettingsError
from cohortseg.settings import load_study
from cohortseg.steps.index import index


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Either a config file, or the settings as JSON (as the workflow does)."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--configfile", type=Path, default=Path("config/config.yaml"), help="settings as YAML")
    choice.add_argument("--settings", metavar="JSON", help="settings as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Index and say what there is."""
    if arguments.settings is None:
        study = load_config(arguments.configfile)
    else:
        try:
            study = load_study(json.loads(arguments.settings))
        except ValueError as error:
            raise SettingsError(str(error)) from None
    print(f"index: {index(study)}", file=sys.stderr)
