"""Hidden Markov random field fitted by expectation and maximisation, with a neighbourhood that knows thick slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cohortseg.methods import Segment
from cohortseg.methods.kmeans import centres_of
from cohortseg.methods.levels import Floats, Labels, check_objects, chosen, nearest_level
from cohortseg.methods.regions import Mask, region
from cohortseg.volume import Array, Shape, Triple, Volume

Neighbourhood = Literal["fast", "scaled", "plane"]
Weights = tuple[tuple[Shape, float], ...]
"""Offsets (z, y, x) of the neighbours, and how much each counts."""

RAMP_FROM, RAMP_STEP = 0.1, 0.03
THICK_MM, FEW_SLICES = 6.0, 10
"""Beyond this slice distance, or with fewer slices, planes do not see each other."""


@dataclass(frozen=True)
class Fit:
    """Levels (1 .. n; 0 outside), and mean, standard deviation and share of each level."""

    levels: Labels
    means: Floats
    deviations: Floats
    shares: Floats


def build(
    *,
    levels: int = 3,
    objects: Sequence[int] | None = None,
    inside: str = "all",
    beta: float = 0.5,
    neighbourhood: Neighbourhood = "fast",
    iterations: int = 20,
    sweeps: int = 2,
    shares: bool = False,
    seed: int = 1,
) -> Segment:
    """A segmenter by tissue classes of normal intensities that prefer neighbours of their kind.

    Parameters
    ----------
    levels, objects, inside
        Number of classes; those that become class 1, 2, … (1 is the darkest; default: the brightest); region.
    beta : float
        Strength of the field; it grows from 0.1 by 0.03 an iteration. 0: a mixture of Gaussians.
    neighbourhood : {'fast', 'scaled', 'plane'}
        'fast': 18 neighbours; in the plane 1 and, diagonally, 0.8; through the plane 0.8 and, diagonally, 0.7 times
        in-plane spacing over slice distance. 'scaled': both of the latter times that ratio. 'plane': none through the
        plane. 'fast' is 'plane' beyond 6 mm or with fewer than 10 slices.
    iterations, sweeps : int
        Of expectation and maximisation; of the labels in each.
    shares : bool
        Let the share of each class count as well.
    seed : int
        Of the k-means that it starts from.

    Notes
    -----
    Source: Zhang, Brady & Smith 2001, IEEE Trans. Med. Imaging 20(1); weights as in FSL FAST.
    """
    wanted = check_objects(objects, levels)

    def segment(volume: Volume) -> Labels:
        where = None if inside == "all" else region(inside, volume)
        weights = neighbours(volume.grid.shape, volume.grid.spacing_mm, neighbourhood)
        fitted = fit(
            volume.array,
            where,
            levels,
            weights,
            beta=beta,
            iterations=iterations,
            sweeps=sweeps,
            shares=shares,
            seed=seed,
        )
        return chosen(fitted.levels, wanted)

    return segment


def neighbours(shape: Shape, spacing_mm: Triple, kind: Neighbourhood) -> Weights:
    """The neighbours of a voxel and their weights."""
    ratio = max(spacing_mm[1:]) / spacing_mm[0]
    alone = kind == "plane" or shape[0] == 1
    if kind == "fast" and (spacing_mm[0] > THICK_MM or shape[0] < FEW_SLICES):
        alone = True
    straight = 0.0 if alone else 0.8 * (ratio if kind == "scaled" else 1.0)
    slanted = 0.0 if alone else 0.7 * ratio
    found = []
    for z in (-1, 0, 1):
        for y in (-1, 0, 1):
            for x in (-1, 0, 1):
                steps = abs(y) + abs(x)
                if (z, y, x) == (0, 0, 0) or (z and steps > 1):
                    continue
                weight = (slanted if steps else straight) if z else (1.0 if steps == 1 else 0.8)
                if weight > 0:
                    found.append(((z, y, x), weight))
    return tuple(found)


def fit(
    image: Array,
    where: Mask | None,
    n_levels: int,
    weights: Weights,
    *,
    beta: float,
    iterations: int,
    sweeps: int = 2,
    shares: bool = False,
    seed: int = 1,
) -> Fit:
    """Fit the field to an image.

    Each iteration: iterated conditional modes of the labels, then the probability of each class given the neighbours'
    labels, then means and deviations weighted by it.

    Parameters
    ----------
    image : array, shape (z, y, x)
    where : bool array or None
        Voxels that take part; the others are nobody's neighbour.

    Returns
    -------
    Fit
        All levels 0 when there are fewer values than levels.
    """
    centres = centres_of(image, where, n_levels, seed=seed, n_starts=4)
    if centres is None:
        nothing = np.zeros(n_levels)
        return Fit(np.zeros(image.shape, np.uint8), nothing, nothing, nothing)
    values = np.asarray(image, dtype=np.float64)
    at = np.ones(values.shape, bool) if where is None else where
    labels = np.where(at, nearest_level(values, centres), 0).astype(np.uint8)
    seen = values[at]
    hard = labels[at]
    means = np.array([seen[hard == k].mean() if (hard == k).any() else centres[k - 1] for k in range(1, n_levels + 1)])
    smallest = max(1e-6 * float(seen.std()), 1e-12)
    deviations = np.array(
        [max(seen[hard == k].std() if (hard == k).any() else 0.0, smallest) for k in range(1, n_levels + 1)]
    )
    part = np.bincount(hard, minlength=n_levels + 1)[1:] / hard.size
    for i in range(iterations):
        strength = min(beta, RAMP_FROM + RAMP_STEP * i)
        unary = costs(values, means, deviations, part if shares else None)
        for _ in range(sweeps):
            sweep(labels, at, unary, weights, strength)
        posterior = responsibilities(unary, counts(labels, n_levels, weights), strength)[:, at]
        total = posterior.sum(axis=1) + 1e-12
        means = posterior @ seen / total
        deviations = np.maximum(
            np.sqrt(np.array([p @ (seen - m) ** 2 for p, m in zip(posterior, means, strict=True)]) / total), smallest
        )
        part = total / total.sum()
    unary = costs(values, means, deviations, part if shares else None)
    sweep(labels, at, unary, weights, min(beta, RAMP_FROM + RAMP_STEP * iterations))
    order = np.argsort(means, kind="stable")
    rank = np.concatenate([[0], np.argsort(order) + 1]).astype(np.uint8)
    return Fit(rank[labels], means[order], deviations[order], part[order])


def costs(values: Floats, means: Floats, deviations: Floats, shares: Floats | None) -> npt.NDArray[np.float32]:
    """Negative log likelihood of each class, shape (classes, z, y, x), up to a constant."""
    found = np.empty((means.size, *values.shape), np.float32)
    for k, (mean, deviation) in enumerate(zip(means, deviations, strict=True)):
        found[k] = (values - mean) ** 2 / (2 * deviation**2) + np.log(deviation)
        if shares is not None:
            found[k] -= np.log(max(float(shares[k]), 1e-12))
    return found


def counts(labels: Labels, n_levels: int, weights: Weights) -> npt.NDArray[np.float32]:
    """Weighted number of neighbours of each class, shape (classes, z, y, x)."""
    padded = np.pad(labels, 1)
    found = np.zeros((n_levels, *labels.shape), np.float32)
    for offset, weight in weights:
        near = padded[tuple(slice(1 + o, 1 + o + n) for o, n in zip(offset, labels.shape, strict=True))]
        for k in range(n_levels):
            found[k] += np.float32(weight) * (near == k + 1)
    return found


def sweep(labels: Labels, at: Mask, unary: npt.NDArray[np.float32], weights: Weights, beta: float) -> None:
    """One round of iterated conditional modes, in place; the energy never rises.

    Voxels of the same parity along z, y and x are no neighbours: each of the eight sets is settled at once.
    """
    padded = np.pad(labels, 1)
    n_levels = len(unary)
    shape = labels.shape
    for first in np.ndindex(2, 2, 2):
        own = tuple(slice(f, n, 2) for f, n in zip(first, shape, strict=True))
        energy = unary[(slice(None), *own)].copy()
        for offset, weight in weights:
            box = tuple(slice(1 + f + o, 1 + o + n, 2) for f, o, n in zip(first, offset, shape, strict=True))
            near = padded[box]
            for k in range(n_levels):
                energy[k] -= np.float32(beta * weight) * (near == k + 1)
        best = np.where(at[own], energy.argmin(axis=0) + 1, 0).astype(np.uint8)
        padded[tuple(slice(1 + f, 1 + n, 2) for f, n in zip(first, shape, strict=True))] = best
    labels[:] = padded[1:-1, 1:-1, 1:-1]


def responsibilities(
    unary: npt.NDArray[np.float32], near: npt.NDArray[np.float32], beta: float
) -> npt.NDArray[np.float64]:
    """Probability of each class given the intensity and the neighbours' labels, shape (classes, z, y, x)."""
    logits = np.float64(beta) * near - unary
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    return np.asarray(logits / logits.sum(axis=0))


def energy(labels: Labels, unary: npt.NDArray[np.float32], weights: Weights, beta: float) -> float:
    """The field's energy: costs of the classes minus beta times the weighted pairs of equal neighbours."""
    total, near = 0.0, counts(labels, len(unary), weights)
    for k in range(len(unary)):
        own = labels == k + 1
        total += float(unary[k][own].sum(dtype=np.float64)) - beta / 2 * float(near[k][own].sum(dtype=np.float64))
    return total
