"""From a cleaned label to files: other readers find each voxel at its place; files come and go with the settings."""

import argparse
import csv
import json
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from mesh_files import is_closed, read_ply, read_stl, volume_of
from polygon_fill import mask_of
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian
from study_by_hand import case_of, refused, study_of, write_prediction, write_sidecar, write_token

from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import file_digest, read_json, write_json
from cohortseg.layout import Layout
from cohortseg.phantom.dicom import write_series
from cohortseg.settings import load_study
from cohortseg.stages import stage_settings
from cohortseg.steps import export
from cohortseg.steps.export_objects import unfit
from cohortseg.steps.index import index
from cohortseg.volume import Grid, Volume

ROW, COLUMN = np.array([0.8, 0.48, -0.36]), np.array([0.0, 0.6, 0.8])
SPACING_MM, ORIGIN_MM = (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25)
GRID = Grid((7, 14, 11), SPACING_MM, ORIGIN_MM, (tuple(np.cross(ROW, COLUMN)), tuple(COLUMN), tuple(ROW)))
CASE, MODEL = "sub-0001_ct1", "fold-0-seed-1"
UNIT = f"{MODEL}/{CASE}"
ALL = ["nifti", "nrrd", "mha", "dicom_seg", "rtstruct", "stl", "ply"]
FILES = {
    *(f"{CASE}{suffix}" for suffix in (".nii.gz", ".nrrd", ".mha", ".seg.dcm", ".rtstruct.dcm")),
    *(f"{CASE}.{name}.{word}" for name in ("liver", "tumour") for word in ("stl", "ply")),
}
CODES = {"liver": ["10200004", "SCT", "Liver"]}
SECRETS = ("Wunderlich", "Xanthippe", "MRN4711", "19491231", "20240115", "ACC-99", "House", "St Elsewhere")


def label_of(grid: Grid = GRID) -> Volume:
    """Class 1 with a hole and an island, class 2 in two parts; nothing is symmetric."""
    array = np.zeros(grid.shape, np.uint8)
    array[1:5, 2:10, 1:8] = 1
    array[2:4, 4:8, 3:7] = 0
    array[3, 5, 4] = 1
    array[4:6, 8:12, 6:9] = 2
    array[0, 0, 0] = 2
    return Volume(array, grid)


def scan(folder: Path, **options) -> list[Path]:
    """An oblique CT of somebody."""
    hu = np.random.default_rng(3).integers(-1000, 2000, GRID.shape)
    who = {"patient_id": "MRN4711", "patient_name": "Wunderlich^Xanthippe", "birth_date": "19491231"}
    more = {"AccessionNumber": "ACC-99", "ReferringPhysicianName": "House^Greg", "IssuerOfPatientID": "St Elsewhere"}
    where = {"spacing_mm": SPACING_MM, "origin_mm": ORIGIN_MM, "orientation": (*ROW, *COLUMN)}
    options = {"identified": True, "extra": more} | options
    return write_series(folder / "scan", hu, **where, **who, **options)


def source_of(root: Path, paths: list[Path], kind: str = "dicom", **more) -> dict:
    """As the index leaves it."""
    files = [{"path": path.relative_to(root).as_posix(), "size": 1, "mtime_ns": 1, "header": {}} for path in paths]
    files[0] |= more
    channel = {"kind": kind, "key": "k", "modality": "CT", "part": "", "phases": None, "files": files}
    return {"root": str(root), "channels": [channel], "label": None}


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


