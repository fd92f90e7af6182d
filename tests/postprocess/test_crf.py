"""The fully connected random field against the double sum of its definition."""

import numpy as np
import pytest

from cohortseg.postprocess.crf import EXACT_VOXELS, all_pairs, bilateral_grid, dense_crf, mean_field


def by_hand(probabilities, image, spacing_mm, iterations, smooth, appearance):
    """Marginals by loops over all pairs; smooth is (weight, mm), appearance (weight, mm, units)."""
    n_classes, *shape = probabilities.shape
    voxels = [np.array(place) for place in np.ndindex(*shape)]
    mm = [place * np.array(spacing_mm) for place in voxels]
    shades = [image[tuple(place)] for place in voxels]
    n = len(voxels)
    kernels = np.zeros((2, n, n))
    for i in range(n):
        for j in range(n):
            far = ((mm[i] - mm[j]) ** 2).sum()
            kernels[0, i, j] = np.exp(-far / (2 * smooth[1] ** 2))
            unlike = (shades[i] - shades[j]) ** 2
            kernels[1, i, j] = np.exp(-far / (2 * appearance[1] ** 2) - unlike / (2 * appearance[2] ** 2))
    unary = -np.log(np.clip(probabilities.reshape(n_classes, n), 1e-6, 1))
    belief = np.exp(-unary) / np.exp(-unary).sum(0)
    for _ in range(iterations):
        new = np.zeros_like(belief)
        for i in range(n):
            for own in range(n_classes):
                cost = unary[own, i]
                for weight, kernel in zip((smooth[0], appearance[0]), kernels, strict=True):
                    sums = kernel.sum(1)
                    for other in range(n_classes):
                        if other != own:
                            pairs = [
                                kernel[i, j] / np.sqrt(sums[i] * sums[j]) * belief[other, j] for j in range(n) if j != i
                            ]
                            cost += weight * sum(pairs)
                new[own, i] = np.exp(-cost)
        belief = new / new.sum(0)
    return belief.reshape(probabilities.shape)


def random_case(shape, n_classes=3, seed=0):
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.ones(n_classes), size=shape)
    return np.moveaxis(probabilities, -1, 0), draw.normal(0, 40, shape)


