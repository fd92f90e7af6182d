import numpy as np
import pytest
import zarr
from chest_phantom import chest, dice
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import filters

from cohortseg.blocks import POINTWISE, run_blocks
from cohortseg.errors import SettingsError
from cohortseg.methods import threshold
from cohortseg.methods.threshold import RULES, build, find_threshold, histogram, li, multi_otsu, scope, triangle
from cohortseg.volume import Grid, Volume

GRID = Grid((9, 30, 40), (2.5, 0.7, 1.1), (1.0, 2.0, 3.0))


def mixture(means, sds, shares, seed=0, shape=GRID.shape):
    """Voxels of several Gaussians, in one image of integers; and which they came from."""
    random = np.random.default_rng(seed)
    part = random.choice(len(means), shape, p=shares)
    values = random.normal(np.array(means)[part], np.array(sds)[part])
    return values.round().astype(np.int16), part


def test_every_rule_has_a_source():
    assert set(RULES) == {"otsu", "multi_otsu", "yen", "li", "triangle", "tsallis", "valley"}
    assert all(rule.source for rule in RULES.values())


def best_between(counts, centres):
    """Otsu by its definition: variance between classes for each threshold."""
    best = []
    for i in range(counts.size - 1):
        n1, n2 = counts[: i + 1].sum(), counts[i + 1 :].sum()
        m1 = counts[: i + 1] @ centres[: i + 1] / n1
        m2 = counts[i + 1 :] @ centres[i + 1 :] / n2
        best.append(n1 * n2 * (m1 - m2) ** 2)
    return centres[int(np.argmax(best))]


def test_otsu_of_two_equal_gaussians_is_the_optimum():
    image, part = mixture([-100, 140], [30, 30], [0.5, 0.5], shape=(30, 60, 80))
    found = find_threshold(image, None, rule="otsu")
    counts, centres = histogram(image, None)
    assert found == best_between(counts, centres)
    assert abs(found - 20) <= 3  # the Bayes optimum lies in the middle
    assert ((image > found) != (part == 1)).mean() < 1e-3


def test_multi_otsu_takes_the_brightest_of_three():
    image, part = mixture([-200, 0, 200], [25, 25, 25], [0.5, 0.3, 0.2], shape=(30, 60, 80))
    found = find_threshold(image, None, rule="multi_otsu")
    assert 80 < found < 120
    label = build(rule="multi_otsu")(Volume(image, Grid(image.shape, (1, 1, 1), (0, 0, 0))))
    assert ((label == 1) != (part == 2)).mean() < 1e-3


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 9999),
    low=st.integers(-500, 0),
    gap=st.integers(60, 600),
    share=st.floats(0.05, 0.95),
    sd=st.integers(5, 60),
)
def test_rules_agree_with_scikit_image_on_the_whole_image(seed, low, gap, share, sd):
    image, _ = mixture([low, low + gap], [sd, sd], [share, 1 - share], seed)
    counts, centres = histogram(image, None)
    judges = {
        "otsu": filters.threshold_otsu(hist=(counts, centres)),
        "yen": filters.threshold_yen(hist=(counts, centres)),
        "li": filters.threshold_li(image.astype(float), tolerance=0.01),
    }
    for rule, judge in judges.items():
        assert find_threshold(image, None, rule=rule) == pytest.approx(judge, abs=1), rule


def test_triangle_agrees_with_scikit_image():
    values = np.random.default_rng(3).gamma(2.0, 30.0, 50_000).astype(np.uint8)
    for image in (values, 255 - values):
        counts, centres = histogram(image.reshape(50, 100, 10), None)
        judge = filters.threshold_triangle(image, nbins=counts.size)
        assert abs(triangle(counts, centres) - judge) <= 2


def test_triangle_by_hand():
    counts = np.array([0.0, 10, 4, 3, 2, 1, 1, 1, 0])
    assert triangle(counts, np.arange(9.0)) == 2.0  # line from (1, 10) to (8, 0): gaps 4.57, 4.14 at 2, 3


def test_li_by_hand():
    # two values: the iteration starts between them and stays there
    assert 10 < li(np.array([5.0, *[0.0] * 9, 5.0]), np.arange(10.0, 21.0)) < 20


def test_histograms_are_exact_and_do_not_depend_on_the_planes_taken_at_once(monkeypatch):
    image, _ = mixture([0, 300], [40, 20], [0.7, 0.3])
    where = ndimage.gaussian_filter(np.random.default_rng(1).random(image.shape), 2) > 0.5
    expected = np.bincount((image[where] - image[where].min()).astype(int))
    for voxels in (1, 3000, 10**6):
        monkeypatch.setattr(threshold, "PLANES_VOXELS", voxels)
        counts, centres = histogram(image, where)
        np.testing.assert_array_equal(counts, expected)
        assert (centres[0], centres[-1]) == (image[where].min(), image[where].max())


def test_floats_give_the_threshold_of_integers_to_a_bin():
    image, _ = mixture([0, 300], [40, 20], [0.7, 0.3])
    for rule in ("otsu", "li"):
        exact = find_threshold(image, None, rule=rule)
        assert find_threshold(image / 8.0, None, rule=rule) * 8 == pytest.approx(exact, abs=2)


