"""All metrics of one label of a case that is larger than the memory: the numbers of `case.measure_case`, slab by slab.

Voxels, lesions, bands and outlines are counted slab by slab, with as many slices around as each of them looks at, so
the numbers are the same. So are distances, but for two things: they are always searched (`nearest`), in double
precision, also between masks of noise, where the whole image would be mapped in single precision (1e-6 of a distance);
and where two voxels are equally near, the last binary digit may be that of the other.

Memory follows one slab and the surfaces and runs of both masks, not the voxels of the image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cohortseg.metrics.bits import Bits, Indices, Mask, Words, count, pack_pair
from cohortseg.metrics.boundary import added_path, within
from cohortseg.metrics.case import CaseMeasures, Parts, measures_of, named_lengths
from cohortseg.metrics.lesion_scores import scores_of
from cohortseg.metrics.lesions import Side, match_sides
from cohortseg.metrics.nearest import Floats, indices_of, look_around, reach, search
from cohortseg.metrics.overlap import Counts
from cohortseg.metrics.runs import Runs, components_of_runs, find_runs, joined
from cohortseg.metrics.surface import TOLERANCE_SLACK, SurfaceDistances, surface
from cohortseg.volume import Shape, Triple

Reader = Callable[[int, int], tuple[Mask, Mask]]
"""Gives the slices from one to before another of reference and prediction."""

SLAB = 64
"""Slices looked at together: one chunk of the stores."""
MOST_ENDS = 1_000_000
"""Voxels of one search tree; of larger surfaces those near by are searched first."""


@dataclass
class Surfaces:
    """The surface voxels of one mask, in index order: where they lie, and how far the other surface is.

    `distances_mm` is negative where the neighbourhood did not tell.
    """

    index: list[Indices] = field(default_factory=list)
    distances_mm: list[Floats] = field(default_factory=list)


@dataclass
class Sums:
    """What adds up from slab to slab."""

    both: int = 0
    reference: int = 0
    prediction: int = 0
    added_path: int = 0
    bands: dict[float, tuple[int, int]] = field(default_factory=dict)


def measure_by_slabs(  # noqa: PLR0913 (each has its name)
    read: Reader,
    shape: Shape,
    *,
    spacing_mm: Triple,
    nsd_tolerance_mm: float,
    boundary_band_mm: float = 2.0,
    trimap_bands_mm: tuple[float, ...] = (),
    probability: Any = None,
    n_not_judged: int = 0,
    slab: int = SLAB,
) -> CaseMeasures:
    """Every metric of one label, as `case.measure_case` has them.

    Parameters
    ----------
    read : callable
        Gives the slices from `first` to before `last` of reference and prediction, two bool arrays (z, y, x); each
        slice is asked for once, in order.
    shape : (int, int, int)
        Voxels of the image along z, y, x.
    slab : int
        Slices looked at together.

    The others, what is returned and what is raised: see there.
    """
    named = named_lengths(spacing_mm, nsd_tolerance_mm, boundary_band_mm, trimap_bands_mm)
    widths = (boundary_band_mm, *trimap_bands_mm)
    # One slice more than is looked at: what its own surface is must be known.
    halo = 1 + max(int(reach(spacing_mm)[0]), *(int(w * (1 + TOLERANCE_SLACK) / spacing_mm[0]) for w in widths))
    sums, surfaces = Sums(), (Surfaces(), Surfaces())
    runs: tuple[list[Runs], list[Runs]] = [], []
    for window in _windows(read, shape, slab, halo):
        _add(sums, window, widths, spacing_mm)
        for side in (0, 1):
            runs[side].append(window.runs(side))
        _add_surfaces(surfaces, window, spacing_mm)
    n_voxels = shape[0] * shape[1] * shape[2] - n_not_judged
    counts = Counts(
        sums.both,
        sums.prediction - sums.both,
        sums.reference - sums.both,
        n_voxels - sums.prediction - sums.reference + sums.both,
    )
    ours, theirs = _side(runs[0]), _side(runs[1])
    parts = Parts(
        counts=counts,
        distances=_distances(surfaces, counts, spacing_mm, shape[0]),
        lesions=match_sides(ours, theirs),
        boundary_jaccards={
            width: sums.bands[width][0] / sums.bands[width][1] if counts.reference else float("nan") for width in widths
        },
        added_path_mm=sums.added_path * (spacing_mm[1] + spacing_mm[2]) / 2.0,
        scores=None if probability is None else scores_of(theirs, probability, shape[0]),
    )
    return measures_of(parts, spacing_mm, named, trimap_bands_mm, n_not_judged)


def _side(parts: list[Runs]) -> Side:
    runs = joined(parts)
    parts.clear()
    return Side(runs, *components_of_runs(runs))


@dataclass(frozen=True)
class Window:
    """The slices `first` to before `last` of both masks, with those around from `low` on."""

    masks: tuple[Bits, Bits]
    low: int
    first: int
    last: int

    @property
    def core(self) -> slice:
        """The slices without those around."""
        return slice(self.first - self.low, self.last - self.low)

    def inside(self, words: Words) -> Words:
        """The words of the slices without those around."""
        return words[self.core]

    def inner(self, bits: Bits) -> Bits:
        """A mask of the window without the slices around."""
        return Bits(bits.words[self.core], (self.last - self.first, *bits.shape[1:]))

    def runs(self, side: int) -> Runs:
        """The runs of a mask, without those of the slices around, numbered as in the image."""
        found = find_runs(self.inner(self.masks[side]))
        return replace(found, row=found.row + self.first * found.n_y)


def _windows(read: Reader, shape: Shape, slab: int, halo: int) -> Iterator[Window]:
    """Both masks slab by slab, each with a halo; each slice is read once."""
    held: tuple[Words, Words] | None = None
    low = known_to = 0
    for first in range(0, shape[0], slab):
        last = min(first + slab, shape[0])
        begin, end = max(0, first - halo), min(shape[0], last + halo)
        while known_to < end:
            upto = min(known_to + slab, shape[0])
            new = [bits.words for bits in pack_pair(*read(known_to, upto))]
            if held is None:
                held = new[0], new[1]
            else:
                kept = slice(max(0, begin - low), None)
                held = np.concatenate((held[0][kept], new[0])), np.concatenate((held[1][kept], new[1]))
                low = max(low, begin)
            known_to = upto
        assert held is not None
        part = slice(begin - low, end - low)
        size = (end - begin, *shape[1:])
        yield Window((Bits(held[0][part], size), Bits(held[1][part], size)), begin, first, last)


def _add(sums: Sums, window: Window, widths: tuple[float, ...], spacing_mm: Triple) -> None:
    """Count the voxels of a window."""
    reference, prediction = (window.inner(bits) for bits in window.masks)
    both = reference.words & prediction.words
    sums.both += count(both)
    sums.reference += reference.count
    sums.prediction += prediction.count
    sums.added_path += added_path(reference, prediction)
    outline = surface(window.masks[0])
    for width in dict.fromkeys(widths):
        band = window.inside(within(outline, distance_mm=width, spacing_mm=spacing_mm).words)
        shared, either = sums.bands.get(width, (0, 0))
        found = count(both & band), count((reference.words | prediction.words) & band)
        sums.bands[width] = shared + found[0], either + found[1]


def _add_surfaces(surfaces: tuple[Surfaces, Surfaces], window: Window, spacing_mm: Triple) -> None:
    """Note the surface voxels of a window, and the distances that their neighbourhood tells."""
    around = [surface(bits) for bits in window.masks]
    for side in (0, 1):
        start = indices_of(window.inner(around[side]))
        distances = np.full(len(start), -1.0)
        if len(start):
            look_around(start + np.array((window.core.start, 0, 0)), around[1 - side], spacing_mm, distances)
        surfaces[side].index.append((start + np.array((window.first, 0, 0))).astype(np.int32))
        surfaces[side].distances_mm.append(distances)


def _distances(
    surfaces: tuple[Surfaces, Surfaces], counts: Counts, spacing_mm: Triple, n_slices: int
) -> SurfaceDistances:
    if not counts.reference or not counts.prediction:
        return SurfaceDistances(np.empty(0), np.empty(0))
    index = [_joined(side.index) for side in surfaces]
    found = []
    for side in (0, 1):
        distances = _joined(surfaces[side].distances_mm)
        left = np.flatnonzero(distances < 0)
        distances[left] = search_far(index[side][left], index[1 - side], spacing_mm, n_slices)
        found.append(distances)
    return SurfaceDistances(*found)


def _joined(parts: list[Any]) -> Any:
    """The arrays of all slabs as one; the list is emptied, so that they are not in memory twice for long."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def search_far(start: Indices, ends: Indices, spacing_mm: Triple, n_slices: int, most_ends: int = MOST_ENDS) -> Floats:
    """Distance in mm from each of some voxels to the nearest of others, with a tree of few of these at a time.

    Parameters
    ----------
    start, ends : int array, shape (voxels, 3)
        Indices (z, y, x), both in index order; at least one end.
    n_slices : int
        Slices of the image.
    most_ends : int
        Ends up to which one tree holds all. Of more those within some slices are searched; what is found nearer than
        the slices left out is right, for the rest more slices are taken.
    """
    distances = np.empty(len(start))
    if len(ends) <= most_ends:
        distances[:] = search(start, ends, spacing_mm) if len(start) else distances
        return distances
    for first in range(0, n_slices, SLAB):
        left = np.arange(*np.searchsorted(start[:, 0], (first, first + SLAB)))
        around = SLAB
        while left.size:
            low, high = first - around, first + SLAB + around
            near = ends[slice(*np.searchsorted(ends[:, 0], (low, high)))]
            if len(near):
                z = start[left, 0]
                distances[left] = search(start[left], near, spacing_mm)
                # The nearest slices that were left out, where there are any.
                below = np.where(low > 0, z - low + 1, np.inf)
                above = np.where(high < n_slices, high - z, np.inf)
                left = left[distances[left] > np.minimum(below, above) * spacing_mm[0]]
            around *= 4
    return distances
