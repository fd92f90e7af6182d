"""The dense random field against its definition, written as loops over all pairs of voxels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cohortseg.postprocess.dense_crf import Field, cholesky, mean_field

SPACING_MM = (3.0, 1.0, 0.7)


def by_definition(probabilities, image, spacing_mm, field):
    """Krähenbühl and Koltun 2011, algorithm 1, with every pair of voxels looked at."""
    n_classes, shape = len(probabilities), image.shape[1:]
    places = np.argwhere(np.ones(shape)) * spacing_mm
    colours = image.reshape(len(image), -1).T.astype(float)
    n = len(places)
    kernels = []
    for weight, kind in ((field.appearance_weight, "appearance"), (field.smooth_weight, "smooth")):
        kernel = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                far = ((places[i] - places[j]) ** 2).sum()
                if kind == "smooth":
                    kernel[i, j] = np.exp(-far / (2 * field.smooth_mm**2))
                else:
                    unlike = ((colours[i] - colours[j]) ** 2).sum()
                    kernel[i, j] = np.exp(-far / (2 * field.appearance_mm**2) - unlike / (2 * field.intensity**2))
        if field.normalised:
            root = np.sqrt(kernel.sum(axis=1))
            kernel = kernel / root[:, None] / root[None]
        np.fill_diagonal(kernel, 0.0)
        kernels.append((weight, kernel))
    unary = probabilities.reshape(n_classes, -1) / probabilities.reshape(n_classes, -1).sum(axis=0)
    found = unary.copy()
    for _ in range(field.iterations):
        # The penalty of a class: what all others give to the other classes (Potts).
        energy = -np.log(unary)
        for weight, kernel in kernels:
            message = found @ kernel.T
            energy = energy + weight * (message.sum(axis=0) - message)
        found = np.exp(-energy)
        found /= found.sum(axis=0)
    return found.reshape(probabilities.shape)


def made(shape=(3, 6, 5), n_classes=3, n_channels=1, seed=0):
    random = np.random.default_rng(seed)
    image = random.integers(0, 100, (n_channels, *shape)).astype(float)
    return random.uniform(0.05, 1.0, (n_classes, *shape)), image


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_it_is_the_mean_field_of_all_pairs(normalised, n_channels):
    probabilities, image = made(n_channels=n_channels)
    weights = (4.0, 2.0) if normalised else (0.08, 0.03)
    field = Field(weights[0], 2.5, 25.0, weights[1], 1.5, 4, normalised)
    expected = by_definition(probabilities, image, SPACING_MM, field)
    # Something moves, and not all is decided: a wrong sum shows.
    assert np.abs(expected - probabilities / probabilities.sum(axis=0)).max() > 0.01
    assert np.median(expected.max(axis=0)) < 0.99
    found, error = mean_field(
        probabilities, image, spacing_mm=SPACING_MM, field=field, tolerance=1e-12, dtype=np.float64
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert error < 1e-11


def test_the_shipped_tolerance_is_off_by_less_than_a_thousandth():
    probabilities, image = made((1, 22, 23), 2, seed=3)
    field = Field(10.0, 6.0, 20.0, 3.0, 1.5, 5)
    found, error = mean_field(probabilities, image, spacing_mm=SPACING_MM, field=field)
    assert np.abs(found - by_definition(probabilities, image, SPACING_MM, field)).max() < 1e-3
    assert 0 < error < 4e-5


def test_without_weights_the_probabilities_come_back():
    probabilities, image = made()
    found, _ = mean_field(probabilities, image, spacing_mm=SPACING_MM, field=Field(0.0, smooth_weight=0.0))
    np.testing.assert_allclose(found, probabilities / probabilities.sum(axis=0), rtol=1e-5)


def test_an_isolated_voxel_is_turned_and_a_confident_one_is_not():
    image = np.full((1, 1, 5, 5), 7.0)
    unsure, sure = (np.full((2, 1, 5, 5), [[[[0.9]]], [[[0.1]]]]) for _ in range(2))
    unsure[:, 0, 2, 2] = 0.4, 0.6
    sure[:, 0, 2, 2] = 1e-6, 1.0
    for probabilities, expected in ((unsure, 0), (sure, 1)):
        found, _ = mean_field(probabilities, image, spacing_mm=(1.0, 1.0, 1.0), field=Field(1.0, 3.0, 1.0, 1.0, 1.0))
        assert found[:, 0, 2, 2].argmax() == expected
        assert (found.argmax(axis=0) == expected).sum() == (25 if expected == 0 else 1)


def test_the_border_moves_to_the_edge_of_the_image():
    truth = np.zeros((1, 40, 40), bool)
    truth[0, 8:30, 11:33] = True
    image = np.where(truth, 100.0, 0.0)[None] + np.random.default_rng(0).normal(0, 3, truth.shape)
    blurred = ndimage.gaussian_filter(ndimage.shift(truth.astype(float), (0, 2, -2), order=0), 2.0)
    probabilities = np.clip([1 - blurred, blurred], 0.02, 0.98)
    found, _ = mean_field(probabilities, image, spacing_mm=(1.0, 1.0, 1.0), field=Field(intensity=10.0))
    wrong = [int(((p[1] > p[0]) != truth).sum()) for p in (probabilities, found)]
    assert wrong[0] > 100
    assert wrong[1] == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), dimension=st.integers(1, 3), tolerance=st.sampled_from([1e-2, 1e-4, 1e-8]))
def test_no_entry_of_a_factor_is_off_by_more_than_it_says(seed, dimension, tolerance):
    points = np.random.default_rng(seed).uniform(0, 4, (60, dimension))
    factor, error = cholesky(points, tolerance)
    kernel = np.exp(-0.5 * ((points[:, None] - points[None]) ** 2).sum(axis=2))
    assert error <= tolerance
    assert np.abs(factor.T @ factor - kernel).max() <= error + 1e-12


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999))
def test_axes_in_another_order_give_the_same_voxels(seed):
    probabilities, image = made(seed=seed)
    field = Field(5.0, 2.5, 25.0, 2.0, 1.5, 3)
    found, _ = mean_field(probabilities, image, spacing_mm=SPACING_MM, field=field)
    turned, _ = mean_field(
        probabilities.transpose(0, 3, 1, 2), image.transpose(0, 3, 1, 2), spacing_mm=(0.7, 3.0, 1.0), field=field
    )
    np.testing.assert_allclose(turned.transpose(0, 2, 3, 1), found, atol=1e-3)


def test_other_shapes_and_too_many_colours_are_refused(monkeypatch):
    probabilities, image = made()
    with pytest.raises(ValueError, match="differ in shape"):
        mean_field(probabilities, image[:, :2], spacing_mm=SPACING_MM, field=Field())
    monkeypatch.setattr("cohortseg.postprocess.dense_crf.MAX_RANK", 3)
    with pytest.raises(ValueError, match="too many different colours"):
        mean_field(probabilities, image, spacing_mm=SPACING_MM, field=Field(intensity=1.0))
