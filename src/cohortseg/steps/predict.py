"""Step `predict`: a case -> its raw label on the native grid, by whatever method the experiment uses."""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cohortseg.cohort import read_cases
from cohortseg.ignored import IGNORE
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.methods import segmenter
from cohortseg.metrics.regions import holds
from cohortseg.settings import (
    BestMethod,
    IntensityMethod,
    LearnedMethod,
    NetworkMethod,
    Part,
    SynthesisSettings,
    UNetMethod,
)
from cohortseg.stages import ExperimentStage
from cohortseg.steps.arguments import add_experiment_batch, add_threads, add_tuned
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.best import predict_best
from cohortseg.steps.cascade import Before, found_before, seen_by_cascade
from cohortseg.steps.channels import read_channel
from cohortseg.steps.intensity import predict_intensity
from cohortseg.steps.learners import predict_learned
from cohortseg.steps.loaded import Network, before_in_package, load, resolution_of, weights_before, weights_of
from cohortseg.steps.made_image import write_image
from cohortseg.steps.model_space import patch_zyx, read_plan
from cohortseg.steps.tuning import tuned_method
from cohortseg.steps.units import plan_units, split_unit
from cohortseg.volume import Array, Grid, Volume

if TYPE_CHECKING:
    from cohortseg.infer.regions import Regions

__all__ = ["add_arguments", "run"]

PROBABILITY_BINS = 50
TILE_VOXELS = 131_072
"""Voxels that go through the network at a time: small tiles of a plane go together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A batch of an experiment, and threads."""
    add_experiment_batch(parser)
    add_threads(parser)
    add_tuned(parser)


def run(arguments: argparse.Namespace) -> None:
    """Predict a batch; weights are loaded once, when the first case needs them."""
    settings = ExperimentStage.model_validate_json(arguments.settings)
    if isinstance(settings.experiment, NetworkMethod):
        _run_trained(arguments, settings.experiment, settings)
    elif isinstance(settings.experiment, IntensityMethod):
        predict_intensity(arguments, settings, settings.experiment)
    elif isinstance(settings.experiment, LearnedMethod):
        predict_learned(arguments, settings, settings.experiment)
    elif isinstance(settings.experiment, BestMethod):
        predict_best(arguments, {case.case: case.fold for case in read_cases(arguments.study.cases_table)})
    else:
        tuned = getattr(arguments, "tuned", None)
        _run_classical(arguments, tuned_method(settings.experiment, tuned), settings.channels, tuned)


# ---- methods without weights -----------------------------------------------------------------------------------


def _run_classical(arguments: argparse.Namespace, method: Part, channels: list[str], tuned: Path | None) -> None:
    layout: Layout = arguments.study
    inputs = {} if tuned is None else {"tuned": digest(read_json(tuned))}
    run_batch(
        plan_units(layout, arguments.cases, None),
        lambda unit: _classical_work(layout, arguments.experiment, unit, method, channels, inputs),
        arguments.settings,
        arguments.token,
    )


def _classical_work(
    layout: Layout, experiment: str, unit: str, method: Part, channels: list[str], inputs: dict[str, str]
) -> Work:
    image = read_json(layout.case(split_unit(unit)[1]) / "image.json")
    folder = layout.prediction(experiment, *split_unit(unit))
    return Work(
        stage="predict",
        sidecar=folder / "raw.json",
        stores=(folder / "raw.zarr",),
        inputs={"image": image["content"], **inputs},
        upstream=image,
        make=lambda: predict_classical(layout, split_unit(unit)[1], folder / "raw.zarr", method, channels),
    )


def predict_classical(layout: Layout, case: str, target: Path, method: Part, channels: list[str]) -> Record:
    """Write the label that a classical method finds on one channel of the converted image.

    Raises
    ------
    Rejected
        MISSING_CHANNEL when the case lacks that channel: zeros have no threshold.
    """
    values = method.model_dump()
    method_name = values.pop("method")
    volume = read_channel(layout, case, values.pop("channel", None), channels)
    segment = segmenter(method_name, values)
    content = store.write_volume(target, Volume(segment(volume), volume.grid), name="label")
    return {"content": content}


# ---- methods with weights --------------------------------------------------------------------------------------


