"""One stored case in three planes: its image, its reference and predictions as strips of slices.

Whatever the size of a volume, memory holds a slab of it and the slices that are shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cohortseg.ignored import is_labelled
from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.report.content import Plane
from cohortseg.report.planes import PLANES, Box, Turn, box_around, places, sizes_px, turn_of
from cohortseg.report.strips import image_strip, outline_strip
from cohortseg.report.style import label_colours
from cohortseg.settings.cohort import ONE_CHANNEL, RGB
from cohortseg.volume import Array

DISPLAY_WINDOW_PERCENTILES = (1.0, 99.0)
LEAST_WIDTH_HU = 400.0
"""A window made from labelled voxels is widened to that of soft tissue, so that what lies around is seen."""

SLAB = 64
"""Slices read at once: one chunk of the stores."""

THUMBNAIL_PX = 96


@dataclass(frozen=True)
class Wanted:
    """What is shown of an array: a box, the slices along each axis (z, y, x), and the one to begin with."""

    box: Box
    slices: tuple[list[int], ...]
    keys: tuple[int, ...]


def draw_case(
    layout: Layout, case: str, predictions: Sequence[Any], *, n_labels: int, size: tuple[int, int]
) -> tuple[list[Plane], list[list[bytes]]]:
    """The planes of one case, and for each prediction its outlines in these planes.

    Parameters
    ----------
    layout, case : Layout, str
        Where the image and the reference lie; the reference may be missing.
    predictions : sequence of zarr arrays, shape (z, y, x)
        Labels on the grid of the image.
    n_labels : int
        Number of classes.
    size : (int, int)
        Slices of each plane, and pixels of the longest side.
    """
    folder = layout.case(case)
    grid = store.read_grid(folder / "image.zarr")
    turn = turn_of(grid.axes)
    references = [store.open_array(folder / "label.zarr")] if (folder / "label.zarr").exists() else []
    wanted = _wanted([*references, *predictions], grid.shape, grid.spacing_mm, size[0])
    lengths_mm = [(high - low) * step for (low, high), step in zip(wanted.box, grid.spacing_mm, strict=True)]
    sizes = sizes_px(turn.numbers(lengths_mm), size[1])
    shown = _shown(turn, wanted.box)
    colours = label_colours(n_labels)

    def outlines(labels: Sequence[Any], *, is_dashed: bool) -> list[bytes]:
        lines = {number: pair[is_dashed] for number, pair in colours.items()}
        found = _turned(turn, _slices(labels, wanted))
        return [outline_strip(list(found[k]), size_px=sizes[k], colours=lines, is_dashed=is_dashed) for k in shown]

    pieces = _slices(channels_of_image(layout, case), wanted)
    window = window_hu(layout) or display_window(pieces[0])
    images = _turned(turn, pieces)
    solid = outlines(references, is_dashed=False) if references else [b""] * len(shown)
    planes = []
    for k, lines in zip(shown, solid, strict=True):
        picture = image_strip(list(images[k]), window=window, size_px=sizes[k])
        planes.append(_plane(turn, k, wanted, grid.shape, Strips(sizes[k], picture, lines)))
    return planes, [outlines([label], is_dashed=True) for label in predictions]


def thumbnail(layout: Layout, case: str) -> bytes:
    """WebP of the middle slice as stored, 96 pixels along its longer side."""
    grid = store.read_grid(layout.case(case) / "image.zarr")
    middle = grid.shape[0] // 2
    image = displayed(layout, case, middle)
    lengths = [length * step for length, step in zip(grid.shape[1:], grid.spacing_mm[1:], strict=True)]
    height, width = (max(8, round(length / max(lengths) * THUMBNAIL_PX)) for length in lengths)
    return image_strip([image], window=window_hu(layout) or display_window(image), size_px=(height, width))


@dataclass(frozen=True)
class Strips:
    """The pictures of one plane and the size of a slice in them."""

    size_px: tuple[int, int]
    image: bytes
    reference: bytes


def _plane(turn: Turn, axis: int, wanted: Wanted, shape: Sequence[int], strips: Strips) -> Plane:
    stored = turn.order[axis]
    listed = wanted.slices[stored]
    ordered = listed[::-1] if turn.is_flipped[axis] else listed
    numbers = [place + 1 for place in ordered]
    key = ordered.index(wanted.keys[stored])
    return Plane(PLANES[axis], strips.size_px, numbers, shape[stored], key, strips.image, strips.reference)


def _shown(turn: Turn, box: Box) -> list[int]:
    """The planes that have an area: all of a volume, the one of a single picture."""
    lengths = [box[k][1] - box[k][0] for k in turn.order]
    return [k for k in range(3) if min(length for j, length in enumerate(lengths) if j != k) > 1] or [0]


def _wanted(labels: Sequence[Any], shape: Sequence[int], spacing_mm: Sequence[float], n_slices: int) -> Wanted:
    """The box around all labels; the key slices are those with the largest area of the first label that has one."""
    ends: list[tuple[int, int]] | None = None
    keys = [length // 2 for length in shape]
    for label in labels:
        areas = _areas(label)
        if not areas[0].any():
            continue
        here = [(int(hit[0]), int(hit[-1])) for hit in (np.flatnonzero(area) for area in areas)]
        if ends is None:
            ends, keys = here, [int(area.argmax()) for area in areas]
        ends = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(ends, here, strict=True)]
    box = box_around(ends, shape, spacing_mm)
    slices = tuple(places(part, key, n_slices) for part, key in zip(box, keys, strict=True))
    return Wanted(box, slices, tuple(keys))


def _areas(label: Any) -> list[Array]:
    """Number of labelled voxels in each slice along z, y and x."""
    areas = [np.zeros(length, dtype=np.int64) for length in label.shape]
    for low, slab in _slabs(label, (0, label.shape[0])):
        inside = is_labelled(slab)
        areas[0][low : low + len(slab)] = np.count_nonzero(inside, axis=(1, 2))
        areas[1] += np.count_nonzero(inside, axis=(0, 2))
        areas[2] += np.count_nonzero(inside, axis=(0, 1))
    return areas


def _slabs(array: Any, box: tuple[int, int]) -> Iterator[tuple[int, Array]]:
    for low in range(box[0], box[1], SLAB):
        yield low, np.asarray(array[low : min(low + SLAB, box[1])])


def _slices(arrays: Sequence[Any], wanted: Wanted) -> list[Array]:
    """For each axis the box with only the wanted slices along that axis; of several arrays the mean."""
    parts: list[list[Array]] = [[], [], []]
    rows, columns = (slice(*ends) for ends in wanted.box[1:])
    for low, first in _slabs(arrays[0], wanted.box[0]):
        slab = _brightness([first, *(np.asarray(array[low : low + len(first)]) for array in arrays[1:])])
        inside = [place - low for place in wanted.slices[0] if low <= place < low + len(slab)]
        parts[0].append(slab[inside, rows, columns])
        parts[1].append(slab[:, wanted.slices[1], columns])
        parts[2].append(slab[:, rows, wanted.slices[2]])
    return [np.concatenate(part) for part in parts]


def _brightness(channels: Sequence[Array]) -> Array:
    """A single channel as it is; of several the mean."""
    return channels[0] if len(channels) == 1 else np.stack(channels).mean(axis=0, dtype=np.float32)


def displayed(layout: Layout, case: str, place: int) -> Array:
    """One slice as it is stored: of the first channel; of a colour picture the mean of red, green and blue."""
    return _brightness([np.asarray(array[place]) for array in channels_of_image(layout, case)])


def _turned(turn: Turn, pieces: Sequence[Array]) -> list[Array]:
    """For each plane (axial, coronal, sagittal) an array of its slices, shape (slice, row, column)."""
    return [np.moveaxis(turn(pieces[turn.order[k]]), k, 0) for k in range(3)]


def channels_of_image(layout: Layout, case: str) -> list[Any]:
    """The stored arrays to show: the first channel, or red, green and blue of a colour picture."""
    named = read_json(layout.case(case) / "image.json")["facts"].get("channels", {})
    channels = list(RGB) if set(named) == set(RGB) else [ONE_CHANNEL]
    return [store.open_array(path) for path in layout.images(case, channels)]


def window_hu(layout: Layout) -> tuple[float, float] | None:
    """The window in which a CT is shown, by the frozen plan: that of the settings, else that of the labelled voxels.

    None where the first channel is no CT, or the plan has no window, or there is no plan.
    """
    plan = read_json(layout.plan) if layout.plan.exists() else {}
    first = next(iter(plan.get("channels", ())), "")
    chosen = plan.get("normalisation", {}).get(first, {})
    if plan.get("modality", {}).get(first) != "CT" or chosen.get("name") not in ("window", "ct"):
        return None
    low, high = float(chosen["numbers"]["low"]), float(chosen["numbers"]["high"])
    wider = max(0.0, LEAST_WIDTH_HU - (high - low)) / 2 if chosen["name"] == "ct" else 0.0
    return low - wider, high + wider


def display_window(image: Array) -> tuple[float, float]:
    """Intensities shown black and white: the middle 98 %; NaN does not count."""
    defined = image[np.isfinite(image)] if np.issubdtype(image.dtype, np.floating) else image
    if not defined.size:
        return 0.0, 1.0
    low, high = np.percentile(defined.astype(np.float32), DISPLAY_WINDOW_PERCENTILES)
    return float(low), float(high if high > low else low + 1)
