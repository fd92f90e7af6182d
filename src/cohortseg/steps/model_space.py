"""What several steps know about model space: the plan as a file, and the model-space store."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cohortseg.choose import choose
from cohortseg.errors import SettingsError, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, write_json
from cohortseg.layout import Layout
from cohortseg.preprocess.plan import VERSION
from cohortseg.settings import UNetMethod
from cohortseg.settings.regions import decoded_as
from cohortseg.stages import ExperimentStage, TrialStage
from cohortseg.volume import Array, Shape

if TYPE_CHECKING:
    from cohortseg.infer.regions import Regions


def write_plan(layout: Layout, plan: dict[str, Any]) -> None:
    """Write the plan."""
    write_json(layout.plan, plan)


def read_plan(layout: Layout, resolution: str | None = "full") -> tuple[dict[str, Any], str]:
    """The plan of a resolution and its digest: edited by hand it has another one, and what depends on it is made again.

    Without a resolution it is all that stands in the file.

    Raises
    ------
    StudyError
        When another version made the plan, or it has no such resolution.
    """
    plan: dict[str, Any] = read_json(layout.plan)
    if plan.get("version") != VERSION:
        raise StudyError("plan.json was made by another version of cohortseg; remove it, the next run plans again")
    if resolution is not None:
        plan = plan_at(plan, resolution)
    return plan, digest(plan)


OF_A_RESOLUTION = ("spacing_mm", "shape", "patch", "network", "batch")
"""What a plan says once for each resolution."""


def plan_at(plan: dict[str, Any], resolution: str) -> dict[str, Any]:
    """What a plan says to networks of a resolution: nothing of the other one.

    Raises
    ------
    StudyError
        When the plan has no low resolution.
    """
    rest = {key: value for key, value in plan.items() if key != "low_resolution"}
    if resolution == "full":
        return rest
    low = plan.get("low_resolution")
    if low is None:
        raise StudyError("plan.json is from before there was a low resolution; remove it, the next run plans again")
    if "spacing_mm" not in low:
        raise StudyError(f"no low resolution: {low['because']}; to have one all the same name `plan.low_spacing_mm`")
    return rest | {key: low[key] for key in OF_A_RESOLUTION}


PACKAGE_FORMAT = 1
"""Of a model package."""


def read_package(folder: Path) -> dict[str, Any]:
    """The list of what is in a model package (`model.json`).

    Raises
    ------
    StudyError
        When there is none, or another version made it.
    """
    path = folder / "model.json"
    if not path.is_file():
        raise StudyError(f"no model package in {folder.name!r}: `cohortseg package` makes one")
    package: dict[str, Any] = read_json(path)
    if package.get("format") != PACKAGE_FORMAT:
        raise StudyError(f"the model package {folder.name!r} was made by another version of cohortseg")
    return package


def check_channels(plan: dict[str, Any], channels: list[str]) -> None:
    """A frozen plan serves the channels it was made for.

    Raises
    ------
    SettingsError
        When the settings now name others, or in another order.
    """
    if plan["channels"] != channels:
        raise SettingsError(
            f"cohort.channels: the frozen plan is for {', '.join(plan['channels'])}, the settings name "
            f"{', '.join(channels)}; remove plan.json, the next run plans again"
        )


def patch_zyx(plan: dict[str, Any]) -> Shape:
    """The patch of a plan with three axes; a plane is one voxel thick."""
    patch = plan["patch"]["value"]
    return (1, patch[0], patch[1]) if plan["dims"] == 2 else (patch[0], patch[1], patch[2])


def at_least_one_row(sample: Array) -> Array:
    """Zarr cannot hold an array of no rows in chunks of one; a row of class 0 stands for none."""
    return sample if len(sample) else np.zeros((1, 4), dtype=np.int32)


def read_foreground(prepared: Path) -> Array:
    """The sampled foreground voxels of a model-space store: int32 rows (class, z, y, x)."""
    rows: Array = np.asarray(store.open_array(prepared, "foreground")[:])
    return rows[rows[:, 0] > 0]


def regions_of(settings: ExperimentStage | TrialStage) -> "Regions | None":
    """The regions that the networks of an experiment find; None where they find classes."""
    if not settings.regions:
        return None
    from cohortseg.infer.regions import Regions

    numbers = {name: number for number, name in enumerate(settings.classes, start=1)}
    members = [[numbers[member] for member in own] for own in settings.regions.values()]
    decoded = [numbers[name] for name in decoded_as(settings.regions, settings.classes)]
    return Regions(list(settings.regions), members, decoded)


def network_of(
    plan: dict[str, Any],
    method: UNetMethod,
    n_classes: int,
    features: Sequence[int] | None = None,
    *,
    n_inputs: int | None = None,
) -> tuple[str, dict[str, Any]]:
    """The architecture of a trained method and the arguments of its builder.

    `features` are those of the planned U-Net (the plan's where absent); a network of a paper has its own. With
    `n_inputs` it makes an image of so many channels.
    """
    from cohortseg.infer.networks import ENCODERS

    # A network that finds regions has one for each class, and none for the background.
    n_out = n_classes + (method.targets == "classes")
    # A cascade gives it the label of another network, a channel for each class.
    n_in = len(plan["channels"]) + (n_classes if method.cascade is not None else 0)
    sizes = {"dims": plan["dims"], "in_channels": n_in, "out_channels": n_out}
    if n_inputs is not None:
        sizes |= {"in_channels": n_inputs, "out_channels": 1}
    if method.architecture is not None:
        options = method.architecture.model_dump(exclude={"name"}, exclude_none=True)
        return method.architecture.name, sizes | options
    levels = plan["network"]["levels"]
    widths = list(features or method.features or [level["features"] for level in levels])
    levels = (levels + [levels[-1]] * len(widths))[: len(widths)]
    return "unet", sizes | {
        "features": widths,
        "strides": [level["stride"] for level in levels],
        "kernels": [level["kernel"] for level in levels],
        "blocks": choose("encoder", method.encoder, ENCODERS).blocks,
        "deep_supervision": method.deep_supervision,
    }


def model_spacing_mm(plan: dict[str, Any]) -> tuple[float, ...]:
    """Voxel size along the axes the network sees: rotations must know that thick slices are thick."""
    return tuple(float(size) for size in plan["spacing_mm"]["value"][3 - plan["dims"] :])
