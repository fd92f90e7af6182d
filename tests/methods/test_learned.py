import numpy as np
import pytest
from flat_phantom import GRID, blob, dice

from cohortseg.errors import SettingsError
from cohortseg.methods.features import bank, standardised
from cohortseg.methods.learned import (
    LEARNERS,
    ellipsoid,
    fit_ellipsoid,
    fit_forest,
    fit_mean_shape,
    fit_svm,
    predict_ellipsoid,
    predict_forest,
    predict_mean_shape,
    predict_svm,
    svm_decisions,
    thinned,
    vote,
)
from cohortseg.methods.trees import shares
from cohortseg.volume import Grid, Volume


def cases(n=3, noise=25.0):
    """Blobs with a bright left part as class 1 and a right part as class 2."""
    found = []
    for seed in range(n):
        volume, mask = blob(noise=noise, seed=seed)
        label = mask.astype(np.uint8)
        label[:, :, 47:] *= 2
        found.append((volume, label))
    return found


@pytest.mark.parametrize(("fit", "predict"), [(fit_forest, predict_forest), (fit_svm, predict_svm)])
def test_voxels_of_an_unseen_case_are_classified(fit, predict):
    model = fit(cases(), 2, scales_mm=(1.5, 3.0), seed=1, per_class=80)
    volume, mask = blob(noise=25, seed=77)
    found = predict(model, volume)
    assert found.dtype == np.uint8
    left = mask.copy()
    left[:, :, 47:] = False
    assert dice(left, found == 1) > 0.9
    assert dice(mask & ~left, found == 2) > 0.9


def data(n_classes, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, n_classes, 240)
    rows = random.normal(0, 1, (240, 5)) + labels[:, None] * [1.5, 0, -1, 0.5, 0]
    return rows.astype(np.float32), labels.astype(np.uint8)


def as_cases(rows, labels):
    """Feature rows as a case whose features are replaced in the test below."""
    grid = Grid((1, 1, len(labels)), (1.0, 1.0, 1.0), (0, 0, 0))
    return [(Volume(np.zeros(grid.shape), grid), labels[None, None])], rows.T.reshape(5, 1, 1, -1)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_arrays_alone_give_what_scikit_learn_gives(monkeypatch, n_classes):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import SVC

    rows, labels = data(n_classes)
    training, features = as_cases(rows, labels)
    monkeypatch.setattr("cohortseg.methods.learned.bank", lambda *_, **__: features)
    everything = {"per_class": 10_000, "seed": 3}
    forest = fit_forest(training, n_classes - 1, trees=12, depth=6, **everything)
    machine = fit_svm(training, n_classes - 1, **everything)
    order = np.concatenate([np.flatnonzero(labels == value) for value in range(n_classes)])
    judge = RandomForestClassifier(12, max_depth=6, min_samples_leaf=2, random_state=3).fit(rows[order], labels[order])
    new, _ = data(n_classes, seed=9)
    np.testing.assert_allclose(shares(forest, new), judge.predict_proba(new), atol=1e-6)
    scaled = ((rows - rows.mean(0)) / rows.std(0)).astype(float)
    svc = SVC(C=1.0, gamma=0.2, decision_function_shape="ovo").fit(scaled[order], labels[order])
    expected = svc.decision_function(((new - rows.mean(0)) / rows.std(0)).astype(float)).reshape(len(new), -1)
    sign = -1.0 if n_classes == 2 else 1.0
    np.testing.assert_allclose(svm_decisions(machine, new), sign * expected, atol=1e-3)
    monkeypatch.setattr("cohortseg.methods.learned.bank", lambda *_, **__: new.T.reshape(5, 1, 1, -1))
    found = predict_svm(machine, training[0][0]).ravel()
    assert (found == svc.predict(((new - rows.mean(0)) / rows.std(0)).astype(float))).mean() > 0.99


