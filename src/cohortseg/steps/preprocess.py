"""Step `preprocess`: a converted case -> its channels and label in model space, and voxels to centre patches on."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import zarr

from cohortseg.blocks import Workers
from cohortseg.errors import SettingsError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import PreprocessStage
from cohortseg.steps.arguments import add_batch, add_blocks, add_threads
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.block_workers import BlockWorkers
from cohortseg.steps.model_space import at_least_one_row, check_channels, read_plan
from cohortseg.steps.preprocess_pair import preprocess_pair
from cohortseg.volume import Array, Grid

__all__ = ["add_arguments", "run"]

FOREGROUND_SEED = 1
AIR_HU = -1000.0
SLAB = 64
"""Slices that are written at a time: the depth of a shard."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A batch, threads, and who does the blocks of oversize cases."""
    add_batch(parser)
    add_threads(parser)
    add_blocks(parser)
    parser.add_argument("--resolution", choices=("full", "low"), default="full", help="of the model space")


def run(arguments: argparse.Namespace) -> None:
    """Preprocess a batch."""
    settings = PreprocessStage.model_validate_json(arguments.settings)
    layout: Layout = arguments.study
    # Only what shapes the images: another patch or network makes no image again.
    resolution = getattr(arguments, "resolution", "full")
    plan, _ = read_plan(layout, resolution)
    check_channels(plan, settings.channels)
    model_space = digest({key: plan[key] for key in ("channels", "spacing_mm", "normalisation")})
    with ExitStack() as held:
        blocks = BlockWorkers(arguments, held)

        def workers() -> Workers:
            return blocks.start() if blocks.n > 1 else arguments.threads

        run_batch(
            arguments.cases,
            lambda case: _work(layout, case, settings, model_space, workers, resolution),
            arguments.settings,
            arguments.token,
        )


def _work(
    layout: Layout,
    case: str,
    settings: PreprocessStage,
    model_space: str,
    workers: Callable[[], Workers],
    resolution: str,
) -> Work:
    folder = layout.case(case)
    fingerprint = read_json(folder / "fingerprint.json")
    return Work(
        stage="preprocess",
        sidecar=layout.prepared(case, resolution).with_suffix(".json"),
        stores=(layout.prepared(case, resolution),),
        inputs={
            "image": fingerprint["inputs"]["image"],
            "fingerprint": fingerprint["content"],
            "plan": model_space,
        },
        upstream=fingerprint,
        make=lambda: (
            preprocess(layout, case, settings, workers(), resolution)
            if settings.synthesis is None
            else preprocess_pair(layout, case, settings, settings.synthesis, workers(), _normalisers)
        ),
    )


def preprocess(
    layout: Layout, case: str, settings: PreprocessStage, workers: Workers, resolution: str = "full"
) -> Record:
    """Write `prepared.zarr`, or that of another resolution: image (float16), label (uint8), sampled foreground voxels.

    With several channels the image is (channel, z, y, x); a channel that the case lacks is 0.
    """
    from cohortseg.preprocess.fingerprint import foreground_sample
    from cohortseg.preprocess.plan import model_spacing
    from cohortseg.preprocess.resample import resample_to

    folder, paths, (plan, _) = layout.case(case), layout.images(case, settings.channels), read_plan(layout, resolution)
    source = store.read_grid(paths[0])
    target = source.with_spacing(model_spacing(plan, source.spacing_mm))
    with store.new_store(layout.prepared(case, resolution)) as part:
        out = store.channels_of(store.create(part, target, np.float16, channels=settings.channels))
        for channel, finish in _normalisers(
            plan, read_json(folder / "fingerprint.json")["fingerprint"], settings.preprocess.bins
        ).items():
            number = settings.channels.index(channel)
            resample_to(
                out[number],
                store.open_array(paths[number]),
                source,
                target,
                interpolation=settings.preprocess.interpolation,
                workers=workers,
                finish=finish,
            )
        if settings.preprocess.isolate is not None:
            _isolate(out, layout, case, settings, target)
        group = zarr.open_group(part, mode="r+")
        n_foreground = 0
        if (folder / "label.zarr").exists():
            label = store.create_array(group, "label", target.shape, np.uint8)
            reference = store.open_array(folder / "label.zarr")
            resample_to(label, reference, source, target, interpolation="nearest", workers=workers)
            sample = foreground_sample(label, n_classes=len(settings.classes), seed=FOREGROUND_SEED)
            n_foreground = len(sample)
            group.create_array("foreground", data=at_least_one_row(sample), chunks=(max(1, n_foreground), 4))
        content = store.content_digest(part)
    return {"content": content, "facts": {"grid": target.as_dict(), "n_foreground": n_foreground}}


def _isolate(out: list[Any], layout: Layout, case: str, settings: PreprocessStage, target: Grid) -> None:
    """Set what lies outside the lung region to the value that air has in model space.

    The region is found on the CT as it was converted: thresholds are in HU and radii in mm. A case without that channel
    stays as it is.
    """
    from cohortseg.methods import segmenter
    from cohortseg.preprocess.resample import resample

    region = settings.preprocess.isolate
    assert region is not None
    channel = region.channel or settings.channels[0]
    fingerprint = read_json(layout.case(case) / "fingerprint.json")["fingerprint"]
    finish = _normalisers(read_plan(layout)[0], fingerprint, settings.preprocess.bins)
    if channel not in finish:
        return
    number = settings.channels.index(channel)
    volume = store.read_volume(layout.images(case, settings.channels)[number])
    found = segmenter("lung", region.model_dump(exclude={"channel"}))(volume)
    mask = resample(found, volume.grid, target, interpolation="nearest") > 0
    air = finish[channel](np.full((1, 1, 1), AIR_HU, np.float32)).item()
    for first in range(0, target.shape[0], SLAB):
        slab = slice(first, first + SLAB)
        out[number][slab] = np.where(mask[slab], np.asarray(out[number][slab]), np.float16(air))


def _normalisers(
    plan: dict[str, Any], fingerprint: dict[str, Any], bins: int | None
) -> dict[str, Callable[[Array], Array]]:
    """For each channel that the case has, the function of its voxels to those of model space."""
    from cohortseg.preprocess.harmonise import binned
    from cohortseg.preprocess.intensity import normaliser
    from cohortseg.preprocess.plan import normalisation_numbers

    def finish(name: str, numbers: dict[str, float]) -> Callable[[Array], Array]:
        normalise = normaliser(name, numbers)
        if bins is None:
            return lambda block: normalise(block).astype(np.float16)
        if "low" not in numbers:
            raise SettingsError(f"preprocess.bins needs a window; the normalisation is {name!r}")
        low, high = numbers["low"], numbers["high"]
        return lambda block: normalise(binned(block, low, high, bins)).astype(np.float16)

    return {
        channel: finish(chosen["name"], normalisation_numbers(plan, fingerprint, channel))
        for channel, chosen in plan["normalisation"].items()
        if fingerprint["channels"][channel] is not None
    }
