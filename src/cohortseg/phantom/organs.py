"""The organs of a synthetic thorax, painted slice by slice: wall, ribs, lungs, heart, belly, spine, couch.

An organ is a signed distance, negative inside, painted over what was there with soft edges, so that borders show the
partial volume of a real scanner. Nominal coordinates: mm of a body of half-width 165 mm, x to the patient's left,
y to the back, z to the head, origin at the carina; `Anatomy.scale` turns them into true mm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array, Triple

Floats: TypeAlias = npt.NDArray[np.float32]

HALF_WIDTH_MM = 165.0

ELLIPSOIDS: dict[str, tuple[Triple, Triple, float]] = {  # centre (x, y, z), half-axes, turn about z in degrees
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


@dataclass(frozen=True)
class Anatomy:
    """How one person differs from the next; nominal mm and HU."""

    scale: float
    shift: tuple[float, float, float]
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

    x: Array
    y: Array
    z: float
    pixel: float
    edge: float
    theta: Array
    skin: Array
    cavity: Array


def draw_anatomy(rng: np.random.Generator, width_mm: float) -> Anatomy:
    """One person, so large that the body fills most of a field of view `width_mm` wide."""
    return Anatomy(
        scale=width_mm * rng.uniform(0.40, 0.435) / HALF_WIDTH_MM,
        shift=(rng.uniform(-8, 8), rng.uniform(-14, 2), rng.uniform(8, 26)),
        depth=rng.uniform(0.92, 1.06),
        fat=rng.uniform(7, 22),
        breast=float(rng.choice([0.0, rng.uniform(12, 26)])),
        lung_width=rng.uniform(0.94, 1.03),
        domes=(rng.uniform(-92, -70), rng.uniform(-104, -84)),
        lung_hu=rng.uniform(-880, -810),
        vessel_hu=float(rng.choice([42.0, rng.uniform(130, 220)])),
        rib_phase=rng.uniform(0, 1),
        disc_phase=rng.uniform(0, 1),
    )


def cut_plane(anatomy: Anatomy, axes: Sequence[Floats], z: float) -> Plane:
    """Distances to the skin and to the inner side of the chest wall; the ribcage narrows towards the head.

    `axes` are the nominal positions of slices, rows and columns.
    """
    y, x = np.meshgrid(*axes[1:], indexing="ij")
    pixel, thick = float(axes[2][1] - axes[2][0]), float(axes[0][1] - axes[0][0])
    theta = np.abs(np.arctan2(x, y))  # 0 at the back, pi in front
    shoulder = _rise(z, 20, 110)
    skin = _oval(x, y, 158 + 14 * shoulder, (122 - 16 * shoulder) * anatomy.depth, 106, 2.3)
    skin -= anatomy.breast * np.exp(-(((theta - 2.35) / 0.38) ** 2)) * math.exp(-(((z + 45) / 48) ** 2))
    skin += 5 * np.exp(-((theta / 0.16) ** 2))  # groove over the spine
    taper = max(0.04, 1 - max(0.0, (z + 90) / 206) ** 2.6) ** 0.45
    half_x, front = 130 * anatomy.lung_width * taper, 95 * anatomy.depth * taper**0.7
    cavity = _oval(x, y - 8 * (1 - taper), half_x, front, 84 * taper, 2.2)
    return Plane(x, y, z, pixel, pixel + 0.3 * thick, theta, skin, cavity)


def _rise(value: float, low: float, high: float) -> float:
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3 - 2 * t)


def _oval(x: Array, y: Array, half_x: float, front: float, back: float, power: float) -> Array:
    """Radial distance to a superellipse that may be deeper in front than behind."""
    unit = (np.abs(x / half_x) ** power + np.abs(y / np.where(y < 0, front, back)) ** power) ** (1 / power)
    return (np.hypot(x, y) * (1 - 1 / np.maximum(unit, 1e-3))).astype(np.float32)


def _ellipsoid(plane: Plane, name: str) -> Array:
    """Approximate distance to one of `ELLIPSOIDS`."""
    centre, half, turn = ELLIPSOIDS[name]
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    x, y, z = plane.x - centre[0], plane.y - centre[1], plane.z - centre[2]
    unit = ((x * cosine + y * sine) / half[0]) ** 2 + ((y * cosine - x * sine) / half[1]) ** 2 + (z / half[2]) ** 2
    return (np.sqrt(unit) - 1) * np.float32(min(half[:2]))


def _blend(a: Array, b: Array, radius: float) -> Array:
    """Smooth union of two distances."""
    h = np.clip(0.5 + 0.5 * (b - a) / radius, 0, 1)
    return b + (a - b) * h - radius * h * (1 - h)


def _paint(hu: Array, distance: Array, width: float, value: float | Array) -> None:
    """Soft-edged: the share of a voxel that counts as inside falls linearly over `width`."""
    hu += np.clip(0.5 - distance / width, 0, 1) * (value - hu)


def lung_distance(plane: Plane, anatomy: Anatomy) -> Array:
    """Both lungs: the cavity without mediastinum, heart, spine and what lies under the diaphragm."""
    x, y, z = plane.x, plane.y, plane.z
    middle = np.abs(x + 1) - (9 + 21 * np.exp(-(((y + 6) / 40) ** 2)) + 6 * _rise(z, 40, 110))
    for name in ("heart", "arch", "right hilum", "left hilum"):
        middle = _blend(middle, _ellipsoid(plane, name), 8)
    middle = _blend(middle, np.hypot(x, y - 50) - 20, 8)
    middle = _blend(middle, np.hypot(x - 25, y - 35) - 14 + 40 * _rise(z, 10, 40), 6)
    outside = np.minimum(middle, -_dome_depth(plane, anatomy))
    return -_blend(-(plane.cavity + 2.5), outside, 5)


def _dome_depth(plane: Plane, anatomy: Anatomy) -> Array:
    """How far under the diaphragm a point lies (negative above it), shortened by the slope of the dome."""
    right = plane.x < 0
    away = ((plane.x - np.where(right, -70, 68)) / 62) ** 2 + ((plane.y + 8) / 82) ** 2
    top = np.where(right, *anatomy.domes)
    return ((top - 52 * away - plane.z) / np.sqrt(1 + 2.2 * away)).astype(np.float32)


def paint_slice(hu: Array, lung: Array, plane: Plane, anatomy: Anatomy, coarse: Array, fine: Array) -> None:
    """Everything but tubes and tumours; `coarse` and `fine` are the tissues' texture."""
    enhanced = anatomy.vessel_hu - 42
    _paint_couch(hu, plane)
    _paint_wall(hu, plane, anatomy, coarse, fine)
    _paint_shoulder_blade(hu, plane, plane.skin + anatomy.fat)
    _paint_ribs(hu, plane, anatomy)
    _paint(hu, plane.cavity + 1.0, plane.pixel, -95 + 10 * coarse)
    _paint_belly(hu, plane, anatomy, fine)
    heart = _ellipsoid(plane, "heart")
    _paint(hu, np.maximum(heart + 4 + 3 * coarse, plane.cavity + 4), 3.0, 45 + 0.3 * enhanced)
    for name, share in CHAMBERS.items():
        _paint(hu, np.maximum(_ellipsoid(plane, name), heart + 9), 4.0, 42 + share * enhanced)
    _paint(hu, lung, plane.edge, anatomy.lung_hu + 0.5 * plane.y + 16 * coarse + 10 * fine)
    _paint_spine(hu, plane, anatomy, fine)


