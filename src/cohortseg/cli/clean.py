"""`cohortseg clean STUDY`: remove what the workflow can make again."""

import argparse
import shutil
import sys
from pathlib import Path

from cohortseg.choose import choose
from cohortseg.errors import StudyError
from cohortseg.layout import Layout

# What each word removes, as patterns below the study folder. Tokens go with it, so that the next run makes it again.
CLEANABLE: dict[str, tuple[str, ...]] = {
    "prepared": ("cases/*/prepared.*", "cases/*/prepared-*", "cohort/done/preprocess", "cohort/done/preprocess_low"),
    "predictions": ("experiments/*/*/cases", "experiments/*/done", "experiments/*/chosen", "export"),
    "resume": ("experiments/*/*/resume.pt",),
    "logs": ("logs", "benchmarks"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The study, and what to remove."""
    parser.add_argument("study", type=Path, help="study folder, for example results/demo")
    words = f"any of: {', '.join(CLEANABLE)} (default: resume)"
    parser.add_argument("what", nargs="*", metavar="WHAT", help=words)
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def run(arguments: argparse.Namespace) -> None:
    """Remove and say how much it was."""
    layout = Layout(arguments.study)
    if not layout.cases_table.exists():
        raise StudyError(f"no study at {layout.root}")
    words = dict.fromkeys(arguments.what or ["resume"])
    patterns = [pattern for word in words for pattern in choose("what to clean", word, CLEANABLE)]
    found = [path for pattern in patterns for path in sorted(layout.root.glob(pattern))]
    size = sum(_size(path) for path in found)
    if not arguments.dry_run:
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    verb = "would free" if arguments.dry_run else "freed"
    print(f"clean: {verb} {size / 1e6:.1f} MB in {len(found)} places", file=sys.stderr)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
