"""Fully connected conditional random field: every voxel pulls at every other of its kind, near or similar and near.

    E(x) = sum_i -log p_i(x_i) + sum_{i<j} [x_i != x_j] (w_a a_ij + w_s s_ij)
    a_ij = exp(-|r_i - r_j|^2 / 2 appearance_mm^2 - |I_i - I_j|^2 / 2 intensity^2)
    s_ij = exp(-|r_i - r_j|^2 / 2 smooth_mm^2)

in which a normalised kernel has k_ij / sqrt(n_i n_j) in place of k_ij, n_i = sum_j k_ij with j = i. The mean field of
Krähenbühl and Koltun 2011, all voxels at once: Q_i(l) ~ p_i(l) exp(sum_kernels w sum_{j != i} k_ij Q_j(l)).

Their lattice filters approximately. Here the kernels stay what they are: a Gaussian is a product of one factor per axis
and one of the intensities, and each factor is a sum of few products, found by a Cholesky decomposition that takes the
worst point next and ends when no entry is off by more than a tolerance (Fine and Scheinberg 2001). So a sum over all
pairs costs as much as some dozen products of small matrices per plane, and its error is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array, Triple

Floats = npt.NDArray[np.floating[Any]]

TOLERANCE = 1e-5
"""Largest error of an entry of a factor; entries are at most 1."""
LEVELS = 100
"""Steps that intensities are rounded to, per standard deviation of the kernel."""
MAX_RANK = 1000
TOGETHER = 32
"""Terms of the intensities' factor that are in memory at a time, of one plane."""
SMALLEST = 1e-6
"""Probabilities below count as this: a class is never ruled out by rounding."""


@dataclass(frozen=True)
class Field:
    """The numbers of the energy.

    Parameters
    ----------
    appearance_weight, smooth_weight : float
        w_a and w_s; 0 leaves the kernel out.
    appearance_mm, smooth_mm : float
        Standard deviations in space.
    intensity : float
        Standard deviation of the appearance in units of the image.
    iterations : int
        Updates of the mean field; 0 gives the probabilities back.
    normalised : bool
        Whether kernels are normalised, as in the program of the authors; the weights then mean the same for images and
        standard deviations of all sizes. Otherwise they are the paper's formula to the letter.
    """

    appearance_weight: float = 10.0
    appearance_mm: float = 10.0
    intensity: float = 20.0
    smooth_weight: float = 3.0
    smooth_mm: float = 2.0
    iterations: int = 5
    normalised: bool = True


def mean_field(
    probabilities: Array,
    image: Array,
    *,
    spacing_mm: Triple,
    field: Field,
    tolerance: float = TOLERANCE,
    dtype: Any = np.float32,
) -> tuple[Floats, float]:
    """Probabilities that agree with the image and with their neighbours.

    Parameters
    ----------
    probabilities : float array, shape (class, z, y, x)
        Of each class, background first; they need not be normalised.
    image : array, shape (channel, z, y, x)
        Intensities; all channels count with the same standard deviation.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    field : Field
    tolerance : float
        Largest error of an entry of each of the four factors of the appearance.
    dtype : numpy dtype
        Of sums and result.

    Returns
    -------
    probabilities : float array, shape (class, z, y, x)
        They sum to one in each voxel.
    error : float
        Largest error of an entry of the appearance kernel; 0 without it.

    Raises
    ------
    ValueError
        When the shapes do not fit, or colours are so many that `MAX_RANK` terms do not reach ten times the tolerance.
    """
    if probabilities.shape[1:] != image.shape[1:]:
        raise ValueError(f"probabilities {probabilities.shape} and image {image.shape} differ in shape")
    unary = np.maximum(np.asarray(probabilities, dtype), SMALLEST)
    unary /= unary.sum(axis=0)
    np.log(unary, out=unary)
    kernels: list[tuple[float, _Kernel]] = []
    error, shape = 0.0, image.shape[1:]
    if field.smooth_weight > 0 and field.iterations:
        kernels.append((field.smooth_weight, _smooth(shape, spacing_mm, field.smooth_mm, dtype)))
    if field.appearance_weight > 0 and field.iterations:
        kernel, error = _appearance(image, spacing_mm, field, tolerance, dtype)
        kernels.append((field.appearance_weight, kernel))
    pulls = [(weight, kernel, _scale(kernel, shape, field.normalised, dtype)) for weight, kernel in kernels]
    found = _softmax(unary.copy())
    for _ in range(field.iterations):
        new = unary.copy()
        for weight, kernel, scale in pulls:
            for number, of_class in enumerate(found):
                # A voxel does not pull at itself: k_ii is 1.
                new[number] += weight * scale * (kernel.sum_over(scale * of_class) - scale * of_class)
        found = _softmax(new)
    return found, error


def _softmax(values: Floats) -> Floats:
    """In place, over the first axis."""
    values -= values.max(axis=0)
    np.exp(values, out=values)
    values /= values.sum(axis=0)
    return values


def _scale(kernel: "_Kernel", shape: tuple[int, ...], normalised: bool, dtype: Any) -> Floats:
    """One over the root of the sum of each row, or ones; the sum holds the voxel itself and so is never below 1."""
    ones = np.ones(shape, dtype)
    return ones if not normalised else 1.0 / np.sqrt(np.maximum(kernel.sum_over(ones), 1.0))