def _paint_couch(hu: Array, plane: Plane) -> None:
    """Two thin shells with foam between, curved under the back."""
    below = plane.y - 112 + plane.x**2 / 900 + 400 * (np.abs(plane.x) > 205)
    _paint(hu, np.abs(below) - 8, plane.pixel, -940)
    _paint(hu, np.abs(np.abs(below) - 8) - 0.9, plane.pixel, -150)


def _paint_wall(hu: Array, plane: Plane, anatomy: Anatomy, coarse: Array, fine: Array) -> None:
    """Skin, fat, gland, muscle in layers with fat between them and in the armpit."""
    theta, skin, wall = plane.theta, plane.skin, plane.cavity
    upper = _rise(plane.z, -70, 60)
    _paint(hu, skin, plane.pixel, 5)
    _paint(hu, skin + 2.2, plane.pixel, -104 + 8 * coarse)
    gland = np.maximum(skin + 6, 18 - wall + 14 * fine) + 400 * (theta < 2.0) + (26 - anatomy.breast) * 2
    _paint(hu, gland, 4.0, 15)
    fat = anatomy.fat * (0.45 + 0.75 * np.sin(theta) ** 2 + 0.25 * (theta > 1.6))
    outer = skin + fat + anatomy.breast * np.exp(-(((theta - 2.35) / 0.4) ** 2)) * (plane.z < 30)
    _paint(hu, np.maximum(outer + 2 * coarse, 4.0 - wall), 2.5, 52 + 9 * fine)
    armpit = np.maximum(13 - wall, outer + 12 + 10 * upper) + 90 * np.maximum(
        np.abs(theta - 1.8) - 0.3 - 0.2 * upper, 0
    )
    _paint(hu, armpit + 4 * coarse, 3.0, -98 + 6 * fine)
    for gap in (13, 26):
        _paint(hu, np.maximum(np.abs(wall - gap - 3 * coarse) - 0.2 + 3 * fine, outer + 5), 2.0, -70)


