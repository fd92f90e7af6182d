import numpy as np
import pytest
from flat_phantom import blob, dice, volume_of
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import SettingsError
from cohortseg.methods.fuzzy import build, cluster, memberships, partition_coefficient, sugeno, with_hesitation, yager

VALUES = np.arange(0.0, 120.0)
WEIGHTS = 5 + 200 * np.exp(-((VALUES - 30) ** 2) / 50) + 100 * np.exp(-((VALUES - 85) ** 2) / 80)


def c_means_voxel_by_voxel(voxels, k, m, rounds=400):
    """Fuzzy c-means by its definition, on single voxels."""
    centres = np.quantile(voxels, (np.arange(k) + 0.5) / k)
    for _ in range(rounds):
        distance = np.abs(voxels[None] - centres[:, None]) + 1e-12
        u = 1 / np.sum((distance[:, None] / distance[None]) ** (2 / (m - 1)), axis=1)
        centres = (u**m @ voxels) / (u**m).sum(axis=1)
    return np.sort(centres)


@pytest.mark.parametrize("m", [1.5, 2.0, 3.0])
def test_centres_are_those_of_the_definition_on_single_voxels(m):
    voxels = np.repeat(VALUES, WEIGHTS.round().astype(int))
    found, _ = cluster(VALUES, WEIGHTS.round(), 2, fuzziness=m, tolerance=1e-9, iterations=1000)
    np.testing.assert_allclose(found, c_means_voxel_by_voxel(voxels, 2, m), atol=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-50, 200), min_size=2, max_size=5, unique=True), st.floats(1.1, 4))
def test_memberships_sum_to_one_and_the_nearest_has_the_largest(centres, m):
    u = memberships(VALUES, np.array(centres), m)
    np.testing.assert_allclose(u.sum(axis=0), 1)
    distance = np.abs(VALUES[None] - np.array(centres)[:, None])
    assert (np.take_along_axis(distance, u.argmax(0)[None], 0)[0] <= distance.min(0) + 1e-9).all()


def test_by_hand_a_value_a_third_of_the_way_belongs_by_four_fifths():
    np.testing.assert_allclose(memberships(np.array([1.0]), np.array([0.0, 3.0]), 2.0).ravel(), [0.8, 0.2])
    np.testing.assert_allclose(memberships(np.array([3.0]), np.array([0.0, 3.0]), 2.0).ravel(), [0, 1])


U = np.linspace(0, 1, 101)[None]


def test_without_hesitation_the_generators_are_the_complement():
    np.testing.assert_allclose(sugeno(U, 0.0), 1 - U)
    np.testing.assert_allclose(yager(U, 1.0), 1 - U)
    plain, _ = cluster(VALUES, WEIGHTS, 3)
    for hesitation, strength in (("sugeno", 0.0), ("yager", 1.0)):
        np.testing.assert_allclose(cluster(VALUES, WEIGHTS, 3, hesitation=hesitation, strength=strength)[0], plain)


@pytest.mark.parametrize(("hesitation", "strengths"), [("sugeno", (0.5, 2, 20)), ("yager", (0.9, 0.5, 0.2))])
def test_hesitation_lies_between_0_and_1_and_moves_the_centres(hesitation, strengths):
    plain, _ = cluster(VALUES, WEIGHTS, 2)
    moved = []
    for strength in strengths:
        pi = with_hesitation(U, hesitation, strength) - U
        assert pi.min() >= -1e-12
        assert pi.max() <= 1
        assert pi.max() > 0.01
        np.testing.assert_allclose(pi[0, [0, -1]], 0, atol=1e-12)
        moved.append(np.abs(cluster(VALUES, WEIGHTS, 2, hesitation=hesitation, strength=strength)[0] - plain).max())
    assert moved == sorted(moved)
    assert moved[0] > 0


def test_hesitation_by_hand():
    # Sugeno, lambda 2, u = 1/2: non-membership (1/2) / 2 = 1/4, hesitation 1/4
    assert with_hesitation(np.array([[0.5]]), "sugeno", 2.0) == pytest.approx(0.75)
    # Yager, a = 1/2, u = 1/4: (1 - 1/2)^2 = 1/4, hesitation 1/2
    assert with_hesitation(np.array([[0.25]]), "yager", 0.5) == pytest.approx(0.75)


@pytest.mark.parametrize("hesitation", ["none", "sugeno", "yager"])
def test_separated_blobs_are_found_exactly(hesitation):
    truth = np.random.default_rng(0).integers(0, 3, (5, 8, 9))
    image = np.array([0, 100, 250])[truth] + np.random.default_rng(1).integers(-9, 10, truth.shape)
    found = build(levels=3, objects=[1, 2, 3], hesitation=hesitation, strength=0.8)(volume_of(image))
    np.testing.assert_array_equal(found, truth + 1)


def test_the_phantom_is_found():
    volume, mask = blob()
    assert dice(mask, build(levels=2, hesitation="yager", strength=0.8)(volume) > 0) > 0.999


def test_the_partition_coefficient_of_a_hard_partition_is_one_and_of_none_one_over_k():
    hard = np.eye(3)[:, [0, 1, 2, 2]]
    assert partition_coefficient(hard, np.array([1.0, 5, 2, 2])) == pytest.approx(1)
    assert partition_coefficient(np.full((4, 6), 0.25), np.ones(6)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hesitation": "sugno"}, "choices: none, sugeno, yager"),
        ({"hesitation": "yager", "strength": 1.5}, "at most 1"),
        ({"hesitation": "sugeno", "strength": -0.5}, "from 0"),
        ({"fuzziness": 1.0}, "above 1"),
    ],
)
def test_generators_that_would_give_a_negative_hesitation_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        build(**options)


def test_one_value_has_no_clusters():
    assert not build()(volume_of(np.full((4, 5), 7))).any()
