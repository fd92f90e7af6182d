"""What a label tells of its source: the slices that lie where it lies, and of the patient no more than is allowed."""

import numpy as np
import pydicom
import pytest
from dicom_phantom import FRAME, SERIES, STUDY, grid_of
from label_phantom import GRID, classic, enhanced, label_of
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage

from cohortseg.errors import Rejected
from cohortseg.io.source_images import NO_DATE, NO_TIME, identity, matches, read_sources
from cohortseg.io.uids import remapped
from cohortseg.volume import Grid, Volume

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def told(sources) -> str:
    return str(sources.header)


# ---- slices


def test_every_slice_of_a_series_is_known_by_object_and_place_in_any_order_of_files(tmp_path):
    paths = classic(tmp_path / "series")
    sources = read_sources(paths)
    assert [one.sop_uid for one in sources.slices] == sorted(f"{SERIES}.{n}" for n in range(1, 8))
    assert {one.sop_class for one in sources.slices} == {CTImageStorage}
    assert {one.frame for one in sources.slices} == {None}
    by_uid = {one.sop_uid: one for one in sources.slices}
    for index in range(7):
        one = by_uid[f"{SERIES}.{index + 1}"]
        np.testing.assert_allclose(one.position_mm, GRID.world((index, 0, 0)))
        np.testing.assert_allclose(one.directions, [GRID.axes[2], GRID.axes[1]])
        np.testing.assert_allclose(one.spacing_mm, GRID.spacing_mm[1:])
        assert one.shape == GRID.shape[1:]
    again = read_sources(paths[::-1])
    assert told(again) == told(sources)
    assert [one.sop_uid for one in again.slices] == [one.sop_uid for one in sources.slices]


def test_frames_are_counted_from_one_and_lie_where_they_say(tmp_path):
    sources = read_sources([enhanced(tmp_path / "e.dcm", slices=[2, 0, 1])])
    assert [(one.sop_class, one.frame) for one in sources.slices] == [(EnhancedMRImageStorage, n) for n in (1, 2, 3)]
    for one, index in zip(sources.slices, (2, 0, 1), strict=True):
        np.testing.assert_allclose(one.position_mm, GRID.world((index, 0, 0)))
    assert len(sources.objects) == 1


def test_only_the_frames_asked_for_are_the_source(tmp_path):
    path, whole = enhanced(tmp_path / "a.dcm", number=1), enhanced(tmp_path / "b.dcm", number=2)
    sources = read_sources([path, whole], frames={path: {0, 6}})
    found = {uid: [one.frame for one in sources.slices if one.sop_uid == uid] for _, uid in sources.objects}
    assert found == {
        "1.2.826.0.1.3680043.8.498.7.1": [1, 7],
        "1.2.826.0.1.3680043.8.498.7.2": [1, 2, 3, 4, 5, 6, 7],
    }


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (0.0, [[True]] * 7),
        (0.3, [[False]] * 7),  # a third of a slice away: near, but not the same pixels
        (1.0, [[True]] * 6 + [[]]),
        (20.0, [[]] * 7),
    ],
)
def test_slices_are_matched_by_their_place_along_the_normal(tmp_path, shift, expected):
    moved = Grid(GRID.shape, GRID.spacing_mm, GRID.world((shift, 0.0, 0.0)), GRID.axes)
    found = matches(read_sources(classic(tmp_path / "series")), moved)
    assert [[same for _, same in own] for own in found] == expected


def test_the_slice_that_matches_is_the_right_one(tmp_path):
    found = matches(read_sources(classic(tmp_path / "series")), GRID)
    assert [[one.sop_uid for one, _ in own] for own in found] == [[f"{SERIES}.{n}"] for n in range(1, 8)]


def test_slices_at_another_angle_match_nothing(tmp_path):
    other = grid_of(GRID.shape, (20.0, -30.0, 10.0))
    assert matches(read_sources(classic(tmp_path / "series")), other) == [[]] * 7


@pytest.mark.parametrize(
    "grid",
    [
        Grid((7, 14, 12), GRID.spacing_mm, GRID.origin_mm, GRID.axes),
        Grid((7, 14, 11), (2.5, 0.8, 0.72), GRID.origin_mm, GRID.axes),
        Grid((7, 14, 11), GRID.spacing_mm, GRID.world((0.0, 1.0, 0.0)), GRID.axes),
        Grid(GRID.shape, GRID.spacing_mm, GRID.origin_mm, (GRID.axes[0], GRID.axes[2], tuple(-np.array(GRID.axes[1])))),
    ],
    ids=["another shape", "another pixel size", "a pixel beside", "turned about the normal"],
)
def test_pixels_of_another_grid_are_not_the_same(tmp_path, grid):
    found = matches(read_sources(classic(tmp_path / "series")), grid)
    assert [same for own in found for _, same in own] == [False] * 7


# ---- identity


def identified(folder, removed="NO", **more):
    """A series that tells all it can of its patient."""

    def edit(index, dataset):
        dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientIdentityRemoved = "19500102", "F", removed
        dataset.AccessionNumber, dataset.StudyID, dataset.StudyDescription = "ACC-99", "ST-88", "Chest of Jane"
        dataset.ReferringPhysicianName, dataset.PatientAge, dataset.PatientWeight = "House^Greg", "070Y", "61.5"
        dataset.IssuerOfPatientID, dataset.ClinicalTrialSubjectID = "St Elsewhere", "TRIAL-5"
        for keyword, value in more.items():
            setattr(dataset, keyword, value)

    return classic(folder, edit=edit)


