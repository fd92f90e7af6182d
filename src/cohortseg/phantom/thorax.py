"""A synthetic thorax CT from a seed: Hounsfield units, and the masks of tumours, lungs and body.

`organs.py` paints each slice; here come the structures that run through slices (vessels, airways, tumours) and the
noise of the scanner. Coordinates are nominal, as explained there.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.phantom.organs import Anatomy, Floats, cut_plane, draw_anatomy, lung_distance, paint_slice
from cohortseg.volume import Shape, Triple

Axes: TypeAlias = tuple[Floats, Floats, Floats]
Knot: TypeAlias = tuple[float, float, float, float]
"""A point of a tube: x, y, z, radius."""

KERNELS = {"soft": (12.0, 3, 0.0, -1.0), "sharp": (40.0, 1, 0.55, 0.35)}
"""Kernel: noise (HU), passes of blur on it, share of its low frequencies removed, weight of edges in the image."""

VESSELS: dict[str, tuple[Knot, ...]] = {
    "descending aorta": ((24, 26, 16, 13), (26, 34, 0, 13), (24, 36, -60, 12.5), (14, 34, -160, 12)),
    "aortic arch": ((-8, -32, 4, 14.5), (-8, -26, 18, 14), (2, -8, 27, 13.5), (14, 10, 25, 13), (24, 26, 16, 13)),
    "ascending aorta": ((10, -24, -36, 15), (-6, -34, -16, 15.5), (-8, -32, 4, 15)),
    "upper cava": ((-28, -30, 60, 7), (-27, -22, 24, 9), (-26, -16, -36, 10)),
    "lower cava": ((-24, -4, -70, 12), (-26, 0, -160, 13)),
    "brachiocephalic": ((-4, -14, 34, 7), (-12, -16, 56, 6.5), (-18, -10, 120, 6)),
    "left carotid": ((6, -4, 36, 4.5), (14, -4, 120, 4)),
    "left subclavian": ((16, 8, 34, 5.5), (26, 10, 120, 5)),
    "pulmonary trunk": ((22, -42, -44, 13), (22, -28, -14, 14), (20, -12, -8, 12)),
    "right pulmonary artery": ((20, -12, -8, 11), (-4, -4, -14, 10.5), (-40, 4, -20, 8)),
    "left pulmonary artery": ((20, -12, -8, 11), (30, 6, -4, 10), (42, 14, -12, 8)),
    "right pulmonary vein": ((2, 8, -44, 8), (-38, 4, -38, 6)),
    "left pulmonary vein": ((28, 10, -42, 8), (48, 6, -34, 6)),
}
GULLET: tuple[Knot, ...] = ((-2, 20, 130, 7), (4, 24, -20, 7), (10, 20, -160, 8))
AIRWAYS: tuple[tuple[Knot, ...], ...] = (
    ((0, -2, 130, 8.5), (0, 4, 60, 8.5), (0, 8, 0, 9)),
    ((0, 8, 0, 8), (-24, 12, -16, 7), (-40, 12, -26, 6), (-50, 18, -60, 4), (-62, 34, -95, 2.2)),
    ((-24, 12, -16, 5), (-46, 6, -4, 4), (-62, -4, 14, 2.4)),
    ((0, 8, 0, 8), (30, 14, -22, 6.5), (42, 16, -28, 5.5), (52, 24, -60, 4), (64, 38, -95, 2.2)),
    ((30, 14, -22, 5), (48, 4, -10, 4), (62, -14, 8, 2.4)),
)
HILA: tuple[Triple, ...] = ((-40, 8, -20), (44, 12, -14))


@dataclass(frozen=True)
class Chest:
    """The picture while it is painted: voxel positions, HU, distances to airspace and ribcage, share of tumour."""

    scale: float
    thick: float
    pixel: float
    axes: Axes
    hu: Floats
    lung: Floats
    cavity: Floats
    tumour: Floats


PLACES: dict[str, Callable[[Chest, float], Floats]] = {
    "lung": lambda chest, radius: np.abs(chest.lung + 1.4 * radius),
    "pleura": lambda chest, radius: np.abs(chest.cavity + 0.55 * radius) + np.maximum(chest.lung, 0),
    "mediastinum": lambda chest, radius: (
        np.abs(chest.lung + 0.15 * radius) + np.maximum(chest.cavity + 2.2 * radius, 0)
    ),
}
"""Where a tumour grows: how badly a voxel suits as its centre."""


def thorax(
    seed: int | Sequence[int],
    *,
    shape: Shape,
    spacing_mm: Triple,
    n_tumours: int,
    places: Sequence[str] = (),
    kernel: str = "soft",
) -> tuple[npt.NDArray[np.int16], dict[str, npt.NDArray[np.bool_]]]:
    """One synthetic chest, lying on its back in the middle of the field of view; index z grows to the head.

    Parameters
    ----------
    seed : int or several
        Everything drawn comes from here; the body is scaled to the width of the field of view.
    shape, spacing_mm
        (z, y, x), at least 4 voxels an axis; mm.
    n_tumours : int
        Tumours of 1 to 5 cm, never thinner than two slices.
    places : sequence of str
        Where they grow, repeated as often as needed: "lung", "pleura", "mediastinum"; drawn when empty.
    kernel : {"soft", "sharp"}
        Noise and sharpness of the reconstruction.

    Returns
    -------
    hu : int16 array, shape (z, y, x)
    labels : dict of bool arrays, shape (z, y, x)
        "tumour" (empty when there is none), "lung" (airspace with its vessels, without tumour), "body".

    Raises
    ------
    SettingsError
        For an unknown kernel or place.
    """
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(rng, shape[2] * spacing_mm[2])
    axes = _axes(anatomy, shape, spacing_mm)
    hu, lung, cavity, tumour = (np.full(shape, value, dtype=np.float32) for value in (-1000, 0, 0, 0))
    thick, pixel = (float(axis[1] - axis[0]) for axis in (axes[0], axes[2]))
    chest = Chest(anatomy.scale, thick, pixel, axes, hu, lung, cavity, tumour)
    body = np.empty(shape, dtype=bool)
    coarse, fine = _clouds(rng, shape, 7), _clouds(rng, shape, 3)
    for k, z in enumerate(axes[0]):
        plane = cut_plane(anatomy, axes, float(z))
        body[k], cavity[k], lung[k] = plane.skin < 0, plane.cavity, lung_distance(plane, anatomy)
        paint_slice(hu[k], lung[k], plane, anatomy, coarse[k], fine[k])
    _paint_tubes(chest, anatomy, rng)
    order = list(places) or [str(place) for place in rng.permutation(list(PLACES))]
    taken: list[Knot] = []
    for i in range(n_tumours):
        taken.append(_grow_tumour(chest, order[i % len(order)], taken, rng))
    labels = {"tumour": tumour >= 0.5, "lung": (lung < 0) & (tumour < 0.5), "body": body}
    return _scan(hu, kernel, rng), labels


def _axes(anatomy: Anatomy, shape: Shape, spacing_mm: Triple) -> Axes:
    z, y, x = (
        ((np.arange(n) - (n - 1) / 2) * step / anatomy.scale - shift).astype(np.float32)
        for n, step, shift in zip(shape, spacing_mm, anatomy.shift[::-1], strict=True)
    )
    return z, y, x


def _paint_tubes(chest: Chest, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Great vessels, the vessel trees of both lungs, gullet, airways with their walls."""
    for name, line in VESSELS.items():
        _paint_tube(chest, line, anatomy.vessel_hu * (0.9 if "cava" in name else 1.0))
    for hilum in HILA:
        for branch in _tree(chest, hilum, rng):
            _paint_tube(chest, branch, 0.5 * (40 + anatomy.vessel_hu))
    _paint_tube(chest, GULLET, 40)
    for grow, value in ((1.3, 20), (1.0, -990)):
        for knots in AIRWAYS:
            _paint_tube(chest, [(x, y, z, grow * radius) for x, y, z, radius in knots], value)