@pytest.mark.parametrize(
    ("shape", "spacing_mm"), [((2, 2), (1.0, 1.0)), ((5, 5), (1.0, 2.5)), ((2, 3, 4), (3.0, 1.0, 0.7))]
)
def test_the_mean_field_is_that_of_the_double_sum(shape, spacing_mm):
    probabilities, image = random_case(shape)
    wanted = by_hand(probabilities, image, spacing_mm, 4, (1.5, 2.0), (2.0, 5.0, 30.0))
    places = np.stack([axis.ravel() for axis in np.indices(shape)]) * np.reshape(spacing_mm, (-1, 1))
    kernels = [(1.5, all_pairs(places / 2.0)), (2.0, all_pairs(np.vstack([places / 5.0, image.ravel() / 30.0])))]
    found = mean_field(probabilities.reshape(3, -1), kernels, 4).reshape(probabilities.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    label = dense_crf(
        probabilities,
        image,
        spacing_mm=spacing_mm,
        iterations=4,
        smooth_weight=1.5,
        smooth_mm=2.0,
        appearance_weight=2.0,
        appearance_mm=5.0,
        appearance_units=30.0,
    )
    np.testing.assert_array_equal(label, wanted.argmax(0))


def test_without_weights_or_rounds_the_label_is_the_most_probable_class():
    probabilities, image = random_case((6, 7))
    plain = probabilities.argmax(0)
    assert (dense_crf(probabilities, image, spacing_mm=(1, 1), smooth_weight=0, appearance_weight=0) == plain).all()
    assert (dense_crf(probabilities, image, spacing_mm=(1, 1), iterations=0) == plain).all()


def islands(p_island):
    """Background with a doubtful pixel of class 1, and one that is certain."""
    found = np.full((2, 9, 9), 0.1)
    found[0] = 0.9
    found[:, 4, 4] = 1 - p_island, p_island
    return found


def test_a_doubtful_island_goes_and_a_certain_one_stays():
    options = {"spacing_mm": (1.0, 1.0), "appearance_mm": 5.0, "smooth_weight": 1.0, "appearance_weight": 1.0}
    assert dense_crf(islands(0.6), np.zeros((9, 9)), **options)[4, 4] == 0
    assert dense_crf(islands(1.0), np.zeros((9, 9)), **options)[4, 4] == 1


def test_a_blurred_boundary_moves_to_the_edge_of_the_image():
    image = np.zeros((24, 24))
    image[:, 13:] = 100.0
    towards = 1 / (1 + np.exp(-(np.arange(24) - 9.5) / 2.0))  # the network sees the boundary 3.5 pixels too far left
    probabilities = np.stack([np.broadcast_to(1 - towards, (24, 24)), np.broadcast_to(towards, (24, 24))])
    assert (probabilities.argmax(0) != (image > 0)).sum() == 3 * 24
    label = dense_crf(probabilities, image, spacing_mm=(1, 1), appearance_mm=8.0, appearance_units=10.0)
    np.testing.assert_array_equal(label, image > 0)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_bilateral_grid_sums_as_all_pairs_do_within_two_percent(dims):
    draw = np.random.default_rng(1)
    shape = {1: (40,), 2: (24, 22), 3: (9, 10, 11)}[dims]
    places = np.stack([axis.ravel() for axis in np.indices(shape)]) / 4.0
    features = np.vstack([places, draw.normal(0, 1.0, places.shape[1])])
    values = draw.random(places.shape[1])
    exact, quick = all_pairs(features)(values), bilateral_grid(features)(values)
    assert np.abs(quick / exact - 1).mean() < 0.02
    assert np.abs(quick - exact).max() < 0.1 * exact.max()


def test_the_quick_way_gives_nearly_the_labels_of_the_exact_one():
    draw = np.random.default_rng(3)
    shape = (48, 52)
    truth = ((np.indices(shape) - np.reshape((24, 26), (2, 1, 1))) ** 2).sum(0) < 15**2
    image = 100.0 * truth + draw.normal(0, 20, shape)
    towards = np.clip(0.5 + 0.25 * (truth - 0.5) + draw.normal(0, 0.2, shape), 0.01, 0.99)
    options = {"spacing_mm": (0.8, 1.2), "appearance_mm": 8.0, "appearance_units": 30.0}
    probabilities = np.stack([1 - towards, towards])
    exact, quick = (dense_crf(probabilities, image, exact=way, **options) for way in (True, False))
    assert (exact != quick).mean() < 0.002
    assert (exact != truth).mean() < 0.25 * (probabilities.argmax(0) != truth).mean()


def test_several_channels_are_compared_together():
    probabilities, _ = random_case((6, 6), n_classes=2)
    flat, edge = np.zeros((6, 6)), np.zeros((6, 6))
    edge[:, 3:] = 50.0
    one = dense_crf(probabilities, edge, spacing_mm=(1, 1), appearance_units=5.0)
    two = dense_crf(probabilities, np.stack([flat, edge]), spacing_mm=(1, 1), appearance_units=5.0)
    np.testing.assert_array_equal(one, two)


def test_an_image_without_voxels_or_contrast_is_no_trouble():
    assert dense_crf(np.zeros((2, 0, 4)), np.zeros((0, 4)), spacing_mm=(1, 1)).shape == (0, 4)
    probabilities, _ = random_case((5, 5), n_classes=2)
    assert dense_crf(probabilities, np.full((5, 5), 7.0), spacing_mm=(1, 1)).shape == (5, 5)


def test_impossible_input_is_refused():
    probabilities, image = random_case((5, 5))
    with pytest.raises(ValueError, match="disagree"):
        dense_crf(probabilities, image[:4], spacing_mm=(1, 1))
    with pytest.raises(ValueError, match="positive"):
        dense_crf(probabilities, image, spacing_mm=(1, 1), smooth_mm=0.0)


def test_few_voxels_are_computed_exactly():
    assert 48 * 52 <= EXACT_VOXELS < 512 * 512