def _run_trained(arguments: argparse.Namespace, method: NetworkMethod, settings: ExperimentStage) -> None:
    layout, experiment, task = arguments.study, arguments.experiment, settings.synthesis
    n_classes = len(settings.classes)
    loaded: dict[str, tuple[Any, Network]] = {}
    with ExitStack() as held:
        device = cache(lambda: held.enter_context(device_of(layout, arguments.threads)))

        def forward(model: str) -> tuple[Any, Network]:
            """Networks of a model, ready to call, and how they are built; device and weights come at the first use."""
            if model not in loaded:
                loaded.clear()
                weights = weights_of(layout, experiment, model, method)
                loaded[model] = load(weights, experiment, method, device(), makes_images=task is not None)
            return loaded[model]

        packed = before_in_package(method)
        forward_before = cache(lambda: load(weights_before(method), experiment, packed, device()))

        def before(unit: str) -> Before | None:
            """What a cascade is given: what the study has found, or what networks of the same package will find."""
            if not weights_before(method):
                return found_before(layout, method, unit, settings.seed_before)
            case = split_unit(unit)[1]
            prepared = read_json(layout.prepared(case, "low").with_suffix(".json"))
            inputs = {f"before {name}": sha256 for name, (_, sha256) in weights_before(method).items()}

            def label(target: Path) -> Path:
                predict_trained(layout, case, target, *forward_before(), packed, n_classes)
                return target

            return Before(prepared, {"before": prepared["content"], **inputs}, label)

        run_batch(
            plan_units(layout, arguments.cases, method.seeds if isinstance(method, UNetMethod) else None),
            lambda unit: _trained_work(layout, experiment, unit, method, n_classes, forward, before(unit), task),
            arguments.settings,
            arguments.token,
        )


def device_of(layout: Layout, threads: int) -> Any:
    """A device for the length of a `with` block, and no more threads than these."""
    from cohortseg.infer.device import limit_threads, take_device

    limit_threads(threads)
    return take_device(lock_dir=layout.locks)


def _trained_work(  # noqa: PLR0913 (each has its name)
    layout: Layout,
    experiment: str,
    unit: str,
    method: NetworkMethod,
    n_classes: int,
    forward: Callable[[str], tuple[Any, Network]],
    before: Before | None = None,
    task: SynthesisSettings | None = None,
) -> Work:
    model, case = split_unit(unit)
    prepared = read_json(layout.prepared(case, resolution_of(method)).with_suffix(".json"))
    folder = layout.prediction(experiment, model, case)
    weights = {name: sha256 for name, (_, sha256) in weights_of(layout, experiment, model, method).items()}

    def make() -> Record:
        target = folder / "raw.zarr"
        if before is None:
            return predict_trained(layout, case, target, *forward(model), method, n_classes, task)
        label = before.label(folder / "before.zarr")
        try:
            return predict_trained(layout, case, target, *forward(model), method, n_classes, before=label)
        finally:
            store.remove(folder / "before.zarr")

    return Work(
        stage="predict",
        sidecar=folder / "raw.json",
        stores=tuple(folder / f"{name}.zarr" for name in ("raw", *_extras(method, n_classes))),
        inputs={
            "prepared": prepared["content"],
            "image": prepared["inputs"]["image"],
            **weights,
            **({} if before is None else before.inputs),
        },
        upstream=before.upstream if before is not None and prepared["status"] == "ok" else prepared,
        make=make,
    )