def _box(chest: Chest, low: Sequence[float], high: Sequence[float]) -> tuple[slice, slice, slice]:
    """Voxels between two corners (x, y, z), and one more on each side; empty outside the picture."""
    z, y, x = (
        slice(max(0, int(np.searchsorted(axis, small)) - 1), int(np.searchsorted(axis, large)) + 1)
        for axis, small, large in zip(chest.axes, low[::-1], high[::-1], strict=True)
    )
    return z, y, x


def _paint_tube(chest: Chest, knots: Sequence[Knot], value: float) -> None:
    """Cones with round ends; each slice is the mean of three thin ones, as a thick slice is."""
    for start, end in itertools.pairwise(knots):
        reach = max(start[3], end[3])
        low, high = ([f(a, b) for a, b in zip(start[:3], end[:3], strict=True)] for f in (min, max))
        box = _box(chest, [a - reach for a in low], [a + reach for a in high])
        z, y, x = (axis[part] - at for axis, part, at in zip(chest.axes, box, start[2::-1], strict=True))
        ax, ay, az = (b - a for a, b in zip(start[:3], end[:3], strict=True))
        flat, square, length = x * ax + y[:, None] * ay, x * x + y[:, None] ** 2, ax * ax + ay * ay + az * az
        cover = 0.0
        for dz in (z[:, None, None] + chest.thick * part for part in (-1 / 3, 0.0, 1 / 3)):
            along = flat + dz * az
            t = np.clip(along / length, 0, 1)
            far = np.sqrt(np.maximum(square + dz * dz - t * (2 * along - t * length), 0))
            cover += np.clip(0.5 - (far - start[3] - t * (end[3] - start[3])) / chest.pixel, 0, 1) / 3
        chest.hu[box] += cover * (value - chest.hu[box])


