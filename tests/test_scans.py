"""From files to scans and cases: volumes of a series, single pictures, several channels, masks as series."""

from collections import Counter
from dataclasses import replace

import pytest
from catalogue_records import check_accounts, fates, file, header, only, reason, rtstruct, series

from cohortseg.catalogue import catalogue
from cohortseg.errors import SettingsError
from cohortseg.names import Identities, hash_of
from cohortseg.settings import CohortSettings

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
CHANNELS = {"ct": {"modality": "CT"}, "pet": {"modality": "PT"}}


def found(files, forgotten=frozenset(), identities=None, **options):
    options = {"source": "data", "labels": {"structures": {"tumour": "GTV.*"}}} | options
    files = sorted(files, key=lambda one: one.path)
    result = catalogue(files, CohortSettings.model_validate(options), identities or Identities(), forgotten)
    if not forgotten:
        check_accounts(files, result)
    return result


def phases(patient="P1", n=6, values=(1, 2), **more) -> list:
    """Files of one series that holds a volume for each value of TemporalPositionIdentifier."""
    made = []
    for value in values:
        for one in series(patient, n=n, **more):
            z = int(one.path[-7:-4])
            record = one.header | {"temporal_position": value, "position": [0.0, 0.0, 2.5 * z], "orientation": AXIAL}
            record["sop_uid"] += f".{value}"
            made.append(replace(one, path=one.path.replace(".dcm", f"-{value}.dcm"), header=record))
    return made


def pictures(n=3, patient="P1", modality="CR", **more) -> list:
    return series(patient, n=n, modality=modality, **more)


# ---- several volumes in one series ----------------------------------------------------------------------------------


def test_a_series_of_several_volumes_is_refused_unless_the_settings_choose():
    result = found(phases())
    assert reason(result) == "SEVERAL_PHASES"
    assert result.rejected[0]["found"] == "2 volumes, told apart by temporal_position"


@pytest.mark.parametrize(("choice", "part"), [("first", "t1"), ("last", "t2"), (2, "t2")])
def test_one_volume_is_taken_with_its_own_files(choice, part):
    result = found(phases(), series={"phases": choice})
    (channel,) = result.sources[only(result).case]["channels"]
    assert (channel["part"], len(channel["files"])) == (part, 6)
    assert {one["header"]["temporal_position"] for one in channel["files"]} == {int(part[1:])}
    assert Counter(fates(result).values()) == {"image": 6, "NOT_CHOSEN": 6}


def test_a_number_that_is_not_there_is_refused():
    assert reason(found(phases(), series={"phases": 3})) == "SEVERAL_PHASES"


def test_each_volume_becomes_a_case_and_keeps_its_name_whatever_is_chosen():
    identities = Identities()
    result = found(phases(), identities=identities, series={"phases": "all"})
    names = {result.sources[case.case]["channels"][0]["part"]: case.case for case in result.cases}
    assert sorted(names) == ["t1", "t2"]
    assert only(found(phases(), identities=identities, series={"phases": "last"})).case == names["t2"]


