"""`cohortseg verify STUDY`: read every store again and compare it with its sidecar; Snakemake does not look inside."""

import argparse
import sys
from pathlib import Path

from cohortseg.cohort import read_cases
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import file_digest, read_sidecar
from cohortseg.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The study, and whether to mend."""
    parser.add_argument("study", type=Path, help="study folder, for example results/demo")
    parser.add_argument(
        "--mend", action="store_true", help="remove what is damaged, so that the next run makes it again"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each damaged store; exit 1 when there is any.

    Raises
    ------
    StudyError
        With the number of damaged stores and the way out.
    """
    layout = Layout(arguments.study)
    checks = [*_case_checks(layout), *_prediction_checks(layout)]
    damaged = []
    for sidecar, target, expected in checks:
        problem = _problem(target, expected)
        if problem:
            damaged.append(sidecar)
            print(f"{target.relative_to(layout.root)}: {problem}", file=sys.stderr)
    if arguments.mend and damaged:
        _forget(layout, damaged)
        print(f"removed {len(damaged)} damaged results; run the workflow again", file=sys.stderr)
    elif damaged:
        raise StudyError(
            f"{len(damaged)} of {len(checks)} stores are damaged; `cohortseg verify {layout.root} --mend` removes them"
        )
    print(f"verify: {len(checks)} stores, {len(damaged)} damaged", file=sys.stderr)


def _case_checks(layout: Layout) -> list[tuple[Path, Path, str]]:
    """Sidecar, store and expected digest of images (of each channel), labels and model-space images."""
    checks = []
    for case in read_cases(layout.cases_table):
        folder = layout.case(case.case)
        for name in ("image", "prepared", "prepared-low"):
            record = read_sidecar(folder / f"{name}.json")
            if record is None or record["status"] != "ok":
                continue
            # The contents are by the name of the store: image, image-pet, label.
            contents = record.get("contents") or {name: record["content"]}
            checks += [
                (folder / f"{name}.json", folder / f"{part}.zarr", content)
                for part, content in contents.items()
                if content
            ]
    return checks


def _prediction_checks(layout: Layout) -> list[tuple[Path, Path, str]]:
    checks = []
    for name in ("raw", "post", "before"):
        for sidecar in sorted((layout.root / "experiments").glob(f"*/*/cases/*/{name}.json")):
            record = read_sidecar(sidecar)
            if record is not None and record["status"] == "ok":
                # Beside the label what a prediction was asked to keep: probabilities, uncertainty.
                contents = {name: record["content"], **record.get("contents", {})}
                checks += [(sidecar, sidecar.with_name(f"{part}.zarr"), content) for part, content in contents.items()]
    for sidecar in sorted((layout.root / "experiments").glob("*/*/train.json")):
        record = read_sidecar(sidecar)
        if record is not None:
            # Weights are recorded by their plain SHA-256.
            checks.append((sidecar, sidecar.with_name("weights.safetensors"), f"sha256:{record['weights']}"))
    return checks


def _problem(target: Path, expected: str) -> str:
    if not target.exists():
        return "missing"
    try:
        found = file_digest(target) if target.is_file() else store.content_digest(target)
    except StudyError as error:
        return str(error)
    return "" if found == expected else "content differs from its sidecar"


def _forget(layout: Layout, sidecars: list[Path]) -> None:
    """Remove sidecars and all tokens: the next run looks at every case, and makes only what is missing."""
    for sidecar in sidecars:
        sidecar.unlink(missing_ok=True)
    for home in ("cohort", "experiments/*"):
        for token in layout.root.glob(f"{home}/done/*/*.json"):
            token.unlink()
