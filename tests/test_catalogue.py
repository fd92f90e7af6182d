"""What becomes of each file: from header records made by hand to cases, labels and reasons."""

from collections import Counter

import pytest
from catalogue_records import IMAGES, LABELS, fates, file, found, header, only, reason, rtstruct, seg, series

from cohortseg.errors import SettingsError
from cohortseg.names import Identities

# ---- scans ----------------------------------------------------------------------------------------------------------


def test_a_series_becomes_a_case_with_its_facts():
    more = {"manufacturer": "ACME", "model": "One", "kernel": "B30", "slice_thickness_mm": 2.5}
    result = found(series("P1", n=7, **more))
    case = only(result)
    assert (case.case, case.subject, case.modality) == ("p1_ct1", "p1", "CT")
    assert (case.manufacturer, case.model, case.kernel, case.slice_thickness_mm) == ("ACME", "One", "B30", "2.5")
    assert (case.shape, case.voxels) == ("7x40x30", 7 * 40 * 30)
    assert (case.label, case.positive) == ("none", "unknown")
    assert result.sources["p1_ct1"]["channels"][0]["kind"] == "dicom"
    assert len(result.sources["p1_ct1"]["channels"][0]["files"]) == 7


def test_the_series_of_one_person_are_cases_of_one_subject():
    result = found([*series("P1", "2.1"), *series("P1", "2.2"), *series("P1", "2.3", modality="PT")])
    assert sorted(case.case for case in result.cases) == ["p1_ct1", "p1_ct2", "p1_pt1"]
    assert {case.subject for case in result.cases} == {"p1"}


def test_files_of_one_series_may_lie_in_several_folders():
    one, other = series("P1", n=6)[:3], series("P1", n=6, folder="elsewhere")[3:]
    assert only(found([*one, *other])).shape == "6x40x30"


@pytest.mark.parametrize(
    ("changes", "selection"),
    [
        ({"modality": "MR"}, {"modality": "CT"}),
        ({"modality": "US"}, {}),
        ({"modality": None}, {}),
        ({"series_description": "scout"}, {"description": "thorax|abdomen"}),
        ({"series_description": None}, {"description": "thorax"}),
    ],
)
def test_a_series_that_was_not_asked_for_is_not_selected(changes, selection):
    result = found(series("P1", **changes), series=selection)
    assert (reason(result), result.cases) == ("NOT_SELECTED", [])
    assert set(fates(result).values()) == {"NOT_SELECTED"}


def test_a_description_is_searched_not_matched():
    assert only(found(series("P1", series_description="CT Thorax 2.0"), series={"description": "(?i)thorax"}))


def test_too_few_slices_are_refused_with_both_numbers():
    result = found(series("P1", n=4), series={"min_slices": 5})
    assert (reason(result), result.rejected[0]["found"]) == ("TOO_FEW_SLICES", "4 slices, at least 5 needed")


