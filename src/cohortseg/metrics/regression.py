"""Agreement of two images, for methods that make an image: mean absolute error, PSNR and SSIM."""

import math

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.floating]

WINDOW = 7
"""Side of the cube over which local means and variances are taken (as in scikit-image)."""
K1, K2 = 0.01, 0.03
"""Constants of Wang 2004."""


def check_images(reference: Image, prediction: Image) -> None:
    """Refuse what cannot be compared.

    Raises
    ------
    ValueError
        When the shapes differ or there is no voxel.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference has shape {reference.shape}, prediction {prediction.shape}")
    if not reference.size:
        raise ValueError("the images hold no voxel")


def mae(reference: Image, prediction: Image) -> float:
    """Mean absolute difference, in the unit of the images (HU for CT)."""
    check_images(reference, prediction)
    return float(np.abs(_wide(prediction) - _wide(reference)).mean())


def mse(reference: Image, prediction: Image) -> float:
    """Mean squared difference, in the squared unit of the images."""
    check_images(reference, prediction)
    return float(np.square(_wide(prediction) - _wide(reference)).mean())


def psnr_db(reference: Image, prediction: Image, *, data_range: float) -> float:
    """Peak signal-to-noise ratio 10 log10(range² / MSE) in dB.

    Parameters
    ----------
    reference, prediction : float array, same shape
    data_range : float
        Largest possible difference of two values; 2^N - 1 for N bits, not the range that one image happens to have.

    Returns
    -------
    float
        Infinite for equal images.

    Raises
    ------
    ValueError
        When the shapes differ or the range is not positive.
    """
    _check_range(data_range)
    error = mse(reference, prediction)
    return 10.0 * math.log10(data_range**2 / error) if error else math.inf


def ssim(reference: Image, prediction: Image, *, data_range: float) -> float:
    """Mean structural similarity (Wang 2004), in [-1, 1]; 1 for equal images.

    Local statistics are over cubes (squares in an image of one slice) of `WINDOW` voxels, unweighted, with the sample
    variance; windows that reach over the border are left out. This is scikit-image's default.

    Raises
    ------
    ValueError
        When the shapes differ, the range is not positive, or an axis is shorter than a window.
    """
    return float(_likeness(reference, prediction, data_range).mean())


def ssim_map(reference: Image, prediction: Image, *, data_range: float) -> npt.NDArray[np.float64]:
    """The likeness of the windows around each voxel, whose mean is `ssim`; NaN where a window reaches over the border.

    Raises
    ------
    ValueError
        As `ssim`.
    """
    inner = _likeness(reference, prediction, data_range)
    whole = np.full(reference.shape, np.nan)
    rim = [0 if n == 1 else WINDOW // 2 for n in reference.shape]
    middle = tuple(slice(width, n - width) for width, n in zip(rim, reference.shape, strict=True))
    whole[middle] = inner.reshape(whole[middle].shape)
    return whole


def _likeness(reference: Image, prediction: Image, data_range: float) -> npt.NDArray[np.float64]:
    """The likeness of each window that lies inside, without axes of one voxel."""
    from scipy.ndimage import uniform_filter

    check_images(reference, prediction)
    _check_range(data_range)
    one, other = (np.squeeze(_wide(image)) for image in (reference, prediction))
    if not one.shape or min(one.shape) < WINDOW:
        raise ValueError(f"every axis needs {WINDOW} voxels or a single one, got shape {reference.shape}")

    def local(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        inside = tuple(slice(WINDOW // 2, -(WINDOW // 2)) for _ in image.shape)
        return np.asarray(uniform_filter(image, WINDOW)[inside])

    sample = WINDOW**one.ndim / (WINDOW**one.ndim - 1)
    mean_one, mean_other = local(one), local(other)
    variance_one = sample * (local(one * one) - mean_one**2)
    variance_other = sample * (local(other * other) - mean_other**2)
    covariance = sample * (local(one * other) - mean_one * mean_other)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    likeness = (2 * mean_one * mean_other + c1) * (2 * covariance + c2)
    return np.asarray(likeness / ((mean_one**2 + mean_other**2 + c1) * (variance_one + variance_other + c2)))


def _wide(image: Image) -> npt.NDArray[np.float64]:
    return image.astype(np.float64, copy=False)


def _check_range(data_range: float) -> None:
    if not data_range > 0 or not math.isfinite(data_range):
        raise ValueError(f"data_range must be positive, got {data_range}")
