"""A synthetic thorax CT from a seed: anatomy in Hounsfield units and the masks of tumours, lungs and body.

Every organ is a signed distance (negative inside) or a tube, painted over the one before with soft edges, so that
borders show the partial volume of a real scanner. Nominal coordinates: mm of a body of half-width 165 mm,
x to the patient's left, y to the back, z to the head, origin at the carina; `Anatomy.scale` turns them into true mm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.volume import Array, Shape, Triple

Floats = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

HALF_WIDTH_MM = 165.0
PLACES = ("lung", "pleura", "mediastinum")
KERNELS = {"soft": (12.0, 3, 0.0), "sharp": (40.0, 1, 0.55)}
"""Reconstruction kernel: noise (HU), passes of blur on it, share of its low frequencies taken out again."""

ELLIPSOIDS: dict[str, tuple[Triple, Triple, float]] = {
    # centre (x, y, z), half-axes, turn about z in degrees
    "heart": ((22, -24, -66), (66, 47, 52), 32),
    "arch": ((8, -4, 24), (13, 40, 17), -30),
    "right hilum": ((-36, 8, -20), (17, 17, 26), 0),
    "left hilum": ((38, 12, -16), (16, 17, 24), 0),
    "left ventricle": ((50, -8, -70), (27, 21, 32), 40),
    "right ventricle": ((16, -46, -74), (30, 17, 30), 25),
    "left atrium": ((14, 8, -46), (34, 15, 20), 0),
    "right atrium": ((-22, -24, -60), (17, 25, 30), 10),
    "spleen": ((92, 42, -118), (30, 46, 42), -25),
    "stomach": ((66, -30, -120), (46, 42, 34), 0),
}
CHAMBERS = {"left ventricle": 0.95, "right ventricle": 0.85, "left atrium": 0.9, "right atrium": 0.8}
"""Share of the vessels' enhancement."""

TUBES: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    # (x, y, z, radius) along the centre line
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
AIRWAYS: tuple[tuple[tuple[float, float, float, float], ...], ...] = (
    ((0, -2, 130, 8.5), (0, 4, 60, 8.5), (0, 8, 0, 9)),
    ((0, 8, 0, 8), (-24, 12, -16, 7), (-40, 12, -26, 6), (-50, 18, -60, 4), (-62, 34, -95, 2.2)),
    ((-24, 12, -16, 5), (-46, 6, -4, 4), (-62, -4, 14, 2.4)),
    ((0, 8, 0, 8), (30, 14, -22, 6.5), (42, 16, -28, 5.5), (52, 24, -60, 4), (64, 38, -95, 2.2)),
    ((30, 14, -22, 5), (48, 4, -10, 4), (62, -14, 8, 2.4)),
)


@dataclass(frozen=True)
class Anatomy:
    """How one person differs from the next; nominal mm and HU."""

    scale: float
    turn_deg: float
    shift_mm: tuple[float, float]
    z_middle: float
    depth: float
    fat: float
    breast: float
    lung_width: float
    domes: tuple[float, float]
    lung_hu: float
    vessel_hu: float
    rib_phase: float
    disc_phase: float


@dataclass(frozen=True)
class Plane:
    """One axial slice in nominal coordinates, and the distances that several organs share."""

    x: Floats
    y: Floats
    z: float
    pixel: float
    thick: float
    theta: Floats
    skin: Floats
    cavity: Floats


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
        (z, y, x), mm.
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
    if kernel not in KERNELS or not set(places) <= set(PLACES):
        raise SettingsError(f"kernel is one of {', '.join(KERNELS)}, places are of {', '.join(PLACES)}")
    rng = np.random.default_rng(seed)
    anatomy = _draw(rng, shape[2] * spacing_mm[2])
    grid = _nominal_grid(anatomy, shape, spacing_mm)
    hu = np.full(shape, -1000.0, dtype=np.float32)
    lung, cavity, body = (np.empty(shape, dtype=np.float32) for _ in range(3))
    texture = _clouds(rng, shape, 7), _clouds(rng, shape, 3)
    for k, z in enumerate(grid[0]):
        plane = _plane(anatomy, grid, float(z))
        body[k], cavity[k] = plane.skin, plane.cavity
        _paint_slice(hu[k], lung[k], plane, anatomy, texture[0][k], texture[1][k])
    _paint_tubes(hu, lung, grid, anatomy, rng)
    order = [str(place) for place in places] or [str(place) for place in rng.permutation(PLACES)]
    tumour = np.zeros(shape, dtype=np.float32)
    for i in range(n_tumours):
        _grow_tumour(hu, tumour, lung, cavity, grid, order[i % len(order)], rng)
    labels = {"tumour": tumour >= 0.5, "body": body < 0}
    labels["lung"] = (lung < 0) & ~labels["tumour"]
    return _scan(hu, kernel, rng), labels