def test_the_frames_of_a_multi_frame_object_count_as_slices():
    frames = [{"position": [0.0, 0.0, float(z)]} for z in range(30)]
    more = {"n_frames": 30, "frames": frames, "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]}
    assert only(found(series("P1", n=1, **more), series={"min_slices": 30})).shape == "30x40x30"
    assert reason(found(series("P1", n=1, **more), series={"min_slices": 31})) == "TOO_FEW_SLICES"


def test_frames_that_say_nothing_of_their_place_are_refused():
    assert reason(found(series("P1", n=1, n_frames=30))) == "NO_FRAMES"


def test_an_excluded_case_is_refused_and_keeps_its_name():
    identities = Identities()
    found([*series("P1"), *series("P2")], identities)
    result = found([*series("P1"), *series("P2")], identities, exclude=["p1_ct1"])
    assert reason(result) == "EXCLUDED"
    assert only(result).case == "p2_ct1"


def test_of_a_doubled_object_the_first_copy_is_used():
    copies = [file(f"zz copy/{one.path}", one.header) for one in series("P1")]
    result = found([*series("P1"), *copies])
    assert only(result).shape == "6x40x30"
    assert Counter(fates(result).values()) == {"image": 6, "DUPLICATE_OBJECT": 6}
    (row,) = [row for row in result.series if row["reason"] == "DUPLICATE_OBJECT"]
    assert row["n_files"] == 6


def test_what_is_no_scan_is_counted_by_what_it_is():
    strays = [
        file("readme.txt"),
        file("notes.pdf"),
        file("broken.dcm", problem="the header is broken"),
        file("dose.dcm", header("other", "P1", "5", "5.1", modality="RTDOSE")),
        file("plan.dcm", header("other", "P1", "6", "6.1", modality="RTPLAN")),
    ]
    result = found([*series("P1"), *strays])
    rows = {(row["modality"], row["reason"]): row["n_files"] for row in result.series if row["status"] == "not used"}
    assert rows == {
        ("file", "NOT_DICOM"): 2,
        ("unreadable", "UNREADABLE"): 1,
        ("RTDOSE", "NOT_AN_IMAGE"): 1,
        ("RTPLAN", "NOT_AN_IMAGE"): 1,
    }
    assert [row["problem"] for row in result.files if row["path"] == "broken.dcm"] == ["the header is broken"]


def test_nothing_found_is_nothing():
    result = found([])
    assert (result.cases, result.rejected, result.series, result.files) == ([], [], [], [])


# ---- label objects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [rtstruct(), seg()], ids=["rtstruct", "seg"])
def test_a_label_belongs_to_the_series_that_it_names(label):
    result = found([*series("P1", "2.P1"), *series("P1", "2.other"), label])
    with_label = {case.case: case.label for case in result.cases}
    assert sorted(with_label.values()) == sorted(["none", label.header["kind"]])
    (name,) = [name for name, kind in with_label.items() if kind != "none"]
    assert result.sources[name]["channels"][0]["key"] == "2.P1"
    assert result.sources[name]["label"]["parts"][0]["files"][0]["path"] == label.path
    assert fates(result)[label.path] == "label"


def test_a_label_that_names_no_series_goes_by_frame_of_reference():
    label = rtstruct(refers=None, referenced_frame_uids=["frame of P1"])
    assert only(found([*series("P1"), label])).label == "rtstruct"


def test_a_label_that_names_another_series_is_left_alone_even_in_the_same_frame():
    result = found([*series("P1"), rtstruct(refers="2.gone", referenced_frame_uids=["frame of P1"])])
    assert only(result).label == "none"
    assert fates(result)["labels/9.1.dcm"] == "NOT_AN_IMAGE"


def test_a_frame_of_reference_that_nobody_has_links_nothing():
    label = rtstruct(refers=None, frame_uid=None)
    assert only(found([*series("P1", frame_uid=None), label])).label == "none"


def test_a_label_of_another_patient_is_refused():
    result = found([*series("P1"), rtstruct(patient="P2")])
    assert reason(result) == "LABEL_OTHER_PATIENT"
    assert "P2" not in result.rejected[0]["found"]


def test_a_label_that_names_the_series_but_another_frame_is_refused():
    for label in (rtstruct(referenced_frame_uids=["elsewhere"]), seg(frame_uid="elsewhere")):
        assert reason(found([*series("P1"), label])) == "OTHER_FRAME"
    assert (
        only(found([*series("P1"), rtstruct(referenced_frame_uids=["elsewhere", "frame of P1"])])).label == "rtstruct"
    )


def test_a_series_of_two_patients_is_refused():
    mixed = [*series("P1", "2.1")[:3], *series("P2", "2.1")[3:]]
    assert reason(found(mixed)) == "MIXED_PATIENTS"


def test_scans_without_patient_id_keep_their_labels():
    result = found([*series(None, "2.a"), rtstruct("2.a", patient=None)])
    assert only(result).label == "rtstruct"


def test_scans_without_patient_id_are_told_apart_by_study():
    result = found([*series(None, "2.a", study_uid="1.1"), *series(None, "2.b", study_uid="1.2")])
    assert len({case.subject for case in result.cases}) == 2


def test_of_several_labels_the_one_that_names_a_wanted_structure_is_used():
    labels = [rtstruct(sop="9.1", names=[("Lung", 3)]), rtstruct(sop="9.2")]
    result = found([*series("P1"), *labels])
    assert result.sources["p1_ct1"]["label"]["parts"][0]["files"][0]["path"] == "labels/9.2.dcm"
    assert only(result).positive == "yes"


def test_several_labels_that_name_a_wanted_structure_are_refused():
    result = found([*series("P1"), rtstruct(), seg()])
    assert (reason(result), result.rejected[0]["found"]) == ("SEVERAL_LABELS", "2 label objects (rtstruct, seg)")


def test_the_settings_choose_between_kinds_of_labels():
    assert only(found([*series("P1"), rtstruct(), seg()], kind="seg")).label == "seg"
    assert only(found([*series("P1"), rtstruct(), seg()], kind="rtstruct")).label == "rtstruct"
    assert only(found([*series("P1"), rtstruct(), seg()], kind="none")).label == "none"


def test_the_same_label_in_two_copies_is_one_label():
    result = found([*series("P1"), rtstruct(path="a/rs.dcm"), rtstruct(path="b/rs.dcm")])
    assert only(result).label == "rtstruct"
    assert fates(result)["a/rs.dcm"] == "label"
    assert fates(result)["b/rs.dcm"] == "DUPLICATE_OBJECT"


def test_a_case_without_label_is_predicted_or_refused_as_the_settings_say():
    assert only(found(series("P1"), missing="predict")).label == "none"
    assert reason(found(series("P1"), missing="reject")) == "NO_LABEL"


def test_no_case_lacks_a_label_where_none_are_wanted():
    assert only(found(series("P1"), missing="reject", kind="none")).label == "none"


@pytest.mark.parametrize(
    ("label", "positive"),
    [
        (rtstruct(names=[("GTV-1", 0), ("Lung", 5)]), "no"),
        (rtstruct(names=[("GTV-1", 0), ("GTV-2", 1)]), "yes"),
        (rtstruct(names=[(" GTV-1 ", 2)]), "yes"),
        (rtstruct(names=[("Lung", 5)]), "no"),
        (seg(n_frames=0), "no"),
        (seg(labels=["Lung"]), "no"),
        (seg(), "yes"),
    ],
)
def test_the_header_says_whether_a_label_holds_anything(label, positive):
    assert only(found([*series("P1"), label])).positive == positive


def test_a_segment_without_name_does_no_harm():
    assert only(found([*series("P1"), seg(labels=[None, "GTV-1"])])).positive == "yes"


def test_without_structures_no_dicom_label_is_taken_for_an_empty_one():
    result = found([*series("P1"), rtstruct()], structures={}, values={"tumour": 1})
    assert only(result).label == "none"


def test_one_label_may_serve_two_series():
    label = rtstruct(referenced_series_uids=["2.a", "2.b"])
    result = found([*series("P1", "2.a"), *series("P1", "2.b"), label])
    assert [case.label for case in result.cases] == ["rtstruct", "rtstruct"]


# ---- files ----------------------------------------------------------------------------------------------------------


def test_image_files_and_their_labels_meet_by_subject():
    files = [file(f"images/{name}.nii.gz", size=10 * n) for n, name in enumerate(["a", "b", "c"], start=1)]
    labels = [file("labels/a.nii.gz"), file("labels/c.nii"), file("labels/other.nii"), file("labels/readme.txt")]
    result = found([*files, *labels], images=IMAGES, files=LABELS, deidentified=True)
    assert {case.case: case.label for case in result.cases} == {"a_mr1": "files", "b_mr1": "none", "c_mr1": "files"}
    assert {case.positive for case in result.cases} == {"unknown"}
    assert [case.voxels for case in sorted(result.cases, key=lambda c: c.case)] == [20, 40, 60]
    assert result.sources["a_mr1"]["channels"][0]["kind"] == "file"
    assert fates(result)["labels/other.nii"] == "label without image"
    assert fates(result)["labels/readme.txt"] == "NOT_DICOM"


def test_dicom_images_take_label_files_by_subject():
    result = found([*series("LUNG1-007"), file("masks/lung1_007.nii.gz")], files=r"masks/(?P<subject>\w+)\.nii\.gz")
    assert only(result).label == "files"


def test_a_file_goes_to_the_very_subject_not_to_one_that_looks_alike():
    files = [file("images/p.1.nii"), file("images/p-1.nii"), file("labels/p-1.nii")]
    result = found(files, images=IMAGES, files=LABELS, deidentified=True)
    labelled = [result.sources[case.case]["channels"][0]["key"] for case in result.cases if case.label == "files"]
    assert labelled == ["images/p-1.nii"]


def test_a_file_that_could_belong_to_two_look_alikes_belongs_to_none():
    files = [file("images/p.1.nii"), file("images/p-1.nii"), file("labels/p_1.nii")]
    result = found(files, images=IMAGES, files=LABELS, deidentified=True)
    assert {case.label for case in result.cases} == {"none"}


@pytest.mark.parametrize("names", [("患者一", "患者二"), ("x" * 45 + "1", "x" * 45 + "2"), ("?", "!")])
def test_names_that_are_hard_to_write_are_not_mixed_up(names):
    files = [file(f"{folder}/{name}.nii") for folder in ("images", "labels") for name in names]
    result = found(files, images=IMAGES, files=LABELS, deidentified=True)
    for case in result.cases:
        source = result.sources[case.case]
        assert source["label"]["parts"][0]["files"][0]["path"] == source["channels"][0]["key"].replace(
            "images", "labels"
        )


def test_two_label_files_of_one_subject_are_refused():
    result = found([*series("P1"), file("labels/P1.nii"), file("labels/P1.nii.gz")], files=LABELS)
    assert reason(result) == "SEVERAL_LABELS"


@pytest.mark.parametrize(
    ("key", "options"), [("cohort.images", {"images": "a"}), ("cohort.labels.files", {"files": "a"})]
)
def test_a_pattern_without_subject_names_its_key(key, options):
    with pytest.raises(SettingsError, match=rf"^{key}: .*\(\?P<subject>"):
        found([file("a.nii")], **options)


def test_a_file_whose_subject_is_empty_is_not_taken():
    result = found([file("image.nii"), file("image7.nii")], images=r"image(?P<subject>\d+)?\.nii", deidentified=True)
    assert only(result).subject == "7"


# ---- what decides about doing it again ------------------------------------------------------------------------------


def test_another_scan_has_another_digest():
    before = only(found([*series("P1"), rtstruct()]))
    assert only(found([*series("P1"), rtstruct()])).source == before.source
    assert only(found([*series("P1", n=7), rtstruct()])).source != before.source
    assert only(found([*series("P1"), rtstruct(path="labels/moved.dcm")])).source != before.source
    grown = [file(one.path, one.header, size=1001) for one in series("P1")]
    assert only(found([*grown, rtstruct()])).source != before.source


def test_the_file_name_of_a_hospital_in_another_code_page_does_no_harm():
    # As os.scandir gives bytes that are no UTF-8.
    files = [file("images/M\udcfcller.nii"), file("labels/M\udcfcller.nii")]
    result = found(files, images=IMAGES, files=LABELS)
    assert only(result).label == "files"
    for row in result.files:
        row["path"].encode()
