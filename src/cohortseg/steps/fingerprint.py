"""Step `fingerprint`: a converted case -> the intensities of its channels, its spacing and class sizes."""

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
        make=lambda: fingerprint(layout, case, settings, image["facts"].get("missing_channels", [])),
    )


def fingerprint(layout: Layout, case: str, settings: FingerprintStage, missing: list[str]) -> Record:
    """The fingerprint of one case as a record for its sidecar; channels that it lacks are not measured."""
    from cohortseg.preprocess.fingerprint import case_fingerprint

    folder, paths = layout.case(case), layout.images(case, settings.channels)
    has_label = (folder / "label.zarr").exists()
    found = case_fingerprint(
        {
            name: None if name in missing else store.open_array(path)
            for name, path in zip(settings.channels, paths, strict=True)
        },
        store.open_array(folder / "label.zarr") if has_label else None,
        store.read_grid(paths[0]),
        n_classes=len(settings.classes),
    )
    return {"content": digest(found), "fingerprint": found}