@dataclass(frozen=True)
class _Kernel:
    """A Gaussian kernel as factors: of each axis a matrix (voxels, terms), of the intensities a table (terms, codes).

    Without codes the intensities play no part; with `left` absent the matrices of the axes are their own other half.
    """

    right: tuple[Floats, Floats, Floats]
    left: tuple[Floats, Floats, Floats]
    table: Floats
    codes: npt.NDArray[np.int32] | None

    def sum_over(self, field: Floats) -> Floats:
        """Of each voxel the sum over all voxels of kernel times field; arrays (z, y, x)."""
        out = np.zeros_like(field)
        for first in range(0, len(self.table), TOGETHER):
            table = self.table[first : first + TOGETHER]
            gathered = self._gather(field, table)
            for z in range(len(field)):
                spread = np.tensordot(self.left[0][z], gathered, axes=(0, 0))
                spread = self.left[1] @ spread @ self.left[2].T
                out[z] += (spread * self._terms(table, z)).sum(axis=0)
        return out

    def _gather(self, field: Floats, table: Floats) -> Floats:
        """Field times every term, summed over the voxels: (terms of z, terms of the table, of y, of x)."""
        total = None
        for z, plane in enumerate(field):
            part = self.right[1].T @ ((plane * self._terms(table, z)) @ self.right[2])
            if total is None:
                total = np.zeros((self.right[0].shape[1], *part.shape), field.dtype)
            near = np.flatnonzero(self.right[0][z])
            total[near] += self.right[0][z, near][:, None, None, None] * part
        return np.zeros(0, field.dtype) if total is None else total

    def _terms(self, table: Floats, z: int) -> Floats:
        return table[:, :1, None] if self.codes is None else table[:, self.codes[z]]


def _smooth(shape: Sequence[int], spacing_mm: Triple, sigma_mm: float, dtype: Any) -> _Kernel:
    """Space alone: the matrices of the axes themselves, so nothing is approximate."""
    left = [_gaussian(_places(n, size, sigma_mm)).astype(dtype) for n, size in zip(shape, spacing_mm, strict=True)]
    right = [np.eye(n, dtype=dtype) for n in shape]
    return _Kernel(_three(right), _three(left), np.ones((1, 1), dtype), None)


def _appearance(image: Array, spacing_mm: Triple, field: Field, tolerance: float, dtype: Any) -> tuple[_Kernel, float]:
    """Space and intensities, and the largest error of an entry."""
    axes, errors = [], []
    for n, size in zip(image.shape[1:], spacing_mm, strict=True):
        factor, error = cholesky(_places(n, size, field.appearance_mm), tolerance)
        axes.append(factor.T.astype(dtype))
        errors.append(error)
    steps = np.rint(np.asarray(image, np.float64).reshape(len(image), -1) * (LEVELS / field.intensity)).astype(np.int64)
    colours, codes = np.unique(steps, axis=1, return_inverse=True)
    table, error = cholesky(colours.T / LEVELS, tolerance)
    if error > 10 * tolerance:
        raise ValueError(f"{MAX_RANK} terms leave an error of {error:.2g}: the image has too many different colours")
    half = _three(axes)
    places = codes.reshape(image.shape[1:]).astype(np.int32)
    return _Kernel(half, half, table.astype(dtype), places), float(sum(errors) + error)


def _three(matrices: list[Floats]) -> tuple[Floats, Floats, Floats]:
    return matrices[0], matrices[1], matrices[2]


def _places(n: int, size_mm: float, sigma_mm: float) -> npt.NDArray[np.float64]:
    """Places of voxels along an axis in standard deviations, shape (n, 1)."""
    return np.arange(n, dtype=np.float64)[:, None] * (size_mm / sigma_mm)


def _gaussian(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.exp(-0.5 * ((points[:, None] - points[None]) ** 2).sum(axis=2)), np.float64)


def cholesky(points: npt.NDArray[np.float64], tolerance: float) -> tuple[npt.NDArray[np.float64], float]:
    """Rows whose products are nearly exp(-|x - y|^2 / 2): the pivoted incomplete Cholesky decomposition.

    Parameters
    ----------
    points : float array, shape (n, dimension)
        In standard deviations.
    tolerance : float
        No entry is off by more, unless `MAX_RANK` rows do not reach it.

    Returns
    -------
    factor : float array, shape (rank, n)
    error : float
        Largest error of an entry: what is left is positive semidefinite, so its largest entry is on the diagonal.
    """
    left = np.ones(len(points))
    rows: list[npt.NDArray[np.float64]] = []
    factor = np.empty((0, len(points)))
    while len(rows) < min(MAX_RANK, len(points)) and left.size and left.max() > tolerance:
        worst = int(left.argmax())
        row = np.exp(-0.5 * ((points - points[worst]) ** 2).sum(axis=1))
        if rows:
            row -= factor[: len(rows), worst] @ factor[: len(rows)]
        row = np.asarray(row / np.sqrt(left[worst]), np.float64)
        if len(rows) == len(factor):
            factor = np.concatenate([factor, np.empty((max(16, len(factor)), len(points)))])
        factor[len(rows)] = row
        rows.append(row)
        left = np.maximum(left - row**2, 0.0)
        left[worst] = 0.0
    return np.asarray(factor[: len(rows)], np.float64), float(left.max()) if left.size else 0.0
