"""Names to classes, masks to labels."""

import numpy as np
import pytest

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.classes import (
    check_count,
    is_structure,
    member_facts,
    members,
    no_overlaps,
    overlap_facts,
    paint,
)


def test_a_pattern_names_the_whole_structure():
    assert is_structure("GTV", "GTV ")
    assert not is_structure("GTV", "GTV-1")
    assert not is_structure("GTV", "PGTV")
    assert is_structure("GTV.*", "GTV-1")
    assert is_structure("a|ab", "ab")


def test_several_patterns_are_synonyms():
    assert is_structure(["Heart", "(?i)cor"], "COR")
    assert not is_structure(["Heart", "(?i)cor"], "Corpus")
    assert not is_structure([], "Heart")
    names = ["Cor", "Lung L", "Pulmo dexter"]
    assert members(names, {"lung": ["Lung.*", "Pulmo.*"], "heart": ("Heart", "Cor")}) == [[1, 2], [0]]


def test_a_structure_that_two_synonyms_match_is_there_once():
    assert members(["Heart"], {"heart": ["Heart", "H.*"]}) == [[0]]


def test_each_class_gets_its_structures_in_order():
    names = ["Lung L", "Heart", "Lung R", ""]
    assert members(names, {"heart": "Heart", "lung": "Lung [LR]"}) == [[1], [0, 2]]


def test_a_class_without_structure_is_refused_without_telling_the_names_of_others():
    with pytest.raises(Rejected) as caught:
        members(["Dr Who"], {"heart": ["Heart", "Cor"]})
    assert caught.value.reason == "LABEL_STRUCTURE_MISSING"
    assert "Who" not in str(caught.value)
    assert "'Heart' or 'Cor'" in str(caught.value)


def test_a_class_without_structure_may_be_empty_but_not_every_class():
    structures = {"heart": "Heart", "lung": "Lung"}
    classes = members(["Lung"], structures, "empty")
    assert classes == [[], [0]]
    assert member_facts("n_rois", structures, classes) == {"n_rois": {"heart": 0, "lung": 1}, "missing": ["heart"]}
    for names in ([], ["Liver"]):
        with pytest.raises(Rejected, match="LABEL_STRUCTURE_MISSING"):
            members(names, structures, "empty")


def test_a_label_holds_254_classes():
    check_count(254)
    with pytest.raises(SettingsError):
        check_count(255)
    with pytest.raises(SettingsError):
        members(["a"], {str(number): "a" for number in range(256)})


def test_the_first_class_keeps_a_voxel_and_the_overlap_is_counted_by_pair():
    label, overlaps = np.zeros((1, 6), np.uint8), no_overlaps(3)
    paint(label, np.array([[1, 1, 1, 0, 0, 0]], bool), 1, overlaps)
    assert not overlaps.any()
    paint(label, np.array([[0, 1, 1, 1, 0, 0]], bool), 2, overlaps)
    paint(label, np.array([[0, 0, 0, 1, 1, 0]], bool), 2, overlaps)
    paint(label, np.array([[1, 0, 0, 1, 1, 1]], bool), 3, overlaps)
    assert label.tolist() == [[1, 1, 1, 2, 2, 3]]
    assert overlap_facts(overlaps, {"a": "A", "b": "B", "c": "C"}) == {
        "n_overlap_voxels": 5,
        "overlap_voxels": {"a": {"b": 2, "c": 1}, "b": {"c": 2}},
    }


def test_the_last_of_254_classes_is_painted_and_counted():
    label, overlaps = np.full((1, 2), 253, np.uint8), no_overlaps(254)
    label[0, 0] = 0
    paint(label, np.ones((1, 2), bool), 254, overlaps)
    assert label.tolist() == [[254, 253]]
    assert overlaps[253, 254] == overlaps.sum() == 1


def test_a_class_may_be_painted_into_a_view():
    label, overlaps = np.zeros((3, 4), np.uint8), no_overlaps(1)
    paint(label[::-1, 1:3], np.array([[1, 0], [0, 0], [0, 1]], bool), 1, overlaps)
    assert label.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
