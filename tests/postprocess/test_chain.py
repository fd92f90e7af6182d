import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cohortseg.errors import SettingsError
from cohortseg.postprocess.chain import POSTPROCESSES, postprocess_label
from cohortseg.postprocess.components import keep_n, minimum_slices, minimum_volume
from cohortseg.postprocess.morphology import closing, fill_holes, opening

SPACING_MM = (2.0, 0.5, 1.0)


def test_every_entry_has_a_source_and_a_scope():
    for entry in POSTPROCESSES.values():
        assert entry.source
        assert (entry.halo_radii > 0) == (entry.scope == "halo")


def test_nothing_asked_nothing_changed():
    label = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    found = postprocess_label(label, spacing_mm=SPACING_MM, n_classes=3)
    np.testing.assert_array_equal(found, label)
    assert found is not label


def test_a_planted_false_positive_goes_and_the_reference_is_left():
    reference = np.zeros((8, 12, 10), np.uint8)
    reference[2:6, 3:9, 2:7] = 1
    raw = reference.copy()
    raw[7, 11, 9] = raw[0, 0, :4] = 1
    raw[4, 6, 4] = 0
    found = postprocess_label(raw, spacing_mm=SPACING_MM, n_classes=1, fill_holes=True, keep="largest")
    np.testing.assert_array_equal(found, reference)


def test_small_components_go_by_volume_class_by_class():
    label = np.zeros((3, 5, 20), np.uint8)
    label[1, 1, 0:4] = 1
    label[1, 1, 6:9] = 1
    label[1, 3, 0:3] = 2
    found = postprocess_label(label, spacing_mm=SPACING_MM, n_classes=2, min_volume_ml=0.004)
    assert (found == 1).sum() == 4
    assert (found == 2).sum() == 0


@pytest.mark.parametrize(("keep", "left"), [("all", 9), ("largest", 4), (1, 4), (2, 7), (3, 9), (8, 9)])
def test_kept_components(keep, left):
    label = np.zeros((1, 1, 12), np.uint8)
    label[0, 0, [0, 1, 2, 3, 5, 6, 7, 9, 10]] = 1
    assert postprocess_label(label, spacing_mm=SPACING_MM, n_classes=1, keep=keep).sum() == left


def test_filling_an_organ_spares_the_tumour_in_it():
    label = np.zeros((7, 9, 9), np.uint8)
    label[1:6, 1:8, 1:8] = 1
    label[3, 3:5, 3:5] = 2
    label[3, 6, 6] = 0
    found = postprocess_label(label, spacing_mm=SPACING_MM, n_classes=2, fill_holes=True)
    assert (found == 2).sum() == 4
    assert found[3, 6, 6] == 1


def test_background_that_two_classes_want_goes_to_the_lower_number():
    label = np.zeros((1, 1, 9), np.uint8)
    label[0, 0, [1, 3, 5, 7]] = [1, 1, 2, 2]
    label[0, 0, 4] = 0
    found = postprocess_label(label, spacing_mm=(9.0, 9.0, 1.0), n_classes=2, closing_mm=1.0)
    assert found[0, 0].tolist() == [0, 1, 1, 1, 0, 2, 2, 2, 0]
    both = np.array([[[1, 2, 0, 1, 2]]], np.uint8)
    found = postprocess_label(both, spacing_mm=(9.0, 9.0, 1.0), n_classes=2, closing_mm=2.0)
    assert found[0, 0].tolist() == [1, 2, 1, 1, 2]


def test_what_a_class_loses_becomes_background():
    label = np.full((3, 9, 9), 1, np.uint8)
    label[1, 4, 4] = 2
    found = postprocess_label(label, spacing_mm=SPACING_MM, n_classes=2, opening_mm=1.0)
    assert found[1, 4, 4] == 0


def by_definition(label, n_classes, opening_mm, closing_mm, fill, min_volume_ml, keep):
    """The chain on whole arrays, one class after the other."""
    out = np.zeros_like(label)
    for value in range(1, n_classes + 1):
        mask = opening(label == value, radius_mm=opening_mm, spacing_mm=SPACING_MM)
        mask = closing(mask, radius_mm=closing_mm, spacing_mm=SPACING_MM)
        mask = fill_holes(mask) if fill else mask
        mask = minimum_volume(mask, min_volume_ml, np.prod(SPACING_MM) / 1000)
        mask = keep_n(mask, keep)
        out[mask & (label == value)] = value
        out[mask & (label == 0) & (out == 0)] = value
    return out


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 9999),
    opening_mm=st.sampled_from([0.0, 0.5, 1.0]),
    closing_mm=st.sampled_from([0.0, 1.0, 2.0, 3.1]),
    fill=st.booleans(),
    min_volume_ml=st.sampled_from([0.0, 0.005]),
    keep=st.integers(1, 3),
)
def test_working_in_the_box_of_each_class_changes_nothing(seed, opening_mm, closing_mm, fill, min_volume_ml, keep):
    random = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(random.random((9, 14, 12)), 1.2) for _ in range(3)]
    label = np.where(np.max(fields, axis=0) > 0.55, np.argmax(fields, axis=0) + 1, 0).astype(np.uint8)
    label[:, :3] = 0
    found = postprocess_label(
        label,
        spacing_mm=SPACING_MM,
        n_classes=4,  # class 4 is absent
        opening_mm=opening_mm,
        closing_mm=closing_mm,
        fill_holes=fill,
        min_volume_ml=min_volume_ml,
        keep=keep,
    )
    np.testing.assert_array_equal(found, by_definition(label, 4, opening_mm, closing_mm, fill, min_volume_ml, keep))


@pytest.mark.parametrize("least", [2, 3, 9])
def test_slices_are_counted_in_the_whole_image_also_when_only_the_box_is_worked_on(least):
    random = np.random.default_rng(3)
    label = (random.random((6, 9, 8)) > 0.7).astype(np.uint8)
    label[3, :, :] = 0
    found = postprocess_label(label, spacing_mm=SPACING_MM, n_classes=1, min_slices=least)
    np.testing.assert_array_equal(found > 0, minimum_slices(label > 0, min(least, 6)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), closing_mm=st.sampled_from([0.0, 2.0]))
def test_a_voxel_never_passes_from_one_class_to_another(seed, closing_mm):
    label = np.random.default_rng(seed).choice([0, 0, 1, 2, 3], (5, 9, 8)).astype(np.uint8)
    found = postprocess_label(label, spacing_mm=SPACING_MM, n_classes=3, closing_mm=closing_mm, fill_holes=True, keep=2)
    labelled = label > 0
    assert np.isin(found[labelled] - label[labelled].astype(int), [0, *(-np.arange(1, 4))]).all()
    assert ((found == label) | (found == 0))[labelled].all()


@pytest.mark.parametrize("keep", ["biggest", 0, -1, 1.5])
def test_other_choices_of_keep_are_refused(keep):
    with pytest.raises(SettingsError, match="keep"):
        postprocess_label(np.zeros((2, 2, 2), np.uint8), spacing_mm=SPACING_MM, n_classes=1, keep=keep)


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(ValueError, match="the label holds 3"):
        postprocess_label(np.full((2, 2, 2), 3, np.uint8), spacing_mm=SPACING_MM, n_classes=2)