def _tree(chest: Chest, hilum: Triple, rng: np.random.Generator) -> list[list[Knot]]:
    """Vessels of one lung: random tips join a near branch closer to the hilum; radii by Murray's law (cube law)."""
    z, y, x = chest.axes
    inside = np.argwhere((chest.lung < -4) & (x * hilum[0] > 0))
    n = int(min(340, 500 / chest.pixel)) if len(inside) else 0
    chosen = inside[rng.integers(0, max(1, len(inside)), n)]
    tips = np.stack([x[chosen[:, 2]], y[chosen[:, 1]], z[chosen[:, 0]]], axis=1) + rng.normal(0, 1, (n, 3))
    tips = np.concatenate([[hilum], tips[np.argsort(np.linalg.norm(tips - hilum, axis=1), kind="stable")]])
    far = np.linalg.norm(tips - hilum, axis=1)
    parent = [0] + [int(np.argmin(np.linalg.norm(tips[:i] - tips[i], axis=1) + far[:i] / 4)) for i in range(1, n + 1)]
    flow = np.full(n + 1, 0.75**3)
    for i in range(n, 0, -1):
        flow[parent[i]] += flow[i]
    pieces: list[list[Knot]] = []
    for i in range(1, n + 1):
        start, end = tips[parent[i]], tips[i]
        middle = (start + end) / 2 + rng.normal(0, 0.08, 3) * float(np.linalg.norm(end - start))
        radius = float(flow[i]) ** (1 / 3)
        pieces.append([(float(p[0]), float(p[1]), float(p[2]), radius) for p in (start, middle, end)])
    return pieces


