import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import SettingsError
from cohortseg.preprocess.intensity import NORMALISATIONS, normaliser

NUMBERS = {
    "window": {"low": -160.0, "high": 240.0, "mean": 40.0, "sd": 100.0},
    "ct": {"low": -100.0, "high": 300.0, "mean": 80.0, "sd": 50.0},
    "zscore": {"mean": 10.0, "sd": 4.0},
    "percentile": {"low": 50.0, "high": 250.0},
    "none": {},
}
BY_HAND = {
    "window": ([-2000, -160, 40, 240, 3000], [-2, -2, 0, 2, 2]),
    "ct": ([-101, -100, 80, 130, 301], [-3.6, -3.6, 0, 1, 4.4]),
    "zscore": ([2, 10, 20], [-2, 0, 2.5]),
    "percentile": ([0, 50, 100, 250, 900], [0, 0, 0.25, 1, 1]),
    "none": ([-3, 0, 7], [-3, 0, 7]),
}


def test_every_normalisation_has_a_known_answer_and_a_source():
    assert set(NORMALISATIONS) == set(BY_HAND) == set(NUMBERS)
    assert all(entry.source for entry in NORMALISATIONS.values())


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_values_by_hand(name):
    intensities, expected = BY_HAND[name]
    found = normaliser(name, NUMBERS[name])(np.array(intensities, np.int16))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", NORMALISATIONS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), cut=st.integers(1, 29))
def test_a_chunk_is_treated_as_the_whole(name, seed, cut):
    image = np.random.default_rng(seed).normal(0, 300, (30, 3, 5)).astype(np.float32)
    before = image.copy()
    apply = normaliser(name, NUMBERS[name])
    parts = np.concatenate([apply(image[:cut]), apply(image[cut:])])
    np.testing.assert_array_equal(parts, apply(image))
    np.testing.assert_array_equal(image, before)


def test_the_case_itself_gets_mean_0_and_sd_1():
    image = np.random.default_rng(1).integers(0, 900, (7, 8, 9))
    found = normaliser("zscore", {"mean": image.mean(), "sd": image.std()})(image)
    assert found.mean(dtype=float) == pytest.approx(0, abs=1e-6)
    assert found.std(dtype=float) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("zscores", {}, "choices: ct, none, percentile, window, zscore"),
        ("zscore", {"mean": 1.0}, "needs"),
        ("none", {"mean": 1.0}, "needs"),
        ("zscore", {"mean": 1.0, "sd": 0.0}, "sd must be positive"),
        ("percentile", {"low": 2.0, "high": 2.0}, "low must be below high"),
        ("ct", {"low": 2.0, "high": 1.0, "mean": 0.0, "sd": 1.0}, "low must be below high"),
    ],
)
def test_impossible_numbers_are_refused(name, numbers, message):
    with pytest.raises(SettingsError, match=message):
        normaliser(name, numbers)