def _draw(rng: np.random.Generator, width_mm: float) -> Anatomy:
    half_width = width_mm * rng.uniform(0.40, 0.435)
    return Anatomy(
        scale=half_width / HALF_WIDTH_MM,
        turn_deg=rng.uniform(-4, 4),
        shift_mm=(rng.uniform(-8, 8), rng.uniform(-14, 2)),
        z_middle=rng.uniform(-26, -8),
        depth=rng.uniform(0.92, 1.06),
        fat=rng.uniform(7, 22),
        breast=rng.choice([0.0, rng.uniform(12, 26)]),
        lung_width=rng.uniform(0.94, 1.03),
        domes=(rng.uniform(-92, -70), rng.uniform(-104, -84)),
        lung_hu=rng.uniform(-880, -810),
        vessel_hu=rng.choice([42.0, rng.uniform(130, 220)]),
        rib_phase=rng.uniform(0, 1),
        disc_phase=rng.uniform(0, 1),
    )


def _nominal_grid(anatomy: Anatomy, shape: Shape, spacing_mm: Triple) -> tuple[Floats, Floats, Floats]:
    z, y, x = (
        ((np.arange(n) - (n - 1) / 2) * step / anatomy.scale).astype(np.float32)
        for n, step in zip(shape, spacing_mm, strict=True)
    )
    return z + np.float32(anatomy.z_middle), y - np.float32(anatomy.shift_mm[1]), x - np.float32(anatomy.shift_mm[0])


def _plane(anatomy: Anatomy, grid: tuple[Floats, Floats, Floats], z: float) -> Plane:
    """Turn the patient about z; distances to the skin and to the inner side of the chest wall."""
    angle = math.radians(anatomy.turn_deg)
    yy, xx = np.meshgrid(grid[1], grid[2], indexing="ij")
    x, y = xx * math.cos(angle) + yy * math.sin(angle), yy * math.cos(angle) - xx * math.sin(angle)
    theta = np.abs(np.arctan2(x, y))  # 0 at the back, pi in front
    shoulder = _rise(z, 20, 110)
    skin = _oval(x, y, 158 + 14 * shoulder, (122 - 16 * shoulder) * anatomy.depth, 106, 2.3)
    skin -= anatomy.breast * np.exp(-(((theta - 2.35) / 0.38) ** 2)) * math.exp(-(((z + 45) / 48) ** 2))
    skin += 5 * np.exp(-((theta / 0.16) ** 2))  # groove over the spine
    taper = max(0.04, 1 - max(0.0, (z + 90) / 206) ** 2.6) ** 0.45
    middle = 8 * (1 - taper)
    cavity = _oval(x, y - middle, 130 * anatomy.lung_width * taper, 95 * anatomy.depth * taper**0.7, 84 * taper, 2.2)
    thick = float(grid[0][1] - grid[0][0]) if len(grid[0]) > 1 else 5.0
    return Plane(x, y, z, float(grid[2][1] - grid[2][0]), thick, theta, skin, cavity)


def _rise(value: float, low: float, high: float) -> float:
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3 - 2 * t)


def _oval(x: Floats, y: Floats, half_x: float, front: float, back: float, power: float) -> Floats:
    """Radial distance to a superellipse that may be deeper in front than behind."""
    depth = np.where(y < 0, np.float32(front), np.float32(back))
    unit = (np.abs(x / half_x) ** power + np.abs(y / depth) ** power) ** (1 / power)
    return np.hypot(x, y) * (1 - 1 / np.maximum(unit, 1e-3)).astype(np.float32)