def _grow_tumour(chest: Chest, place: str, taken: Sequence[Knot], rng: np.random.Generator) -> Knot:
    """An irregular ball of soft tissue, larger ones softer inside; bone, contrast and airways stay."""
    radius = max(5.0 * 5.0 ** rng.uniform(0, 1) / chest.scale, chest.thick, 1.5 * chest.pixel)
    centre = _site(chest, place, radius, taken, rng)
    waves, phases = rng.normal(0, 2.2, (6, 3)), rng.uniform(0, 2 * math.pi, 6)
    box = _box(chest, [c - 1.5 * radius for c in centre], [c + 1.5 * radius for c in centre])
    z, y, x = (axis[part] - at for axis, part, at in zip(chest.axes, box, centre[::-1], strict=True))
    cover, tissue = np.zeros(chest.hu[box].shape, dtype=np.float32), chest.hu[box]
    for dz in (z[:, None, None] + chest.thick * part for part in (-0.4, -0.2, 0.2, 0.4, 0.0)):  # the last gives r below
        r = np.sqrt(x * x + y[:, None] ** 2 + dz * dz) + 1e-3
        bumps = np.sum(
            [np.cos((x * a + y[:, None] * b + dz * c) / r + p) for (a, b, c), p in zip(waves, phases, strict=True)],
            axis=0,
        )
        cover += np.clip(0.5 - (r - radius * (1 + 0.09 * bumps)) / chest.pixel, 0, 1) / 5
    cover[(tissue > 125) | ((tissue < -930) & (chest.lung[box] > 0))] = 0
    soft = 25 * np.exp(-((r / (0.55 * radius)) ** 2)) if radius > 16 else 0
    np.maximum(chest.tumour[box], cover, out=chest.tumour[box])
    chest.hu[box] += cover * (rng.uniform(20, 60) - soft - tissue)
    return (*centre, radius)


def _site(chest: Chest, place: str, radius: float, taken: Sequence[Knot], rng: np.random.Generator) -> Triple:
    """A free spot of the kind asked for, or the nearest to it, away from the first and last slices."""
    z, y, x = chest.axes
    edge = min((len(z) - 1) // 3, 1 + math.ceil(radius / chest.thick))
    cost = choose("place", place, PLACES)(chest, radius)
    for a, b, c, other in taken:
        gap = np.sqrt((x - a) ** 2 + (y[:, None] - b) ** 2 + (z[:, None, None] - c) ** 2) - 1.4 * (radius + other)
        cost = cost + 1000 * (gap < 0)
    cost = cost[edge : len(z) - edge]
    near = np.argwhere(cost < max(2.0, float(cost.min()) + 0.5))
    k, j, i = near[rng.integers(0, len(near))]
    return float(x[i]), float(y[j]), float(z[k + edge])


def _clouds(rng: np.random.Generator, shape: Shape, cell: int) -> Floats:
    """Smooth noise of about unit spread: random knots every `cell` pixels and 2 slices, joined linearly."""
    knots = [n // size + 2 for n, size in zip(shape, (2, cell, cell), strict=True)]
    field = np.float32(1.6) * rng.standard_normal(knots, dtype=np.float32)
    for axis, n in enumerate(shape):
        at = np.linspace(0, field.shape[axis] - 1.001, n, dtype=np.float32)
        low, share = at.astype(int), (at % 1).reshape([-1 if a == axis else 1 for a in range(3)])
        field = np.take(field, low, axis) * (1 - share) + np.take(field, low + 1, axis) * share
    return np.asarray(field, dtype=np.float32)


def _smooth(field: Floats) -> Floats:
    """One pass of (1, 2, 1) / 4 along rows and columns; edges repeat."""
    padded = np.pad(field, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = 0.25 * (padded[:, :-2] + padded[:, 2:]) + 0.5 * padded[:, 1:-1]
    return np.asarray(0.25 * (rows[..., :-2] + rows[..., 2:]) + 0.5 * rows[..., 1:-1], dtype=np.float32)


def _scan(hu: Floats, kernel: str, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Point spread and correlated noise of the kernel, stronger in the middle of the body; the scanner's limits."""
    sigma_hu, passes, flattening, edges = choose("kernel", kernel, KERNELS)
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    for _ in range(passes):
        noise = _smooth(noise)
    if flattening:
        noise -= flattening * _smooth(_smooth(noise))
    image = hu + edges * (hu - _smooth(hu))
    rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) for n in hu.shape[1:])
    strength = 0.55 + 0.75 * np.exp(-2.2 * (rows[:, None] ** 2 + columns**2))
    image += noise * (sigma_hu / float(noise.std()) * strength)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)
