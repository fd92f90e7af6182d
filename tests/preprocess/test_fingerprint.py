import json

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import Rejected
from cohortseg.preprocess import fingerprint
from cohortseg.preprocess.fingerprint import case_fingerprint, foreground_sample, slabs
from cohortseg.preprocess.histogram import PERCENTILES
from cohortseg.volume import Grid

GRID = Grid((11, 14, 9), (2.5, 0.5, 0.8), (1.0, 2.0, 3.0))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).normal(40, 300, GRID.shape).astype(np.int16)


@pytest.fixture(scope="module")
def label():
    label = np.zeros(GRID.shape, np.uint8)
    label[3:7, 5:12, 2:4] = 1
    label[9, 1, 8] = 3
    return label


def by_numpy(values):
    values = values.astype(float)
    found = {"min": values.min(), "max": values.max(), "mean": values.mean(), "sd": values.std()}
    return found | {name: np.percentile(values, 100 * q) for name, q in PERCENTILES.items()}


def test_numbers_of_integers_are_those_of_numpy_exactly(image, label):
    found = case_fingerprint({"image": image}, label, GRID, n_classes=3)["channels"]["image"]["intensity"]
    assert found["whole"] == pytest.approx(by_numpy(image), rel=1e-12)
    assert found["foreground"] == pytest.approx(by_numpy(image[label > 0]), rel=1e-12)
    assert found["nonzero"] == pytest.approx(by_numpy(image[image != 0]), rel=1e-12)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "uint16"])
def test_other_integers_are_counted_exactly_too(image, label, dtype):
    other = (image - image.min()).astype(dtype)
    found = case_fingerprint({"image": other}, label, GRID, n_classes=3)["channels"]["image"]["intensity"]
    assert found["whole"] == pytest.approx(by_numpy(other), rel=1e-12)


@pytest.mark.parametrize("values", [lambda image: image / 7.0, lambda image: image.astype(np.int64) * 10**6])
def test_floats_and_huge_integers_are_right_to_one_of_4096_bins(image, label, values):
    other = values(image)
    found = case_fingerprint({"image": other}, label, GRID, n_classes=3)["channels"]["image"]["intensity"]
    width = (other.max() - other.min()) / 4096
    for group, part in (("whole", other), ("foreground", other[label > 0]), ("nonzero", other[other != 0])):
        expected = by_numpy(part)
        for name in ("min", "max", "mean", "sd"):
            assert found[group][name] == pytest.approx(expected[name], rel=1e-9)
        for name in PERCENTILES:
            assert found[group][name] == pytest.approx(expected[name], abs=width)


def test_sizes_by_hand(image, label):
    found = case_fingerprint({"image": image}, label, GRID, n_classes=3)
    assert found["shape"] == [11, 14, 9]
    assert found["spacing_mm"] == [2.5, 0.5, 0.8]
    assert found["voxels"] == [11 * 14 * 9 - 57, 56, 0, 1]
    assert found["volume_ml"][1:] == pytest.approx([0.056, 0.0, 0.001])
    assert found["foreground_box"] == [[3, 1, 2], [10, 12, 9]]


def test_the_share_of_zeros_is_counted(image):
    half = image.copy()
    half[half == 0] = 1
    half[:4] = 0
    for array in (half, half.astype(np.float32)):
        found = case_fingerprint({"image": array}, None, GRID, n_classes=1)["channels"]["image"]
        assert found["zero_share"] == pytest.approx(4 / 11)


def test_a_fingerprint_is_plain_json_and_small(image, label):
    found = case_fingerprint({"image": image * 20}, label, GRID, n_classes=3)
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert len(text) < 8000


def test_without_a_label_only_the_image_is_described(image):
    found = case_fingerprint({"image": image}, None, GRID, n_classes=2)
    assert found["channels"]["image"]["intensity"]["foreground"] is None
    assert [found[key] for key in ("voxels", "volume_ml", "foreground_box")] == [None] * 3
    assert found["channels"]["image"]["histogram"]["foreground"] is None


def test_an_empty_label_has_no_box_but_counts(image):
    found = case_fingerprint({"image": image}, np.zeros(GRID.shape, np.uint8), GRID, n_classes=1)
    assert found["voxels"] == [11 * 14 * 9, 0]
    assert found["foreground_box"] is None
    assert found["channels"]["image"]["intensity"]["foreground"] is None


@pytest.mark.parametrize("value", [0, -7, 2.5])
def test_an_image_of_one_value_has_sd_0(value):
    found = case_fingerprint({"image": np.full(GRID.shape, value)}, None, GRID, n_classes=1)["channels"]["image"][
        "intensity"
    ]["whole"]
    assert found == dict.fromkeys(found, value) | {"sd": 0}


def test_nothing_depends_on_how_the_arrays_are_cut(image, label, monkeypatch):
    expected = case_fingerprint({"image": image}, label, GRID, n_classes=3)
    sample = foreground_sample(label, n_classes=3, per_class=9, seed=4)
    for depth, voxels in ((2, 10), (3, 300), (11, 10**7)):
        monkeypatch.setattr(fingerprint, "WORK_VOXELS", voxels)
        stores = [zarr.create_array({}, shape=GRID.shape, dtype=a.dtype, chunks=(depth, 14, 9)) for a in (image, label)]
        stores[0][:], stores[1][:] = image, label
        assert case_fingerprint({"image": stores[0]}, stores[1], GRID, n_classes=3) == expected
        np.testing.assert_array_equal(foreground_sample(stores[1], n_classes=3, per_class=9, seed=4), sample)


