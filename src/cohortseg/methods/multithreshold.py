"""Several thresholds from one histogram: the image in brightness levels between them."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.methods import Segment
from cohortseg.methods.entropy import tsallis_thresholds, valleys
from cohortseg.methods.levels import Floats, Labels, best_centres, check_objects, chosen, level_of
from cohortseg.methods.regions import region
from cohortseg.methods.threshold import groups_of_planes, histogram
from cohortseg.volume import Volume


def otsu_thresholds(counts: Floats, centres: Floats, levels: int, *, q: float) -> Floats:
    """The thresholds with the largest variance between the levels; by k-means for more than four, where it is slow."""
    del q
    used = counts > 0
    if levels <= 4:
        from skimage.filters import threshold_multiotsu

        step = -(-counts.size // 256)  # as scikit-image counts by default
        starts = np.arange(0, counts.size, step)
        middle = np.add.reduceat(centres, starts) / np.diff([*starts, counts.size])
        grouped = np.add.reduceat(counts, starts)
        if np.count_nonzero(grouped) >= levels:
            return np.asarray(threshold_multiotsu(classes=levels, hist=(grouped, middle)), dtype=np.float64)
    found = best_centres(centres[used], counts[used], levels)
    return np.asarray((found[1:] + found[:-1]) / 2)


def entropy_thresholds(counts: Floats, centres: Floats, levels: int, *, q: float) -> Floats:
    """The thresholds with the largest Tsallis entropy of the levels."""
    return tsallis_thresholds(counts, centres, levels - 1, q=q)


def valley_thresholds(counts: Floats, centres: Floats, levels: int, *, q: float) -> Floats:
    """The valleys of the histogram, from the dark end; levels that the histogram lacks stay empty at the bright end."""
    del q
    return valleys(counts, centres)[: levels - 1]


RULES: dict[str, tuple[Callable[..., Floats], str]] = {
    "multi_otsu": (otsu_thresholds, "Liao, Chen & Chung 2001, J. Inf. Sci. Eng. 17(5)"),
    "tsallis": (entropy_thresholds, "Portes de Albuquerque et al. 2004, Pattern Recognit. Lett. 25(9)"),
    "valleys": (valley_thresholds, "Prewitt & Mendelsohn 1966, Ann. N. Y. Acad. Sci. 128(3)"),
}


def build(
    *,
    rule: str = "multi_otsu",
    levels: int = 3,
    objects: Sequence[int] | None = None,
    inside: str = "all",
    q: float = 0.8,
) -> Segment:
    """A segmenter by brightness levels between thresholds.

    Parameters
    ----------
    rule : str
        A key of `RULES`.
    levels, objects, inside
        Number of levels; those that become class 1, 2, … (1 is the darkest; default: the brightest); region.
    q : float
        Entropic index for 'tsallis'.

    Returns
    -------
    callable
        Volume -> uint8. All 0 where the region has fewer than two values.
    """
    wanted = check_objects(objects, levels)
    find = choose("rule", rule, RULES)[0]

    def segment(volume: Volume) -> Labels:
        where = None if inside == "all" else region(inside, volume)
        counts, centres = histogram(volume.array, where)
        out: npt.NDArray[np.uint8] = np.zeros(volume.grid.shape, np.uint8)
        if np.count_nonzero(counts) < 2:
            return out
        thresholds = find(counts, centres, levels, q=q)
        for planes in groups_of_planes(out.shape):
            out[planes] = chosen(level_of(volume.array[planes], thresholds), wanted)
        if where is not None:
            out[~where] = 0
        return out

    return segment