class Desk:
    """A study with one predicted case."""

    def __init__(self, root: Path):
        self.source, self.root = root / "source", root / "study"
        self.layout = study_of(self.root, case_of(CASE, "sub-0001"))
        self.paths = scan(self.source)
        self.link(source_of(self.source, self.paths))
        self.predict(label_of())

    def link(self, source: dict) -> None:
        write_json(self.layout.source(CASE), source)

    def predict(self, label: Volume, experiment="net", unit=UNIT) -> None:
        write_prediction(self.layout, experiment, unit, label)
        write_token(self.layout, "predict", "f0-b0001", [unit], experiment)

    def export(self, formats=ALL, classes=("liver", "tumour", "spleen"), experiment="net", **options) -> Path:
        """Export as a job does; the folder of the files."""
        settings = {"classes": list(classes), "export": {"formats": list(formats), "codes": CODES, **options}}
        export.run(
            argparse.Namespace(
                study=self.layout,
                experiment=experiment,
                cases=[CASE],
                settings=json.dumps(settings),
                token=self.layout.token("export", "f0-b0001", experiment),
            )
        )
        return self.layout.exported(experiment, MODEL, CASE).parent

    @property
    def record(self) -> dict:
        return read_json(self.layout.prediction("net", MODEL, CASE) / "export.json")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def same_places(affine, grid: Grid = GRID) -> None:
    """Every corner of the image lies where it lay: so does every voxel."""
    for z in (0, grid.shape[0] - 1):
        for y in (0, grid.shape[1] - 1):
            for x in (0, grid.shape[2] - 1):
                np.testing.assert_allclose(affine(z, y, x), grid.world((z, y, x)), atol=2e-4)


# ---- the voxels, by other readers


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_simpleitk_finds_every_voxel_at_its_place(desk, suffix):
    image = SimpleITK.ReadImage(str(desk.export() / f"{CASE}{suffix}"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), label_of().array)
    assert image.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    same_places(lambda z, y, x: image.TransformIndexToPhysicalPoint((x, y, z)))


def test_highdicom_finds_every_voxel_at_its_place(desk):
    seg = highdicom.seg.segread(desk.export() / f"{CASE}.seg.dcm")
    volume = seg.get_volume(combine_segments=True)
    places = np.argwhere(volume.array)
    world = np.column_stack([places, np.ones(len(places))]) @ volume.affine.T
    index = (world @ np.linalg.inv(GRID.affine).T)[:, :3]
    np.testing.assert_allclose(index, index.round(), atol=1e-3)
    again = np.zeros(GRID.shape, np.uint8)
    again[tuple(index.round().astype(int).T)] = volume.array[tuple(places.T)]
    np.testing.assert_array_equal(again, label_of().array)


def test_pydicom_and_a_fill_of_polygons_find_every_voxel_of_a_structure_set(desk):
    structures = pydicom.dcmread(desk.export() / f"{CASE}.rtstruct.dcm")
    assert [one.ROIName for one in structures.StructureSetROISequence] == ["liver", "tumour", "spleen"]
    for number, roi in enumerate(structures.ROIContourSequence, start=1):
        mask = mask_of(roi.get("ContourSequence") or [], GRID)
        np.testing.assert_array_equal(mask, label_of().array == number)


@pytest.mark.parametrize(("name", "number"), [("liver", 1), ("tumour", 2)])
def test_meshes_are_closed_face_outwards_and_lie_about_their_voxels(desk, name, number):
    folder = desk.export()
    _, _, corners = read_stl(folder / f"{CASE}.{name}.stl")
    _, vertices, faces = read_ply(folder / f"{CASE}.{name}.ply")
    assert is_closed(faces)
    assert volume_of(corners) == pytest.approx(volume_of(vertices[faces]), rel=1e-3)
    voxels_mm3 = (label_of().array == number).sum() * GRID.voxel_ml * 1000
    assert 0.6 * voxels_mm3 < volume_of(corners) < voxels_mm3
    places = np.argwhere(label_of().array == number)
    world = np.column_stack([places, np.ones(len(places))]) @ GRID.affine.T
    # Half a voxel further out than the outermost centres, measured along the axes of the grid.
    for axis, step in zip(GRID.axes, GRID.spacing_mm, strict=True):
        own, drawn = world[:, :3] @ np.array(axis), vertices @ np.array(axis)
        assert drawn.min() == pytest.approx(own.min() - step / 2, abs=1e-3)
        assert drawn.max() == pytest.approx(own.max() + step / 2, abs=1e-3)


