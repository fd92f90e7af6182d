"""The numbered objects of a cleaned label: a store beside it, made by the step `postprocess`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.settings.results import InstanceSettings
from cohortseg.volume import Volume

STORE = "instances.zarr"


def write_objects(
    folder: Path, label: Volume, settings: InstanceSettings | None, n_classes: int, things: Sequence[int] | None = None
) -> dict[str, Any]:
    """Write `instances.zarr` beside `post.zarr`; what the sidecar says of it: nothing where none are asked for.

    Of the classes `things` alone, where these are given. By probability where the settings say so and the method kept
    it for classes, else by the distance.
    """
    from cohortseg.postprocess.instances import by_distance, by_probability, objects_by_class, whole

    store.remove(folder / STORE)
    if settings is None:
        return {}
    probabilities = folder / "probabilities.zarr"
    is_kept = probabilities.exists() and "regions" not in read_json(folder / "raw.json")
    rule = settings.rule if settings.rule != "probability" or is_kept else "watershed"

    def part(value: int) -> Any:
        if rule == "components":
            return whole
        if rule == "probability":
            kept = np.asarray(store.channels_of(store.open_array(probabilities))[value][(slice(None),)])
            return by_probability(kept, marker=settings.marker)
        spacing_mm = label.grid.spacing_mm
        return by_distance(spacing_mm=spacing_mm, depth_mm=settings.depth_mm, smooth_mm=settings.smooth_mm)

    counted = label.array if things is None else np.where(np.isin(label.array, things), label.array, 0)
    ids = objects_by_class(counted, n_classes, part)
    content = store.write_volume(folder / STORE, Volume(ids, label.grid), name="instances")
    return {"contents": {"instances": content}, "n_instances": int(ids.max(initial=0)), "told_apart_by": rule}
