"""Differences of images: by hand, scikit-image as a judge, equal images, what is refused."""

import math

import numpy as np
import pytest
from skimage import metrics

from cohortseg.metrics.regression import mae, mse, psnr_db, ssim


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    reference = rng.normal(40, 200, (9, 20, 15))
    return reference, reference + rng.normal(3, 20, reference.shape)


def test_the_mean_difference_has_no_sign() -> None:
    assert mae(np.array([0, 10, -5]), np.array([4, 8, -5])) == 2.0
    assert mse(np.array([0, 10, -5]), np.array([4, 8, -5])) == pytest.approx(20 / 3)


def test_differences_of_small_integers_do_not_wrap() -> None:
    assert mae(np.array([255], np.uint8), np.array([0], np.uint8)) == 255.0


@pytest.mark.parametrize(("data_range", "decibel"), [(2**8 - 1, 28.1308), (2**12 - 1, 52.2451), (2**8, 28.1648)])
def test_the_peak_is_the_largest_value_of_so_many_bits(data_range: float, decibel: float) -> None:
    found = psnr_db(np.zeros((3, 4)), np.full((3, 4), 10.0), data_range=data_range)
    assert found == pytest.approx(decibel, abs=5e-5)


def test_scikit_image_finds_the_same(images) -> None:
    reference, prediction = images
    judged = metrics.peak_signal_noise_ratio(reference, prediction, data_range=2000.0)
    assert psnr_db(reference, prediction, data_range=2000.0) == pytest.approx(judged)
    judged = metrics.structural_similarity(reference, prediction, data_range=2000.0)
    assert ssim(reference, prediction, data_range=2000.0) == pytest.approx(judged, rel=1e-9)
    judged = metrics.structural_similarity(reference[4], prediction[4], data_range=2000.0)
    assert ssim(reference[4:5], prediction[4:5], data_range=2000.0) == pytest.approx(judged, rel=1e-9)


def test_equal_images(images) -> None:
    assert mae(images[0], images[0]) == 0.0
    assert psnr_db(images[0], images[0], data_range=100.0) == math.inf
    assert ssim(images[0], images[0], data_range=100.0) == pytest.approx(1.0)


def test_what_cannot_be_compared_is_refused_by_name(images) -> None:
    with pytest.raises(ValueError, match="shape"):
        mae(images[0], images[0][1:])
    with pytest.raises(ValueError, match="no voxel"):
        mae(images[0][:0], images[0][:0])
    with pytest.raises(ValueError, match="data_range"):
        psnr_db(*images, data_range=0.0)
    with pytest.raises(ValueError, match="7 voxels"):
        ssim(images[0][:5], images[1][:5], data_range=1.0)
