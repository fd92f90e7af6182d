"""Patches: a pure function of seed and step, drawn as the shares say, right up to the border."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import SettingsError
from cohortseg.train.patches import Case, foreground_rows, patch_source, prefetch


def case_of(shape, classes=(1,), seed=0):
    """Voxel values are their own place in the volume; one labelled voxel per class."""
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    label = np.zeros(shape, np.uint8)
    generator = np.random.default_rng(seed)
    for number in classes:
        label[tuple(generator.integers(size) for size in shape)] = number
    return Case(image, label, foreground_rows(label))


def source_of(cases, **numbers):
    return patch_source(cases, **{"patch": (4, 5, 6), "batch_size": 3, "foreground_share": 0.5, "seed": 1, **numbers})


def test_foreground_rows_by_hand():
    label = np.zeros((2, 3, 4), np.uint8)
    label[1, 2, 3], label[0, 1, 2], label[1, 0, 0] = 1, 2, 1
    rows = foreground_rows(label)
    assert rows.tolist() == [[1, 1, 0, 0], [1, 1, 2, 3], [2, 0, 1, 2]]
    assert rows.dtype == np.int32
    assert foreground_rows(np.zeros((2, 3, 4), int)).shape == (0, 4)


def test_of_a_large_class_a_sample_is_kept_and_the_small_one_stays_whole():
    label = np.ones((10, 11, 12), np.uint8)
    label[3, 4, 5] = 2
    rows = foreground_rows(label, per_class=50, seed=3)
    assert np.bincount(rows[:, 0]).tolist() == [0, 50, 1]
    assert len(np.unique(rows, axis=0)) == 51
    np.testing.assert_array_equal(rows, foreground_rows(label, per_class=50, seed=3))
    assert (label[tuple(rows[:, 1:].T)] == rows[:, 0]).all()


def test_a_batch_depends_on_seed_and_step_alone():
    cases = [case_of((9, 10, 11)), case_of((8, 9, 12), (1, 2))]
    source, again = source_of(cases), source_of(cases)
    for step in (5, 0, 3):
        for one, two in zip(source.batch(step), again.batch(step), strict=True):
            np.testing.assert_array_equal(one, two)
    assert not np.array_equal(source.batch(0)[0], source.batch(1)[0])
    assert not np.array_equal(source.batch(0)[0], source_of(cases, seed=2).batch(0)[0])


def test_shapes_and_types_in_three_and_two_dimensions():
    images, labels = source_of([case_of((9, 10, 11))]).batch(0)
    assert (images.shape, images.dtype) == ((3, 1, 4, 5, 6), np.float32)
    assert (labels.shape, labels.dtype) == ((3, 4, 5, 6), np.int64)
    images, labels = source_of([case_of((9, 10, 11))], patch=(1, 5, 6)).batch(0)
    assert (images.shape, labels.shape) == ((3, 1, 5, 6), (3, 5, 6))


@given(shape=st.tuples(*[st.integers(1, 9)] * 3), patch=st.tuples(*[st.integers(1, 9)] * 3), step=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_image_and_label_are_cut_at_the_same_place_and_padded_with_the_border(shape, patch, step):
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    case = Case(image, image.astype(np.int32), np.array([[1, *(size // 2 for size in shape)]], np.int32))
    images, labels = source_of([case], patch=patch).batch(step)
    np.testing.assert_array_equal(images[:, 0], labels)
    for patch_image in images.reshape(3, *patch):
        z, y, x = np.unravel_index(patch_image.astype(int), shape)
        for axis, places in enumerate((z, y, x)):
            along = np.moveaxis(places, axis, 0).reshape(patch[axis], -1)
            assert (along == along[:, :1]).all()
            steps = np.diff(along[:, 0])
            assert ((steps == 1) | (steps == 0)).all()
            n_different = len(np.unique(along[:, 0]))
            assert n_different == min(patch[axis], shape[axis])


def test_every_foreground_patch_holds_its_voxel():
    case = case_of((20, 21, 22), (1, 2), seed=4)
    _, labels = source_of([case], foreground_share=1.0, batch_size=20).batch(0)
    assert labels.reshape(20, -1).any(axis=1).all()
    present = [(labels.reshape(20, -1) == number).any(axis=1).sum() for number in (1, 2)]
    assert min(present) >= 4


def test_classes_are_drawn_evenly_however_large_they_are():
    label = np.ones((6, 30, 30), np.uint8)
    label[3, 4, 5] = 2
    case = Case(np.zeros(label.shape, np.float32), label, foreground_rows(label))
    source = source_of([case], patch=(1, 1, 1), foreground_share=1.0, batch_size=400)
    share = (source.batch(0)[1] == 2).mean()
    assert 0.4 < share < 0.6


def test_the_foreground_share_is_kept_also_when_no_whole_number():
    case = case_of((30, 30, 30), (1,), seed=2)
    source = source_of([case], patch=(1, 1, 1), foreground_share=0.3, batch_size=4)
    counts = [int((source.batch(step)[1] == 1).sum()) for step in range(300)]
    assert set(counts) <= {1, 2}
    assert 1.1 < np.mean(counts) < 1.3


def test_foreground_patches_come_from_cases_that_have_some():
    empty = Case(np.zeros((9, 9, 9), np.float32), np.zeros((9, 9, 9), np.uint8), np.empty((0, 4), np.int32))
    full = Case(np.ones((9, 9, 9), np.float32), np.ones((9, 9, 9), np.uint8), np.array([[1, 4, 4, 4]], np.int32))
    images, _ = source_of([empty, full, empty], foreground_share=1.0, batch_size=10).batch(0)
    assert (images == 1).all()
    images, _ = source_of([empty, full, empty], foreground_share=0.0, batch_size=200).batch(0)
    assert 0.2 < (images.reshape(200, -1)[:, 0] == 1).mean() < 0.47
    assert source_of([empty], foreground_share=1.0).batch(0)[1].sum() == 0


def test_a_rare_class_is_seen_as_often_as_the_others_where_classes_are_balanced():
    """Ten cases, one of them with class 2."""
    cases = [case_of((9, 9, 9), (1,), seed=number) for number in range(9)]
    label = np.zeros((9, 9, 9), np.uint8)
    label[4, 4, 4] = 2
    cases.append(Case(np.zeros((9, 9, 9), np.float32), label, np.array([[2, 4, 4, 4]], np.int32)))
    for balance, low, high in (("case", 0.05, 0.15), ("class", 0.45, 0.55)):
        source = source_of(cases, patch=(1, 1, 1), foreground_share=1.0, batch_size=1000, balance=balance)
        assert low < (source.batch(0)[1] == 2).mean() < high


def test_the_share_of_patches_without_a_label_is_kept_to_the_patch():
    label = np.zeros((8, 40, 40), np.uint8)
    label[:, 15:25, 15:25] = 1
    case = Case(np.zeros(label.shape, np.float32), label, foreground_rows(label))
    source = source_of([case], patch=(1, 8, 8), batch_size=8, foreground_share=0.75, negative_share=0.25)
    for step in range(20):
        labelled = source.batch(step)[1].reshape(8, -1).any(axis=1)
        assert labelled.tolist() == [True] * 6 + [False] * 2


def test_where_everything_is_labelled_the_negative_patch_is_any_patch():
    case = Case(np.zeros((9, 9, 9), np.float32), np.ones((9, 9, 9), np.uint8), np.array([[1, 4, 4, 4]], np.int32))
    assert source_of([case], foreground_share=0.0, negative_share=1.0).batch(0)[1].all()


def test_uniform_patches_reach_every_place():
    source = source_of([case_of((7, 5, 6))], foreground_share=0.0, batch_size=500)
    first = source.batch(0)[0][:, 0, 0, 0, 0]
    z, y, x = np.unravel_index(first.astype(int), (7, 5, 6))
    assert (sorted(set(z)), set(y), set(x)) == ([0, 1, 2, 3], {0}, {0})
    assert np.bincount(z).min() > 80


def test_several_channels_stay_together():
    image = np.stack([np.arange(720.0), -np.arange(720.0)]).reshape(2, 8, 9, 10)
    case = Case(image, np.zeros((8, 9, 10), np.uint8), np.empty((0, 4), np.int32))
    images, _ = source_of([case]).batch(0)
    assert images.shape == (3, 2, 4, 5, 6)
    np.testing.assert_array_equal(images[:, 0], -images[:, 1])


def test_the_cache_holds_what_fits_and_changes_no_batch(tmp_path):
    plain = [case_of((9, 10, 11), seed=number) for number in range(3)]
    stored = []
    for number, case in enumerate(plain):
        image = zarr.create_array(tmp_path / f"{number}.zarr", shape=(9, 10, 11), chunks=(4, 4, 4), dtype="float32")
        image[...] = case.image
        stored.append(Case(image, case.label, case.foreground))
    one_case_mb = 9 * 10 * 11 * 5 / 1e6
    sources = [source_of(stored, cache_mb=megabytes) for megabytes in (0.0, 2.5 * one_case_mb, 100.0)]
    held = [[isinstance(case.image, np.ndarray) for case in source.cases] for source in sources]
    assert held == [[False] * 3, [True, True, False], [True] * 3]
    expected = source_of(plain).batch(4)
    for source in sources:
        for one, two in zip(source.batch(4), expected, strict=True):
            np.testing.assert_array_equal(one, two)


def test_an_epoch_is_as_many_patches_as_cases():
    assert source_of([case_of((9, 9, 9))] * 6, batch_size=4).steps_per_epoch == 1.5


class Recorded:
    """A source that notes what it was asked for."""

    steps_per_epoch = 1.0

    def __init__(self, fails_at=None):
        self.asked, self.fails_at = [], fails_at

    def batch(self, step):
        self.asked.append(step)
        if step == self.fails_at:
            raise OSError("gone")
        return np.full(1, step, np.float32), np.full(1, step)


def test_prefetching_keeps_the_order_and_stays_two_ahead():
    source = Recorded()
    batches = prefetch(source, 3, 20)
    assert next(batches)[1] == 3
    assert [int(labels[0]) for _, labels in batches] == list(range(4, 20))
    assert source.asked == list(range(3, 20))
    source = Recorded()
    batches = prefetch(source, 0, 1000)
    next(batches)
    batches.close()
    assert max(source.asked) <= 2


def test_an_error_while_reading_arrives_at_its_own_step():
    batches = prefetch(Recorded(fails_at=2), 0, 9)
    next(batches)
    next(batches)
    with pytest.raises(OSError, match="gone"):
        next(batches)


def test_nothing_left_to_do_gives_no_batch():
    assert list(prefetch(Recorded(), 5, 5)) == []


@pytest.mark.parametrize(
    "wrong", [{"patch": (0, 5, 6)}, {"batch_size": 0}, {"foreground_share": 1.5}, {"balance": "voxel"}]
)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(SettingsError):
        source_of([case_of((9, 9, 9))], **wrong)


def test_no_case_is_refused():
    with pytest.raises(SettingsError, match="no case"):
        source_of([])


@pytest.mark.parametrize("patch", [(4, 5, 6), (1, 5, 6), (12, 5, 3)])
def test_all_channels_are_cut_at_the_same_place_from_stores_and_from_memory(tmp_path, patch):
    shape = (9, 10, 11)
    places = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    image = zarr.create_array(tmp_path / "0.zarr", shape=(3, *shape), chunks=(1, 4, 4, 4), dtype="float32")
    image[:] = np.stack([places, places + 5000, -places])
    case = Case(image, places.astype(np.int32), np.array([[1, 4, 5, 6]], np.int32))
    stored, held = (source_of([case], patch=patch, cache_mb=megabytes) for megabytes in (0.0, 10.0))
    for step in range(5):
        images, labels = stored.batch(step)
        assert images.shape == (3, 3, *(patch if patch[0] > 1 else patch[1:]))
        np.testing.assert_array_equal(images, np.stack([labels, labels + 5000, -labels], axis=1))
        np.testing.assert_array_equal(images, held.batch(step)[0])