@pytest.mark.parametrize("blocks", [(1, 30, 40), (2, 7, 11), (9, 30, 40)])
@pytest.mark.parametrize("limits", [{"low": 20.0}, {"high": -5.0}, {"low": -30.0, "high": 40.0}])
def test_fixed_limits_are_pointwise_chunked_equals_whole(blocks, limits):
    image, _ = mixture([0], [50], [1.0])
    segment = build(rule="fixed", **limits)

    def function(block):
        return segment(Volume(block, Grid(block.shape, (1, 1, 1), (0, 0, 0))))

    assert scope(rule="fixed", inside="all", opening_mm=0.0) == POINTWISE.kind
    found = run_blocks(image, function, scope=POINTWISE, dtype=np.uint8, blocks=blocks)
    low, high = limits.get("low", -np.inf), limits.get("high", np.inf)
    np.testing.assert_array_equal(found, (low <= image) & (image <= high))
    assert 0 < found.mean() < 1


def test_everything_else_needs_the_volume():
    assert scope(rule="otsu", inside="all", opening_mm=0.0) == "volume"
    assert scope(rule="fixed", inside="lungs", opening_mm=0.0) == "volume"
    assert scope(rule="fixed", inside="all", opening_mm=1.0) == "volume"


def test_a_stored_array_is_read_plane_by_plane():
    image, part = mixture([0, 300], [20, 20], [0.7, 0.3])
    array = zarr.create_array({}, shape=image.shape, dtype="i2", chunks=(4, 30, 40))
    array[:] = image
    found = build(rule="otsu")(Volume(array, GRID))
    np.testing.assert_array_equal(found, part)
    assert found.dtype == np.uint8


def test_an_opening_frees_the_blob_from_the_line():
    image = np.zeros(GRID.shape, np.int16)
    blob = np.zeros(GRID.shape, bool)
    blob[2:7, 6:20, 5:14] = True
    image[blob] = 100
    image[4, 12, :] = 100
    found = build(rule="fixed", low=50.0, opening_mm=1.2)(Volume(image, GRID))
    assert not found[4, 12, 16:].any()
    assert dice(blob, found > 0) > 0.97


@pytest.mark.parametrize("rule", RULES)
def test_an_image_of_one_value_holds_no_object(rule):
    for value in (0, 7, 0.5):
        assert not build(rule=rule)(Volume(np.full(GRID.shape, value), GRID)).any()


@pytest.mark.parametrize("rule", RULES)
def test_two_values_are_told_apart(rule):
    image = np.where(np.arange(40) > 30, 90, 20) * np.ones(GRID.shape, np.int16)
    found = build(rule=rule)(Volume(image.astype(np.int16), GRID))
    np.testing.assert_array_equal(found > 0, image > 50)


def test_three_classes_need_three_values():
    counts, centres = np.array([5.0, 0, 0, 3]), np.arange(4.0)
    assert 0 <= multi_otsu(counts, centres) < 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "otzu"}, "choices: fixed, li, multi_otsu, otsu, triangle, tsallis, valley, yen"),
        ({"inside": "liver"}, "choices: all, body, lungs"),
        ({"rule": "fixed"}, "needs low or high"),
        ({"rule": "fixed", "low": 2.0, "high": 1.0}, "low must be below high"),
        ({"rule": "otsu", "low": 2.0}, "go with rule 'fixed'"),
    ],
)
def test_impossible_settings_are_refused_before_any_image(options, message):
    with pytest.raises(SettingsError, match=message):
        build(**options)


@pytest.fixture(scope="module")
def phantom():
    return chest()


@pytest.mark.parametrize("options", [{"rule": "fixed", "low": -300.0}, {"rule": "otsu"}])
def test_masses_are_found_in_the_lungs_and_vessels_and_mediastinum_are_not(phantom, options):
    volume, masks = phantom
    found = build(**options, inside="lungs", opening_mm=4.0)(volume) > 0
    planted = (masks["mass"] | masks["wall mass"]) & masks["lungs"]
    assert dice(planted, found) > 0.8
    numbers, n = ndimage.label(found)
    assert n == 2
    assert {bool(numbers[planted & (numbers == i)].any()) for i in (1, 2)} == {True}


def test_the_body_keeps_couch_and_air_out_of_the_histogram(phantom):
    volume, masks = phantom
    found = build(rule="fixed", low=-300.0, inside="body")(volume) > 0
    solid = masks["body"] & (volume.array > -300)
    assert dice(solid, found) > 0.99
    assert found[masks["couch"]].mean() < 0.01


def test_a_threshold_never_changes_when_background_grows_outside_the_region(phantom):
    volume, _ = phantom
    brighter = volume.array.copy()
    brighter[:, 58:, :] = 3000  # behind the couch
    for rule in ("otsu", "li"):
        segment = build(rule=rule, inside="lungs", opening_mm=3.0)
        np.testing.assert_array_equal(segment(Volume(brighter, volume.grid))[:, :50], segment(volume)[:, :50])
