"""K-means on intensities, on intensities with their surroundings, or on principal components of windows."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.features import Features, principal, spatial, window_shape
from cohortseg.methods.levels import Floats, Labels, best_centres, check_objects, chosen, nearest_level
from cohortseg.methods.regions import Mask, region
from cohortseg.methods.threshold import groups_of_planes, histogram
from cohortseg.volume import Array, Volume

GROUP = 500_000
"""Voxels whose distances to the centres are held at a time."""


def build(
    *,
    levels: int = 3,
    objects: Sequence[int] | None = None,
    inside: str = "all",
    features: Literal["intensity", "spatial", "pca"] = "intensity",
    window: int = 3,
    components: int = 3,
    seed: int = 1,
    starts: int = 4,
    sample: int = 200_000,
) -> Segment:
    """A segmenter by k-means clusters, sorted by brightness.

    Parameters
    ----------
    levels, objects, inside
        Number of clusters; those that become class 1, 2, … (1 is the darkest; default: the brightest); region.
    features : {'intensity', 'spatial', 'pca'}
        'intensity': exact, on the histogram. 'spatial': intensity, mean and median of the window. 'pca': the first
        principal components of the window. The latter two are scaled alike and clustered by scikit-learn.
    window, components : int
        Odd size in voxels; number of principal components.
    seed, starts, sample : int
        Of the random starts; how many; how many voxels the centres are found on.

    Raises
    ------
    SettingsError
        For levels, objects or a window that cannot be.

    Notes
    -----
    Source: Lloyd 1982, IEEE Trans. Inf. Theory 28(2); spatial features: Zhang et al. 2018.
    """
    wanted = check_objects(objects, levels)
    if window < 1 or window % 2 == 0:
        raise SettingsError(f"window must be odd, got {window}")

    def segment(volume: Volume) -> Labels:
        where = None if inside == "all" else region(inside, volume)
        if features == "intensity" or (features == "spatial" and window == 1):
            found = by_intensity(volume.array, where, levels, seed=seed, n_starts=starts)
        else:
            if features == "spatial":
                rows = spatial(volume.array, window)
            else:
                n = min(components, int(np.prod(window_shape(window, volume.array.shape))))
                rows = principal(volume.array, window, n, seed=seed)
            found = by_features(rows, volume.array, where, levels, seed=seed, n_starts=starts, sample=sample)
        return chosen(found, wanted)

    return segment


def centres_of(image: Array, where: Mask | None, n_levels: int, *, seed: int, n_starts: int) -> Floats | None:
    """Ascending k-means centres of the voxels of a region; None where there are fewer values than levels."""
    counts, values = histogram(image, where)
    used = counts > 0
    if np.count_nonzero(used) < n_levels:
        return None
    return best_centres(values[used], counts[used], n_levels, seed=seed, n_starts=n_starts)


def by_intensity(image: Array, where: Mask | None, n_levels: int, *, seed: int = 1, n_starts: int = 1) -> Labels:
    """Levels 1 .. n of k-means on intensities; 0 outside the region, and everywhere if there are too few values."""
    centres = centres_of(image, where, n_levels, seed=seed, n_starts=n_starts)
    out = np.zeros(image.shape, np.uint8)
    if centres is not None:
        for planes in groups_of_planes(out.shape):
            out[planes] = nearest_level(image[planes], centres)
        if where is not None:
            out[~where] = 0
    return out


def fewer_different(rows: Floats, n: int) -> bool:
    """Whether there are fewer than n different rows; the rows are not sorted for that."""
    left = rows
    for _ in range(n):
        if not len(left):
            return True
        left = left[(left != left[0]).any(axis=1)]
    return False


def by_features(
    rows: Features, image: Array, where: Mask | None, n_levels: int, *, seed: int, n_starts: int, sample: int
) -> Labels:
    """Levels of k-means on feature vectors, sorted by the mean intensity of their voxels.

    Parameters
    ----------
    rows : float32 array, shape (features, z, y, x)
        Divided by the one standard deviation of the feature with the largest: components keep their proportions.
    image : array, shape (z, y, x)
        What clusters are sorted by.
    """
    from sklearn.cluster import KMeans

    flat = rows.reshape(len(rows), -1)
    at = np.arange(flat.shape[1]) if where is None else np.flatnonzero(where)
    out = np.zeros(image.shape, np.uint8)
    if at.size < n_levels:
        return out
    drawn = at if at.size <= sample else np.sort(np.random.default_rng(seed).choice(at, sample, replace=False))
    seen = flat[:, drawn].T.astype(np.float64)
    scale = float(seen.std(axis=0).max())
    if fewer_different(seen, n_levels):
        return out
    model = KMeans(n_levels, n_init=n_starts, random_state=seed, tol=1e-7).fit(seen / scale)
    centres = (model.cluster_centers_ * scale).astype(np.float32)
    numbers = np.empty(at.size, np.uint8)
    for first in range(0, at.size, GROUP):
        part = flat[:, at[first : first + GROUP]]
        far = np.stack([((part - centre[:, None]) ** 2).sum(axis=0) for centre in centres])
        numbers[first : first + GROUP] = far.argmin(axis=0)
    sums = np.bincount(numbers, weights=np.asarray(image).ravel()[at].astype(float), minlength=n_levels)
    brightness = sums / np.maximum(np.bincount(numbers, minlength=n_levels), 1)
    rank = np.argsort(np.argsort(brightness, kind="stable"), kind="stable") + 1
    out.ravel()[at] = rank[numbers]
    return out
