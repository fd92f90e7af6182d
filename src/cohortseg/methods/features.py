"""What a voxel looks like with its surroundings: windows, principal components of windows, and banks of filters."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array, Triple, Volume

Features = npt.NDArray[np.float32]
"""Shape (features, z, y, x)."""


def window_shape(window: int, shape: Sequence[int]) -> tuple[int, ...]:
    """A cube of voxels, flat along axes of one voxel.

    Raises
    ------
    ValueError
        When the window is even or below 1.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"a window must be odd and positive, got {window}")
    return tuple(window if n > 1 else 1 for n in shape)


def spatial(image: Array, window: int) -> Features:
    """Intensity, mean and median of a window, so that a voxel is judged with its neighbours.

    Parameters
    ----------
    image : array, shape (z, y, x)
    window : int
        Odd; 1 gives three times the intensity. At the border the image is mirrored.

    Source: features of the spatial k-means in Zhang et al. 2018 (self-learning for medical images).
    """
    from scipy import ndimage

    values = np.asarray(image, dtype=np.float32)
    size = window_shape(window, values.shape)
    if window == 1:
        return np.stack([values] * 3)
    mean = ndimage.uniform_filter(values, size, mode="reflect")
    return np.stack([values, mean, ndimage.median_filter(values, size, mode="reflect")])


def principal(image: Array, window: int, n_components: int, *, seed: int, sample: int = 100_000) -> Features:
    """The first principal components of the windows round each voxel.

    The components are found on a random sample of windows; projecting on one is a correlation of the image with it.

    Parameters
    ----------
    image : array, shape (z, y, x)
    window : int
        Odd.
    n_components : int
        At most as many as voxels in a window.
    seed, sample : int
        Which windows, and how many at most.

    Source: Pearson 1901; Turk & Pentland 1991 for images.
    """
    from scipy import ndimage

    values = np.asarray(image, dtype=np.float32)
    size = window_shape(window, values.shape)
    padded = np.pad(values, [(n // 2, n // 2) for n in size], mode="reflect" if min(_long(values)) > 1 else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    at = np.random.default_rng(seed).choice(values.size, min(sample, values.size), replace=False)
    drawn = windows[np.unravel_index(np.sort(at), values.shape)].reshape(at.size, -1).astype(np.float64)
    mean, axes, _ = principal_axes(drawn, n_components)
    found = []
    for axis in axes:
        kernel = axis.reshape(size)
        projected = ndimage.correlate(padded, kernel.astype(np.float32), mode="nearest")
        inner = tuple(slice(n // 2, n // 2 + whole) for n, whole in zip(size, values.shape, strict=True))
        found.append(projected[inner] - np.float32(axis @ mean))
    return np.stack(found)


def principal_axes(
    rows: npt.NDArray[np.float64], n: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean, the n directions of largest variance and their share of it.

    The sign of a direction is such that its largest element in size is positive: without a rule it would be the
    library's whim.

    Parameters
    ----------
    rows : float array, shape (n_rows, n_features)

    Returns
    -------
    mean (features,), directions (n, features), shares (n,)
        Shares are 0 where all rows are equal.
    """
    mean = rows.mean(axis=0)
    centred = rows - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / max(1, len(rows) - 1))
    order = np.argsort(-variances, kind="stable")[:n]
    axes = directions.T[order]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    total = max(float(variances.sum()), 1e-300)
    return mean, axes, np.maximum(variances[order], 0) / total


def bank(volume: Volume, scales_mm: Sequence[float], *, position: bool) -> Features:
    """Intensity, and at each scale its Gaussian mean, gradient magnitude and Laplacian; where asked, the place.

    Parameters
    ----------
    volume : Volume
        Any image. Intensities are brought to mean 0 and standard deviation 1 first, so that scanners are alike.
    scales_mm : sequence of float
        Standard deviations of the Gaussians; derivatives are per mm, times the scale, so that scales compare.
    position : bool
        Add where the voxel lies along z, y, x, from -1 to 1 over the image.

    Returns
    -------
    float32 array, shape (1 + 3 scales + 3, z, y, x)

    Source: multi-scale Gaussian derivatives, Koenderink & van Doorn 1987, Biol. Cybern. 55.
    """
    image = standardised(np.asarray(volume.array, dtype=np.float32))
    spacing = volume.grid.spacing_mm
    found = np.empty((1 + 3 * len(scales_mm) + 3 * position, *image.shape), np.float32)
    found[0] = image
    for number, scale in enumerate(scales_mm):
        found[1 + 3 * number : 4 + 3 * number] = _derivatives(image, scale, spacing)
    if position:
        axes = [np.linspace(-1, 1, n, dtype=np.float32) if n > 1 else np.zeros(1, np.float32) for n in image.shape]
        found[-3:] = np.broadcast_arrays(*np.meshgrid(*axes, indexing="ij", sparse=True))
    return found


def standardised(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean 0 and standard deviation 1; all 0 where the image has one value."""
    deviation = float(image.std(dtype=np.float64))
    if deviation == 0:
        return np.zeros_like(image)
    return ((image - np.float32(image.mean(dtype=np.float64))) / np.float32(deviation)).astype(np.float32)


def _derivatives(image: npt.NDArray[np.float32], scale_mm: float, spacing_mm: Triple) -> list[npt.NDArray[np.float32]]:
    from scipy import ndimage

    sigma = [scale_mm / size if n > 1 else 0.0 for size, n in zip(spacing_mm, image.shape, strict=True)]
    smooth = ndimage.gaussian_filter(image, sigma, mode="reflect", truncate=3.0)
    slope, curve = np.zeros_like(image), np.zeros_like(image)
    for axis in range(3):
        if image.shape[axis] > 1:
            first = np.gradient(smooth, spacing_mm[axis], axis=axis)
            slope += first**2
            curve += np.gradient(first, spacing_mm[axis], axis=axis)
    return [smooth, np.sqrt(slope) * np.float32(scale_mm), curve * np.float32(scale_mm**2)]


def _long(values: Array) -> list[int]:
    return [n for n in values.shape if n > 1] or [1]