SECRETS = ("Doe", "P-7", "1950", "ACC-99", "ST-88", "Chest", "House", "070Y", "61.5", "Elsewhere", "TRIAL", "202002")


def test_all_is_told_where_nothing_is_to_be_hidden(tmp_path):
    sources = read_sources(identified(tmp_path / "series"))
    assert [word for word in SECRETS if word not in told(sources) + sources.date] == []
    assert (sources.date, sources.time) == ("20200229", "101500")


def test_with_a_pseudonym_an_identified_source_tells_its_uids_and_nothing_else(tmp_path):
    sources = read_sources(identified(tmp_path / "series"), pseudonym="sub-0003")
    assert [word for word in SECRETS if word in told(sources)] == []
    assert (sources.header.PatientID, sources.header.PatientName) == ("sub-0003", "sub-0003")
    assert (sources.header.PatientBirthDate, sources.header.StudyDate) == ("", "")
    assert (sources.date, sources.time) == (NO_DATE, NO_TIME)
    uids = sources.header.StudyInstanceUID, sources.header.SeriesInstanceUID, sources.header.FrameOfReferenceUID
    assert uids == (STUDY, SERIES, FRAME)
    assert {uid for _, uid in sources.objects} == {f"{SERIES}.{n}" for n in range(1, 8)}


def test_a_source_whose_identity_is_removed_keeps_its_ids_with_a_pseudonym_too(tmp_path):
    sources = read_sources(identified(tmp_path / "series", removed="YES"), pseudonym="sub-0003")
    assert (sources.header.PatientID, sources.date) == ("P-7", "20200229")


def test_one_file_that_is_identified_makes_an_identified_series(tmp_path):
    paths = identified(tmp_path / "series", removed="YES")
    last = pydicom.dcmread(paths[3])
    last.PatientIdentityRemoved = "NO"
    last.save_as(paths[3])
    assert read_sources(paths, pseudonym="sub-0003").header.PatientID == "sub-0003"


def test_with_a_key_every_uid_of_the_source_is_another_one_but_the_same_each_time(tmp_path):
    paths = identified(tmp_path / "series", removed="YES")
    one, again, other = (read_sources(paths, key=key, pseudonym="s") for key in (KEY, KEY, OTHER))
    assert [word for word in (*SECRETS, "1.2.826") if word in told(one)] == []
    assert told(one) == told(again)
    assert {uid for _, uid in one.objects} == {remapped(f"{SERIES}.{n}", KEY) for n in range(1, 8)}
    assert not {uid for _, uid in one.objects} & {uid for _, uid in other.objects}
    for keyword, uid in (("StudyInstanceUID", STUDY), ("SeriesInstanceUID", SERIES), ("FrameOfReferenceUID", FRAME)):
        assert one.header.get(keyword) == remapped(uid, KEY) != other.header.get(keyword)
    # SOP classes are the standard's own.
    assert {sop_class for sop_class, _ in one.objects} == {CTImageStorage}


def test_remapped_slices_lie_where_their_originals_lie(tmp_path):
    paths = classic(tmp_path / "series")
    plain, hidden = matches(read_sources(paths), GRID), matches(read_sources(paths, key=KEY, pseudonym="s"), GRID)
    for own, other in zip(plain, hidden, strict=True):
        assert [remapped(one.sop_uid, KEY) for one, _ in own] == [one.sop_uid for one, _ in other]


def test_an_id_that_is_too_long_for_its_element_is_cut(tmp_path):
    def spoil(index, dataset):
        with pytest.warns(UserWarning, match="exceeds"):
            dataset.StudyID = "IBSI_1_STS_002_CT"

    assert read_sources(classic(tmp_path / "series", edit=spoil)).header.StudyID == "IBSI_1_STS_002_C"


# ---- what an object depends on


def test_an_object_is_another_one_when_anything_it_tells_changes(tmp_path):
    paths = classic(tmp_path / "series")
    sources = read_sources(paths)
    label = label_of()
    changed = label_of()
    changed.array[0, 1, 1] = 1
    other = Grid(GRID.shape, (2.5, 0.8, 0.71), GRID.origin_mm, GRID.axes)
    found = [
        identity(label, sources, ["liver"]),
        identity(changed, sources, ["liver"]),
        identity(Volume(label.array, other), sources, ["liver"]),
        identity(label, sources, ["kidney"]),
        identity(label, read_sources(paths[1:]), ["liver"]),
        identity(label, read_sources(paths, pseudonym="s"), ["liver"]),
        identity(label, read_sources(paths, key=KEY, pseudonym="s"), ["liver"]),
    ]
    assert len(set(found)) == len(found)
    assert identity(label_of(), read_sources(paths[::-1]), ["liver"]) == found[0]


# ---- faults


def test_a_source_that_is_gone_or_another_one_is_refused(tmp_path):
    paths = classic(tmp_path / "series")
    with pytest.raises(Rejected, match="vanished") as caught:
        read_sources([*paths, tmp_path / "absent.dcm"])
    assert caught.value.reason == "SOURCE_CHANGED"
    paths[2].write_bytes(b"no DICOM at all")
    with pytest.raises(Rejected, match="no"):
        read_sources(paths)


def test_a_file_that_may_not_be_read_is_a_fault_of_the_machine(tmp_path):
    paths = classic(tmp_path / "series")
    (tmp_path / "folder.dcm").mkdir()
    with pytest.raises(OSError, match="directory"):
        read_sources([*paths, tmp_path / "folder.dcm"])
