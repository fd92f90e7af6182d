"""Classical segmentation: everything brighter than a threshold, in a region of the image.

A global threshold is read off the histogram of the region; it never sees a reference. Integers are counted exactly, one
bin a value; floats in 4096 bins between their extremes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.entropy import deepest_valley, tsallis
from cohortseg.methods.regions import REGIONS, isolated, opened, region
from cohortseg.volume import Array, Volume

Counts = npt.NDArray[np.float64]
Centres = npt.NDArray[np.float64]

BINS = 4096
"""Bins of floats, and the most that the search for two thresholds at once is given."""
PLANES_VOXELS = 2_000_000


@dataclass(frozen=True)
class Rule:
    """How a threshold is read off a histogram, where that comes from, and which settings it takes besides."""

    threshold: Callable[..., float]
    source: str
    options: tuple[str, ...] = ()


def otsu(counts: Counts, centres: Centres) -> float:
    """The threshold with the largest variance between the two classes."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(hist=(counts, centres)))


def multi_otsu(counts: Counts, centres: Centres) -> float:
    """The upper of the two thresholds with the largest variance between three classes: the brightest of three."""
    from skimage.filters import threshold_multiotsu

    merged = -(-counts.size // BINS)
    starts = np.arange(0, counts.size, merged)
    grouped, middle = np.add.reduceat(counts, starts), np.add.reduceat(centres, starts)
    middle /= np.diff([*starts, counts.size])
    if np.count_nonzero(grouped) < 3:
        return otsu(counts, centres)
    return float(threshold_multiotsu(classes=3, hist=(grouped, middle))[-1])


def yen(counts: Counts, centres: Centres) -> float:
    """The threshold with the largest correlation criterion."""
    from skimage.filters import threshold_yen

    return float(threshold_yen(hist=(counts, centres)))


def li(counts: Counts, centres: Centres) -> float:
    """The threshold with the smallest cross entropy, by fixed-point iteration from the mean."""
    values = centres - centres[0]
    threshold, before = float(counts @ values / counts.sum()), -1.0
    step = centres[1] - centres[0]
    for _ in range(1000):
        if abs(threshold - before) < step / 2:
            break
        bright = values > threshold
        above = float(counts[bright] @ values[bright] / counts[bright].sum())
        below = float(counts[~bright] @ values[~bright] / counts[~bright].sum())
        if below <= 0:
            break
        before, threshold = threshold, (above - below) / (np.log(above) - np.log(below))
    return float(threshold + centres[0])


def triangle(counts: Counts, centres: Centres) -> float:
    """The value farthest below the line from the peak of the histogram to the end of its longer tail."""
    peak, end = int(counts.argmax()), counts.size - 1
    first, last = (peak, end) if end - peak >= peak else (0, peak)
    places = np.arange(first, last + 1)
    line = np.interp(places, [first, last], counts[[first, last]])
    return float(centres[first + int((line - counts[first : last + 1]).argmax())])


RULES: dict[str, Rule] = {
    "otsu": Rule(otsu, "Otsu 1979, IEEE Trans. SMC 9(1)"),
    "multi_otsu": Rule(multi_otsu, "Liao, Chen & Chung 2001, J. Inf. Sci. Eng. 17(5)"),
    "yen": Rule(yen, "Yen, Chang & Chang 1995, IEEE Trans. Image Process. 4(3)"),
    "li": Rule(li, "Li & Tam 1998, Pattern Recognit. Lett. 19(8)"),
    "triangle": Rule(triangle, "Zack, Rogers & Latt 1977, J. Histochem. Cytochem. 25(7)"),
    "tsallis": Rule(tsallis, "Portes de Albuquerque et al. 2004, Pattern Recognit. Lett. 25(9)", ("q",)),
    "valley": Rule(deepest_valley, "Prewitt & Mendelsohn 1966, Ann. N. Y. Acad. Sci. 128(3)"),
}


def build(
    *,
    rule: str = "otsu",
    low: float | None = None,
    high: float | None = None,
    inside: str = "all",
    opening_mm: float = 0.0,
    q: float = 0.8,
) -> Segment:
    """A segmenter that marks voxels by intensity as class 1.

    Parameters
    ----------
    rule : str
        'fixed' (low <= value <= high) or a key of `RULES` (value > threshold).
    low, high : float, optional
        Limits for 'fixed', in image units (HU); at least one.
    inside : {'all', 'body', 'lungs'}
        Region that is searched, and whose histogram a rule sees. Body and lungs need a CT in HU. In the lungs only
        objects are kept that are darker outside on at least half of their surface.
    opening_mm : float
        Radius of an opening that frees blobs from thin structures; 0 leaves it out.
    q : float
        Entropic index of 'tsallis'; 1 is Kapur's rule.

    Returns
    -------
    callable
        Volume -> uint8 array of 0 and 1. All 0 where the region is empty or of one value.

    Raises
    ------
    SettingsError
        For an unknown rule or region, or limits that do not go with the rule.
    """
    choose("inside", inside, REGIONS)
    if rule == "fixed":
        _check_limits(low, high)
    else:
        choose("rule", rule, {**RULES, "fixed": None})
        if low is not None or high is not None:
            raise SettingsError(f"low and high go with rule 'fixed', not {rule!r}")

    def segment(volume: Volume) -> npt.NDArray[np.uint8]:
        where = None if inside == "all" else region(inside, volume)
        limits = (low, high) if rule == "fixed" else (find_threshold(volume.array, where, rule=rule, q=q), None)
        found = opened(
            _between(volume.array, where, limits, strict=rule != "fixed"), opening_mm, volume.grid.spacing_mm
        )
        if inside == "lungs" and limits[0] is not None:
            found = isolated(found, np.asarray(volume.array) <= limits[0])
        return found.astype(np.uint8)

    return segment


def scope(*, rule: str, inside: str, opening_mm: float) -> str:
    """What a voxel depends on with these settings: 'pointwise' for fixed limits alone, else 'volume'."""
    return "pointwise" if rule == "fixed" and inside == "all" and opening_mm == 0 else "volume"


def find_threshold(image: Array, where: Array | None, *, rule: str, **options: float) -> float:
    """The threshold of a rule on the histogram of an image.

    Parameters
    ----------
    image : array-like, shape (z, y, x)
        Integers or floats; read in groups of planes.
    where : bool array, shape (z, y, x), or None
        Voxels that are counted; all when None.
    rule : str
        A key of `RULES`.
    **options
        Numbers of the rules; each takes its own.

    Returns
    -------
    float
        Objects are brighter than this; infinity when there are fewer than two different values.
    """
    counts, centres = histogram(image, where)
    if np.count_nonzero(counts) < 2:
        return np.inf
    found = choose("rule", rule, RULES)
    return found.threshold(counts, centres, **{name: options[name] for name in found.options if name in options})


def histogram(image: Array, where: Array | None) -> tuple[Counts, Centres]:
    """Counts and bin centres, from the smallest to the largest value; both empty when no voxel is counted."""
    extremes = [(part.min(), part.max()) for part in _counted(image, where)]
    if not extremes:
        return np.zeros(0), np.zeros(0)
    low, high = float(min(pair[0] for pair in extremes)), float(max(pair[1] for pair in extremes))
    exact = np.dtype(image.dtype).kind in "iub" and high - low < 2**20
    n = int(high - low) + 1 if exact else BINS
    width = 1.0 if exact else (high - low) / BINS or 1.0
    counts = np.zeros(n)
    for part in _counted(image, where):
        if exact:
            values = part.astype(np.intp)
            values -= int(low)
            counts += np.bincount(values, minlength=n)
        else:
            bins = ((part.astype(np.float64) - low) / width).astype(np.intp)
            counts += np.bincount(np.minimum(bins, n - 1), minlength=n)
    return counts, low + width * (np.arange(n, dtype=np.float64) + (0.0 if exact else 0.5))


def _counted(image: Array, where: Array | None) -> Iterator[Array]:
    """The voxels that count, in groups of planes, without empty groups."""
    for planes in groups_of_planes(image.shape):
        part = np.asarray(image[planes])
        voxels = part.ravel() if where is None else part[where[planes]]
        if voxels.size:
            yield voxels


def _between(
    image: Array, where: Array | None, limits: tuple[float | None, float | None], *, strict: bool
) -> npt.NDArray[np.bool_]:
    low, high = limits
    out = np.ones(image.shape, bool) if where is None else where.copy()
    for planes in groups_of_planes(image.shape):
        part = np.asarray(image[planes])
        if low is not None:
            out[planes] &= part > low if strict else part >= low
        if high is not None:
            out[planes] &= part <= high
    return out


def groups_of_planes(shape: tuple[int, ...]) -> list[slice]:
    """The planes of an image in groups of about `PLANES_VOXELS`: what is worked on at a time."""
    step = max(1, PLANES_VOXELS // (shape[1] * shape[2]))
    return [slice(z, z + step) for z in range(0, shape[0], step)]


def _check_limits(low: float | None, high: float | None) -> None:
    if low is None and high is None:
        raise SettingsError("rule 'fixed' needs low or high")
    if low is not None and high is not None and low >= high:
        raise SettingsError(f"low must be below high, got {low} and {high}")
