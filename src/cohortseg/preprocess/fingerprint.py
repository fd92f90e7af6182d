"""The fingerprint of one case: its size, foreground and the intensities of each channel, measured slab by slab.

Integer images are counted exactly, one bin a value; float images in 4096 bins between their extremes. A fingerprint is
plain numbers, ready for JSON, and enough to make a plan from without looking at a voxel again.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.blocks import DEFAULT_BLOCK, Readable, read, write_unit
from cohortseg.errors import Rejected
from cohortseg.ignored import IGNORE, is_labelled
from cohortseg.preprocess.histogram import EXACT_BINS, FLOAT_BINS, Bins, Counts, Tally, statistics, stored, tally
from cohortseg.volume import Array, Grid

WORK_VOXELS = 2_000_000
"""Voxels counted at once: bounds the memory of the index arrays, whatever the size of a slab."""


def case_fingerprint(
    images: Mapping[str, Readable | None], label: Readable | None, grid: Grid, *, n_classes: int
) -> dict[str, Any]:
    """Measure one case without holding it.

    Parameters
    ----------
    images : mapping of channel name to array-like, shape (z, y, x)
        Intensities; integers are read once, floats twice. None for a channel that the case lacks.
    label : array-like of integers, shape (z, y, x), or None
        Class numbers, 0 is the background. Voxels of `IGNORE` belong to neither.
    grid : Grid
        The grid of them all; a picture is one plane.
    n_classes : int
        Number of classes without the background: values 1 .. n_classes.

    Returns
    -------
    dict
        ``shape``, ``spacing_mm``; ``channels`` with the numbers of `channel_fingerprint` by name, None for a channel
        that is lacking; ``voxels`` and ``volume_ml`` per class, the background first, and ``foreground_box`` (first and
        behind-last index), all None without a label.

    Raises
    ------
    ValueError
        When an array does not have the grid's shape.
    Rejected
        NOT_A_NUMBER for NaN or infinity in a channel, LABEL_VALUES for a label value beyond `n_classes`.
    """
    for array in (*images.values(), label):
        if array is not None and tuple(array.shape) != grid.shape:
            raise ValueError(f"array has shape {tuple(array.shape)}, its grid {grid.shape}")
    return {
        "shape": list(grid.shape),
        "spacing_mm": list(grid.spacing_mm),
        **_label_facts(label, grid, n_classes),
        "channels": {
            name: None if image is None else channel_fingerprint(image, label) for name, image in images.items()
        },
    }


def channel_fingerprint(image: Readable, label: Readable | None) -> dict[str, Any]:
    """Intensities of one channel.

    Parameters
    ----------
    image : array-like, shape (z, y, x)
        Intensities; integers are read once, floats twice.
    label : array-like of integers, same shape, or None
        The foreground is where it holds a class.

    Returns
    -------
    dict
        ``intensity`` of the groups `whole`, `nonzero` and `foreground` (min, max, mean, sd and percentiles; exact for
        integers, percentiles to one bin for floats; None for an empty group); ``histogram`` of `whole` and
        `foreground` (lower edge, width, counts); ``zero_share``.

    Raises
    ------
    Rejected
        NOT_A_NUMBER for NaN or infinity.
    """
    bins = _bins(image)
    groups = {name: tally(np.empty(0), bins) for name in ("whole", "nonzero", "foreground")}
    for _, (part, *classes) in slabs(image, *([] if label is None else [label])):
        groups["whole"] += tally(part, bins)
        if not bins.exact:  # of exact counts the zeros are known afterwards
            groups["nonzero"] += tally(part[part != 0], bins)
        if classes and (inside := is_labelled(classes[0])).any():
            groups["foreground"] += tally(part[inside], bins)
    if bins.exact:
        groups["nonzero"] = Tally(np.where(bins.centres() == 0, 0, groups["whole"].counts))
    n_voxels = int(groups["whole"].counts.sum())
    return {
        "intensity": {name: statistics(group, bins) for name, group in groups.items()},
        "histogram": {name: stored(groups[name].counts, bins) for name in ("whole", "foreground")},
        "zero_share": 1.0 - int(groups["nonzero"].counts.sum()) / n_voxels,
    }


def _label_facts(label: Readable | None, grid: Grid, n_classes: int) -> dict[str, Any]:
    """Voxels and ml per class, and the box of the foreground."""
    if label is None:
        return {"voxels": None, "volume_ml": None, "foreground_box": None}
    voxels = np.zeros(n_classes + 1, np.int64)
    box = np.array([grid.shape, (0, 0, 0)])
    for z, (classes,) in slabs(label):
        counts = _count_classes(classes, n_classes)
        voxels += counts
        if counts[1:].any():
            _extend(box, is_labelled(classes), z)
    return {
        "voxels": voxels.tolist(),
        "volume_ml": (voxels * grid.voxel_ml).tolist(),
        "foreground_box": box.tolist() if voxels[1:].any() else None,
    }


def foreground_sample(label: Readable, *, n_classes: int, per_class: int = 2000, seed: int) -> npt.NDArray[np.int32]:
    """Voxels of each class, drawn uniformly and without replacement.

    The label is read twice, slab by slab: to count, then to pick the voxels whose rank within their class was drawn.
    The result does not depend on the slabs.

    Parameters
    ----------
    label : array-like of integers, shape (z, y, x)
        Class numbers, 0 is the background.
    n_classes : int
        Number of classes without the background.
    per_class : int
        Voxels per class; all of them where a class has fewer.
    seed : int
        Seed of the draw.

    Returns
    -------
    int32 array, shape (n, 4)
        Rows (class, z, y, x), in that order; shape (0, 4) without foreground.

    Raises
    ------
    Rejected
        LABEL_VALUES for a value beyond `n_classes`.
    """
    counts = np.zeros(n_classes + 1, np.int64)
    for _, (part,) in slabs(label):
        counts += _count_classes(part, n_classes)
    wanted = [_drawn_ranks(int(count), per_class, (seed, value)) for value, count in enumerate(counts)]
    seen = np.zeros(n_classes + 1, np.int64)
    rows: list[list[npt.NDArray[np.int32]]] = [[] for _ in counts]
    for z, (part,) in slabs(label):
        for value, places in _places_by_class(part):
            ranks = wanted[value]
            first, last = np.searchsorted(ranks, (seen[value], seen[value] + places.size))
            chosen = np.unravel_index(places[ranks[first:last] - seen[value]], part.shape)
            rows[value].append(np.stack([np.full(last - first, value), chosen[0] + z, *chosen[1:]], 1).astype(np.int32))
            seen[value] += places.size
    return np.concatenate([np.empty((0, 4), np.int32), *(row for of_class in rows[1:] for row in of_class)])


def slabs(*arrays: Readable) -> Iterator[tuple[int, list[Array]]]:
    """Groups of whole planes of arrays of one shape: first z, and the voxels of each array.

    They are read one chunk of the first array thick and handed out in pieces of `WORK_VOXELS`.
    """
    planes, rows, columns = arrays[0].shape
    depth = (write_unit(arrays[0]) or DEFAULT_BLOCK)[0]
    step = max(1, WORK_VOXELS // (rows * columns))
    for z in range(0, planes, depth):
        region = (slice(z, min(z + depth, planes)), slice(0, rows), slice(0, columns))
        held = [read(array, region) for array in arrays]
        for first in range(0, len(held[0]), step):
            yield z + first, [part[first : first + step] for part in held]


def _bins(image: Readable) -> Bins:
    """Bins that hold every value of the image."""
    dtype = np.dtype(image.dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return Bins(limits.min - 0.5, 1.0, limits.max - limits.min + 1, exact=True)
    low, high = _extremes(image)
    if dtype.kind in "iub" and high - low < EXACT_BINS:
        return Bins(low - 0.5, 1.0, int(high - low) + 1, exact=True)
    return Bins(low, (high - low) / FLOAT_BINS or 1.0, FLOAT_BINS, exact=False)


def _extremes(image: Readable) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for _, (part,) in slabs(image):
        low, high = np.minimum(low, part.min()), np.maximum(high, part.max())  # both keep a NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Rejected("NOT_A_NUMBER", f"intensities range from {low} to {high}")
    return float(low), float(high)


def _count_classes(classes: Array, n_classes: int) -> Counts:
    judged = classes[classes != IGNORE]
    if judged.size and (judged.min() < 0 or judged.max() > n_classes):
        raise Rejected("LABEL_VALUES", f"values from {judged.min()} to {judged.max()}, {n_classes} classes are named")
    return np.bincount(judged, minlength=n_classes + 1).astype(np.int64)


def _extend(box: npt.NDArray[np.int64], mask: Array, z: int) -> None:
    """Grow the box (first, behind last) so that it holds the mask, whose first plane is z."""
    for axis, shift in enumerate((z, 0, 0)):
        hit = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        if hit.size:
            box[0, axis] = min(box[0, axis], hit[0] + shift)
            box[1, axis] = max(box[1, axis], hit[-1] + 1 + shift)


def _drawn_ranks(count: int, wanted: int, seed: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Sorted ranks (0 .. count-1) of the voxels to keep; none of the background."""
    if seed[1] == 0:
        return np.empty(0, np.int64)
    ranks = np.random.default_rng(seed).choice(count, size=min(count, wanted), replace=False, shuffle=False)
    return np.sort(ranks)


def _places_by_class(classes: Array) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Each foreground class of a slab with the flat places of its voxels, in order."""
    flat = classes.ravel()
    places = np.flatnonzero(is_labelled(flat))
    by_class = np.argsort(flat[places], kind="stable")
    values, firsts = np.unique(flat[places][by_class], return_index=True)
    for value, group in zip(values, np.split(places[by_class], firsts)[1:], strict=True):
        yield int(value), group