def _ellipsoid(x: Floats, y: Floats, z: float | Floats, name: str) -> Floats:
    """Approximate distance to one of `ELLIPSOIDS`."""
    centre, half, turn = ELLIPSOIDS[name]
    angle = math.radians(turn)
    dx, dy = x - centre[0], y - centre[1]
    u, v = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
    unit = np.sqrt((u / half[0]) ** 2 + (v / half[1]) ** 2 + ((z - centre[2]) / half[2]) ** 2)
    return (unit - 1) * np.float32(min(half[:2]))


def _blend(a: Floats, b: Floats, radius: float) -> Floats:
    """Smooth union of two distances."""
    h = np.clip(0.5 + 0.5 * (b - a) / radius, 0, 1)
    return b + (a - b) * h - radius * h * (1 - h)


def _paint(hu: Floats, distance: Floats, width: float, value: float | Floats) -> None:
    """Soft-edged: the edge runs over `width`, the share of a voxel inside is linear."""
    hu += np.clip(0.5 - distance / width, 0, 1) * (value - hu)


def _paint_slice(hu: Floats, lung: Floats, plane: Plane, anatomy: Anatomy, coarse: Floats, fine: Floats) -> None:
    """Everything but tubes and tumours; `lung` receives the distance to the airspace."""
    _paint_couch(hu, plane)
    _paint_wall(hu, plane, anatomy, coarse, fine)
    _paint_ribs(hu, plane, anatomy)
    _paint(hu, plane.cavity + 1.0, plane.pixel, -95 + 10 * coarse)
    lung[:] = _lung_distance(plane, anatomy)
    _paint_belly(hu, plane, anatomy, fine)
    heart = _ellipsoid(plane.x, plane.y, plane.z, "heart")
    _paint(hu, np.maximum(heart + 4 + 3 * coarse, plane.cavity + 4), 3.0, 45 + 0.3 * (anatomy.vessel_hu - 42))
    for name, share in CHAMBERS.items():
        value = 42 + share * (anatomy.vessel_hu - 42)
        _paint(hu, np.maximum(_ellipsoid(plane.x, plane.y, plane.z, name), heart + 9), 4.0, value)
    air = anatomy.lung_hu + 0.5 * plane.y + 16 * coarse + 10 * fine
    _paint(hu, lung, plane.pixel + 0.3 * plane.thick, air)
    _paint_spine(hu, plane, anatomy, fine)


def _paint_couch(hu: Floats, plane: Plane) -> None:
    top = 103 - plane.x**2 / 900
    _paint(hu, np.abs(plane.y - top - 9) - 8, plane.pixel, -940)
    for depth in (1.5, 17.0):
        _paint(hu, np.abs(plane.y - top - depth) - 0.9, plane.pixel, -150)
    hu[np.abs(plane.x) > 205] = -1000


def _paint_wall(hu: Floats, plane: Plane, anatomy: Anatomy, coarse: Floats, fine: Floats) -> None:
    """Skin, fat, muscle in two layers with fat between, shoulder blade."""
    theta, wall = plane.theta, plane.cavity
    upper = _rise(plane.z, -70, 60)
    _paint(hu, plane.skin, plane.pixel, 5)
    _paint(hu, plane.skin + 2.2, plane.pixel, -104 + 8 * coarse)
    fat = anatomy.fat * (0.45 + 0.75 * np.sin(theta) ** 2 + 0.25 * (theta > 1.6))
    gland = np.maximum(plane.skin + 6, 18 - wall + 14 * fine) + 400 * (theta < 2.0) + (26 - anatomy.breast) * 2
    _paint(hu, gland, 4.0, 15)
    outer = plane.skin + fat + anatomy.breast * np.exp(-(((theta - 2.35) / 0.4) ** 2)) * (plane.z < 30)
    muscle = 52 + 9 * fine
    _paint(hu, np.maximum(outer + 2 * coarse, 4.0 - wall), 2.5, muscle)
    axilla = np.maximum(13 - wall, outer + 12 + 10 * upper) + 90 * np.maximum(np.abs(theta - 1.8) - 0.3 - 0.2 * upper, 0)
    _paint(hu, axilla + 4 * coarse, 3.0, -98 + 6 * fine)
    for gap in (13, 26):
        plane_of_fat = np.abs(wall - gap - 3 * coarse) - 0.2 + 3 * fine
        _paint(hu, np.maximum(plane_of_fat, outer + 5), 2.0, -70)
    reach = 0.55 * upper
    blade = np.abs(wall - 17 - 8 * upper - 22 * (theta - 0.75)) - (2.0 + 2.5 * upper)
    blade = np.maximum(blade, 90 * (np.abs(theta - 0.85) - reach))
    if upper > 0.15:
        _paint(hu, np.maximum(blade, outer + 8), 1.6, 520)
        _paint(hu, np.maximum(blade + 2.2, outer + 10), 1.6, 230)


