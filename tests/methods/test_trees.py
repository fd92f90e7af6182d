import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import StudyError
from cohortseg.methods import trees
from cohortseg.methods.trees import as_arrays, check, grown, shares


def fitted(n_classes, seed=0, depth=6):
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(seed)
    labels = random.integers(0, n_classes, 300)
    rows = (random.normal(0, 1, (300, 4)) + labels[:, None] * [1.5, 0, -1, 0.5]).astype(np.float32)
    forest = RandomForestClassifier(9, max_depth=depth, random_state=seed).fit(rows, labels)
    return as_arrays([tree.tree_ for tree in forest.estimators_]), forest


def walked(model, rows):
    """One row after the other, node by node."""
    total = np.zeros((len(rows), model["share"].shape[1]), np.float32)
    for root in model["roots"]:
        for number, row in enumerate(rows):
            node = root
            while model["children"][0][node] >= 0:
                right = np.float64(row[model["feature"][node]]) > model["limit"][node]
                node = model["children"][int(right)][node]
            total[number] += model["share"][node]
    return total / np.float32(len(model["roots"]))


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 4), st.integers(0, 50), st.integers(1, 9))
def test_trees_grown_from_arrays_give_the_bytes_of_a_walk_through_them(n_classes, seed, depth):
    model, forest = fitted(n_classes, seed, depth)
    rows = np.random.default_rng(seed + 1).normal(0, 2, (40, 4)).astype(np.float32)
    rows[0, 0], rows[1] = np.nan, model["limit"][0]
    found = shares(model, rows)
    assert found.tobytes() == walked(model, rows).tobytes()
    np.testing.assert_allclose(found[1:], forest.predict_proba(rows[1:]), atol=1e-6)


def test_rows_may_come_in_groups_and_in_any_layout(monkeypatch):
    model, _ = fitted(3)
    rows = np.random.default_rng(5).normal(0, 2, (50, 4)).astype(np.float32)
    whole = shares(model, rows)
    monkeypatch.setattr(trees, "GROUP", 7)
    assert shares(model, np.asfortranarray(rows)).tobytes() == whole.tobytes()
    assert shares(model, rows[:0]).shape == (0, 3)


def test_a_tree_of_one_leaf_answers_without_asking():
    model = {
        "children": np.full((2, 2), -1, np.int32),
        "feature": np.full(2, -2, np.int32),
        "limit": np.full(2, -2.0),
        "share": np.array([[1, 0], [0.5, 0.5]], np.float32),
        "roots": np.array([0, 1], np.int32),
    }
    np.testing.assert_array_equal(shares(model, np.zeros((3, 1), np.float32)), [[0.75, 0.25]] * 3)


def damaged():
    """Each a way in which scikit-learn would read beside its arrays, or never come to an end."""
    yield "beyond", lambda m: m["children"].__setitem__((0, 0), m["feature"].size)
    yield "another tree", lambda m: m["children"].__setitem__((1, 0), m["roots"][2])
    yield "back", lambda m: m["children"].__setitem__((1, m["children"][0, 0]), 0)
    yield "half a leaf", lambda m: m["children"].__setitem__((0, 0), -1)
    yield "below", lambda m: m["children"].__setitem__((slice(None), 0), -7)
    yield "feature", lambda m: m["feature"].__setitem__(0, 4)
    yield "no feature", lambda m: m["feature"].__setitem__(0, -1)
    yield "short limits", lambda m: m.__setitem__("limit", m["limit"][:-1])
    yield "short shares", lambda m: m.__setitem__("share", m["share"][:-1])
    yield "short children", lambda m: m.__setitem__("children", m["children"][:, :-1])
    yield "roots backwards", lambda m: m.__setitem__("roots", m["roots"][::-1])
    yield "no roots", lambda m: m.__setitem__("roots", m["roots"][:0])
    yield "root beyond", lambda m: m["roots"].__setitem__(-1, m["feature"].size)


@pytest.mark.parametrize(("name", "damage"), list(damaged()), ids=lambda value: value if isinstance(value, str) else "")
def test_damaged_arrays_are_refused_before_scikit_learn_sees_them(name, damage):
    model, _ = fitted(2)
    check(model, 4)
    model = {key: array.copy() for key, array in model.items()}
    assert model["children"][0, model["children"][0, 0]] >= 0, "the second node must lead on"
    damage(model)
    with pytest.raises(StudyError, match="damaged"):
        grown(model, 4)