def test_frames_of_one_file_are_shared_out():
    frames = [{"position": [0, 0, 2.0 * (n % 5)], "temporal_position": n // 5} for n in range(10)]
    one = series("P1", n=1, n_frames=10, frames=frames, orientation=AXIAL)
    result = found(one, series={"phases": "all"})
    parts = {s["channels"][0]["part"]: s["channels"][0]["files"][0]["frames"] for s in result.sources.values()}
    assert parts == {"t0": [0, 1, 2, 3, 4], "t1": [5, 6, 7, 8, 9]}
    assert {case.shape for case in result.cases} == {"5x40x30"}


def test_a_volume_of_too_few_slices_is_refused_alone():
    assert reason(found(phases(n=4), series={"phases": "first"})) == "TOO_FEW_SLICES"


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_each_picture_is_a_case_and_none_is_too_few():
    result = found(pictures(), series={"modality": "CR"})
    assert sorted(case.case for case in result.cases) == ["p1_cr1", "p1_cr2", "p1_cr3"]
    assert {source["channels"][0]["kind"] for source in result.sources.values()} == {"plane"}


def test_pictures_are_taken_only_where_they_are_asked_for():
    assert reason(found(pictures())) == "NOT_SELECTED"
    screen = pictures(modality="CT", sop_class="1.2.840.10008.5.1.4.1.1.7")
    assert reason(found(screen, series={"modality": "CT"})) == "NOT_SELECTED"


def test_a_screenshot_within_a_series_does_not_spoil_it():
    shot = series("P1", n=1, folder="shot", sop_class="1.2.840.10008.5.1.4.1.1.7")[0]
    shot.header["sop_uid"] = "2.P1.shot"
    result = found([*series("P1"), shot])
    assert only(result).shape == "6x40x30"
    assert fates(result)[shot.path] == "NOT_SELECTED"


def test_the_frames_of_a_film_are_chosen_like_volumes():
    film = pictures(n=1, modality="US", n_frames=4, frames=[{}] * 4)
    assert reason(found(film, series={"modality": "US"})) == "SEVERAL_PHASES"
    assert len(found(film, series={"modality": "US", "phases": "all"}).cases) == 4
    (channel,) = found(film, series={"modality": "US", "phases": 3}).sources["p1_us1"]["channels"]
    assert (channel["part"], channel["files"][0]["frames"]) == ("frame3", [2])


# ---- channels -------------------------------------------------------------------------------------------------------


def both(patient="P1", **pet) -> list:
    return [*series(patient, f"2.{patient}"), *series(patient, f"3.{patient}", modality="PT", **pet)]


def test_the_series_of_one_person_become_the_channels_of_one_case():
    result = found([*both("P1"), *both("P2")], channels=CHANNELS)
    assert [case.case for case in result.cases] == ["p1_ct1", "p2_ct1"]
    channels = result.sources["p1_ct1"]["channels"]
    assert [channel["modality"] for channel in channels] == ["CT", "PT"]
    assert {(row["case"], row["channel"]) for row in result.series} == {
        *(("p1_ct1", "ct"), ("p1_ct1", "pet"), ("p2_ct1", "ct"), ("p2_ct1", "pet"))
    }
    assert result.cases[0].voxels == 2 * 6 * 40 * 30


def test_the_label_is_that_of_the_first_channel():
    label = rtstruct("3.P1")
    assert only(found([*both(), label], channels=CHANNELS)).label == "none"
    assert only(found([*both(), label], channels=dict(reversed(CHANNELS.items())))).label == "rtstruct"


def test_a_missing_channel_is_refused_or_filled_as_the_settings_say():
    files = series("P1")
    assert reason(found(files, channels=CHANNELS)) == "MISSING_CHANNEL"
    result = found(files, channels=CHANNELS, missing_channel="zero")
    assert result.sources[only(result).case]["channels"][1] is None


def test_a_channel_without_the_first_one_is_no_case_and_is_accounted_for():
    result = found(series("P1", modality="PT"), channels=CHANNELS)
    assert (reason(result), result.cases) == ("NOT_CHOSEN", [])


def test_several_series_of_one_channel_are_refused_unless_one_is_nearer_or_chosen():
    files = [*both(), *series("P1", "4.P1", modality="PT", series_date="20200101")]
    assert "SEVERAL_SERIES" in {row["reason"] for row in found(files, channels=CHANNELS).rejected}
    newest = CHANNELS | {"pet": {"modality": "PT", "choose": "newest"}}
    result = found(files, channels=newest)
    assert result.sources[only(result).case]["channels"][1]["key"] == "4.P1"
    near = [*both(frame_uid="frame of P1"), *series("P1", "4.P1", modality="PT", frame_uid="another")]
    result = found(near, channels=CHANNELS)
    assert result.sources[only(result).case]["channels"][1]["key"] == "3.P1"


def test_channels_are_looked_for_within_one_study_on_demand():
    files = [*series("P1", study_uid="1.1"), *series("P1", "3.P1", modality="PT", study_uid="1.2")]
    assert only(found(files, channels=CHANNELS)).case == "p1_ct1"
    assert "MISSING_CHANNEL" in {
        row["reason"] for row in found(files, channels=CHANNELS, channels_per="study").rejected
    }


def test_a_second_channel_changes_what_the_case_was_made_from():
    before = only(found(both(), channels=CHANNELS)).source
    assert only(found(both(), channels=CHANNELS)).source == before
    pet = [replace(one, size=1001) if "3.P1" in one.path else one for one in both()]
    assert only(found(pet, channels=CHANNELS)).source != before


def test_image_files_are_sorted_by_the_groups_of_their_names():
    pattern = r"(?P<subject>\w+)/(?P<scan>s\d)_(?P<channel>t1|flair)\.nii$"
    files = [file(f"{who}/{scan}_{what}.nii") for who in "ab" for scan in ("s1", "s2") for what in ("t1", "flair")]
    labels = {"files": r"(?P<subject>\w+)/(?P<scan>s\d)_mask\.nii$", "values": {"x": 1}}
    options = {"images": pattern, "labels": labels, "deidentified": True, "channels": {"t1": {}, "flair": {}}}
    result = found([*files, file("a/s2_mask.nii")], **options)
    assert len(result.cases) == 4
    for source in result.sources.values():
        paths = [channel["files"][0]["path"] for channel in source["channels"]]
        assert [path[-7:-4] for path in paths] == ["_t1", "air"]
        assert len({path[:4] for path in paths}) == 1
    (labelled,) = [case.case for case in result.cases if case.label == "files"]
    assert result.sources[labelled]["channels"][0]["files"][0]["path"] == "a/s2_t1.nii"


def test_excluded_strangers_are_named():
    with pytest.raises(SettingsError, match="no case is called 'p9_ct1'"):
        found(series("P1"), exclude=["p9_ct1"])


# ---- masks as series ------------------------------------------------------------------------------------------------


def masks(*names: str, patient="P1", **more) -> list:
    return [
        one
        for number, name in enumerate(names, start=5)
        for one in series(patient, f"{number}.{patient}", series_description=name, **more)
    ]


WANTED = {"kind": "series", "structures": {"tumour": "mask GTV", "node": "mask node"}}


def test_a_series_whose_description_names_a_class_is_a_label():
    result = found([*series("P1"), *masks("mask GTV", "mask node")], labels=WANTED)
    label = result.sources[only(result).case]["label"]
    assert [part["classes"] for part in label["parts"]] == [["tumour"], ["node"]]
    assert Counter(fates(result).values()) == {"image": 6, "label": 12}


def test_only_settings_that_ask_for_them_make_masks_of_series():
    assert len(found([*series("P1"), *masks("GTV")]).cases) == 2


def test_masks_that_lack_or_double_are_refused():
    assert reason(found([*series("P1"), *masks("mask GTV")], labels=WANTED)) == "LABEL_STRUCTURE_MISSING"
    twice = [*series("P1"), *masks("mask GTV", "mask GTV", "mask node")]
    assert reason(found(twice, labels=WANTED)) == "SEVERAL_LABELS"
    result = found(twice, labels=WANTED | {"several": "newest"})
    assert len(result.sources[only(result).case]["label"]["parts"]) == 2


def test_masks_go_by_frame_of_reference():
    result = found([*series("P1"), *masks("mask GTV", "mask node", frame_uid="another")], labels=WANTED)
    assert only(result).label == "none"
    assert set(fates(result).values()) == {"image", "label without image"}


# ---- labels by time, and people who are forgotten -------------------------------------------------------------------


def test_of_several_labels_the_newest_is_taken_on_demand():
    labels = [rtstruct(sop=f"9.{n}", date=date) for n, date in enumerate(["20200101", "20210101", "20201231"])]
    wanted = {"structures": {"tumour": "GTV.*"}, "several": "newest"}
    result = found([*series("P1"), *labels], labels=wanted)
    assert result.sources["p1_ct1"]["label"]["parts"][0]["files"][0]["path"] == "labels/9.1.dcm"


def test_nothing_of_a_forgotten_person_comes_in_again():
    plan = file("plan.dcm", header("other", "P1", "6", "6.1", modality="RTPLAN"))
    result = found([*series("P1"), *series("P2"), rtstruct(), plan], forgotten=frozenset([hash_of("P1")]))
    assert only(result).subject == "p2"
    assert all("P1" not in str(row) for row in result.files)
    (row,) = [row for row in result.series if row["reason"] == "FORGOTTEN"]
    assert (row["n_files"], row["status"]) == (8, "not used")


# ---- what the headers say -------------------------------------------------------------------------------------------


def test_a_row_tells_how_a_scan_was_made_and_counts_days_from_the_first():
    facts = {
        "kvp": 120.0,
        "pixel_spacing_mm": [0.8, 0.7],
        "orientation": AXIAL,
        "transfer_syntax": "1.2.840.10008.1.2.4.91",
    }
    first = series("P1", "2.a", study_date="20200228", **facts)
    second = series("P1", "2.b", study_date="20200302", contrast=True, burned_in=True)
    for number, one in enumerate(first):
        one.header["position"] = [0.0, 0.0, 2.5 * number]
    result = found([*first, *second], series={"burned_in": "keep"})
    rows = {row["n_slices"] + row["days"]: row for row in result.series}
    row = rows["60"]
    assert (row["kvp"], row["spacing_mm"], row["orientation"], row["lossy"]) == ("120", "2.5x0.8x0.7", "axial", "yes")
    assert row["transfer_syntax"] == "JPEG 2000 (lossy)"
    assert (rows["63"]["contrast"], rows["63"]["burned_in"], rows["63"]["spacing_mm"]) == ("yes", "yes", "")
    assert "2020" not in str(result.series)
