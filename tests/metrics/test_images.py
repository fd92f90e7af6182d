"""Made images by hand: the identity, a constant offset, regions, and what is undefined and why."""

import math

import numpy as np
import pytest
from skimage import metrics as judge

from cohortseg.metrics.columns import IMAGE_COLUMNS, sign_of
from cohortseg.metrics.images import measure_image
from cohortseg.metrics.regression import ssim, ssim_map

LOW, HIGH = -1000.0, 2000.0
SHAPE = (9, 12, 11)


def real(seed=0):
    return np.random.default_rng(seed).uniform(-800, 1500, SHAPE).astype(np.float32)


def measured(reference, prediction, regions=None, low=LOW, high=HIGH, bits=8):
    whole = {"whole": np.ones(reference.shape, bool)}
    return measure_image(reference, prediction, regions or whole, low=low, high=high, bits=bits)


def test_an_identity_has_no_error_and_a_psnr_that_no_mean_could_hold():
    row = measured(real(), real())["whole"]
    assert (row["mae"], row["rmse"], row["bias"], row["mae_grey"]) == (0.0, 0.0, 0.0, 0.0)
    assert row["ssim"] == pytest.approx(1.0)
    assert math.isnan(row["psnr_db"])
    assert row["missing"] == "equal_images"
    assert set(row) == set(IMAGE_COLUMNS)


@pytest.mark.parametrize("offset", [30.0, -42.0])
def test_a_constant_offset_is_the_error(offset):
    row = measured(real(), real() + offset)["whole"]
    assert row["mae"] == pytest.approx(abs(offset), rel=1e-5)
    assert row["bias"] == pytest.approx(offset, rel=1e-5)
    assert row["rmse"] == pytest.approx(abs(offset), rel=1e-5)
    assert row["psnr_db"] == pytest.approx(20 * math.log10(3000.0 / abs(offset)), abs=1e-4)
    assert row["mae_grey"] == pytest.approx(abs(offset) * 255 / 3000, rel=1e-5)
    assert row["missing"] == ""


@pytest.mark.parametrize(("bits", "decibel"), [(8, 28.1308), (12, 52.2451)])
def test_psnr_is_that_of_images_of_so_many_bits_whatever_the_unit(bits, decibel):
    """MSE 100 in grey levels; in HU the same two images are as many dB apart."""
    top = 2**bits - 1
    grey = np.random.default_rng(1).uniform(20, top - 20, SHAPE)
    row = measured(grey, grey + 10, low=0.0, high=top, bits=bits)["whole"]
    assert row["psnr_db"] == pytest.approx(decibel, abs=1e-3)
    assert row["mae_grey"] == pytest.approx(row["mae"])
    in_hu = measured(*(LOW + image * 3000 / top for image in (grey, grey + 10)), bits=bits)["whole"]
    assert in_hu["psnr_db"] == pytest.approx(decibel, abs=1e-3)
    assert in_hu["mae_grey"] == pytest.approx(10.0, rel=1e-4)


def test_the_figures_of_the_paper_go_together_in_grey_levels_of_8_bits():
    """An error of 32.1 everywhere is 18 dB, one of 47.5 is 14.6 dB: only where 255 is the peak."""
    for error, decibel in ((32.1, 18.0), (47.5, 14.6)):
        row = measured(np.zeros(SHAPE), np.full(SHAPE, error), low=0.0, high=255.0)["whole"]
        assert row["psnr_db"] == pytest.approx(decibel, abs=0.01)
        assert row["mae_grey"] == pytest.approx(error, rel=1e-5)


def test_a_region_counts_its_own_voxels_and_one_without_any_says_so():
    inside = np.zeros(SHAPE, bool)
    inside[2:5, 3:9, 1:8] = True
    prediction = real() + np.where(inside, 20.0, 300.0).astype(np.float32)
    rows = measured(real(), prediction, {"body": inside, "lesion": np.zeros(SHAPE, bool)}, high=3000.0)
    assert rows["body"]["mae"] == pytest.approx(20.0, rel=1e-4)
    assert rows["body"]["n_voxels"] == inside.sum()
    assert rows["lesion"]["missing"] == "empty_region"
    assert math.isnan(rows["lesion"]["mae"])


def test_what_lies_beyond_the_range_is_clipped_on_both_sides():
    row = measured(np.full(SHAPE, 9000.0), np.full(SHAPE, 2500.0))["whole"]
    assert row["mae"] == 0.0


def test_similarity_is_that_of_another_library_and_its_mean_over_the_image_that_of_the_map():
    one, other = real(), real() + np.random.default_rng(2).normal(0, 100, SHAPE).astype(np.float32)
    row = measured(one, np.clip(other, LOW, HIGH))["whole"]
    judged = judge.structural_similarity(one.astype(float), np.clip(other, LOW, HIGH).astype(float), data_range=3000.0)
    assert row["ssim"] == pytest.approx(judged, rel=1e-5)
    found = ssim_map(one, other, data_range=3000.0)
    assert np.nanmean(found) == pytest.approx(ssim(one, other, data_range=3000.0))
    assert np.isfinite(found).sum() == (9 - 6) * (12 - 6) * (11 - 6)
    plane = ssim_map(one[:1], other[:1], data_range=3000.0)
    assert np.isfinite(plane).sum() == (12 - 6) * (11 - 6)


def test_an_image_too_thin_for_a_window_has_no_similarity_but_all_else():
    row = measured(real()[:4], real()[:4] + 5)["whole"]
    assert math.isnan(row["ssim"])
    assert row["missing"] == "too_thin"
    assert row["mae"] == pytest.approx(5.0, rel=1e-4)


def test_images_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        measured(real(), real()[1:])


def test_directions_are_those_of_the_dictionary():
    assert [sign_of(name) for name in ("mae", "rmse", "psnr_db", "ssim", "bias")] == [-1, -1, 1, 1, 0]


@pytest.mark.parametrize("voxels", [1, 12 * 11 * 8, 12 * 11 * 20])
def test_slabs_give_what_the_whole_gives(monkeypatch, voxels):
    rng = np.random.default_rng(5)
    reference = rng.uniform(-1200, 2100, (31, 12, 11)).astype(np.float32)
    prediction = reference + rng.normal(0, 90, reference.shape).astype(np.float32)
    regions = {"whole": np.ones(reference.shape, bool), "some": rng.random(reference.shape) < 0.3}
    whole = measured(reference, prediction, regions)
    monkeypatch.setattr("cohortseg.metrics.images.SLAB_VOXELS", voxels)
    parts = measured(reference, prediction, regions)
    for name in regions:
        assert parts[name].pop("missing") == whole[name].pop("missing") == ""
        assert parts[name] == pytest.approx(whole[name], rel=1e-6)
