"""Step `preprocess`: a converted case -> image and label in model space, and voxels to centre patches on."""

import argparse

import numpy as np
import zarr

from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import PreprocessStage
from cohortseg.steps.arguments import add_batch, add_threads
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.model_space import at_least_one_row, read_plan

__all__ = ["add_arguments", "run"]

FOREGROUND_SEED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A batch, and threads."""
    add_batch(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    """Preprocess a batch."""
    settings = PreprocessStage.model_validate_json(arguments.settings)
    layout: Layout = arguments.study
    # Only what shapes the images: another patch or network makes no image again.
    plan, _ = read_plan(layout)
    model_space = digest({key: plan[key] for key in ("spacing_mm", "normalisation")})
    run_batch(
        arguments.cases,
        lambda case: _work(layout, case, settings, model_space, arguments.threads),
        arguments.settings,
        arguments.token,
    )


def _work(layout: Layout, case: str, settings: PreprocessStage, model_space: str, threads: int) -> Work:
    folder = layout.case(case)
    fingerprint = read_json(folder / "fingerprint.json")
    return Work(
        stage="preprocess",
        sidecar=folder / "prepared.json",
        stores=(folder / "prepared.zarr",),
        inputs={
            "image": fingerprint["inputs"]["image"],
            "fingerprint": fingerprint["content"],
            "plan": model_space,
        },
        upstream=fingerprint,
        make=lambda: preprocess(layout, case, settings, threads),
    )


def preprocess(layout: Layout, case: str, settings: PreprocessStage, threads: int) -> Record:
    """Write `prepared.zarr`: image (float16), label (uint8) and sampled foreground voxels."""
    from cohortseg.preprocess.fingerprint import foreground_sample
    from cohortseg.preprocess.intensity import normaliser
    from cohortseg.preprocess.plan import model_spacing, normalisation_numbers
    from cohortseg.preprocess.resample import resample_to

    folder, (plan, _) = layout.case(case), read_plan(layout)
    source, image = store.read_grid(folder / "image.zarr"), store.open_array(folder / "image.zarr")
    target = source.with_spacing(model_spacing(plan, source.spacing_mm))
    numbers = normalisation_numbers(plan, read_json(folder / "fingerprint.json")["fingerprint"])
    normalise = normaliser(plan["normalisation"]["name"], numbers)
    with store.new_store(folder / "prepared.zarr") as part:
        out = store.create(part, target, np.float16)
        resample_to(
            out,
            image,
            source,
            target,
            interpolation=settings.preprocess.interpolation,
            workers=threads,
            finish=lambda block: normalise(block).astype(np.float16),
        )
        group = zarr.open_group(part, mode="r+")
        n_foreground = 0
        if (folder / "label.zarr").exists():
            label = store.create_array(group, "label", target.shape, np.uint8)
            reference = store.open_array(folder / "label.zarr")
            resample_to(label, reference, source, target, interpolation="nearest", workers=threads)
            sample = foreground_sample(label, n_classes=len(settings.classes), seed=FOREGROUND_SEED)
            n_foreground = len(sample)
            group.create_array("foreground", data=at_least_one_row(sample), chunks=(max(1, n_foreground), 4))
        content = store.content_digest(part)
    return {"content": content, "facts": {"grid": target.as_dict(), "n_foreground": n_foreground}}
