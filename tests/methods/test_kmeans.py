import numpy as np
import pytest
from flat_phantom import blob, dice, volume_of

from cohortseg.errors import SettingsError
from cohortseg.methods.features import principal_axes, spatial
from cohortseg.methods.kmeans import build, by_features, by_intensity


def test_three_separated_grey_levels_are_found_exactly_and_sorted_from_dark_to_bright():
    truth = np.random.default_rng(0).integers(0, 3, (6, 9, 11))
    image = np.array([400, -900, 40])[truth] + np.random.default_rng(1).integers(-20, 21, truth.shape)
    found = build(levels=3, objects=[1, 2, 3])(volume_of(image))
    np.testing.assert_array_equal(found, np.array([3, 1, 2])[truth])


def test_three_separated_colours_are_found_exactly():
    truth = np.random.default_rng(0).integers(0, 3, (1, 20, 21))
    colours = np.array([[250, 20, 10], [10, 200, 30], [5, 10, 230]])
    rows = np.moveaxis(colours[truth] + np.random.default_rng(1).integers(-5, 6, (*truth.shape, 3)), -1, 0)
    brightness = rows.sum(axis=0)
    found = by_features(rows.astype(np.float32), brightness, None, 3, seed=1, n_starts=4, sample=10_000)
    order = np.argsort(colours.sum(axis=1))
    np.testing.assert_array_equal(found, np.argsort(order)[truth] + 1)


def test_centres_are_those_of_scikit_learn():
    from sklearn.cluster import KMeans

    image = (
        np.random.default_rng(4).normal(np.repeat([0, 55, 130], 900), 12).round().astype(np.int16).reshape(3, 30, 30)
    )
    judge = KMeans(3, n_init=10, random_state=0).fit(image.reshape(-1, 1).astype(float))
    rank = np.argsort(np.argsort(judge.cluster_centers_.ravel()))
    np.testing.assert_array_equal(by_intensity(image, None, 3), rank[judge.labels_].reshape(image.shape) + 1)


@pytest.mark.parametrize("features", ["spatial", "pca"])
def test_a_window_of_one_voxel_is_plain_k_means(features):
    volume, _ = blob(noise=30)
    plain = build(levels=2, objects=[1, 2])(volume)
    same = build(levels=2, objects=[1, 2], features=features, window=1)(volume)
    assert (plain == same).mean() > 0.995  # the centres of components are found on a sample
    if features == "spatial":
        np.testing.assert_array_equal(plain, same)


@pytest.mark.parametrize("features", ["spatial", "pca"])
def test_salt_and_pepper_harm_less_with_a_window(features):
    volume, mask = blob(noise=10)
    random = np.random.default_rng(8)
    salted = volume.array.copy()
    salted[random.random(salted.shape) < 0.08] = 100
    salted[random.random(salted.shape) < 0.08] = 0
    spotted = volume_of(salted, volume.grid.spacing_mm)
    plain = build(levels=2)(spotted) > 0
    window = build(levels=2, features=features)(spotted) > 0
    assert (window != mask).mean() < (plain != mask).mean() / 2


def test_the_phantom_is_found():
    volume, mask = blob()
    for features in ("intensity", "spatial", "pca"):
        assert dice(mask, build(levels=2, features=features)(volume) > 0) > 0.97, features


def test_the_same_seed_gives_the_same_label_and_outside_a_region_is_background():
    volume, mask = blob(noise=40)
    one, two = (build(levels=4, features="spatial", seed=7, sample=2000)(volume) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    found = by_intensity(volume.array, mask, 2)
    assert not found[~mask].any()
    assert set(np.unique(found[mask])) == {1, 2}


def test_too_few_values_are_no_clusters():
    flat = volume_of(np.full((5, 6, 7), 3))
    for features in ("intensity", "spatial", "pca"):
        assert not build(levels=3, features=features)(flat).any()
    with pytest.raises(SettingsError, match="window must be odd"):
        build(window=4)


def test_two_components_explain_data_of_rank_two_and_their_sign_is_fixed():
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(7, 2)))[0].T
    rows = random.normal(size=(300, 2)) * [5, 2] @ basis + 3
    mean, axes, shares = principal_axes(rows, 3)
    assert shares[:2].sum() == pytest.approx(1)
    assert shares[2] == pytest.approx(0, abs=1e-12)
    assert shares[0] > shares[1]
    np.testing.assert_allclose((rows - mean) @ axes[:2].T @ axes[:2] + mean, rows, atol=1e-9)
    for axis in axes[:2]:
        assert axis[np.abs(axis).argmax()] > 0
    np.testing.assert_allclose(principal_axes(-rows, 2)[1], axes[:2], atol=1e-9)


def test_principal_axes_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(1).normal(size=(200, 5)) * [4, 3, 2, 1, 0.5]
    judge = PCA(3).fit(rows)
    _, axes, shares = principal_axes(rows, 3)
    np.testing.assert_allclose(np.abs(np.sum(axes * judge.components_, axis=1)), 1, atol=1e-9)
    np.testing.assert_allclose(shares, judge.explained_variance_ratio_)


def test_spatial_features_are_intensity_mean_and_median_by_hand():
    image = np.zeros((1, 3, 3))
    image[0, 1, 1] = 9
    found = spatial(image, 3)[:, 0, 1, 1]
    np.testing.assert_allclose(found, [9, 1, 0], atol=1e-6)
