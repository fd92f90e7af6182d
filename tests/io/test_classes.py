"""Names to classes, masks to labels."""

import numpy as np
import pytest

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.classes import check_count, is_structure, members, paint


def test_a_pattern_names_the_whole_structure():
    assert is_structure("GTV", "GTV ")
    assert not is_structure("GTV", "GTV-1")
    assert not is_structure("GTV", "PGTV")
    assert is_structure("GTV.*", "GTV-1")
    assert is_structure("a|ab", "ab")


def test_each_class_gets_its_structures_in_order():
    names = ["Lung L", "Heart", "Lung R", ""]
    assert members(names, {"heart": "Heart", "lung": "Lung [LR]"}) == [[1], [0, 2]]


def test_a_class_without_structure_is_refused_without_telling_the_names_of_others():
    with pytest.raises(Rejected) as caught:
        members(["Dr Who"], {"heart": "Heart"})
    assert caught.value.reason == "LABEL_STRUCTURE_MISSING"
    assert "Who" not in str(caught.value)


def test_a_label_holds_255_classes():
    check_count(255)
    with pytest.raises(SettingsError):
        check_count(256)


def test_the_first_class_keeps_a_voxel_and_the_overlap_is_counted():
    label = np.zeros((1, 5), np.uint8)
    assert paint(label, np.array([[1, 1, 1, 0, 0]], bool), 1) == 0
    assert paint(label, np.array([[0, 1, 1, 1, 0]], bool), 2) == 2
    assert paint(label, np.array([[0, 0, 0, 1, 1]], bool), 2) == 0
    assert label.tolist() == [[1, 1, 1, 2, 2]]