def _paint_shoulder_blade(hu: Array, plane: Plane, outer: Array) -> None:
    upper = _rise(plane.z, -70, 60)
    if upper > 0.15:
        flat = np.abs(plane.cavity - 17 - 8 * upper - 22 * (plane.theta - 0.75)) - (2.0 + 2.5 * upper)
        blade = np.maximum(flat, 90 * (np.abs(plane.theta - 0.85) - 0.55 * upper))
        _paint(hu, np.maximum(blade, outer + 8), 1.6, 520)
        _paint(hu, np.maximum(blade + 2.2, outer + 10), 1.6, 230)


def _paint_ribs(hu: Array, plane: Plane, anatomy: Anatomy) -> None:
    """Rings that sink from back to front: bone with marrow, cartilage in front; breast bone."""
    near = np.abs(plane.cavity - 5.5) < 9
    theta, wall, values = plane.theta[near], plane.cavity[near], hu[near]
    phase = (plane.z + 47.5 * (1 - np.cos(theta)) + 12 * theta) / 27.0 + anatomy.rib_phase
    height = (phase - np.round(phase)) * 27.0
    slope = np.maximum(1.0, (47.5 * np.sin(theta) + 12) / 86)
    rib = (np.hypot((wall - 5.5) / 4.2, height / 6.5) - 1) * 4.2 / slope
    bone = np.clip((2.55 - theta) / 0.12, 0, 1)
    _paint(values, rib, max(1.4, plane.pixel), 110 + 620 * bone)
    _paint(values, rib + 1.9, max(1.4, plane.pixel), 100 + 150 * bone)
    hu[near] = values
    if plane.z > -75:
        width = 2.6 + 0.8 * _rise(plane.z, 10, 50)
        plate = np.hypot(plane.x / width, plane.y + 95 * anatomy.depth + 5.5) - 7
        _paint(hu, np.maximum(plate, plane.skin + 6), 1.6, 430)
        _paint(hu, np.maximum(plate + 1.6, plane.skin + 8), 1.6, 150)


def _paint_belly(hu: Array, plane: Plane, anatomy: Anatomy, fine: Array) -> None:
    """Liver on the right, spleen and stomach with its bubble on the left, under 3 mm of diaphragm."""
    inside = np.maximum(-_dome_depth(plane, anatomy), plane.cavity + 2)
    if float(inside.min()) > 20:
        return
    enhanced = 0.35 * (anatomy.vessel_hu - 42)
    stomach = np.maximum(inside + 3, _ellipsoid(plane, "stomach"))
    _paint(hu, inside, plane.edge, 45)
    _paint(hu, np.maximum(inside + 3, 8 - plane.x), plane.edge, -98)
    _paint(hu, np.maximum(inside + 1, plane.x - 14 - 0.5 * plane.y), plane.edge, 58 + enhanced + 4 * fine)
    _paint(hu, np.maximum(inside + 1.5, _ellipsoid(plane, "spleen")), plane.edge, 48 + 1.3 * enhanced)
    _paint(hu, stomach, plane.edge, 45)
    _paint(hu, stomach + 4, plane.edge, np.where(plane.y < -40, -950, 15))


def _paint_spine(hu: Array, plane: Plane, anatomy: Anatomy, fine: Array) -> None:
    """Vertebral body or disc, transverse processes, arch, spinous process, canal with cord."""
    x, y = np.abs(plane.x), plane.y - 50 - 3 * math.sin((plane.z + 30) / 60)
    level = (plane.z / 24 + anatomy.disc_phase) % 1.0
    body = np.hypot(x / 1.22, y) - 13.8 + 0.6 * math.sin(math.pi * level)
    wings = np.maximum(np.abs(y - 24 - 0.22 * x) - 4.2, x - 30) + (0 if 0.3 < level < 0.75 else 40)
    arch = np.abs(np.hypot(x, y - 20) - 11.5) - 2.6 + (0 if level > 0.25 else 40)
    spike = np.maximum(x - 2.6 - 1.2 * np.exp(-(((y - 46) / 5) ** 2)), np.abs(y - 38) - 12)
    canal = np.hypot(x, (y - 20) * 1.1) - 8.5
    _paint(hu, np.maximum(np.hypot(x - 20, y - 34) - 14 + 4 * fine, plane.skin + 8), 4.0, 55)
    _paint(hu, body, 1.4, 95 if level < 0.22 else 480)
    _paint(hu, body + 1.7, 1.4, 95 if level < 0.22 else 185 + 45 * fine)
    for bone, cortex in ((wings, 520), (arch, 560), (spike, 500)):
        _paint(hu, bone, 1.6, cortex)
        _paint(hu, bone + 2.0, 1.6, 250)
    _paint(hu, canal, 1.6, 5)
    _paint(hu, canal + 3.6, 1.6, 38)
