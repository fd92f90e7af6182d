"""Which series are taken: every rule on its own, and the choice among several."""

import pytest
from catalogue_records import found, only, series

from cohortseg.errors import Rejected, SettingsError
from cohortseg.selection import check_series, chosen, plane_of
from cohortseg.settings import SeriesSettings

FACTS = {
    "series_description": "CT thorax 2.0",
    "body_part": "CHEST",
    "kernel": "B30f",
    "image_type": "ORIGINAL\\PRIMARY\\AXIAL",
    "slice_thickness_mm": 2.0,
    "orientation": [1, 0, 0, 0, 1, 0],
    "contrast": True,
    "n_frames": 1,
}
MET = {
    "description": "thorax",
    "not_description": "scout",
    "body_part": "^CHEST$",
    "kernel": "B3",
    "image_type": "ORIGINAL",
    "thickness_mm": (1.0, 2.0),
    "orientation": "axial",
    "contrast": True,
}
UNMET = {
    "description": "abdomen",
    "not_description": "(?i)THORAX",
    "body_part": "HEAD",
    "kernel": "B7",
    "image_type": "DERIVED",
    "thickness_mm": (2.5, 5.0),
    "orientation": "coronal",
    "contrast": False,
}


def files(n=6, **more):
    return [{"header": FACTS | more} for _ in range(n)]


def reason(**rules):
    with pytest.raises(Rejected) as caught:
        check_series(files(**rules.pop("facts", {})), rules.pop("modality", "CT"), SeriesSettings(**rules))
    assert "thorax" not in caught.value.found, "a description may hold a name"
    return caught.value.reason


@pytest.mark.parametrize("rule", MET)
def test_a_rule_that_is_met_takes_the_series(rule):
    check_series(files(), "CT", SeriesSettings(**{rule: MET[rule]}))


@pytest.mark.parametrize("rule", UNMET)
def test_a_rule_that_is_not_met_leaves_it_out(rule):
    assert reason(**{rule: UNMET[rule]}) == "NOT_SELECTED"


@pytest.mark.parametrize("rule", ["description", "body_part", "kernel", "image_type", "thickness_mm", "orientation"])
def test_what_a_header_does_not_say_meets_no_rule(rule):
    empty = dict.fromkeys(FACTS, None) | {"n_frames": 1}
    assert reason(facts=empty, **{rule: MET[rule]}) == "NOT_SELECTED"


def test_one_slice_with_identity_in_its_pixels_is_enough():
    burned = [*files(), *files(1, burned_in=True)]
    with pytest.raises(Rejected, match="BURNED_IN"):
        check_series(burned, "CT", SeriesSettings())
    check_series(burned, "CT", SeriesSettings(burned_in="keep"))


def test_a_range_that_is_upside_down_is_a_mistake():
    with pytest.raises(ValueError, match="smallest, largest"):
        SeriesSettings(thickness_mm=(5, 1))


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([0.9, 0.1, 0.42, 0.0, 0.97, -0.23], "axial"),
        (None, None),
        ([1, 0, 0], None),
    ],
)
def test_planes_are_named_by_their_normal(orientation, plane):
    assert plane_of(orientation) == plane


@pytest.mark.parametrize(("rule", "key"), [("newest", "late"), ("thinnest", "thin"), ("most_slices", "long")])
def test_one_of_several_is_chosen(rule, key):
    group = {
        "long": files(9, series_date="20200101", slice_thickness_mm=None),
        "thin": files(7, series_date="20200101", slice_thickness_mm=0.5),
        "late": files(6, series_date="20200102"),
    }
    assert chosen(group, rule) == key
    assert chosen(dict(reversed(group.items())), rule) == key


def test_the_catalogue_takes_one_series_of_a_study_and_says_what_became_of_the_others():
    scans = [
        *series("P1", "2.1", slice_thickness_mm=5.0),
        *series("P1", "2.2", slice_thickness_mm=1.0),
        *series("P1", "2.3", slice_thickness_mm=0.5, modality="MR"),
        *series("P1", "2.4", slice_thickness_mm=3.0, study_uid="another"),
    ]
    per_study = found(scans, series={"modality": "CT", "choose": "thinnest"})
    assert sorted(case.slice_thickness_mm for case in per_study.cases) == ["1", "3"]
    assert sorted(row["reason"] for row in per_study.rejected) == ["NOT_CHOSEN", "NOT_SELECTED"]
    per_subject = found(scans, series={"modality": "CT", "choose": "thinnest", "choose_per": "subject"})
    assert only(per_subject).slice_thickness_mm == "1"


def test_synonyms_of_a_structure_are_one_class():
    from catalogue_records import rtstruct

    label = rtstruct(names=(("Tumor primary", 3),))
    result = found([*series(), label], structures={"tumour": ["GTV.*", "Tumor.*"]})
    assert (only(result).label, only(result).positive) == ("rtstruct", "yes")


def test_a_case_that_nobody_knows_cannot_be_excluded():
    with pytest.raises(SettingsError, match="no case is called 'p9_ct1'"):
        found(series(), exclude=["p9_ct1"])
