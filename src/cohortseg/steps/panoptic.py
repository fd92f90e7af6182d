"""Segments of the classes of a case, found and in the reference: numbered objects, or components where none are."""

from pathlib import Path

import numpy as np

from cohortseg.io import store
from cohortseg.layout import Layout
from cohortseg.metrics.panoptic import panoptic_counts, record_of
from cohortseg.settings import PanopticSettings
from cohortseg.steps.objects import STORE
from cohortseg.volume import Array, Volume


def segments_matched(
    layout: Layout, case: str, folder: Path, reference: Volume, classes: list[str], settings: PanopticSettings
) -> dict[str, list[list[float]]]:
    """Counts of `metrics.panoptic` of each class, for the raw label (by components) and the cleaned one."""
    things = [classes.index(name) + 1 for name in settings.things]
    known = layout.instances(case)
    ours = store.read_volume(known).array if known.exists() else _components(reference.array, len(classes))
    found = {}
    for stage in ("raw", "post"):
        label = store.read_volume(folder / f"{stage}.zarr").array
        numbered = stage == "post" and (folder / STORE).exists()
        theirs = store.read_volume(folder / STORE).array if numbered else _components(label, len(classes))
        counts = panoptic_counts(reference.array, ours, label, theirs, n_classes=len(classes), things=things)
        found[stage] = record_of(counts)
    return found


def _components(label: Array, n_classes: int) -> Array:
    from cohortseg.postprocess.instances import objects_by_class, whole

    return objects_by_class(np.where(label > n_classes, 0, label), n_classes, lambda _: whole)
