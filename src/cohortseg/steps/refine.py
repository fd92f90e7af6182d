"""Kept probabilities and the image of a case -> the label that a dense conditional random field makes of them."""

from pathlib import Path

import numpy as np

from cohortseg.choose import choose
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.settings import CRFSettings
from cohortseg.steps.batch import Record
from cohortseg.volume import Array, Volume

PERCENTILES = (0.5, 99.5)
"""Of the intensities of a case, where the settings name no window."""


def seen_by_field(layout: Layout, case: str, raw: Record, crf: CRFSettings | None) -> Record:
    """Digests of what the random field looks at; none where there is no field, or the method kept no probabilities."""
    kept = raw.get("contents", {}).get("probabilities")
    if crf is None or kept is None:
        return {}
    return {"probabilities": kept, "image": read_json(layout.case(case) / "image.json")["content"]}


def refined(
    layout: Layout, case: str, folder: Path, crf: CRFSettings | None, channels: list[str]
) -> tuple[Volume, Record] | None:
    """The most probable class after the field, of equals the lower, and what the sidecar says; None as `seen_by_field`.

    Memory grows with the number of classes: each voxel's probabilities of all of them are needed at a time.
    """
    if crf is None or not seen_by_field(layout, case, read_json(folder / "raw.json"), crf):
        return None
    if "regions" in read_json(folder / "raw.json"):
        raise StudyError("`postprocess.crf` needs probabilities of classes, this model finds regions")
    from cohortseg.postprocess.dense_crf import Field, mean_field

    kept = store.open_array(folder / "probabilities.zarr")
    grid = store.read_grid(folder / "raw.zarr")
    image = np.stack([_intensities(part, crf) for part in images_for(layout, case, crf, channels)])
    field = Field(
        appearance_weight=crf.appearance_weight,
        appearance_mm=crf.appearance_mm,
        intensity=crf.intensity,
        smooth_weight=crf.smooth_weight,
        smooth_mm=crf.smooth_mm,
        iterations=crf.iterations,
        normalised=crf.normalised,
    )
    found, error = mean_field(np.asarray(kept[:], np.float32), image, spacing_mm=grid.spacing_mm, field=field)
    label = found.argmax(axis=0).astype(np.uint8)
    told = {"kernel_error": float(f"{error:.2g}"), "channels": crf.channels or channels[:1]}
    return Volume(label, grid), told


def images_for(layout: Layout, case: str, crf: CRFSettings, channels: list[str]) -> list[Array]:
    """The channels whose intensities count, without those that the case lacks.

    Raises
    ------
    SettingsError
        When there is no such channel.
    """
    paths = dict(zip(channels, layout.images(case, channels), strict=True))
    missing = read_json(layout.case(case) / "image.json").get("facts", {}).get("missing_channels", [])
    wanted = [choose("channel", name, {name: name for name in paths}) for name in crf.channels or channels[:1]]
    return [store.read_volume(paths[name]).array for name in wanted if name not in missing] or [
        store.read_volume(paths[channels[0]]).array
    ]


def _intensities(image: Array, crf: CRFSettings) -> Array:
    """From 0 to 1 in the window."""
    values = np.asarray(image, np.float32)
    low, high = crf.window or (float(number) for number in np.percentile(values, PERCENTILES))
    if high <= low:
        return np.zeros_like(values)
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0), np.float32)
