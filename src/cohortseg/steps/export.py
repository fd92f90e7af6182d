"""Step `export`: cleaned labels -> files for other software, on the native grid."""

import argparse

from cohortseg.io import store
from cohortseg.io.sidecar import file_digest, read_json
from cohortseg.layout import Layout
from cohortseg.steps.arguments import add_experiment_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.units import split_unit, units_of

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Export a batch."""
    run_batch(
        units_of(arguments.study, arguments.experiment, arguments.cases),
        lambda unit: _work(arguments.study, arguments.experiment, unit),
        arguments.settings,
        arguments.token,
    )


def _work(layout: Layout, experiment: str, unit: str) -> Work:
    model, case = split_unit(unit)
    folder = layout.prediction(experiment, model, case)
    post = read_json(folder / "post.json")
    return Work(
        stage="export",
        sidecar=folder / "export.json",
        stores=(layout.exported(experiment, model, case),),
        inputs={"post": post["content"]},
        upstream=post,
        make=lambda: export(layout, experiment, unit),
    )


def export(layout: Layout, experiment: str, unit: str) -> Record:
    """Write the label as compressed NIfTI."""
    from cohortseg.io.itk import write_image

    model, case = split_unit(unit)
    target = layout.exported(experiment, model, case)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix tells the format, so the temporary name keeps it.
    part = target.with_name(f".part-{target.name}")
    write_image(part, store.read_volume(layout.prediction(experiment, model, case) / "post.zarr"))
    part.replace(target)
    return {"content": file_digest(target)}
