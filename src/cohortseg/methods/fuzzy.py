"""Fuzzy c-means, plain and intuitionistic, on the histogram: a membership depends on nothing but the grey level."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.levels import Floats, Labels, check_objects, chosen, nearest_level, spread_starts
from cohortseg.methods.regions import region
from cohortseg.methods.threshold import groups_of_planes, histogram
from cohortseg.volume import Volume

Memberships = npt.NDArray[np.float64]
"""Shape (clusters, grey levels), in 0..1."""


def sugeno(u: Memberships, strength: float) -> Memberships:
    """Non-membership (1 - u) / (1 + lambda u), lambda > -1; at 0 it is 1 - u."""
    return (1 - u) / (1 + strength * u)


def yager(u: Memberships, strength: float) -> Memberships:
    """Non-membership (1 - u^a)^(1/a), 0 < a; at 1 it is 1 - u."""
    return np.asarray((1 - u**strength) ** (1 / strength), dtype=np.float64)


GENERATORS: dict[str, Callable[[Memberships, float], Memberships]] = {"sugeno": sugeno, "yager": yager}


def build(
    *,
    levels: int = 3,
    objects: Sequence[int] | None = None,
    inside: str = "all",
    fuzziness: float = 2.0,
    hesitation: str = "none",
    strength: float = 1.0,
    tolerance: float = 1e-5,
    iterations: int = 200,
) -> Segment:
    """A segmenter by fuzzy clusters, sorted by brightness; a voxel goes to its largest membership.

    Parameters
    ----------
    levels, objects, inside
        Number of clusters; those that become class 1, 2, … (1 is the darkest; default: the brightest); region.
    fuzziness : float
        Exponent m of the memberships, above 1.
    hesitation : {'none', 'sugeno', 'yager'}
        Generator of the non-membership: 'none' is fuzzy c-means, the others are intuitionistic.
    strength : float
        Lambda of Sugeno (0: no hesitation), or exponent of Yager, at most 1 (1: no hesitation).
    tolerance, iterations
        The end: memberships change by less; upper bound.

    Raises
    ------
    SettingsError
        For a generator that would give a negative hesitation, or settings that cannot be.

    Notes
    -----
    Source: Bezdek 1981; Chaira 2011, Appl. Soft Comput. 11(2); Aruna Kumar & Harish 2018.
    """
    wanted = check_objects(objects, levels)
    if fuzziness <= 1:
        raise SettingsError(f"fuzziness must be above 1, got {fuzziness}")
    check_generator(hesitation, strength)

    def segment(volume: Volume) -> Labels:
        where = None if inside == "all" else region(inside, volume)
        counts, values = histogram(volume.array, where)
        used = counts > 0
        out = np.zeros(volume.grid.shape, np.uint8)
        if np.count_nonzero(used) < levels:
            return out
        centres, _ = cluster(
            values[used],
            counts[used],
            levels,
            fuzziness=fuzziness,
            hesitation=hesitation,
            strength=strength,
            tolerance=tolerance,
            iterations=iterations,
        )
        for planes in groups_of_planes(out.shape):  # the largest membership belongs to the nearest centre
            out[planes] = chosen(nearest_level(volume.array[planes], centres), wanted)
        if where is not None:
            out[~where] = 0
        return out

    return segment


def check_generator(hesitation: str, strength: float) -> None:
    """Hesitation must lie in 0..1: lambda from 0, Yager's exponent in (0, 1].

    Raises
    ------
    SettingsError
        Otherwise, or for an unknown generator.
    """
    choose("hesitation", hesitation, {"none": None, **GENERATORS})
    if hesitation == "sugeno" and strength < 0:
        raise SettingsError(f"hesitation `sugeno` needs a strength from 0, got {strength}")
    if hesitation == "yager" and not 0 < strength <= 1:
        raise SettingsError(f"hesitation `yager` needs a strength above 0 and at most 1, got {strength}")


def cluster(
    values: Floats,
    weights: Floats,
    n_clusters: int,
    *,
    fuzziness: float = 2.0,
    hesitation: str = "none",
    strength: float = 1.0,
    tolerance: float = 1e-5,
    iterations: int = 200,
) -> tuple[Floats, Memberships]:
    """Ascending centres, and the memberships of each grey level.

    Parameters
    ----------
    values, weights : float array, shape (grey levels,)
        Different grey levels, and how many voxels have each.

    Returns
    -------
    centres : float array, shape (clusters,)
    memberships : float array, shape (clusters, grey levels)
        Sum 1 over the clusters; with hesitation added they drive the centres (u* = u + pi).
    """
    centres = spread_starts(values, weights, n_clusters)
    before = memberships(values, centres, fuzziness)
    for _ in range(iterations):
        driven = (with_hesitation(before, hesitation, strength) ** fuzziness) * weights
        centres = driven @ values / driven.sum(axis=1)
        now = memberships(values, centres, fuzziness)
        change, before = float(np.abs(now - before).max()), now
        if change < tolerance:
            break
    order = np.argsort(centres, kind="stable")
    return centres[order], before[order]


def memberships(values: Floats, centres: Floats, fuzziness: float) -> Memberships:
    """u_i = 1 / sum_j (d_i / d_j)^(2 / (m - 1)); a value on a centre belongs to it alone."""
    distances = np.abs(values[None, :] - centres[:, None])
    on = distances == 0
    distances[:, on.any(axis=0)] = 1.0
    nearest = distances.min(axis=0)
    parts = (nearest / distances) ** (2.0 / (fuzziness - 1.0))
    out = parts / parts.sum(axis=0)
    hit = on.any(axis=0)
    out[:, hit] = on[:, hit] / on[:, hit].sum(axis=0)
    return np.asarray(out, dtype=np.float64)


def with_hesitation(u: Memberships, hesitation: str, strength: float) -> Memberships:
    """U + pi, where pi = 1 - u - non-membership(u) is what is neither; u itself for 'none'."""
    return u if hesitation == "none" else 1.0 - GENERATORS[hesitation](u, strength)


def partition_coefficient(u: Memberships, weights: Floats) -> float:
    """Mean of the sum of squared memberships: 1 for a hard partition, 1 / clusters for none (Bezdek 1981)."""
    return float(((u**2).sum(axis=0) @ weights) / weights.sum())
