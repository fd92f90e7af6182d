"""An image as a coarser scan of the same would show it, on its own grid: means of blocks, interpolated back."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def coarser(image: npt.NDArray[np.generic], factors: tuple[int, int, int]) -> Floats:
    """Means over blocks of so many voxels along each axis, then linear interpolation between the middles of the blocks.

    Parameters
    ----------
    image : array, shape (z, y, x)
        Whole volume, in memory.
    factors : (int, int, int)
        Voxels of a block along z, y, x; 1 leaves an axis alone. The last block may be smaller.

    Returns
    -------
    float32 array, shape (z, y, x)
        Before the first and behind the last middle their values are repeated.

    Examples
    --------
    >>> coarser(np.array([0.0, 2.0, 4.0, 6.0]).reshape(4, 1, 1), (2, 1, 1)).ravel().tolist()
    [1.0, 2.0, 4.0, 5.0]
    """
    found: Floats = np.asarray(image, dtype=np.float32)
    for axis, factor in enumerate(factors):
        if factor > 1:
            found = _along(found, axis, factor)
    return found


def _along(image: Floats, axis: int, factor: int) -> Floats:
    length = image.shape[axis]
    starts = np.arange(0, length, factor)
    sizes = np.diff([*starts, length])
    shape = [-1 if number == axis else 1 for number in range(image.ndim)]
    means = np.add.reduceat(image, starts, axis=axis, dtype=np.float32) / sizes.reshape(shape).astype(np.float32)
    middles = starts + (sizes - 1) / 2.0
    place = np.interp(np.arange(length), middles, np.arange(len(middles)))
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, len(middles) - 1)
    weight = (place - low).astype(np.float32).reshape(shape)
    mixed = means.take(low, axis) * (1 - weight) + means.take(high, axis) * weight
    return np.asarray(mixed, dtype=np.float32)