def test_slabs_are_small_and_cover_the_array(image, monkeypatch):
    monkeypatch.setattr(fingerprint, "WORK_VOXELS", 3 * 14 * 9)
    parts = list(slabs(image))
    assert [z for z, _ in parts] == [0, 3, 6, 9]
    np.testing.assert_array_equal(np.concatenate([part for _, (part,) in parts]), image)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_image_with_nan_or_infinity_is_rejected(image, bad):
    broken = image.astype(np.float32)
    broken[5, 6, 7] = bad
    with pytest.raises(Rejected, match="NOT_A_NUMBER"):
        case_fingerprint({"image": broken}, None, GRID, n_classes=1)


def test_label_values_beyond_the_classes_are_rejected(image, label):
    with pytest.raises(Rejected, match="LABEL_VALUES"):
        case_fingerprint({"image": image}, label, GRID, n_classes=2)
    with pytest.raises(Rejected, match="LABEL_VALUES"):
        foreground_sample(label, n_classes=2, seed=1)


def test_arrays_off_the_grid_are_refused(image, label):
    with pytest.raises(ValueError, match="its grid"):
        case_fingerprint({"image": image}, label[1:], GRID, n_classes=3)


def test_a_sample_holds_each_voxel_of_a_small_class(label):
    rows = foreground_sample(label, n_classes=3, per_class=100, seed=1)
    assert rows.dtype == np.int32
    assert rows.shape == (57, 4)
    places = np.stack([label[label > 0], *np.nonzero(label)], axis=1).astype(int)
    np.testing.assert_array_equal(rows, places[np.argsort(places[:, 0], kind="stable")])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), per_class=st.integers(0, 40))
def test_a_sample_names_true_voxels_once_and_as_many_as_asked(seed, per_class):
    label = np.random.default_rng(seed).choice([0, 0, 0, 1, 2, 5], (5, 6, 7)).astype(np.uint8)
    rows = foreground_sample(label, n_classes=5, per_class=per_class, seed=seed)
    assert (label[tuple(rows[:, 1:].T)] == rows[:, 0]).all()
    assert len(np.unique(rows, axis=0)) == len(rows)
    for value in range(1, 6):
        assert (rows[:, 0] == value).sum() == min(per_class, (label == value).sum())
    again = foreground_sample(label, n_classes=5, per_class=per_class, seed=seed)
    np.testing.assert_array_equal(rows, again)


def test_every_voxel_is_drawn_equally_often():
    label = np.zeros((4, 5, 6), np.uint8)
    label[1:3, 1:4, 2:5] = 1  # 18 voxels, 6 drawn 900 times: each 300 times on average, sd 14
    drawn = np.zeros(label.shape, int)
    for seed in range(900):
        rows = foreground_sample(label, n_classes=1, per_class=6, seed=seed)
        drawn[tuple(rows[:, 1:].T)] += 1
    assert np.abs(drawn[label > 0] - 300).max() < 5 * 14.2


def test_each_channel_is_measured_as_if_it_were_alone_and_the_label_once(image, label):
    other = np.random.default_rng(3).gamma(2.0, 1.5, GRID.shape).astype(np.float32)
    both = case_fingerprint({"ct": image, "pet": other}, label, GRID, n_classes=3)
    alone = [case_fingerprint({"image": one}, label, GRID, n_classes=3) for one in (image, other)]
    assert both["channels"] == {"ct": alone[0]["channels"]["image"], "pet": alone[1]["channels"]["image"]}
    assert {key: value for key, value in both.items() if key != "channels"} == {
        key: value for key, value in alone[0].items() if key != "channels"
    }


def test_a_missing_channel_is_not_measured(image, label):
    found = case_fingerprint({"ct": image, "pet": None}, label, GRID, n_classes=3)
    assert found["channels"]["pet"] is None
    assert found["channels"]["ct"]["intensity"]["whole"]["min"] == image.min()


def test_every_channel_must_lie_on_the_grid_and_be_finite(image, label):
    with pytest.raises(ValueError, match="its grid"):
        case_fingerprint({"ct": image, "pet": image[:, 1:]}, label, GRID, n_classes=3)
    broken = np.where(np.arange(9) == 4, np.nan, image)
    with pytest.raises(Rejected, match="NOT_A_NUMBER"):
        case_fingerprint({"ct": image, "pet": broken}, label, GRID, n_classes=3)


def test_a_picture_is_a_case_of_one_plane():
    grid = Grid((1, 5, 7), (1.0, 0.5, 0.25), (0.0, 0.0, 0.0))
    picture = np.arange(35, dtype=np.uint8).reshape(grid.shape)
    mask = np.zeros(grid.shape, np.uint8)
    mask[0, 1:3, 2:6] = 1
    found = case_fingerprint({"image": picture}, mask, grid, n_classes=1)
    assert found["shape"] == [1, 5, 7]
    assert found["voxels"] == [27, 8]
    assert found["foreground_box"] == [[0, 1, 2], [1, 3, 6]]
    assert found["channels"]["image"]["intensity"]["foreground"] == pytest.approx(by_numpy(picture[mask > 0]))
    assert foreground_sample(mask, n_classes=1, seed=1)[0].tolist() == [1, 0, 1, 2]


def test_the_arrays_of_one_walk_come_at_the_same_places(image, label):
    for z, (intensities, classes) in slabs(image, label):
        np.testing.assert_array_equal(intensities, image[z : z + len(intensities)])
        np.testing.assert_array_equal(classes, label[z : z + len(intensities)])


def test_no_foreground_gives_no_rows():
    assert foreground_sample(np.zeros((3, 4, 5), np.uint8), n_classes=2, seed=1).shape == (0, 4)
