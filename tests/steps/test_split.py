"""Folds on disk, and the one scan that stands under two subjects."""

import argparse
from dataclasses import replace

import numpy as np
import pytest
from study_by_hand import case_of, image_of, refused, study_of, write_case, write_sidecar

from cohortseg.errors import LeakageError, StudyError
from cohortseg.io.sidecar import read_json
from cohortseg.steps.split import check_leakage, run
from cohortseg.volume import Volume

CASES = (case_of("p1_ct1", fold="0"), case_of("p2_ct1", fold="1"), case_of("p3_ct1", fold="test"))


@pytest.fixture
def layout(tmp_path):
    layout = study_of(tmp_path, *CASES)
    for seed, case in enumerate(CASES):
        write_case(layout, case.case, image=image_of(seed))
    return layout


def split(layout) -> dict:
    run(argparse.Namespace(study=layout, settings="{}"))
    return read_json(layout.folds)


def test_the_folds_of_usable_cases_are_written(layout):
    assert split(layout) == {
        "folds": {"0": ["p1_ct1"], "1": ["p2_ct1"], "test": ["p3_ct1"]},
        "cases": {
            "p1_ct1": {"subject": "p1", "fold": "0", "role": "cohort"},
            "p2_ct1": {"subject": "p2", "fold": "1", "role": "cohort"},
            "p3_ct1": {"subject": "p3", "fold": "test", "role": "cohort"},
        },
    }


def test_rejected_cases_are_in_no_fold(layout):
    write_sidecar(layout.case("p2_ct1") / "image.json", refused("convert", "MISSING_SLICE"))
    assert split(layout)["folds"] == {"0": ["p1_ct1"], "test": ["p3_ct1"]}


def test_the_same_scan_under_two_subjects_fails_and_names_the_way_out(layout):
    write_case(layout, "p3_ct1", image=image_of(0))
    with pytest.raises(LeakageError, match=r"'p1_ct1' and 'p3_ct1'.*cohort\.exclude"):
        split(layout)
    assert not layout.folds.exists()


def test_one_voxel_makes_another_scan(layout):
    twin = image_of(0)
    array = np.array(twin.array)
    array[2, 3, 4] += 1
    write_case(layout, "p3_ct1", image=Volume(array, twin.grid))
    assert split(layout)


def test_a_rejected_twin_leaks_nothing(layout):
    write_case(layout, "p3_ct1", image=image_of(0))
    write_sidecar(layout.case("p3_ct1") / "image.json", refused("convert", "LABEL_VALUES"))
    assert split(layout)


def test_the_same_scan_twice_under_one_subject_leaks_nothing(layout):
    study_of(layout.root, *CASES, case_of("p1_ct2", "p1"))
    write_case(layout, "p1_ct2", image=image_of(0))
    assert split(layout)["folds"]["0"] == ["p1_ct1", "p1_ct2"]


def test_a_case_that_was_not_converted_stops_the_split(layout):
    study_of(layout.root, *CASES, case_of("p4_ct1"))
    with pytest.raises(StudyError, match=r"missing: p4_ct1/image\.json"):
        split(layout)


def test_a_twin_of_a_twin_is_found_whatever_the_order():
    cases = [case_of("b_ct1", "b"), case_of("a_ct1", "a"), replace(case_of("a_ct2", "a"), fold="1")]
    pixels = {"a_ct1": "x", "a_ct2": "y", "b_ct1": "y"}
    for order in (cases, cases[::-1]):
        with pytest.raises(LeakageError, match=r"'a_ct2' and 'b_ct1'"):
            check_leakage(order, pixels)


def test_other_pixels_and_no_cases_are_fine():
    check_leakage([case_of("a_ct1"), case_of("b_ct1")], {"a_ct1": "x", "b_ct1": "y"})
    check_leakage([], {})


def test_the_same_voxels_at_another_place_are_found():
    from cohortseg.io.store import ContentDigest, voxels_part
    from cohortseg.volume import Grid

    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    contents = []
    for origin_mm in ((0.0, 0.0, 0.0), (5.0, 0.0, 0.0)):
        digest = ContentDigest(Grid((2, 3, 4), (3.0, 2.0, 1.0), origin_mm), np.int16)
        digest.update(voxels)
        contents.append(digest.hexdigest())
    assert contents[0] != contents[1]
    assert voxels_part(contents[0]) == voxels_part(contents[1])