def test_separable_classes_are_told_apart_without_an_error():
    rows, labels = data(2)
    rows[:, 0] += 100.0 * labels
    training, features = as_cases(rows, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cohortseg.methods.learned.bank", lambda *_, **__: features)
        for fit, predict in ((fit_forest, predict_forest), (fit_svm, predict_svm)):
            np.testing.assert_array_equal(predict(fit(training, 1), training[0][0]).ravel(), labels)


def test_the_same_seed_learns_the_same_arrays_and_a_model_is_numbers_only():
    for name, learner in LEARNERS.items():
        one, two = (learner.fit(cases(2), 2) for _ in range(2))
        assert set(one) == set(two)
        for key in one:
            np.testing.assert_array_equal(one[key], two[key], err_msg=f"{name} {key}")
            assert one[key].dtype.kind in "fiu"


def test_support_vectors_give_the_same_labels_in_groups_of_any_size(monkeypatch):
    model = fit_svm(cases(2), 2, per_class=30)
    volume, _ = blob(noise=25, seed=77)
    whole = predict_svm(model, volume)
    for rows in (61, volume.array.size):
        monkeypatch.setattr("cohortseg.methods.learned.KERNEL", rows * len(model["vectors"]))
        np.testing.assert_array_equal(predict_svm(model, volume), whole)


def test_unlabelled_voxels_are_not_learnt_from():
    volume, label = cases(1)[0]
    hidden = np.where(label == 2, 255, label).astype(np.uint8)
    model = fit_forest([(volume, hidden)], 2, per_class=50, trees=5)
    assert model["classes"].tolist() == [0, 1]
    with pytest.raises(SettingsError, match="two classes"):
        fit_svm([(volume, np.zeros_like(label))], 2)


def test_the_mean_shape_of_equal_labels_is_the_label_and_of_different_ones_the_majority():
    label = cases(1)[0][1]
    image = Volume(np.zeros(GRID.shape), GRID)
    model = fit_mean_shape([(image, label)] * 2, 2, box=GRID.shape)
    np.testing.assert_array_equal(predict_mean_shape(model, image), label)
    odd = np.roll(label, 5, axis=2)
    model = fit_mean_shape([(image, label), (image, label), (image, odd)], 2, box=GRID.shape)
    np.testing.assert_array_equal(predict_mean_shape(model, image), label)


def test_a_shape_is_the_mean_of_those_who_judged_a_place_and_background_where_nobody_did():
    label = np.zeros(GRID.shape, np.uint8)
    label[4:8, 10:20, 10:30] = 1
    hidden, image = label.copy(), Volume(np.zeros(GRID.shape), GRID)
    hidden[:6] = 255
    model = fit_mean_shape([(image, label), (image, hidden), (image, hidden)], 1, box=GRID.shape)
    np.testing.assert_array_equal(predict_mean_shape(model, image), label)
    alone = fit_mean_shape([(image, hidden)], 1, box=GRID.shape)
    np.testing.assert_array_equal(predict_mean_shape(alone, image), np.where(hidden == 255, 0, hidden))


def test_an_ellipsoid_is_not_held_back_by_voxels_that_nobody_judged():
    grid = Grid((12, 20, 30), (1.0, 1.0, 1.0), (0, 0, 0))
    image, box = Volume(np.zeros(grid.shape), grid), np.zeros(grid.shape, np.uint8)
    box[3:9, 6:14, 8:22] = 1
    corners, beside = {}, np.where(box == 1, 1, 255).astype(np.uint8)
    for name, label in (("background", box), ("nobody's", beside)):
        corners[name] = predict_ellipsoid(fit_ellipsoid([(image, label)], 1), image)[box == 1].all()
    assert corners == {"background": False, "nobody's": True}


def test_the_mean_shape_fits_an_image_of_another_size():
    label = cases(1)[0][1]
    model = fit_mean_shape([(Volume(np.zeros(GRID.shape), GRID), label)], 2, box=(24, 40, 40))
    large = Grid((24, 124, 180), (1.25, 0.5, 0.4), (0, 0, 0))
    found = predict_mean_shape(model, Volume(np.zeros(large.shape), large))
    expected = np.kron(label, np.ones((2, 2, 2), np.uint8))
    assert dice(expected == 1, found == 1) > 0.95


def test_the_ellipsoid_of_the_best_size_is_found():
    truth = ellipsoid((20, 40, 50), (0.5, 0.6, 0.7))
    assert truth.sum() == pytest.approx(4 / 3 * np.pi * 5 * 12 * 17.5, rel=0.03)
    grid = Grid((20, 40, 50), (1.0, 1.0, 1.0), (0, 0, 0))
    volume = Volume(np.zeros(grid.shape), grid)
    model = fit_ellipsoid([(volume, truth.astype(np.uint8))], 1)
    assert dice(truth, predict_ellipsoid(model, volume) > 0) > 0.97
    with pytest.raises(SettingsError, match="class 1"):
        fit_ellipsoid([(volume, np.zeros(grid.shape, np.uint8))], 1)


def test_votes_by_hand():
    one, two, three = (np.array([[row]], np.uint8) for row in ([0, 1, 2, 2, 1], [0, 1, 2, 1, 0], [0, 0, 2, 0, 2]))
    assert vote([one, two, three]).tolist() == [[[0, 1, 2, 0, 0]]]  # three different votes: the lowest
    assert vote([one, two]).tolist() == [[[0, 1, 2, 1, 0]]]
    assert vote([one]) is one


def test_a_mask_is_thinned_evenly_and_a_small_one_is_left_alone():
    mask = np.zeros((1, 200, 30), bool)
    mask[:, 100:] = True
    found = thinned(mask, 50)
    assert found.shape == (1, 50, 30)
    assert found.mean() == 0.5
    np.testing.assert_array_equal(thinned(mask[:, :40], 96), mask[:, :40])


def test_features_of_a_slope_by_hand():
    x = np.mgrid[:20, :30, :40][2].astype(np.float32)
    volume = Volume(5 * x * 0.8, Grid((20, 30, 40), (2.0, 1.0, 0.8), (0, 0, 0)))  # 5 per mm along x
    deviation = float(volume.array.std())
    found = bank(volume, (2.0,), position=True)
    assert found.shape[0] == 1 + 3 + 3
    inner = np.s_[8:12, 12:18, 15:25]
    np.testing.assert_allclose(found[2][inner], 2.0 * 5 / deviation, rtol=1e-3)  # gradient times scale
    np.testing.assert_allclose(found[3][inner], 0, atol=1e-3)
    np.testing.assert_allclose(found[6][:, :, [0, -1]], np.broadcast_to([-1, 1], (20, 30, 2)))
    assert abs(float(standardised(volume.array.astype(np.float32)).std()) - 1) < 1e-4


def test_features_do_not_depend_on_the_scanners_scale():
    volume, _ = blob()
    other = Volume(volume.array * 3.0 + 1000, GRID)
    np.testing.assert_allclose(bank(volume, (1.5,), position=False), bank(other, (1.5,), position=False), atol=1e-3)
    assert not bank(Volume(np.ones(GRID.shape), GRID), (1.5,), position=False).any()
