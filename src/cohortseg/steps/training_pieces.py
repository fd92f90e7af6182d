"""What one training is made of: cases, network, patches, validation and recipe."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cohortseg.choose import choose
from cohortseg.infer.device import take_device
from cohortseg.infer.extent import Extent
from cohortseg.infer.networks import extent_of, tile_for
from cohortseg.infer.regions import Regions
from cohortseg.io import store
from cohortseg.io.sidecar import read_sidecar
from cohortseg.layout import Layout
from cohortseg.settings import SynthesisSettings, UNetMethod
from cohortseg.steps.batch import log
from cohortseg.steps.image_pairs import TARGET, with_target
from cohortseg.steps.model_space import model_spacing_mm, network_of, patch_zyx, read_foreground
from cohortseg.steps.objective import changing
from cohortseg.steps.taught import REFERENCES, Taught, training_case
from cohortseg.train.augment import AUGMENTATIONS, augment
from cohortseg.train.augment_cascade import change_with_label
from cohortseg.train.boxes import boxed_cases
from cohortseg.train.patches import Case, PatchSource, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.sparse import sparse_cases
from cohortseg.train.team import ALONE, Share, Team
from cohortseg.train.validate import validation
from cohortseg.train.validate_images import validation_of_images
from cohortseg.volume import Shape

VALIDATION_CASES, VALIDATION_VOXELS = 6, 150_000
"""What one point of the training curve may cost; the real measure of a model is `evaluate`."""
CACHE_MB = 2048.0
"""Decoded training cases kept in memory; of the others only patches are read."""


def usable(
    layout: Layout,
    names: list[str],
    task: SynthesisSettings | None = None,
    labels: Taught = REFERENCES,
    *,
    resolution: str = "full",
) -> list[str]:
    """The members that are there, were not rejected and have a label, given or their own, or the image to be made."""
    found = []
    for name in names:
        record = read_sidecar(layout.prepared(name, resolution).with_suffix(".json"))
        image = read_sidecar(layout.case(name) / "image.json")
        if record is None or image is None or record["status"] != "ok":
            log(f"{name}: not used ({'gone' if record is None else record['reason']})")
        elif name in labels.left_out:
            log(f"{name}: not used (no label from the source)")
        elif with_target(layout, [name], task.target) if task else _is_labelled(image, name, labels):
            found.append(name)
    return found


def _is_labelled(image: dict[str, Any], name: str, labels: Taught) -> bool:
    return image["contents"]["label"] is not None or name in labels.stores


@dataclass(frozen=True)
class Pieces:
    """What one training is made of, from settings, plan and members."""

    layout: Layout
    method: UNetMethod
    plan: dict[str, Any]
    classes: list[str]
    used: dict[str, list[str]]
    seed: int
    team: Team = ALONE
    device: Any = None
    task: SynthesisSettings | None = None
    regions: Regions | None = None
    labels: Taught = REFERENCES
    before: Mapping[str, Path] = field(default_factory=dict)

    def cases(self, role: str) -> list[Case]:
        """Images in model space with what is to be made of them: an image, or labels, in training also given ones."""
        if self.task is None:
            given = self.labels.stores if role == "train" else {}
            how: dict[str, Any] = {
                "resolution": self.method.resolution,
                "before": self.before,
                "n_classes": len(self.classes),
            }
            return [training_case(self.layout, name, given.get(name), **how) for name in self.used[role]]
        paths = [self.layout.case(name) / "prepared.zarr" for name in self.used[role]]
        return [Case(store.open_array(path), store.open_array(path, TARGET), read_foreground(path)) for path in paths]

    def take_device(self) -> AbstractContextManager[Any]:
        """The device for the length of a `with` block."""
        return nullcontext(self.device) if self.device is not None else take_device(lock_dir=self.layout.locks)

    @property
    def share(self) -> Share | None:
        """The rows of each batch that this process computes."""
        return self.team.share(self.batch_size, self.method.accumulate)

    def network(self, features: Sequence[int]) -> tuple[str, dict[str, Any]]:
        """The name of the architecture and the arguments of its builder."""
        n_inputs = None if self.task is None else len(self.task.inputs_among(self.plan["channels"]))
        return network_of(self.plan, self.method, len(self.classes), features, n_inputs=n_inputs)

    @property
    def sizes(self) -> tuple[Extent, Shape]:
        """What goes through the network, and the voxels that a patch of it sees."""
        planned = [level["features"] for level in self.plan["network"]["levels"]]
        name, arguments = self.network(list(self.method.features or planned))
        return extent_of(name, arguments), tile_for(name, arguments, patch_zyx(self.plan))

    @property
    def result_sizes(self) -> dict[str, Any]:
        """Dimensions, classes with the background, and size of what the network gives of a patch."""
        dims, (extent, patch) = self.plan["dims"], self.sizes
        return {"dims": dims, "n_classes": len(self.classes) + 1, "size": extent.output_size(patch[3 - dims :])}

    @property
    def batch_size(self) -> int:
        """Patches per step."""
        return int(self.method.batch or self.plan["batch"]["value"])

    @property
    def labelled_cases(self) -> list[Any]:
        """The training cases with their labels, or with what boxes say of them."""
        return boxed_cases(self.cases("train"), self.method.boxes, by_slice=self.plan["dims"] == 2)

    def source(self) -> PatchSource:
        """Patches of the training cases."""
        return patch_source(
            sparse_cases(self.labelled_cases, self.method.annotated_every),
            patch=self.sizes[1],
            batch_size=self.batch_size,
            foreground_share=self.method.foreground_share,
            negative_share=self.method.negative_share,
            balance=self.method.balance,
            seed=self.seed,
            share=self.share,
            cache_mb=CACHE_MB,
        )

    def validate(self, precision: str) -> Callable[[Any], dict[str, float]]:
        """The measure of the training curve."""
        options: dict[str, Any] = {
            "patch": self.sizes[1],
            "extent": self.sizes[0],
            "loss": self.recipe(1, precision).loss,
            "n_cases": VALIDATION_CASES,
            "max_voxels": VALIDATION_VOXELS,
            "overlap": 0.0,
            "precision": precision,
        }
        if self.task is not None:
            low, high = self.task.range
            return validation_of_images(self.cases("validation"), unit=high - low, **options)
        return validation(self.cases("validation"), n_classes=len(self.classes) + 1, regions=self.regions, **options)

    def recipe(self, steps: int, precision: str) -> Recipe:
        """What is computed."""
        method, spacing_mm = self.method, model_spacing_mm(self.plan)
        change = partial(augment, spacing_mm=spacing_mm, share=self.share)
        if method.cascade is not None:
            change = partial(change_with_label, change, n_classes=len(self.classes), share=self.share)
        how = choose("augmentation", method.augmentation, AUGMENTATIONS)
        return Recipe(
            **changing(
                method,
                n_classes=len(self.classes),
                spacing_mm=spacing_mm,
                epoch_steps=len(self.used["train"]) / self.batch_size,
                regions=self.regions,
            ),
            steps=steps,
            learning_rate=method.learning_rate,
            weight_decay=method.weight_decay,
            seed=self.seed,
            optimiser=method.optimiser,
            precision=precision,
            gradient_clip=method.gradient_clip,
            augmentation=lambda images, labels, *, seed: change(images, labels, how, seed=seed),
            validate_every=method.validate_every,
            ema_decay=method.ema_decay,
            keep=method.keep,
            accumulate=method.accumulate,
            patience=method.patience,
            channels_last=method.channels_last,
            compile=method.compile,
        )
