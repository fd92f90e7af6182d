"""What several steps know about model space: the plan as a file, and the model-space store."""

from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, write_json
from cohortseg.layout import Layout
from cohortseg.volume import Array, Shape


def write_plan(layout: Layout, plan: dict[str, Any]) -> None:
    """Write the plan."""
    write_json(layout.plan, plan)


def read_plan(layout: Layout) -> tuple[dict[str, Any], str]:
    """The plan and its digest: a plan edited by hand has another one, and what depends on it is made again."""
    plan: dict[str, Any] = read_json(layout.plan)
    return plan, digest(plan)


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
