import itertools

import numpy as np
import pytest
from flat_phantom import blob, dice, volume_of
from scipy import ndimage

from cohortseg.methods.hmrf import build, costs, counts, energy, fit, neighbours, sweep
from cohortseg.methods.kmeans import by_intensity

SPACING = (3.0, 1.0, 1.0)


def weight_of(weights):
    return dict(weights)


def test_the_neighbourhood_has_eighteen_voxels_with_the_weights_of_fast():
    weights = weight_of(neighbours((20, 9, 9), (2.0, 0.5, 1.0), "fast"))
    assert len(weights) == 18
    assert weights[0, 0, 1] == weights[0, -1, 0] == 1.0
    assert weights[0, 1, -1] == 0.8
    assert weights[1, 0, 0] == weights[-1, 0, 0] == 0.8
    assert weights[1, 0, -1] == weights[-1, 1, 0] == pytest.approx(0.7 * 1.0 / 2.0)
    assert (1, 1, 1) not in weights
    scaled = weight_of(neighbours((20, 9, 9), (2.0, 0.5, 1.0), "scaled"))
    assert scaled[1, 0, 0] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "kind", "n"),
    [
        ((20, 9, 9), (6.5, 1, 1), "fast", 8),
        ((9, 9, 9), (1.0, 1, 1), "fast", 8),
        ((9, 9, 9), (1.0, 1, 1), "scaled", 18),
        ((1, 9, 9), (1.0, 1, 1), "scaled", 8),
        ((20, 9, 9), (1.0, 1, 1), "plane", 8),
    ],
)
def test_thick_or_few_slices_do_not_see_each_other(shape, spacing_mm, kind, n):
    assert len(neighbours(shape, spacing_mm, kind)) == n


def test_neighbours_are_counted_with_their_weights_by_hand():
    labels = np.ones((3, 3, 3), np.uint8)
    labels[1, 1, 2] = 2
    labels[0, 1, 1] = 2
    found = counts(labels, 2, neighbours((3, 3, 3), (2.0, 1.0, 1.0), "scaled"))
    assert found[1, 1, 1, 1] == pytest.approx(1.0 + 0.4)
    assert found[0, 1, 1, 1] == pytest.approx(3 * 1 + 4 * 0.8 + 0.4 + 8 * 0.35)


def test_no_sweep_raises_the_energy_and_it_ends_where_no_voxel_wants_to_change():
    random = np.random.default_rng(0)
    values = random.normal(random.integers(0, 3, (7, 11, 12)) * 10.0, 6)
    unary = costs(values, np.array([0.0, 10, 20]), np.array([6.0, 6, 6]), None)
    weights = neighbours(values.shape, SPACING, "scaled")
    labels = random.integers(1, 4, values.shape).astype(np.uint8)
    found = [energy(labels, unary, weights, 0.7)]
    for _ in range(12):
        sweep(labels, np.ones(values.shape, bool), unary, weights, 0.7)
        found.append(energy(labels, unary, weights, 0.7))
    assert all(after <= before + 1e-3 for before, after in itertools.pairwise(found))
    assert found[1] < found[0] - 10
    best = (unary - 0.7 * counts(labels, 3, weights)).argmin(axis=0) + 1
    assert (best == labels).mean() > 0.999


def test_without_a_field_it_is_the_mixture_of_gaussians_of_scikit_learn():
    from sklearn.mixture import GaussianMixture

    random = np.random.default_rng(3)
    image = random.normal(random.choice([0.0, 30, 70], (6, 30, 31), p=[0.5, 0.3, 0.2]), 9)
    mine = fit(image, None, 3, neighbours(image.shape, SPACING, "fast"), beta=0.0, iterations=200, shares=True)
    flat = image.reshape(-1, 1)
    judge = GaussianMixture(3, means_init=[[0.0], [30], [70]], tol=1e-9, max_iter=2000).fit(flat)
    np.testing.assert_allclose(mine.means, judge.means_.ravel(), atol=0.05)
    np.testing.assert_allclose(mine.deviations, np.sqrt(judge.covariances_.ravel()), atol=0.05)
    np.testing.assert_allclose(mine.shares, judge.weights_, atol=0.005)
    assert (mine.levels == judge.predict(flat).reshape(image.shape) + 1).mean() > 0.999


def structures(shape=(24, 60, 62), drift=1.0):
    """Three classes in bands that move from slice to slice by so many pixels."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    wave = np.sin((y + drift * z) / 6.0) + np.sin((x - drift * z) / 7.0)
    return np.digitize(wave, [-0.6, 0.6])


def test_the_field_mends_what_noise_breaks_and_the_third_dimension_helps():
    truth = structures() + 1
    image = truth * 20 + np.random.default_rng(1).normal(0, 10, truth.shape)  # distance of classes: 2 deviations
    plain = (by_intensity(image, None, 3) != truth).mean()
    errors = {
        kind: (
            fit(image, None, 3, neighbours(truth.shape, (1.0, 1.0, 1.0), kind), beta=0.8, iterations=20).levels != truth
        ).mean()
        for kind in ("plane", "scaled")
    }
    assert plain > 0.2
    assert errors["plane"] < plain / 2
    assert errors["scaled"] < errors["plane"]


def test_when_slices_are_far_apart_weights_that_know_it_beat_weights_that_do_not():
    truth = structures(drift=9.0) + 1  # a structure moves by more than its width from slice to slice
    image = truth * 20 + np.random.default_rng(1).normal(0, 10, truth.shape)
    errors = {
        spacing_mm: (
            fit(
                image, None, 3, neighbours(truth.shape, (spacing_mm, 1.0, 1.0), "scaled"), beta=0.8, iterations=20
            ).levels
            != truth
        ).mean()
        for spacing_mm in (1.0, 9.0)
    }
    assert errors[9.0] < errors[1.0]


def test_levels_are_sorted_and_outside_the_region_is_nothing():
    volume, mask = blob(noise=20)
    found = fit(volume.array, mask, 2, neighbours(mask.shape, SPACING, "fast"), beta=0.4, iterations=5)
    assert not found.levels[~mask].any()
    assert found.means[0] < found.means[1]
    assert found.shares.sum() == pytest.approx(1)


def test_the_phantom_is_found_and_one_value_is_nothing():
    volume, mask = blob(noise=30)
    found = build(levels=2)(volume) > 0
    assert dice(mask, found) > 0.98
    assert dice(mask, volume.array > 50) < dice(mask, found)
    assert not build()(volume_of(np.full((4, 5), 7))).any()


def test_a_single_plane_is_segmented_too():
    plane = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (40, 41)), 3) > 0
    image = 40 * plane + np.random.default_rng(1).normal(0, 14, plane.shape)
    assert dice(plane, build(levels=2, beta=0.7)(volume_of(image))[0] > 0) > 0.95
