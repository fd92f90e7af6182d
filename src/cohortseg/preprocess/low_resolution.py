"""A coarser model space, where a patch at full resolution sees little: a patch there holds a quarter of the usual case.

The rule is that of nnU-Net (Isensee et al. 2021; the share, the steps and the order of the axes as in its version 2).
"""

import math
from collections.abc import Callable
from typing import Any

from cohortseg.errors import SettingsError
from cohortseg.preprocess.patch import Geometry
from cohortseg.volume import Shape, Triple

QUARTER = 0.25
"""Share of the voxels of the usual case that a patch holds at low resolution."""
STEP = 1.03
"""Factor by which voxels are made coarser at a time."""
FINE = 2.0
"""Axes whose voxels are smaller than the largest by more than this factor are made coarser first."""
WORTH_IT = 2.0
"""Voxels at full over those at low resolution below which there is nothing to gain."""

Plan = Callable[[Triple, Shape], Geometry]
"""The network for a voxel size and the shape of the usual case in such voxels."""


def low_resolution(
    spacing_mm: Triple,
    shape: Shape,
    patch: tuple[int, ...],
    *,
    plan: Plan,
    describe: Callable[[Geometry], dict[str, Any]],
    wanted_mm: Triple | None = None,
) -> dict[str, Any]:
    """What a plan says of its low resolution.

    Parameters
    ----------
    spacing_mm, shape : (z, y, x)
        Voxel size at full resolution and the usual case in these voxels.
    patch : tuple of int
        Patch at full resolution.
    plan : callable
        The network for another voxel size and shape.
    describe : callable
        What the plan says of a network.
    wanted_mm : (float, float, float), optional
        Voxel size that the settings ask for; by the rule when left out.

    Returns
    -------
    dict
        ``share`` of the usual case that a patch holds at full resolution, and ``because``. Where there is a low
        resolution also its ``spacing_mm``, ``shape`` and what `describe` says.

    Raises
    ------
    SettingsError
        When the voxel size asked for is finer along an axis than the full resolution.
    """
    share = min(1.0, math.prod(patch) / math.prod(shape))
    held = f"at full resolution a patch holds {100.0 * share:.3g} % of the usual image"
    if wanted_mm is not None:
        coarse, why = wanted_mm, "the settings say so"
        if any(new < old * (1.0 - 1e-6) for new, old in zip(coarse, spacing_mm, strict=True)):
            full = ", ".join(f"{size:.4g}" for size in spacing_mm)
            raise SettingsError(f"plan.low_spacing_mm: along no axis finer than the full resolution ({full} mm)")
    else:
        coarse = coarser(spacing_mm, shape, patch, plan)
        why = "coarser by 3 % at a time, much finer axes first, until a patch holds a quarter of the usual image"
    gain = math.prod(coarse) / math.prod(spacing_mm)
    if wanted_mm is None and (share >= QUARTER or gain < WORTH_IT):
        reason = "no less than a quarter" if share >= QUARTER else "so nearly a quarter that little could be gained"
        return {"share": share, "because": f"{held}, {reason}: a low resolution and a cascade are not needed"}
    size = shape_at(coarse, spacing_mm, shape)
    advice = "no less than a quarter, but the settings ask for a low resolution"
    if share < QUARTER:
        advice = (
            "less than a quarter: an experiment with `resolution: low` sees more of it, and one with `cascade` learns "
            "from what that one finds (Isensee et al. 2021)"
        )
    return {
        "share": share,
        "because": f"{held}, {advice}",
        "spacing_mm": {"value": list(coarse), "because": why},
        "shape": {"value": list(size), "because": "median over cases after resampling"},
        **describe(plan(coarse, size)),
    }


def coarser(spacing_mm: Triple, shape: Shape, patch: tuple[int, ...], plan: Plan) -> Triple:
    """The voxel size at which a patch holds a quarter of the usual case; as it is where a patch does so already."""
    coarse, held = spacing_mm, math.prod(patch) / math.prod(shape)
    while held < QUARTER:
        fine = [axis for axis, size in enumerate(coarse) if max(coarse) / size > FINE] or [0, 1, 2]
        z, y, x = (size * STEP if axis in fine else size for axis, size in enumerate(coarse))
        coarse = (z, y, x)
        voxels = math.prod(shape) * math.prod(spacing_mm) / math.prod(coarse)
        held = math.prod(plan(coarse, shape_at(coarse, spacing_mm, shape)).patch) / voxels
    return coarse


def shape_at(coarse_mm: Triple, spacing_mm: Triple, shape: Shape) -> Shape:
    """The usual case in other voxels."""
    z, y, x = (max(1, round(n * old / new)) for n, old, new in zip(shape, spacing_mm, coarse_mm, strict=True))
    return z, y, x