def test_segments_carry_the_codes_of_the_settings_and_tissue_where_they_say_nothing(desk):
    seg = pydicom.dcmread(
        desk.export(category=["49755003", "SCT", "Morphologically Altered Structure"]) / f"{CASE}.seg.dcm"
    )
    told = [
        (one.SegmentLabel, *(code.CodeValue for code in (one.SegmentedPropertyTypeCodeSequence[0],)))
        for one in seg.SegmentSequence
    ]
    assert told == [("liver", "10200004"), ("tumour", "85756007"), ("spleen", "85756007")]
    assert {one.SegmentedPropertyCategoryCodeSequence[0].CodeValue for one in seg.SegmentSequence} == {"49755003"}
    families = {
        one.SegmentationAlgorithmIdentificationSequence[0].AlgorithmFamilyCodeSequence[0].CodeMeaning
        for one in seg.SegmentSequence
    }
    assert families == {"Artificial Intelligence"}
    assert seg.SeriesDescription == f"net {MODEL}"


# ---- identity


def test_kept_uids_resolve_to_the_source(desk):
    folder = desk.export()
    headers = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, desk.paths)}
    one = next(iter(headers.values()))
    seg, structures = (pydicom.dcmread(folder / f"{CASE}{suffix}") for suffix in (".seg.dcm", ".rtstruct.dcm"))
    for made in (seg, structures):
        assert (made.StudyInstanceUID, made.FrameOfReferenceUID) == (one.StudyInstanceUID, one.FrameOfReferenceUID)
        assert made.SeriesInstanceUID != one.SeriesInstanceUID
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == one.SeriesInstanceUID
    assert {image.ReferencedSOPInstanceUID for image in series.ReferencedInstanceSequence} == set(headers)
    for frame in seg.PerFrameFunctionalGroupsSequence:
        named = headers[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose(position, np.array(named.ImagePositionPatient, float), atol=1e-3)
    frame = structures.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == one.SeriesInstanceUID
    assert {image.ReferencedSOPInstanceUID for image in series.ContourImageSequence} == set(headers)


def told_in(folder: Path) -> set[str]:
    """What the exported files, and whatever else of the study is not private, give away."""
    root = folder.parents[2]
    files = [path for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] != "private"]
    assert len([path for path in files if path.suffix == ".dcm"]) == 2
    return {word for word in SECRETS for path in files if word.encode() in path.read_bytes()}


def test_an_identified_scan_leaves_its_uids_alone_in_what_is_exported(desk):
    folder = desk.export()
    assert told_in(folder) == set()
    assert pydicom.dcmread(folder / f"{CASE}.seg.dcm").PatientID == "sub-0001"


def test_the_patient_is_told_where_the_settings_ask_for_it(desk):
    folder = desk.export(patient="keep")
    assert told_in(folder) == set(SECRETS)
    for suffix in (".seg.dcm", ".rtstruct.dcm"):
        made = pydicom.dcmread(folder / f"{CASE}{suffix}")
        assert (made.PatientID, made.PatientName) == ("MRN4711", "Wunderlich^Xanthippe")
        assert (made.PatientBirthDate, made.StudyDate, made.AccessionNumber) == ("19491231", "20240115", "ACC-99")


def test_a_scan_without_identity_keeps_its_ids(tmp_path):
    desk = Desk(tmp_path)
    for path in desk.source.rglob("*.dcm"):
        path.unlink()
    desk.link(source_of(desk.source, scan(desk.source, identified=False)))
    assert pydicom.dcmread(desk.export() / f"{CASE}.seg.dcm").PatientID == "MRN4711"