def _paint_ribs(hu: Floats, plane: Plane, anatomy: Anatomy) -> None:
    """Twelve rings that sink from back to front, bone with marrow, cartilage in front; breast bone."""
    near = np.abs(plane.cavity - 5.5) < 9
    theta, wall = plane.theta[near], plane.cavity[near]
    pitch, fall = 27.0, 95 * (1 - np.cos(theta)) / 2 + 12 * theta
    phase = (plane.z + fall) / pitch + anatomy.rib_phase
    height = (phase - np.round(phase)) * pitch
    slope = np.maximum(1.0, 0.35 * np.abs(95 * np.sin(theta) / 2 + 12) / 30)
    radius = (np.sqrt(((wall - 5.5) / 4.2) ** 2 + (height / 6.5) ** 2) - 1) * 4.2 / slope
    bone = np.clip((2.55 - theta) / 0.12, 0, 1)
    values = hu[near]
    width = max(1.4, plane.pixel)
    _paint(values, radius, width, 110 + 620 * bone)
    _paint(values, radius + 1.9, width, 100 + 150 * bone)
    hu[near] = values
    if plane.z > -75:
        front = -95 * anatomy.depth - 5.5
        middle = np.hypot(plane.x / (2.6 + 0.8 * _rise(plane.z, 10, 50)), plane.y - front) - 7
        _paint(hu, np.maximum(middle, plane.skin + 6), 1.6, 430)
        _paint(hu, np.maximum(middle + 1.6, plane.skin + 8), 1.6, 150)


def _lung_distance(plane: Plane, anatomy: Anatomy) -> Floats:
    """Both lungs: the cavity without mediastinum, heart, spine and what lies under the diaphragm."""
    x, y, z = plane.x, plane.y, plane.z
    column = np.abs(x + 1) - (9 + 21 * np.exp(-(((y + 6) / 40) ** 2)) + 6 * _rise(z, 40, 110))
    middle = _blend(column, _ellipsoid(x, y, z, "heart"), 10)
    for name in ("arch", "right hilum", "left hilum"):
        middle = _blend(middle, _ellipsoid(x, y, z, name), 8)
    middle = _blend(middle, np.hypot(x, y - 50) - 20, 8)
    middle = _blend(middle, np.hypot(x - 25, y - 35) - 14 + 40 * _rise(z, 10, 40), 6)
    floor = np.maximum(middle * -1, _dome_depth(plane, anatomy))
    return -_blend(-(plane.cavity + 2.5), -floor, 5).astype(np.float32)


def _dome_depth(plane: Plane, anatomy: Anatomy) -> Floats:
    """How far below the diaphragm a point lies (negative above), shortened by the slope of the dome."""
    centre = np.where(plane.x < 0, np.float32(-70), np.float32(68))
    top = np.where(plane.x < 0, np.float32(anatomy.domes[0]), np.float32(anatomy.domes[1]))
    away = ((plane.x - centre) / 62) ** 2 + ((plane.y + 8) / 82) ** 2
    return (top - 52 * away - plane.z) / np.sqrt(1 + 2.2 * away)


def _paint_belly(hu: Floats, plane: Plane, anatomy: Anatomy, fine: Floats) -> None:
    """Liver on the right, spleen and stomach on the left, under 3 mm of diaphragm."""
    depth = _dome_depth(plane, anatomy)
    if float(depth.max()) < -20:
        return
    inside = np.maximum(-depth, plane.cavity + 2)
    edge = plane.pixel + 0.3 * plane.thick
    enhanced = 0.35 * (anatomy.vessel_hu - 42)
    _paint(hu, inside, edge, 45)
    _paint(hu, np.maximum(inside + 3, 8 - plane.x), edge, -98)
    _paint(hu, np.maximum(inside + 1, plane.x - 14 - 0.5 * plane.y), edge, 58 + enhanced + 4 * fine)
    spleen = _ellipsoid(plane.x, plane.y, plane.z, "spleen")
    _paint(hu, np.maximum(inside + 1.5, spleen), edge, 48 + 1.3 * enhanced)
    stomach = np.maximum(inside + 3, _ellipsoid(plane.x, plane.y, plane.z, "stomach"))
    _paint(hu, stomach, edge, 45)
    _paint(hu, stomach + 4, edge, np.where(plane.y < -40, np.float32(-950), np.float32(15)))