def predict_trained(  # noqa: PLR0913 (each has its name)
    layout: Layout,
    case: str,
    target: Path,
    forward: Any,
    network: Network,
    method: NetworkMethod,
    n_classes: int,
    task: SynthesisSettings | None = None,
    *,
    before: Path | None = None,
) -> Record:
    """Write the most probable class of each voxel of the native grid, and what else the settings ask for; or an image.

    Networks that find regions, as many as there are classes, are decoded by `classes_from`. Those of a cascade are
    given the label of a store on the native grid (`before`).

    Memory holds one class of a few slices beside the sums of overlapping tiles, which go to disk where they are large.
    """
    from cohortseg.infer.blend import Scratch
    from cohortseg.infer.native import resample_blocks
    from cohortseg.infer.networks import extent_of, tile_for
    from cohortseg.infer.overlap_tile import overlap_tile_blocks
    from cohortseg.infer.sliding import nothing_to_see, predict_blocks

    folder, (plan, _) = layout.case(case), read_plan(layout, network.resolution)
    native = store.read_grid(folder / "image.zarr")
    target.parent.mkdir(parents=True, exist_ok=True)
    sizes = (network.name, network.arguments)
    extent, patch = extent_of(*sizes), tile_for(*sizes, patch_zyx(plan))
    prepared = layout.prepared(case, network.resolution)
    n_channels = 1 if task is not None else n_classes + 1 + method.uncertainty
    scratch = Scratch(folder=target.parent)
    # A skipped tile reads as certain background, which no image has.
    skip = nothing_to_see if method.skip_empty and task is None else None
    with ExitStack() as held:
        image = held.enter_context(
            seen_by_cascade(prepared, before, n_classes, target.with_name(f"{target.stem}-seen.zarr"))
        )
        if extent.is_smaller:
            blocks = overlap_tile_blocks(
                image, forward, extent=extent, patch=patch, n_channels_out=n_channels, skip=skip, scratch=scratch
            )
        else:
            blocks = predict_blocks(
                image,
                forward,
                patch=patch,
                n_channels_out=n_channels,
                overlap=method.overlap,
                mirror=method.mirror,
                batch=max(1, TILE_VOXELS // math.prod(patch)),
                skip=skip,
                scratch=scratch,
            )
        finished = resample_blocks(blocks, store.read_grid(prepared), native)
        if task is not None:
            return write_image(target, native, finished, task)
        extras = {
            name: _extra(held, target.with_name(f"{name}.zarr"), native, channels)
            for name, channels in _extras(method, n_classes).items()
        }
        threshold = None if method.threshold == "auto" else method.threshold
        result = Result(n_classes, threshold, extras, network.regions)
        content = store.write(
            target, native, np.uint8, result.labels(finished, _reference(folder, native)), name="label"
        )
    contents = {name: store.content_digest(target.with_name(f"{name}.zarr")) for name in extras}
    return {"content": content, "contents": contents, **result.record()}


def _extras(method: NetworkMethod, n_classes: int) -> dict[str, list[str]]:
    """The further stores that the settings ask for, with their channels."""
    probabilities = {"probabilities": [f"class {number}" for number in range(n_classes + 1)]}
    kept = method.probabilities or method.threshold == "auto"
    return (probabilities if kept else {}) | (
        {"uncertainty": ["entropy", "disagreement"]} if method.uncertainty else {}
    )


def _extra(held: ExitStack, target: Path, grid: Grid, channels: list[str]) -> Any:
    part = held.enter_context(store.new_store(target))
    return store.create(part, grid, np.float16, name=target.stem, channels=channels)


def _reference(folder: Path, grid: Grid) -> Any:
    """The reference label, to be sliced; nothing where there is none."""
    path = folder / "label.zarr"
    return store.open_array(path) if path.exists() else np.broadcast_to(np.uint8(IGNORE), grid.shape)


class Result:
    """What is made of the probabilities of one case as they come, class by class.

    Labels; a tally by class, reference (no, yes) and bin of probability of the voxels, of their probabilities and of
    the squares, which is all that calibration and curves need (`metrics.probabilities`); and, into `extras`, the
    probabilities and the uncertainty of each voxel. With regions all this is of them instead of the classes.
    """

    def __init__(
        self, n_classes: int, threshold: float | None, extras: dict[str, Any], regions: "Regions | None" = None
    ) -> None:
        self.n_classes, self.threshold, self.extras, self.regions = n_classes, threshold, extras, regions
        self.tally = np.zeros((3, n_classes, 2, PROBABILITY_BINS))
        self.bits, self.n_found = np.zeros(2), 0

    def labels(self, blocks: Iterator[Any], reference: Any) -> Iterator[tuple[int, Array]]:
        """Slabs of labels."""
        from cohortseg.infer.native import labels_from
        from cohortseg.infer.regions import classes_from
        from cohortseg.infer.uncertainty import Entropy

        for block in blocks:
            truth = np.asarray(reference[block.first : block.stop])
            entropy = Entropy() if "uncertainty" in self.extras else None
            probabilities = self._classes(block, truth, entropy)
            if self.regions is not None:
                found = classes_from(probabilities, self.regions.decoded)
            else:
                found = labels_from(probabilities, threshold=self.threshold)
            if entropy is not None:
                for number, bits in enumerate(entropy.parts(block.channel(self.n_classes + 1))):
                    self.extras["uncertainty"][number, block.first : block.stop] = bits
                    self.bits[number] += bits[found > 0].sum(dtype=float)
                self.n_found += int(np.count_nonzero(found))
            yield block.first, found

    def _classes(self, block: Any, truth: Array, entropy: Any) -> Iterator[Array]:
        """The probability of each class in turn, noted on the way."""
        for number in range(self.n_classes + 1):
            found = block.channel(number)
            if number:
                self._count(number, found, truth)
            if "probabilities" in self.extras:
                self.extras["probabilities"][number, block.first : block.stop] = found
            if entropy is not None:
                entropy.add(found)
            yield found

    def _count(self, number: int, found: Array, truth: Array) -> None:
        place = np.minimum((found * PROBABILITY_BINS).astype(np.uint8), PROBABILITY_BINS - 1)
        inside_it = holds(truth, [number] if self.regions is None else self.regions.members[number - 1])
        for belongs, inside in ((0, ~inside_it & (truth != IGNORE)), (1, inside_it)):
            probability = found[inside].astype(np.float64)
            for power, weights in enumerate((None, probability, probability**2)):
                self.tally[power, number - 1, belongs] += np.bincount(place[inside], weights, PROBABILITY_BINS)

    def record(self) -> Record:
        """What the sidecar says of it; the uncertainty is the mean over the voxels found, None where there are none."""
        counts, *sums = self.tally
        tallied = {
            "probabilities": counts.astype(np.int64).tolist(),
            "probability_sums": [one.tolist() for one in sums],
        } | ({} if self.regions is None else {"regions": list(self.regions.names)})
        if "uncertainty" not in self.extras:
            return tallied
        means = [round(float(bits) / self.n_found, 6) if self.n_found else None for bits in self.bits]
        return {
            **tallied,
            "uncertainty": {"entropy_bits": means[0], "disagreement_bits": means[1]},
        }
