"""`cohortseg methods`: every method with its source, scope, test and how it is reached, made from the tables."""

import argparse
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

HEAD = """# Methods and techniques

Generated from the tables of the package by `cohortseg methods --write docs`; a test holds it in sync.

*Row* is the row of the list of published methods that the sources of this project describe. *Done* means: reachable
from the settings (`config/README.md`), with a test that fails when its formula is broken. *Function* means: written
and tested, not yet reachable from the settings. *Scope* is what one voxel of the result depends on.
"""


@dataclass(frozen=True)
class Table:
    """A literal table of the package: its title, where it is, and whether the settings reach its entries."""

    title: str
    module: str
    name: str
    reached: str


TABLES = (
    Table("Methods", "cohortseg.methods", "METHODS", "done"),
    Table("Threshold rules", "cohortseg.methods.threshold", "RULES", "done"),
    Table("Networks", "cohortseg.infer.networks", "ARCHITECTURES", "done"),
    Table("Losses", "cohortseg.train.losses", "LOSSES", "done"),
    Table("Losses on shapes and weights", "cohortseg.train.shape_losses", "SHAPE_LOSSES", "done"),
    Table("Losses of images", "cohortseg.train.image_losses", "IMAGE_LOSSES", "done"),
    Table("Rules of `intensity`", "cohortseg.methods.intensity", "RULES", "done"),
    Table("Schedules", "cohortseg.train.schedules", "SCHEDULES", "done"),
    Table("Augmentations", "cohortseg.train.augment", "AUGMENTATIONS", "done"),
    Table("Post-processing", "cohortseg.postprocess.chain", "POSTPROCESSES", "done"),
    Table("What `postprocess: auto` chooses from", "cohortseg.postprocess.candidates", "CANDIDATES", "done"),
)

FUNCTIONS = {"super_resolution"}
"""Entries that the settings do not reach, of tables whose others they do."""
STEPS = {
    "A21": ("`synthesis.coarser`: fine images from coarse ones", "tests/steps/test_images_of_a_study.py"),
    "A22": ("`synthesis`, `architecture: synthetic_ct`: CT from MR", "tests/workflow/test_studies_of_images.py"),
    "A25": ("`architecture: fusion`: three levels", "tests/infer/test_fusion_levels.py"),
    "G07": ("`augmentation: vnet`: grid of two nodes, histograms", "tests/train/test_vnet_augmentation.py"),
    "L12": ("`loss: l1`, `l2`, `smooth_l1`", "tests/train/test_images_as_targets.py"),
    "M09": ("`images.csv`: PSNR, its peak the width of the range", "tests/metrics/test_images.py"),
    "M10": ("`images.csv`: MAE in the unit of the target and in grey levels", "tests/metrics/test_images.py"),
    "P35": ("`convert.registration: rigid`: mutual information", "tests/preprocess/test_align.py"),
    "R11": ("the report's tables of MAE and PSNR by experiment", "tests/report/test_images_page.py"),
    "R12": ("panels of input, real, made and difference", "tests/report/test_images_page.py"),
    "C19": ("`postprocess.crf`: dense random field on kept probabilities", "tests/postprocess/test_dense_crf.py"),
    "C28": ("`stability`: Dice under changes of the image (docs/tasks.md)", "tests/steps/test_stability.py"),
    "L03": ("`loss_options.first_epochs`: the Dice privileged at first", "tests/steps/test_objective.py"),
    "L11": ("`loss_options.shape_weight`: shape codes of an autoencoder", "tests/train/test_shape_prior.py"),
    "T02": ("`annotated_every`: sparse annotation; `boxes`: boxes alone", "tests/train/test_boxes.py"),
    "T03": ("`transfer`, `frozen`, `fine_tuned_layers`", "tests/train/test_techniques.py"),
    "T06": ("`schedule`, `decay_per_epoch`", "tests/train/test_techniques.py"),
    "P05": (
        "`plan.spacing_mm`, `plan.window_hu`, `preprocess.bins`; no set size: patches and sliding window take any",
        "tests/preprocess/test_harmonise.py",
    ),
    "P08": ("`methods/regions.py`: body without the couch", "tests/methods/test_regions.py"),
    "P09": ("`methods/lung.py`: air of the body, growing, windpipe out", "tests/methods/test_lung.py"),
    "P10": ("`methods/lung.py`: closing of vessels", "tests/methods/test_lung.py"),
    "P11": ("`methods/spine.py`: profile and 7-tap mean", "tests/methods/test_lung.py"),
    "P12": ("`methods/spine.py`: mean of the first five slices", "tests/methods/test_lung.py"),
    "P13": ("`methods/spine.py`: exponential smoothing, 0.3", "tests/methods/test_lung.py"),
    "P14": ("`methods/spine.py`: mirror image and union", "tests/methods/test_lung.py"),
    "P15": ("`methods/lung.py`: disk of 5, 81 pixels", "tests/methods/test_lung.py"),
    "P16": ("`preprocess.isolate`, `steps/preprocess.py`: outside set to air", "tests/steps/test_isolate.py"),
    "P17": ("`methods/__init__.py`: a scope for each; `blocks.py` runs it", "tests/methods/test_methods.py"),
}
"""Rows that are steps and settings, not entries of a table: the lung chain, the random field, training techniques."""

NOT_DONE = {
    "C14": "definition not public",
    "C20": "self-training rounds: belong to the training loop",
    "C21": "nuclei by type: no public labels of types here",
    "C22": "saliency with ultra-contrast: no definition in the source",
    "C24": "cascade of detector and classifier: named in passing",
    "C25": "multilayer perceptron by Levenberg-Marquardt: exotic, superseded by the networks",
    "C26": "local independent projections: no public definition read",
    "C27": "wavelet and Zernike features: exotic",
}
"""Rows of the classical group that nothing covers yet, with the reason."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to write."""
    parser.add_argument("--write", type=Path, metavar="DIR", help="write methods.md into DIR instead of printing it")


def run(arguments: argparse.Namespace) -> None:
    """Print or write the page."""
    if arguments.write is None:
        sys.stdout.write(methods_page())
    else:
        (arguments.write / "methods.md").write_text(methods_page())


def methods_page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for table in TABLES:
        entries = getattr(import_module(table.module), table.name)
        parts.append(_section(table, entries))
    parts.append("\n## Steps and techniques\n\n| row | where | test |\n|---|---|---|\n")
    parts += [f"| {row} | {where} | `{test}` |\n" for row, (where, test) in STEPS.items()]
    parts.append("\n## Not done (classical group)\n\n| row | why |\n|---|---|\n")
    parts += [f"| {row} | {why} |\n" for row, why in NOT_DONE.items()]
    return "".join(parts)


def _section(table: Table, entries: dict[str, Any]) -> str:
    lines = [f"\n## {table.title}\n", "| name | row | what | source | scope | dims | status | test |", "|" + "---|" * 8]
    for name, entry in entries.items():
        rows = ", ".join(getattr(entry, "rows", ()))
        dims = ", ".join(str(dim) for dim in getattr(entry, "dims", ()))
        test = getattr(entry, "test", "")
        cells = [
            f"`{name}`",
            rows,
            getattr(entry, "summary", ""),
            getattr(entry, "source", ""),
            getattr(entry, "scope", ""),
            dims,
            "function" if name in FUNCTIONS else table.reached,
            f"`{test}`" if test else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