@pytest.mark.parametrize("patient", ["pseudonym", "keep"])
def test_remapped_objects_hold_nothing_of_the_original_and_agree_with_each_other(desk, patient):
    folder = desk.export(uids="remap", patient=patient)
    assert told_in(folder) == set()
    one = pydicom.dcmread(desk.paths[0])
    originals = {one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID}
    originals |= {pydicom.dcmread(path).SOPInstanceUID for path in desk.paths}
    seg, structures = (pydicom.dcmread(folder / f"{CASE}{suffix}") for suffix in (".seg.dcm", ".rtstruct.dcm"))
    data = b"".join((folder / f"{CASE}{suffix}").read_bytes() for suffix in (".seg.dcm", ".rtstruct.dcm"))
    assert [uid for uid in originals if uid.encode() in data] == []
    assert seg.StudyInstanceUID == structures.StudyInstanceUID
    assert seg.FrameOfReferenceUID == structures.FrameOfReferenceUID
    images = {image.ReferencedSOPInstanceUID for image in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    frame = structures.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert images == {image.ReferencedSOPInstanceUID for image in series.ContourImageSequence}
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == series.SeriesInstanceUID
    assert len(images) == GRID.shape[0]
    for made in (seg, structures):
        uids = [element.value for element in made.iterall() if element.VR == "UI"]
        assert max(len(uid) for uid in uids) <= 64


def test_another_study_has_other_uids_and_the_same_study_the_same(tmp_path):
    one, other = Desk(tmp_path / "a"), Desk(tmp_path / "b")
    found = [pydicom.dcmread(desk.export(uids="remap") / f"{CASE}.seg.dcm").StudyInstanceUID for desk in (one, other)]
    assert found[0] != found[1]
    one.predict(Volume(1 * (label_of().array > 1).astype(np.uint8), GRID))
    assert pydicom.dcmread(one.export(uids="remap") / f"{CASE}.seg.dcm").StudyInstanceUID == found[0]


def test_a_lost_key_makes_every_export_again(desk):
    path = desk.export(["dicom_seg"], uids="remap") / f"{CASE}.seg.dcm"
    first = pydicom.dcmread(path).StudyInstanceUID
    desk.export(["dicom_seg"], uids="remap")
    assert pydicom.dcmread(path).StudyInstanceUID == first
    (desk.layout.private / "uid.key").unlink()
    desk.export(["dicom_seg"], uids="remap")
    assert pydicom.dcmread(path).StudyInstanceUID != first


def test_no_key_is_made_where_no_uid_is_remapped(desk):
    desk.export()
    desk.export(["nifti"], uids="remap")
    assert not (desk.layout.private / "uid.key").exists()


# ---- other sources


def enhanced(path: Path, n_phases: int = 2) -> Path:
    """Every slice of the grid at each of several times, as one multi-frame object."""
    one = pydicom.dcmread(scan(path.parent / "like")[0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(one, keyword)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [f"{value:.6g}" for value in (*ROW, *COLUMN)]
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.7], 2.5
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    frames = []
    for phase in range(n_phases):
        for k in range(GRID.shape[0]):
            frame, position, content = Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = [f"{value:.6f}" for value in GRID.world((k, 0, 0))]
            content.TemporalPositionIndex = phase + 1
            frame.PlanePositionSequence, frame.FrameContentSequence = [position], [content]
            frames.append(frame)
    one.SharedFunctionalGroupsSequence, one.PerFrameFunctionalGroupsSequence = [shared], frames
    one.SOPClassUID, one.Modality, one.NumberOfFrames = EnhancedMRImageStorage, "MR", len(frames)
    one.PixelData = np.arange(len(frames) * 14 * 11, dtype="<u2").tobytes()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    for left in (path.parent / "like" / "scan").iterdir():
        left.unlink()
    return path


def frames_named(seg: Dataset) -> dict[int, set[int]]:
    """Slice of the grid: numbers of the frames of the source that are named there."""
    found: dict[int, set[int]] = {}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        apart = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float) - np.array(ORIGIN_MM)
        place = round(float(apart @ np.array(GRID.axes[0])) / SPACING_MM[0])
        images = frame.DerivationImageSequence[0].SourceImageSequence
        found.setdefault(place, set()).update(int(image.ReferencedFrameNumber) for image in images)
    return found


@pytest.mark.parametrize(("phases", "first"), [("first", 1), ("last", 8)])
def test_the_frames_of_the_phase_that_the_index_chose_are_named(tmp_path, phases, first):
    enhanced(tmp_path / "source" / "e.dcm")
    study = load_study(
        {
            "study": "small",
            "results": str(tmp_path / "results"),
            "cohort": {
                "source": str(tmp_path / "source"),
                "series": {"modality": "MR", "phases": phases},
                "labels": {"structures": {"liver": "GTV.*", "tumour": "T"}},
            },
            "experiments": {"net": {"method": "unet"}},
            "export": {"formats": ["dicom_seg", "rtstruct"]},
        }
    )
    index(study)
    layout = Layout(study.folder)
    (case,) = (path.stem for path in (layout.private / "sources").iterdir())
    (file,) = read_json(layout.source(case))["channels"][0]["files"]
    assert file["frames"] == list(range(first - 1, first + 6))
    write_prediction(layout, "net", f"{MODEL}/{case}", label_of())
    settings = stage_settings(study, "export")
    export.export(layout, "net", f"{MODEL}/{case}", "sub-0001", export.ExportStage.model_validate_json(settings))
    seg = pydicom.dcmread(layout.exported("net", MODEL, case, ".seg.dcm"))
    assert frames_named(seg) == {k: {first + k} for k in (0, 1, 2, 3, 4, 5)}
    structures = pydicom.dcmread(layout.exported("net", MODEL, case, ".rtstruct.dcm"))
    named = {
        int(one.ContourImageSequence[0].ReferencedFrameNumber)
        for roi in structures.ROIContourSequence
        for one in roi.ContourSequence
    }
    assert named == {first + k for k in (0, 1, 2, 3, 4, 5)}


@pytest.mark.parametrize("kind", ["file", "picture"])
def test_a_case_that_is_not_from_dicom_has_no_dicom_and_says_why(desk, kind):
    desk.link(source_of(desk.source, desk.paths, kind))
    folder = desk.export()
    assert names(folder) == {name for name in FILES if not name.endswith(".dcm")}
    assert desk.record["status"] == "ok"
    assert desk.record["facts"]["skipped"] == dict.fromkeys(("dicom_seg", "rtstruct"), export.NOT_DICOM)


@pytest.mark.parametrize("kind", ["dicom", "plane"])
@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient"])
def test_a_source_without_a_place_in_a_frame_of_reference_has_no_dicom_and_says_why(desk, keyword, kind):
    for path in desk.paths:
        one = pydicom.dcmread(path)
        delattr(one, keyword)
        one.save_as(path)
    desk.link(source_of(desk.source, desk.paths, kind))
    folder = desk.export(["dicom_seg", "nifti"])
    assert names(folder) == {f"{CASE}.nii.gz"}
    assert desk.record["facts"]["skipped"] == {"dicom_seg": export.NO_FRAME}


def test_a_source_that_is_away_or_changed_fails_the_job_and_rejects_nobody(desk):
    desk.paths[0].unlink()
    with pytest.raises(StudyError, match="run again"):
        desk.export()
    assert not (desk.layout.prediction("net", MODEL, CASE) / "export.json").exists()
    desk.link({**source_of(desk.source, desk.paths), "root": str(desk.source / "absent")})
    with pytest.raises(StudyError, match="is it mounted"):
        desk.export()
    assert names(desk.export(["nifti", "stl"])) >= {f"{CASE}.nii.gz"}, "images and meshes need no source"


# ---- files come and go


def test_each_format_has_its_files_and_the_record_their_digests(desk):
    folder = desk.export()
    assert names(folder) == FILES
    facts = desk.record["facts"]
    assert facts["files"] == {name: file_digest(folder / name) for name in FILES}
    assert (facts["skipped"], facts["empty_classes"]) == ({}, ["spleen"])


def test_files_of_formats_that_are_no_longer_wanted_go(desk):
    desk.export()
    assert names(desk.export(["nrrd", "stl"])) == {f"{CASE}.nrrd", f"{CASE}.liver.stl", f"{CASE}.tumour.stl"}
    assert names(desk.export(["dicom_seg"])) == {f"{CASE}.seg.dcm"}
    assert names(desk.export()) == FILES
    assert names(desk.export([])) == set()


def test_files_of_other_cases_stay(desk):
    folder = desk.export()
    others = [folder / name for name in ("sub-0001_ct11.nii.gz", "sub-0001_ct11.liver.stl", "notes.txt")]
    for path in others:
        path.write_text("of another case")
    desk.export(["ply"])
    assert all(path.exists() for path in others)


def test_a_class_that_lost_its_voxels_loses_its_mesh(desk):
    desk.export(["stl"])
    without = label_of()
    without.array[without.array == 2] = 0
    desk.predict(without)
    assert names(desk.export(["stl"])) == {f"{CASE}.liver.stl"}
    assert desk.record["facts"]["empty_classes"] == ["tumour", "spleen"]


def test_an_empty_label_has_all_files_but_meshes(desk):
    desk.predict(Volume(np.zeros(GRID.shape, np.uint8), GRID))
    folder = desk.export()
    assert names(folder) == {name for name in FILES if not name.endswith((".stl", ".ply"))}
    assert not pydicom.dcmread(folder / f"{CASE}.seg.dcm").pixel_array.any()
    assert not SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"{CASE}.nii.gz"))).any()
    assert desk.record["facts"]["empty_classes"] == ["liver", "tumour", "spleen"]


