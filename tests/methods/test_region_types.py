"""Types of regions by support vectors: separable ones without error, scores in order, arrays that survive a file."""

import numpy as np
import pytest
from sklearn.svm import SVC

from cohortseg.errors import SettingsError
from cohortseg.io.arrays import read_arrays, write_arrays
from cohortseg.methods.region_types import fit_types, predict_types


def clouds(n: int = 20, centres=((0.0, 0.0), (9.0, 1.0), (4.0, 30.0))):
    rng = np.random.default_rng(4)
    rows = np.concatenate([rng.normal(centre, 1.0, (n, 2)) for centre in centres])
    return rows * [1.0, 100.0], np.repeat(np.arange(len(centres)), n)


@pytest.mark.parametrize("n_types", [2, 3])
def test_separable_types_are_told_without_an_error(n_types: int) -> None:
    rows, types = clouds()
    rows, types = rows[types < n_types], types[types < n_types]
    model = fit_types(rows[::2], types[::2])
    told, scores = predict_types(model, rows[1::2])
    assert (told == types[1::2]).all()
    assert scores.shape == (len(told), n_types)
    assert (scores >= 0).all()
    assert (scores <= 1).all()


def test_the_score_of_a_type_grows_as_a_case_moves_from_the_other_type_to_it() -> None:
    rows, types = clouds(centres=((0.0, 0.0), (6.0, 0.0)))
    path = np.linspace(0.0, 6.0, 30)[:, None] * [1.0, 0.0]
    told, scores = predict_types(fit_types(rows, types), path)
    assert (np.diff(scores[:, 1]) > 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1.0)
    assert (told == (scores[:, 1] > 0.5)).all()


def test_borders_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(8)
    rows, types = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    judge = SVC(gamma=1 / 3, class_weight="balanced").fit(scaled, types)
    told, scores = predict_types(fit_types(rows, types), rows)
    np.testing.assert_array_equal(told, judge.predict(scaled))
    np.testing.assert_allclose(scores[:, 1], 1 / (1 + np.exp(-judge.decision_function(scaled))), atol=1e-9)


def test_a_rare_type_is_not_drowned_by_a_frequent_one() -> None:
    rng = np.random.default_rng(2)
    rows = np.concatenate([rng.normal(0.0, 1.0, (200, 2)), rng.normal(1.5, 1.0, (10, 2))])
    types = np.repeat([0, 1], [200, 10])
    told, _ = predict_types(fit_types(rows, types), rng.normal(1.5, 1.0, (500, 2)))
    assert (told == 1).mean() > 0.6


def test_what_is_learnt_is_arrays_that_survive_a_file(tmp_path) -> None:
    rows, types = clouds()
    model = fit_types(rows, types)
    write_arrays(tmp_path / "m.safetensors", model, {"types": ["a", "b", "c"]})
    again = read_arrays(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(predict_types(again, rows)[1], predict_types(model, rows)[1])


def test_a_single_type_teaches_nothing() -> None:
    with pytest.raises(SettingsError, match="at least two"):
        fit_types(np.zeros((3, 2)), [1, 1, 1])
