"""`cohortseg settings`: check a config file, or write what is generated from the settings."""

import argparse
import sys
from pathlib import Path

from cohortseg.cli.config import load_config
from cohortseg.settings_docs import generated_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to check or write."""
    parser.add_argument("configfile", nargs="?", type=Path, help="config file to check")
    parser.add_argument(
        "--write", type=Path, metavar="DIR", help="write schema.json, default.yaml and README.md into DIR"
    )


def run(arguments: argparse.Namespace) -> None:
    """Check, write, or both."""
    if arguments.configfile is not None:
        study = load_config(arguments.configfile)
        print(
            f"{arguments.configfile}: study {study.study}, {len(study.experiments)} experiments: well formed",
            file=sys.stderr,
        )
    if arguments.write is not None:
        for name, text in generated_files().items():
            (arguments.write / name).write_text(text)