def test_a_label_with_more_numbers_than_classes_is_an_image_only(desk):
    folder = desk.export(classes=["liver"])
    assert names(folder) == {f"{CASE}{suffix}" for suffix in (".nii.gz", ".nrrd", ".mha")}
    assert set(desk.record["facts"]["skipped"].values()) == {export.MORE_NUMBERS}


def test_what_is_done_is_not_written_again_and_what_is_gone_is(desk):
    folder = desk.export()
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    desk.export()
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    (folder / f"{CASE}.tumour.ply").unlink()
    desk.export()
    assert names(folder) == FILES


def test_two_exports_are_equal_to_the_last_byte(desk):
    folder = desk.export()
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    record = desk.record
    for path in folder.iterdir():
        path.unlink()
    desk.link(source_of(desk.source, desk.paths[::-1]))
    desk.export()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert desk.record == record


def test_a_rejection_upstream_is_handed_on_and_leaves_no_file(desk):
    folder = desk.export()
    post = desk.layout.prediction("net", MODEL, CASE) / "post.json"
    write_sidecar(post, refused("convert", "MISSING_SLICE", "1 of 9 distances"))
    desk.export()
    record = desk.record
    assert (record["status"], record["stage"], record["reason"]) == ("rejected", "convert", "MISSING_SLICE")
    assert names(folder) == set()


