"""Header records: every encoding, every kind, nothing but Rejected for what is broken."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import FRAME, SERIES, contour, grid_of, hu_of, save, slice_of, world_polygon, write_rtstruct
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from cohortseg.errors import Rejected
from cohortseg.io.headers import read_header

GRID = grid_of()
SQUARE = np.array([[2, 2], [2, 6], [5, 6], [5, 2.0]])


@pytest.fixture
def dataset():
    return slice_of(GRID, 2, hu_of((14, 11)) + np.int16(1024))


def bundled(name: str) -> Path:
    return Path(get_testdata_file(name, download=False))


def reason(path):
    with pytest.raises(Rejected) as caught:
        read_header(path)
    return caught.value.reason


def test_a_ct_slice_tells_all_that_the_cohort_needs(dataset, tmp_path):
    record = read_header(save(dataset, tmp_path / "a"))
    assert record["kind"] == "image"
    assert (record["rows"], record["columns"], record["n_frames"]) == (14, 11, 1)
    assert record["pixel_spacing_mm"] == [0.8, 0.7]
    np.testing.assert_allclose(record["position"], GRID.world((2, 0, 0)))
    np.testing.assert_allclose(record["orientation"], [*GRID.axes[2], *GRID.axes[1]])
    assert (record["slope"], record["intercept"], record["kvp"]) == (1.0, -1024.0, 120.0)
    assert (record["bits_allocated"], record["signed"], record["samples"]) == (16, 1, 1)
    assert (record["patient_id"], record["patient_name"], record["identity_removed"]) == ("P-7", "Doe^Jane", False)
    assert (record["series_uid"], record["frame_uid"]) == (SERIES, FRAME)
    assert (record["manufacturer"], record["series_description"]) == ("ACME", "thorax")
    assert (record["contrast"], record["te_ms"], record["pixel_padding"]) == (False, None, None)


def test_a_record_survives_json(dataset, tmp_path):
    record = read_header(save(dataset, tmp_path / "a"))
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_several_factors_where_there_is_one_break_the_header(tmp_path, keyword):
    dataset = slice_of(grid_of(), 0, hu_of((14, 11)))
    setattr(dataset, keyword, ["1", "2"])
    with pytest.raises(Rejected, match="UNREADABLE"):
        read_header(save(dataset, tmp_path / "a"))


@pytest.mark.parametrize(
    ("syntax", "bare"),
    [
        *[(syntax, False) for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")],
        *[(syntax, True) for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")],
        ("1.2.840.10008.1.2.1.99", False),
    ],
)
def test_every_encoding_gives_the_same_record_with_and_without_meta_header(dataset, tmp_path, syntax, bare):
    plain = read_header(save(dataset, tmp_path / "plain"))
    path = save(dataset, tmp_path / "other", syntax)
    if bare:
        # Preamble, mark and meta header go; the dataset begins at (0008,0016).
        content = path.read_bytes()
        order = "big" if syntax.endswith("1.2.2") else "little"
        tag = (8).to_bytes(2, order) + (0x16).to_bytes(2, order)
        path.write_bytes(content[content.index(tag, 144) :])
    record = read_header(path)
    assert record["transfer_syntax"] == syntax
    where = ("transfer_syntax", "pixel_offset", "pixel_bytes", "header_digest")
    assert {k: v for k, v in record.items() if k not in where} == {k: v for k, v in plain.items() if k not in where}
    assert record["pixel_bytes"] == (None if syntax.endswith("99") else 14 * 11 * 2)


def test_the_pixel_offset_points_at_the_pixels(dataset, tmp_path):
    path = save(dataset, tmp_path / "a")
    record = read_header(path)
    data = path.read_bytes()[record["pixel_offset"] :][: record["pixel_bytes"]]
    assert data == dataset.PixelData


def test_padding_is_read_with_the_sign_of_the_pixels(dataset, tmp_path):
    dataset.PixelPaddingValue = -2000
    assert read_header(save(dataset, tmp_path / "a"))["pixel_padding"] == -2000


def test_contrast_is_said_by_an_agent_that_is_not_none(dataset, tmp_path):
    dataset.ContrastBolusAgent = "Iopamidol"
    assert read_header(save(dataset, tmp_path / "a"))["contrast"] is True
    dataset.ContrastBolusAgent = "NONE"
    assert read_header(save(dataset, tmp_path / "b"))["contrast"] is False


def test_names_are_read_in_their_character_set(dataset, tmp_path):
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.SeriesDescription = "Äpfel^Jürgen", "Schädel"
    record = read_header(save(dataset, tmp_path / "a"))
    assert (record["patient_name"], record["series_description"]) == ("Äpfel^Jürgen", "Schädel")


def test_names_that_switch_character_sets_are_read(dataset, tmp_path):
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Yamada^Tarou=山田^太郎"
    assert read_header(save(dataset, tmp_path / "a"))["patient_name"] == "Yamada^Tarou=山田^太郎"


def test_a_broken_fact_is_none_and_a_broken_geometry_breaks_the_header(dataset, tmp_path):
    dataset["KVP"]._value = "high"
    assert read_header(save(dataset, tmp_path / "a"))["kvp"] is None
    dataset["RescaleSlope"]._value = "steep"
    assert reason(save(dataset, tmp_path / "b")) == "UNREADABLE"


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_infinite_numbers_break_the_header(dataset, tmp_path):
    dataset["RescaleIntercept"]._value = "inf"
    assert reason(save(dataset, tmp_path / "a")) == "UNREADABLE"


def test_pet_tells_units_dose_and_times(dataset, tmp_path):
    tracer = Dataset()
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = "350000000", "6586.2"
    tracer.RadiopharmaceuticalStartTime = "090000"
    dataset.Modality, dataset.Units, dataset.DecayCorrection = "PT", "BQML", "START"
    dataset.PatientWeight, dataset.SeriesTime, dataset.SeriesDate = "70", "101500", "20200229"
    dataset.RadiopharmaceuticalInformationSequence = Items([tracer])
    record = read_header(save(dataset, tmp_path / "a"))
    assert (record["units"], record["decay_correction"], record["weight_kg"]) == ("BQML", "START", 70.0)
    assert (record["dose_bq"], record["half_life_s"], record["injection_time"]) == (350e6, 6586.2, "090000")
    assert (record["series_date"], record["series_time"], record["acquisition_time"]) == ("20200229", "101500", None)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_a_structure_set_lists_its_rois_and_what_it_refers_to(tmp_path, syntax):
    drawn = [contour(world_polygon(GRID, index, SQUARE)) for index in (1, 2, 3)]
    record = read_header(write_rtstruct(tmp_path / "r", {"GTV": drawn, "empty": []}, syntax=syntax))
    assert record["kind"] == "rtstruct"
    assert record["rois"] == [
        {"name": "GTV", "n_contours": 3, "n_points": 12},
        {"name": "empty", "n_contours": 0, "n_points": 0},
    ]
    assert record["referenced_series_uids"] == [SERIES]
    assert record["referenced_frame_uids"] == [FRAME]
    assert record["patient_id"] == "P-7"


def test_what_is_no_dicom_is_none(tmp_path):
    for name, content in [
        ("empty", b""),
        ("text", b"PatientID,Age\n" * 20),
        ("nifti", b"\x5c\x01\x00\x00" + bytes(400)),
        ("png", b"\x89PNG\r\n\x1a\n" + bytes(200)),
        ("starts alike", b"\x08\x00" + bytes(range(200))),
        ("ends early", b"\x08\x00\x16\x00UI"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        assert read_header(path) is None, name


def test_a_file_that_cannot_be_opened_is_unreadable(tmp_path):
    assert reason(tmp_path / "absent") == "UNREADABLE"


@pytest.mark.parametrize("missing", ["SOPInstanceUID", "SeriesInstanceUID"])
def test_an_image_without_uid_is_unreadable(dataset, tmp_path, missing):
    delattr(dataset, missing)
    assert reason(save(dataset, tmp_path / "a")) == "UNREADABLE"


@given(st.integers(150, 100_000))
@settings(max_examples=50, deadline=None)
def test_a_file_cut_off_in_its_header_is_unreadable_wherever_it_ends(tmp_path_factory, end):
    folder = tmp_path_factory.getbasetemp()
    whole, cut = folder / "whole", folder / "cut"
    if not whole.exists():
        save(slice_of(GRID, 2, hu_of((14, 11))), whole)
    content = whole.read_bytes()
    header_length = read_header(whole)["pixel_offset"]
    # From 144 on the meta header says that a dataset must follow.
    cut.write_bytes(content[: 400 + end % (header_length - 12 - 400)])
    assert reason(cut) == "UNREADABLE"


def test_a_structure_set_cut_off_anywhere_is_unreadable(tmp_path):
    drawn = [contour(world_polygon(GRID, index, SQUARE)) for index in (1, 2, 3)]
    content = write_rtstruct(tmp_path / "r", {"GTV": drawn, "empty": []}).read_bytes()
    for end in range(700, len(content) - 1, 2):
        cut = tmp_path / "cut"
        cut.write_bytes(content[:end])
        with contextlib.suppress(Rejected):
            record = read_header(cut)
            pytest.fail(f"cut at {end} of {len(content)}: {record}")


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_damaged_header_gives_a_record_or_a_reason_but_never_another_error(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    whole, damaged = folder / "undamaged", folder / "damaged"
    if not whole.exists():
        save(slice_of(GRID, 2, hu_of((14, 11))), whole)
    content = bytearray(whole.read_bytes()[:1800])
    for place in data.draw(st.lists(st.integers(132, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    damaged.write_bytes(content)
    with contextlib.suppress(Rejected):
        json.dumps(read_header(damaged), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[(name, "image") for name in ("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm")],
        *[(name, "image") for name in ("image_dfl.dcm", "JPEG2000.dcm", "SC_rgb_small_odd.dcm", "MR_truncated.dcm")],
        *[(name, "other") for name in ("rtplan.dcm", "rtdose.dcm", "test-SR.dcm", "waveform_ecg.dcm")],
        *[("rtstruct.dcm", "rtstruct"), ("liver_1frame.dcm", "seg")],
        *[(name, "other") for name in ("ExplVR_LitEndNoMeta.dcm", "ExplVR_BigEndNoMeta.dcm")],
    ],
)
def test_the_files_of_other_writers_are_told_apart(name, kind):
    record = read_header(bundled(name))
    assert record is not None
    assert record["kind"] == kind


def test_pydicom_reads_the_same_from_its_own_files():
    for name in ("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "6154", "17136"):
        path = next(bundled("CT_small.dcm").parent.rglob(name))
        record, judge = read_header(path), pydicom.dcmread(path)
        assert record["rows"] == judge.Rows, name
        assert record["bits_stored"] == judge.BitsStored
        assert record["sop_uid"] == judge.SOPInstanceUID
        assert record["transfer_syntax"] == judge.file_meta.TransferSyntaxUID
        assert record["position"] == judge.get("ImagePositionPatient")
        assert record["instance_number"] == judge.get("InstanceNumber")
        assert record["te_ms"] == judge.get("EchoTime")


def test_a_segmentation_lists_its_segments():
    record = read_header(bundled("liver_1frame.dcm"))
    assert record["segments"] == [{"number": 1, "label": "Liver"}]
    assert len(record["referenced_series_uids"]) == 1
    assert record["n_frames"] is None  # this file does not say it


@pytest.mark.data
def test_a_mixed_folder_of_a_radiotherapy_patient_is_sorted_out(unpacked):
    folder = unpacked / "lung" / "LUNG1-003_20180209_CT"
    records = [read_header(path) for path in sorted(folder.iterdir())]
    kinds = [record["kind"] for record in records]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"image": 107, "rtstruct": 1, "other": 2}
    structures = next(record for record in records if record["kind"] == "rtstruct")
    series = {record["series_uid"] for record in records if record["kind"] == "image"}
    assert structures["referenced_series_uids"] == sorted(series)
    judge = pydicom.dcmread(folder / "1.dcm")
    drawn = [getattr(roi, "ContourSequence", []) for roi in judge.ROIContourSequence]
    assert [roi["name"] for roi in structures["rois"]] == [roi.ROIName for roi in judge.StructureSetROISequence]
    assert [roi["n_contours"] for roi in structures["rois"]] == [len(contours) for contours in drawn]
    assert structures["rois"][1]["n_points"] == sum(int(one.NumberOfContourPoints) for one in drawn[1])
    assert all(record["identity_removed"] for record in records)
