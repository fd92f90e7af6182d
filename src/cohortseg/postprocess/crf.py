"""Fully connected conditional random field: a voxel is drawn to the class of all others that lie near and look alike.

Mean-field inference of Kraehenbuehl and Koltun. Pairs are weighed by two Gaussians: of distance alone (smoothness), and
of distance and intensity (appearance). The sum over all pairs is exact for small images; for larger ones the appearance
goes through a bilateral grid, whose cost grows with the voxels and not with their square.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Filter = Callable[[Floats], Floats]
"""Values (voxels,) to the sum over all voxels, itself included, weighed by a Gaussian of unit height."""

EXACT_VOXELS = 4096
"""Most voxels for which all pairs are computed."""
CELLS = 2.0
"""Cells of the bilateral grid per standard deviation."""
AT_ONCE = 1 << 18
"""Voxels whose corners are held at a time."""
REACH = 4.0
"""Standard deviations after which a Gaussian is cut off."""
SURE = 1e-6
"""Least probability of a class: what a network calls impossible stays possible, at a price."""
SHADES = 13.0 / 255.0
"""Standard deviation of intensities over their range, where none is given (that of the authors, for photographs)."""


def dense_crf(  # noqa: PLR0913 (the numbers of the two kernels)
    probabilities: npt.ArrayLike,
    image: npt.ArrayLike,
    *,
    spacing_mm: Sequence[float],
    iterations: int = 5,
    smooth_weight: float = 3.0,
    smooth_mm: float = 3.0,
    appearance_weight: float = 10.0,
    appearance_mm: float = 20.0,
    appearance_units: float | None = None,
    exact: bool | None = None,
) -> npt.NDArray[np.uint8]:
    """The most probable class of each voxel after mean-field inference.

    Parameters
    ----------
    probabilities : float array, shape (class, z, y, x) or (class, y, x)
        Background first; they sum to 1 in each voxel.
    image : array, shape (z, y, x) or (channel, z, y, x); without z in 2D
        Intensities that the appearance compares. Of several channels all must be alike.
    spacing_mm : sequence of float
        Voxel size per spatial axis.
    iterations : int
        Rounds of the mean field; 0 leaves the probabilities as they are.
    smooth_weight, smooth_mm : float
        Weight and standard deviation of the kernel of distance. Weight 0: none.
    appearance_weight, appearance_mm, appearance_units : float
        Weight and standard deviations, in mm and in units of the image, of the kernel of distance and intensity.
        Without `appearance_units`: 13 / 255 of the range between percentiles 0.5 and 99.5 of each channel.
    exact : bool, optional
        Whether all pairs are computed (time and memory grow with the square of the voxels); when left out, for at most
        4,096 voxels.

    Returns
    -------
    uint8 array, spatial shape
        Ties go to the lower class. An image without voxels gives an array without voxels.

    Raises
    ------
    ValueError
        When shapes disagree or a standard deviation is not positive.

    Notes
    -----
    Kernels are normalised symmetrically: a pair counts k(i, j) / sqrt(n(i) n(j)), n being the sum of k over all voxels,
    so that weights mean the same whatever the voxel size. A voxel does not count for itself.

    References
    ----------
    Kraehenbuehl and Koltun, NeurIPS 2011, equations 2, 3 and algorithm 1. Chen et al., TPAMI 2018 (DeepLab). Bilateral
    grid: Paris and Durand, ECCV 2006; its two linear interpolations widen a Gaussian by a third of a squared cell,
    which the blur is narrowed by.
    """
    found = np.asarray(probabilities, dtype=np.float64)
    shape = found.shape[1:]
    channels = np.asarray(image, dtype=np.float64)
    channels = channels if channels.ndim > len(shape) else channels[None]
    if len(spacing_mm) != len(shape) or channels.shape[1:] != shape:
        raise ValueError(f"probabilities {found.shape}, image {channels.shape} and spacing {spacing_mm} disagree")
    if not found[0].size:
        return np.zeros(shape, np.uint8)
    places = np.stack([axis.ravel() for axis in np.indices(shape)]) * np.reshape(spacing_mm, (-1, 1))
    alone = found[0].size <= EXACT_VOXELS if exact is None else exact
    kernels: list[tuple[float, Filter]] = []
    if smooth_weight:
        near = _checked(places, [smooth_mm] * len(shape))
        sigmas = [smooth_mm / size for size in spacing_mm]
        kernels.append((smooth_weight, all_pairs(near) if alone else _smoothing(shape, sigmas)))
    if appearance_weight:
        shades = [appearance_units or _shades(channel) for channel in channels]
        sizes = [appearance_mm] * len(shape) + shades
        alike = _checked(np.concatenate([places, channels.reshape(len(channels), -1)]), sizes)
        kernels.append((appearance_weight, all_pairs(alike) if alone else bilateral_grid(alike)))
    marginal = mean_field(found.reshape(len(found), -1), kernels, iterations)
    label: npt.NDArray[np.uint8] = marginal.argmax(0).reshape(shape).astype(np.uint8)
    return label


def mean_field(probabilities: Floats, kernels: Sequence[tuple[float, Filter]], iterations: int) -> Floats:
    """Marginals (class, voxel) after so many rounds; classes that differ cost the same, whichever they are (Potts)."""
    unary = np.log(np.clip(probabilities, SURE, 1.0))
    normalised = [(weight, kernel, _norm(kernel, unary.shape[1])) for weight, kernel in kernels]
    marginal = _softmax(unary)
    for _ in range(iterations):
        energy = unary.copy()
        for weight, kernel, norm in normalised:
            for number, belief in enumerate(marginal):
                energy[number] += weight * norm * (kernel(norm * belief) - norm * belief)
        marginal = _softmax(energy)
    return marginal


def all_pairs(features: Floats) -> Filter:
    """Exact: features (dimension, voxel) in standard deviations."""
    square = (features**2).sum(0)
    distance = np.maximum(square[:, None] + square[None, :] - 2.0 * features.T @ features, 0.0)
    np.fill_diagonal(distance, 0.0)
    weights = np.exp(-0.5 * distance)

    def apply(values: Floats) -> Floats:
        total: Floats = weights @ values
        return total

    return apply


def bilateral_grid(features: Floats) -> Filter:
    """Approximate: values are spread over the corners of cells, blurred there, and gathered again."""
    least = features.min(1, keepdims=True)
    room = int(np.ceil(REACH * CELLS))
    cells = tuple(int(n) + 2 + 2 * room for n in np.floor((features.max(1) - least[:, 0]) * CELLS))
    strides = np.cumprod([1, *cells[:0:-1]])[::-1]
    n_cells = int(np.prod(cells))
    sigma = float(np.sqrt(CELLS**2 - 1.0 / 3.0))
    # Of unit integral in cells; the kernel that is wanted has unit height in standard deviations.
    height = (np.sqrt(2.0 * np.pi) * CELLS) ** len(features)

    def corners(some: slice) -> Iterator[tuple[Integers, Floats]]:
        """Cell and weight of each voxel, corner by corner."""
        position = (features[:, some] - least) * CELLS
        lower = np.floor(position)
        part = position - lower
        first = ((lower.astype(np.int64) + room) * strides[:, None]).sum(0)
        for corner in itertools.product((0, 1), repeat=len(features)):
            weight = np.prod([part[d] if up else 1.0 - part[d] for d, up in enumerate(corner)], axis=0)
            yield first + int(np.dot(corner, strides)), weight

    def apply(values: Floats) -> Floats:
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(values), AT_ONCE)]
        grid, total = np.zeros(n_cells), np.zeros_like(values)
        for some in parts:
            for place, weight in corners(some):
                grid += np.bincount(place, weights=weight * values[some], minlength=n_cells)
        blurred = gaussian_filter(grid.reshape(cells), sigma, mode="constant", truncate=REACH).ravel()
        for some in parts:
            for place, weight in corners(some):
                total[some] += weight * blurred[place]
        total *= height
        return total

    return apply


def _smoothing(shape: tuple[int, ...], sigmas: Sequence[float]) -> Filter:
    """The Gaussian of distance by one blur per axis; nothing lies beyond the border."""
    height = float(np.prod([np.exp(-0.5 * (np.arange(-n, n + 1) / s) ** 2).sum() for n, s in _taps(sigmas)]))

    def apply(values: Floats) -> Floats:
        blurred = gaussian_filter(values.reshape(shape), sigmas, mode="constant", truncate=REACH)
        sums: Floats = np.asarray(blurred, dtype=np.float64).ravel() * height
        return sums

    return apply


def _taps(sigmas: Sequence[float]) -> list[tuple[int, float]]:
    """Radius in voxels and standard deviation of each axis, as `gaussian_filter` cuts them off."""
    return [(int(REACH * sigma + 0.5), sigma) for sigma in sigmas]


def _checked(values: Floats, sigmas: Sequence[float]) -> Floats:
    """Features in standard deviations."""
    if min(sigmas) <= 0:
        raise ValueError(f"standard deviations must be positive, got {list(sigmas)}")
    scaled: Floats = values / np.reshape(sigmas, (-1, 1))
    return scaled


def _shades(channel: Floats) -> float:
    """The standard deviation of intensities where none is given; an image of one value has none that matters."""
    low, high = np.percentile(channel, (0.5, 99.5))
    return float(SHADES * (high - low)) or 1.0


def _norm(kernel: Filter, n_voxels: int) -> Floats:
    found: Floats = 1.0 / np.sqrt(np.maximum(kernel(np.ones(n_voxels)), 1.0))
    return found


def _softmax(energy: Floats) -> Floats:
    raised = np.exp(energy - energy.max(0))
    shares: Floats = raised / raised.sum(0)
    return shares