def _paint_spine(hu: Floats, plane: Plane, anatomy: Anatomy, fine: Floats) -> None:
    """Vertebral body or disc, canal with cord, arch, transverse and spinous process."""
    near = (slice(None), slice(None))
    x, y = plane.x[near], plane.y[near] - 50 - 3 * math.sin((plane.z + 30) / 60)
    level = (plane.z / 24 + anatomy.disc_phase) % 1.0
    disc = level < 0.22
    body = np.hypot(x / 1.22, y * (1 + 0.1 * (y < 0))) - (13.8 + (0.6 if disc else -0.5 * math.sin(math.pi * level)))
    canal = np.hypot(x, (y - 20) * 1.1) - 8.5
    ring = np.abs(np.hypot(x, y - 20) - 11.5) - 2.6
    wings = np.maximum(np.abs(y - 24 - 0.22 * np.abs(x)) - 4.2, np.abs(x) - 30)
    spike = np.maximum(np.abs(x) - 2.6 - 1.2 * np.exp(-(((y - 46) / 5) ** 2)), np.abs(y - 38) - 12)
    _paint(hu, np.maximum(np.hypot(np.abs(x) - 20, y - 34) - 14 + 4 * fine, plane.skin + 8), 4.0, 55)
    if disc:
        _paint(hu, body, 1.6, 95)
    else:
        _paint(hu, body, 1.4, 480)
        _paint(hu, body + 1.7, 1.4, 185 + 45 * fine)
    if 0.3 < level < 0.75:
        _paint(hu, np.maximum(wings, -canal), 1.6, 520)
        _paint(hu, np.maximum(wings + 2.0, -canal + 3), 1.6, 240)
    if level > 0.25:
        _paint(hu, ring, 1.6, 560)
    _paint(hu, spike, 1.6, 500)
    _paint(hu, spike + 2.0, 1.6, 260)
    _paint(hu, canal, 1.6, 5)
    _paint(hu, canal + 3.6, 1.6, 38)


def _paint_tubes(
    hu: Floats, lung: Floats, grid: tuple[Floats, Floats, Floats], anatomy: Anatomy, rng: np.random.Generator
) -> None:
    """Great vessels, gullet, airways with their walls, and the vessel trees of both lungs."""
    turn = math.radians(-anatomy.turn_deg)
    for name, points in TUBES.items():
        value = anatomy.vessel_hu * (0.9 if "cava" in name else 1.0)
        for start, end in zip(points, points[1:], strict=False):
            _paint_capsule(hu, grid, _turned(start, turn), _turned(end, turn), value)
    for side, hilum in (("right", (-40.0, 8.0, -20.0)), ("left", (44.0, 12.0, -14.0))):
        for start, end in _tree(rng, lung, grid, _turned((*hilum, 0.0), turn)[:3], side):
            _paint_capsule(hu, grid, start, end, 0.5 * (40 + anatomy.vessel_hu))
    for gullet in (((-2, 20, 130, 7), (4, 24, -20, 7)), ((4, 24, -20, 7), (10, 20, -160, 8))):
        _paint_capsule(hu, grid, _turned(gullet[0], turn), _turned(gullet[1], turn), 40)
    for grow, value in ((1.3, 20.0), (1.0, -990.0)):
        for points in AIRWAYS:
            for start, end in zip(points, points[1:], strict=False):
                a, b = _turned(start, turn), _turned(end, turn)
                _paint_capsule(hu, grid, (*a[:3], a[3] * grow), (*b[:3], b[3] * grow), value)


def _turned(point: Sequence[float], angle: float) -> tuple[float, float, float, float]:
    x, y, z, radius = point
    return (x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle), z, radius)


def _box(grid: tuple[Floats, Floats, Floats], low: Sequence[float], high: Sequence[float]) -> Box | None:
    """Voxels between two corners (x, y, z); None when the box misses the grid."""
    limits = []
    for axis, small, large in zip(grid, low[::-1], high[::-1], strict=True):
        first, last = np.searchsorted(axis, (small, large))
        first, last = max(0, int(first) - 1), min(len(axis), int(last) + 1)
        if last <= first:
            return None
        limits.append(slice(first, last))
    return (limits[0], limits[1], limits[2])


