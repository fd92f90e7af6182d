"""Step `fingerprint`: a converted case -> its intensities, spacings and class sizes."""

import argparse

from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import FingerprintStage
from cohortseg.steps.arguments import add_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Measure a batch."""
    settings = FingerprintStage.model_validate_json(arguments.settings)
    run_batch(
        arguments.cases,
        lambda case: _work(arguments.study, case, settings),
        arguments.settings,
        arguments.token,
    )


def _work(layout: Layout, case: str, settings: FingerprintStage) -> Work:
    folder = layout.case(case)
    image = read_json(folder / "image.json")
    return Work(
        stage="fingerprint",
        sidecar=folder / "fingerprint.json",
        stores=(),
        inputs={"image": image["content"]},
        upstream=image,
        make=lambda: fingerprint(layout, case, len(settings.classes)),
    )


def fingerprint(layout: Layout, case: str, n_classes: int) -> Record:
    """The fingerprint of one case as a record for its sidecar."""
    from cohortseg.preprocess.fingerprint import case_fingerprint

    folder = layout.case(case)
    has_label = (folder / "label.zarr").exists()
    found = case_fingerprint(
        store.open_array(folder / "image.zarr"),
        store.open_array(folder / "label.zarr") if has_label else None,
        store.read_grid(folder / "image.zarr"),
        n_classes=n_classes,
    )
    return {"content": digest(found), "fingerprint": found}