def test_a_case_that_is_rejected_after_an_export_was_killed_leaves_no_file_either(desk):
    folder = desk.export()
    (desk.layout.prediction("net", MODEL, CASE) / "export.json").unlink()
    write_sidecar(desk.layout.prediction("net", MODEL, CASE) / "post.json", refused("convert", "MISSING_SLICE"))
    desk.export(["nifti"])
    assert names(folder) == set()


def test_a_new_label_is_a_new_export(desk):
    folder = desk.export(["nifti", "dicom_seg"])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = label_of()
    other.array[5, 0, 0] = 1
    desk.predict(other)
    desk.export(["nifti", "dicom_seg"])
    assert all(path.read_bytes() != before[path.name] for path in folder.iterdir())


def test_a_method_without_weights_does_not_call_itself_artificial_intelligence(desk):
    desk.predict(label_of(), "otsu", f"untrained/{CASE}")
    desk.export(["dicom_seg"], experiment="otsu")
    seg = pydicom.dcmread(desk.layout.exported("otsu", "untrained", CASE, ".seg.dcm"))
    family = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmFamilyCodeSequence[0]
    assert family.CodeMeaning == "Histogram Analysis"


def test_an_interrupted_file_leaves_the_old_one(desk, monkeypatch):
    folder = desk.export(["nifti"])
    before = (folder / f"{CASE}.nii.gz").read_bytes()
    desk.predict(Volume(np.ones(GRID.shape, np.uint8), GRID))

    def broken(path, volume):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cohortseg.io.itk.write_image", broken)
    with pytest.raises(StudyError, match="No space left"):
        desk.export(["nifti"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {f"{CASE}.nii.gz": before}


# ---- numbered objects


def test_objects_are_exported_with_one_number_in_map_segmentation_and_table(desk):
    folder = desk.export(["nifti", "dicom_seg", "stl"], objects=True)
    rows = list(csv.DictReader((folder / f"{CASE}.objects.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == ["liver", "tumour", "tumour"]
    ids = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"{CASE}.objects.nii.gz")))
    seg = pydicom.dcmread(folder / f"{CASE}.objects.seg.dcm")
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["liver 1", "tumour 2", "tumour 3"]
    assert seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    volume = highdicom.seg.segread(folder / f"{CASE}.objects.seg.dcm").get_volume(combine_segments=True)
    for number, row in enumerate(rows, start=1):
        mask = ids == number
        assert float(row["volume_ml"]) == pytest.approx(mask.sum() * GRID.voxel_ml)
        assert np.count_nonzero(volume.array == number) == mask.sum()
        middle = [float(row[f"centroid_{axis}_mm"]) for axis in "xyz"]
        np.testing.assert_allclose(middle, GRID.world(tuple(np.argwhere(mask).mean(axis=0))), atol=1e-3)
    assert desk.record["facts"]["skipped"] == {
        "objects as stl": "files of this format hold a class each, not numbered objects"
    }
    desk.export(["nifti"])
    assert names(folder) == {f"{CASE}.nii.gz"}


def test_told_apart_objects_are_those_that_are_exported_and_a_file_that_is_gone_is_made_again(desk):
    ids = np.zeros(GRID.shape, np.int32)
    ids[4, 8:12, 6:9], ids[5, 8:12, 6:9] = 1, 2
    store.write_volume(
        desk.layout.prediction("net", MODEL, CASE) / "instances.zarr", Volume(ids, GRID), name="instances"
    )
    folder = desk.export(["mha"], objects=True)
    stored = folder / f"{CASE}.objects.mha"
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(stored))), ids)
    before = stored.read_bytes()
    stored.unlink()
    desk.export(["mha"], objects=True)
    assert stored.read_bytes() == before


def test_where_no_object_was_found_the_table_is_empty_and_the_segmentation_says_why_it_is_not_there(desk):
    desk.predict(Volume(np.zeros(GRID.shape, np.uint8), GRID))
    folder = desk.export(["nifti", "dicom_seg"], objects=True)
    assert len((folder / f"{CASE}.objects.csv").read_text().splitlines()) == 1
    assert not (folder / f"{CASE}.objects.seg.dcm").exists()
    assert "no object was found" in desk.record["facts"]["skipped"]["objects as dicom_seg"]


def test_more_objects_than_a_segmentation_can_number_are_refused_in_words():
    many = Volume(
        np.arange(1, 70_001, dtype=np.int32).reshape(7, 100, 100), Grid((7, 100, 100), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    )
    found = unfit(many, ["nifti", "dicom_seg"], ["rtstruct"])
    assert found == {"dicom_seg": "70000 objects; a segmentation has at most 65535 segments"}