def _paint_capsule(
    hu: Floats,
    grid: tuple[Floats, Floats, Floats],
    start: tuple[float, float, float, float],
    end: tuple[float, float, float, float],
    value: float,
) -> None:
    """A cone with round ends; each slice is the mean of three thin ones, as a thick slice is."""
    reach = max(start[3], end[3])
    low = [min(a, b) - reach for a, b in zip(start[:3], end[:3], strict=True)]
    high = [max(a, b) + reach for a, b in zip(start[:3], end[:3], strict=True)]
    box = _box(grid, low, high)
    if box is None:
        return
    thick, pixel = grid[0][1] - grid[0][0], grid[2][1] - grid[2][0]
    z = grid[0][box[0], None, None] - start[2]
    y, x = grid[1][None, box[1], None] - start[1], grid[2][None, None, box[2]] - start[0]
    ax, ay, az = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    flat, square, length = x * ax + y * ay, x * x + y * y, ax * ax + ay * ay + az * az
    cover = np.float32(0)
    for part in (-1 / 3, 0.0, 1 / 3):
        dz = z + thick * part
        t = np.clip((flat + dz * az) / length, 0, 1)
        far = square + dz * dz - t * (2 * (flat + dz * az) - t * length)
        distance = np.sqrt(np.maximum(far, 0)) - (start[3] + t * (end[3] - start[3]))
        cover = cover + np.clip(0.5 - distance / pixel, 0, 1)
    hu[box] += cover / 3 * (value - hu[box])


def _tree(
    rng: np.random.Generator, lung: Floats, grid: tuple[Floats, Floats, Floats], hilum: Sequence[float], side: str
) -> list[tuple[tuple[float, float, float, float], tuple[float, float, float, float]]]:
    """Vessels of one lung: random tips join the nearest branch that is closer to the hilum; radii by Murray's law."""
    pixel = float(grid[2][1] - grid[2][0])
    inside = np.argwhere((lung < -4) & ((grid[2] < 0) == (side == "right")))
    if len(inside) == 0:
        return []
    n = int(min(340, 500 / pixel))
    chosen = inside[rng.integers(0, len(inside), n)]
    tips = np.stack([grid[2][chosen[:, 2]], grid[1][chosen[:, 1]], grid[0][chosen[:, 0]]], axis=1)
    tips = np.concatenate([[hilum], tips + rng.uniform(-0.5, 0.5, tips.shape) * pixel])
    far = np.linalg.norm(tips - tips[0], axis=1)
    tips = tips[np.argsort(far, kind="stable")]
    parent = np.zeros(n + 1, dtype=int)
    flow = np.full(n + 1, 0.75**2.7)
    for i in range(1, n + 1):
        away = np.linalg.norm(tips[:i] - tips[i], axis=1) + 0.25 * np.linalg.norm(tips[:i] - tips[0], axis=1)
        parent[i] = int(np.argmin(away))
    for i in range(n, 0, -1):
        flow[parent[i]] += flow[i]
    radius = flow ** (1 / 2.7)
    pieces = []
    for i in range(1, n + 1):
        start, end = tips[parent[i]], tips[i]
        middle = (start + end) / 2 + rng.normal(0, 0.08, 3) * float(np.linalg.norm(end - start))
        r = float(radius[i])
        a, b, c = ((float(p[0]), float(p[1]), float(p[2]), r) for p in (start, middle, end))
        pieces += [(a, b), (b, c)]
    return pieces


def _grow_tumour(
    hu: Floats,
    tumour: Floats,
    lung: Floats,
    cavity: Floats,
    grid: tuple[Floats, Floats, Floats],
    place: str,
    rng: np.random.Generator,
) -> None:
    """An irregular ball of soft tissue; bone and air of the large airways stay what they are."""
    thick, pixel = float(grid[0][1] - grid[0][0]), float(grid[2][1] - grid[2][0])
    radius = max(5.0 * 5.0 ** rng.uniform(0, 1), thick, 1.5 * pixel)
    centre = _site(rng, tumour, lung, cavity, grid, place, radius)
    waves = rng.normal(0, 2.2, (6, 3)), rng.uniform(0, 2 * math.pi, 6)
    box = _box(grid, [c - 1.5 * radius for c in centre], [c + 1.5 * radius for c in centre])
    if box is None:
        return
    cover = np.float32(0)
    for part in (-0.4, -0.2, 0.0, 0.2, 0.4):
        z = (grid[0][box[0], None, None] + thick * part - centre[2]) / radius
        y, x = (grid[1][None, box[1], None] - centre[1]) / radius, (grid[2][None, None, box[2]] - centre[0]) / radius
        r = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
        bumps = sum(np.cos((x * w[0] + y * w[1] + z * w[2]) / r + f) for w, f in zip(*waves, strict=True))
        cover = cover + np.clip(0.5 - (r - 1 - 0.09 * bumps) * radius / pixel, 0, 1) / 5
    tissue = hu[box]
    cover = np.where((tissue > 260) | ((tissue < -930) & (lung[box] > 0)), 0, cover).astype(np.float32)
    value = rng.uniform(20, 60) - (25 * np.exp(-((r / 0.55) ** 2)) if radius > 16 else 0)
    hu[box] += cover * (value - tissue)
    np.maximum(tumour[box], cover, out=tumour[box])


def _site(
    rng: np.random.Generator,
    tumour: Floats,
    lung: Floats,
    cavity: Floats,
    grid: tuple[Floats, Floats, Floats],
    place: str,
    radius: float,
) -> tuple[float, float, float]:
    """A free spot of the kind asked for, or the one nearest to it, away from the first and last slices."""
    wanted = {
        "lung": np.abs(lung + 1.4 * radius),
        "pleura": np.abs(cavity + 0.55 * radius) + np.maximum(lung, 0),
        "mediastinum": np.abs(lung + 0.15 * radius) + np.maximum(cavity + 2.2 * radius, 0),
    }[place]
    edge = min(len(grid[0]) // 4, 1 + math.ceil(radius / float(grid[0][1] - grid[0][0])))
    cost = wanted[edge : len(grid[0]) - edge]
    cost = cost + 1000 * (tumour[edge : len(grid[0]) - edge] > 0)
    near = np.argwhere(cost < max(2.0, float(cost.min()) + 0.5))
    k, j, i = near[rng.integers(0, len(near))]
    return float(grid[2][i]), float(grid[1][j]), float(grid[0][k + edge])


def _clouds(rng: np.random.Generator, shape: Shape, cell: int) -> Floats:
    """Smooth noise of about unit spread: random knots every `cell` pixels, joined linearly."""
    field = rng.standard_normal([max(2, n // (cell if a else 2) + 2) for a, n in enumerate(shape)], dtype=np.float32)
    for axis, n in enumerate(shape):
        at = np.linspace(0, field.shape[axis] - 1.001, n, dtype=np.float32)
        low, share = at.astype(int), (at % 1).reshape([-1 if a == axis else 1 for a in range(3)])
        field = np.take(field, low, axis) * (1 - share) + np.take(field, low + 1, axis) * share
    return field * np.float32(1.6)


def _smooth(field: Floats) -> Floats:
    """One pass of (1, 2, 1) / 4 in the plane."""
    for axis in (1, 2):
        ahead = np.concatenate([np.take(field, range(1, field.shape[axis]), axis), np.take(field, [-1], axis)], axis)
        behind = np.concatenate([np.take(field, [0], axis), np.take(field, range(field.shape[axis] - 1), axis)], axis)
        field = 0.5 * field + 0.25 * (ahead + behind)
    return field


def _scan(hu: Floats, kernel: str, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Point spread and correlated noise of the kernel, stronger in the middle of the body; the scanner's limits."""
    sigma_hu, passes, sharpening = KERNELS[kernel]
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    for _ in range(passes):
        noise = _smooth(noise)
    if sharpening:
        noise = noise - sharpening * _smooth(_smooth(noise))
    blurred = _smooth(hu)
    image = blurred if kernel == "soft" else hu + 0.35 * (hu - blurred)
    rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) for n in hu.shape[1:])
    strength = 0.55 + 0.75 * np.exp(-2.2 * (rows[:, None] ** 2 + columns**2))
    image = image + noise * (sigma_hu / float(noise.std()) * strength)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)
