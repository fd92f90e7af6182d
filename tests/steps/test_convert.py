"""From source files to stores: the values and the label are those of the source, to the last voxel."""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest

from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.itk import write_image
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.phantom.dicom import write_series
from cohortseg.phantom.labels import write_nifti, write_rtstruct, write_seg
from cohortseg.settings import Study, load_study
from cohortseg.stages import stage_settings
from cohortseg.steps import convert
from cohortseg.steps.index import index
from cohortseg.volume import Grid, Volume

SPACING_MM, ORIGIN_MM = (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25)
GRID = Grid((7, 18, 16), SPACING_MM, ORIGIN_MM)
HU = np.random.default_rng(3).integers(-1000, 2000, GRID.shape).astype(np.int16)
MASK = np.zeros(GRID.shape, bool)
MASK[2:5, 3:9, 4:12] = True
MASK[3, 5:7, 6:8] = False  # a hole
MASK[4, 14, 2] = True  # a single voxel apart


@pytest.fixture
def source(tmp_path) -> Path:
    return tmp_path / "source"


def scan(source: Path, patient="P1", hu=HU, **options) -> list[Path]:
    options = {"spacing_mm": SPACING_MM, "origin_mm": ORIGIN_MM, "patient_id": patient} | options
    return write_series(source / patient / "scan", hu, **options)


def study_of(source: Path, convert=None, **labels) -> Study:
    cohort = {"source": str(source), "labels": {"structures": {"tumour": "GTV.*"}} | labels}
    if "images" in labels:
        cohort["images"] = cohort["labels"].pop("images")
        cohort["labels"].pop("structures")
    return load_study(
        {
            "study": "small",
            "results": str(source.parent / "results"),
            "cohort": cohort,
            "convert": convert or {},
            "experiments": {"net": {"method": "unet"}},
        }
    )


def converted(study: Study, *, again: bool = True) -> tuple[Layout, dict[str, dict]]:
    """Index and convert all cases; the layout and their sidecars."""
    if again:
        index(study)
    layout = Layout(study.folder)
    cases = sorted(path.stem for path in (layout.private / "sources").iterdir())
    token = layout.token("convert", "b0001")
    settings = stage_settings(study, "convert")
    convert.run(argparse.Namespace(study=layout, settings=settings, cases=cases, token=token))
    assert set(read_json(token)["cases"]) == set(cases)
    return layout, {case: read_json(layout.case(case) / "image.json") for case in cases}


def refusal(study: Study, *, again: bool = True) -> tuple[str, str]:
    layout, records = converted(study, again=again)
    ((case, record),) = records.items()
    assert record["status"] == "rejected"
    assert not list(layout.case(case).glob("*.zarr"))
    return record["reason"], record["found"]


# ---- images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scanner", ["aurora", "tropic"])
@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpegls"])
def test_hu_are_exact_and_on_their_grid(source, scanner, syntax):
    scan(source, scanner=scanner, syntax=syntax)
    layout, records = converted(study_of(source))
    volume = store.read_volume(layout.case("p1_ct1") / "image.zarr")
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, HU)
    assert volume.grid.matches(GRID, tolerance_mm=1e-4)
    record = records["p1_ct1"]
    assert (record["status"], record["facts"]["unit"], record["facts"]["modality"]) == ("ok", "HU", "CT")
    assert record["facts"]["grid"]["shape"] == [7, 18, 16]
    assert record["contents"] == {"image": store.content_digest(layout.case("p1_ct1") / "image.zarr"), "label": None}
    assert not (layout.case("p1_ct1") / "label.zarr").exists()


def test_values_beyond_16_bits_are_kept_in_32(source):
    wide = HU.astype(np.float64)
    wide[0, 0, 0] = 60000
    scan(source, hu=wide)
    layout, records = converted(study_of(source))
    assert records["p1_ct1"]["facts"]["dtype"] == "float32"
    assert store.read_volume(layout.case("p1_ct1") / "image.zarr").array[0, 0, 0] == 60000


def test_an_oblique_series_keeps_its_axes(source):
    orientation = (0.0, 0.8, -0.6, 1.0, 0.0, 0.0)
    scan(source, orientation=orientation)
    layout, _ = converted(study_of(source))
    volume = store.read_volume(layout.case("p1_ct1") / "image.zarr")
    np.testing.assert_array_equal(volume.array, HU)
    np.testing.assert_allclose(volume.grid.axes[2], orientation[:3], atol=1e-9)
    np.testing.assert_allclose(volume.grid.axes[1], orientation[3:], atol=1e-9)
    np.testing.assert_allclose(volume.grid.axes[0], np.cross(orientation[:3], orientation[3:]), atol=1e-9)


def test_image_files_are_taken_as_they_are(source):
    source.mkdir()
    axes = ((0.0, -0.6, 0.8), (0.0, 0.8, 0.6), (1.0, 0.0, 0.0))
    volume = Volume(HU, Grid(GRID.shape, SPACING_MM, ORIGIN_MM, axes))
    write_image(source / "a.nii.gz", volume)
    write_nifti(source / "a_label.nii.gz", MASK, volume.grid, value=4)
    images, files = r"^(?P<subject>[a-z])\.nii\.gz$", r"^(?P<subject>[a-z])_label\.nii\.gz$"
    study = study_of(source, images=images, files=files, values={"tumour": 4})
    layout, records = converted(study)
    assert list(records) == ["sub-0001_mr1"]
    found = store.read_volume(layout.case("sub-0001_mr1") / "image.zarr")
    np.testing.assert_array_equal(found.array, HU)
    assert found.grid.matches(volume.grid)
    label = store.read_volume(layout.case("sub-0001_mr1") / "label.zarr")
    np.testing.assert_array_equal(label.array, MASK)


def test_the_same_source_gives_the_same_bytes(source, tmp_path):
    write_rtstruct(source / "P1" / "rs.dcm", {"GTV-1": MASK}, scan(source))
    layout, _ = converted(study_of(source))
    kept = {p.relative_to(layout.root): p.read_bytes() for p in layout.root.rglob("*") if p.is_file()}
    layout.root.rename(tmp_path / "first")
    converted(study_of(source))
    for path, content in kept.items():
        if not path.name.endswith(".run.json") and path.name != "headers.sqlite":
            assert (layout.root / path).read_bytes() == content, path


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rtstruct", "seg", "files"])
def test_each_kind_of_label_is_exact(source, kind):
    files = scan(source)
    if kind == "rtstruct":
        write_rtstruct(source / "P1" / "rs.dcm", {"Lung": ~MASK, "GTV-1": MASK}, files)
    elif kind == "seg":
        write_seg(source / "P1" / "seg.dcm", MASK, files, label="GTV-1")
    else:
        write_nifti(source / "P1" / "label.nii.gz", MASK, GRID)
    layout, records = converted(study_of(source, files=r"(?P<subject>[^/]+)/label\.nii\.gz"))
    label = store.read_volume(layout.case("p1_ct1") / "label.zarr")
    assert label.array.dtype == np.uint8
    np.testing.assert_array_equal(label.array, MASK)
    assert label.grid == store.read_grid(layout.case("p1_ct1") / "image.zarr")
    record = records["p1_ct1"]
    assert record["facts"]["label"]["kind"] == kind
    assert record["contents"]["label"] == store.content_digest(layout.case("p1_ct1") / "label.zarr")


def test_the_slices_of_a_label_follow_the_image_not_the_file_names(source):
    # Numbered from the head down, and laid the other way round.
    files = scan(source, scanner="tropic", orientation=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    write_rtstruct(source / "P1" / "rs.dcm", {"GTV-1": MASK}, files)
    layout, _ = converted(study_of(source))
    np.testing.assert_array_equal(store.read_volume(layout.case("p1_ct1") / "image.zarr").array, HU)
    np.testing.assert_array_equal(store.read_volume(layout.case("p1_ct1") / "label.zarr").array, MASK)


def test_classes_are_numbered_as_in_the_settings(source):
    write_rtstruct(source / "P1" / "rs.dcm", {"GTV-1": MASK, "Lung": ~MASK}, scan(source))
    layout, _ = converted(study_of(source, structures={"lung": "Lung", "tumour": "GTV-1"}))
    np.testing.assert_array_equal(store.read_volume(layout.case("p1_ct1") / "label.zarr").array, np.where(MASK, 2, 1))


def test_a_drawn_structure_without_contours_is_an_empty_label(source):
    write_rtstruct(source / "P1" / "rs.dcm", {"GTV-1": np.zeros_like(MASK)}, scan(source))
    layout, records = converted(study_of(source))
    assert records["p1_ct1"]["status"] == "ok"
    assert not store.read_volume(layout.case("p1_ct1") / "label.zarr").array.any()


# ---- mended ---------------------------------------------------------------------------------------------------------


def test_a_missing_slice_is_interpolated_on_demand(source):
    slices = np.arange(40, dtype=np.int16)[:, None, None] * 10
    hu = np.random.default_rng(5).integers(-900, 900, (1, 18, 16)).astype(np.int16) + slices
    write_series(source / "P1", hu, spacing_mm=SPACING_MM, origin_mm=ORIGIN_MM, patient_id="P1", drop=[17])
    layout, records = converted(study_of(source, convert={"mend": ["missing_slices"]}))
    assert records["p1_ct1"]["facts"]["mended"] == {"missing_slices": 1}
    np.testing.assert_array_equal(store.read_volume(layout.case("p1_ct1") / "image.zarr").array, hu)


def test_a_tilted_stack_is_set_upright_on_demand(source):
    # Each slice lies one pixel further down than the one before it.
    scan(source, step_mm=(0.0, 0.8, 2.5))
    layout, records = converted(study_of(source, convert={"gantry_tilt": "deskew"}))
    volume = store.read_volume(layout.case("p1_ct1") / "image.zarr")
    assert volume.grid.shape == (7, 18 + 6, 16)
    for z in range(7):
        np.testing.assert_array_equal(volume.array[z, z : z + 18], HU[z])
        first = volume.grid.world((z, z, 0))
        assert first == pytest.approx(np.add(ORIGIN_MM, (0.0, 0.8 * z, 2.5 * z)), abs=1e-6)
    assert records["p1_ct1"]["facts"]["mended"] == {"gantry_tilt": 7}


def test_a_repeated_slice_of_other_pixels_is_no_copy(source):
    from pydicom import dcmread

    first, second = scan(source)[:2]
    for number, (pixels, expected) in enumerate([(first, "ok"), (second, "rejected")]):
        copy = dcmread(first)
        copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        copy.PixelData, copy.InstanceNumber = dcmread(pixels).PixelData, 99
        copy.save_as(source / "P1" / "scan" / "copy.dcm")
        _, records = converted(study_of(source, convert={"mend": ["repeated_slices"]}))
        assert records["p1_ct1"]["status"] == expected
    assert records["p1_ct1"]["reason"] == "DUPLICATE_POSITION"


# ---- refused --------------------------------------------------------------------------------------------------------


def test_a_missing_slice_is_refused(source):
    scan(source, drop=[3])
    assert refusal(study_of(source))[0] == "MISSING_SLICE"


def test_a_tilted_gantry_is_refused(source):
    scan(source, step_mm=(0.0, 0.6, 2.5))
    assert refusal(study_of(source))[0] == "GANTRY_TILT"


def test_a_structure_that_nobody_drew_is_refused(source):
    write_rtstruct(source / "P1" / "rs.dcm", {"Lung": MASK}, scan(source))
    assert refusal(study_of(source))[0] == "LABEL_STRUCTURE_MISSING"


def test_a_label_file_on_another_grid_is_refused(source):
    scan(source)
    write_nifti(source / "P1" / "label.nii.gz", MASK, Grid(GRID.shape, SPACING_MM, (-31.0, 12.5, 47.5)))
    assert refusal(study_of(source, files=r"(?P<subject>[^/]+)/label\.nii\.gz"))[0] == "LABEL_OFF_GRID"


def test_a_label_file_with_another_value_is_refused(source):
    scan(source)
    write_nifti(source / "P1" / "label.nii.gz", MASK, GRID, value=3)
    assert refusal(study_of(source, files=r"(?P<subject>[^/]+)/label\.nii\.gz"))[0] == "LABEL_VALUES"


def test_an_image_file_with_nan_is_refused(source):
    source.mkdir()
    values = HU.astype(np.float32)
    values[1, 2, 3] = np.nan
    write_image(source / "a.nrrd", Volume(values, GRID))
    study = study_of(source, images=r"^(?P<subject>[a-z])\.nrrd$", values={"tumour": 1}, kind="none")
    assert refusal(study)[0] == "NOT_A_NUMBER"


def test_one_refused_scan_does_not_spoil_the_other(source):
    scan(source, "P1", drop=[3])
    scan(source, "P2")
    _, records = converted(study_of(source))
    assert {case: record["status"] for case, record in records.items()} == {"p1_ct1": "rejected", "p2_ct1": "ok"}


# ---- a source that changes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["written", "touched", "gone", "label"])
def test_a_source_that_changed_after_the_index_fails_the_job_and_is_tried_again(source, change):
    files = scan(source)
    write_rtstruct(source / "P1" / "rs.dcm", {"GTV-1": MASK}, files)
    study = study_of(source)
    index(study)
    if change == "written":
        files[2].write_bytes(files[2].read_bytes() + b"\0\0")
    elif change == "touched":
        os.utime(files[2], ns=(10**18, 10**18))
    elif change == "gone":
        files[2].unlink()
    else:
        os.utime(source / "P1" / "rs.dcm", ns=(10**18, 10**18))
    with pytest.raises(StudyError, match="run again") as caught:
        converted(study, again=False)
    assert str(source) not in str(caught.value)
    assert ".dcm" not in str(caught.value)
    # A rejection would stay when the file comes back as it was: no sidecar may say so.
    assert not (Layout(study.folder).case("p1_ct1") / "image.json").exists()


@pytest.mark.parametrize("n_bytes", [-200, None])
def test_a_source_that_changes_while_it_is_read_fails_the_job_and_comes_back(source, monkeypatch, n_bytes):
    paths = scan(source)
    study = study_of(source, kind="none")
    index(study)
    content, times = paths[2].read_bytes(), paths[2].stat()
    plain = convert._channels

    def changed_meanwhile(*given):
        # Cut short, it is refused; written again with the same voxels, it is read: neither may be kept.
        paths[2].write_bytes(content[:n_bytes])
        os.utime(paths[2], ns=(times.st_atime_ns, times.st_mtime_ns + 1_000))
        return plain(*given)

    monkeypatch.setattr(convert, "_channels", changed_meanwhile)
    with pytest.raises(StudyError, match="written after the index; run again"):
        converted(study, again=False)
    monkeypatch.setattr(convert, "_channels", plain)
    # Put back from the archive, with its time.
    paths[2].write_bytes(content)
    os.utime(paths[2], ns=(times.st_atime_ns, times.st_mtime_ns))
    _, records = converted(study)
    assert [record["status"] for record in records.values()] == ["ok"]


def test_after_a_new_index_the_changed_source_is_read(source):
    files = scan(source)
    study = study_of(source)
    index(study)
    os.utime(files[2], ns=(10**18, 10**18))
    with pytest.raises(StudyError):
        converted(study, again=False)
    _, records = converted(study)
    assert records["p1_ct1"]["status"] == "ok"


def test_a_source_folder_that_is_away_is_a_fault_of_the_machine(source, tmp_path):
    # A share that is not mounted: no case is refused for good because of it.
    scan(source)
    study = study_of(source)
    index(study)
    source.rename(tmp_path / "unmounted")
    with pytest.raises(StudyError, match="source folder") as caught:
        converted(study, again=False)
    assert str(source) not in str(caught.value)
    (tmp_path / "unmounted").rename(source)
    assert converted(study, again=False)[1]["p1_ct1"]["status"] == "ok"


def test_a_case_whose_label_goes_loses_its_label_store(source):
    write_rtstruct(source / "P1" / "rs.dcm", {"GTV-1": MASK}, scan(source))
    study = study_of(source)
    layout, before = converted(study)
    assert (layout.case("p1_ct1") / "label.zarr").exists()
    (source / "P1" / "rs.dcm").unlink()
    _, after = converted(study)
    assert not (layout.case("p1_ct1") / "label.zarr").exists()
    assert after["p1_ct1"]["contents"]["label"] is None
    assert after["p1_ct1"]["content"] != before["p1_ct1"]["content"]


def test_a_case_that_is_refused_later_keeps_no_store_of_before(source):
    files = scan(source)
    write_rtstruct(source / "P1" / "rs.dcm", {"GTV-1": MASK}, files)
    study = study_of(source)
    converted(study)
    # Label and slice go together: the case has no label any more, and its image is refused.
    (source / "P1" / "rs.dcm").unlink()
    sorted(files)[0].unlink()
    files[3].unlink(missing_ok=True)
    assert refusal(study)[0] in ("MISSING_SLICE", "UNEVEN_SPACING", "TOO_FEW_SLICES")


def test_an_unchanged_case_is_not_converted_again(source, capsys):
    scan(source)
    study = study_of(source)
    layout, _ = converted(study)
    before = (layout.case("p1_ct1") / "image.run.json").read_bytes()
    converted(study)
    assert "already done" in capsys.readouterr().err
    assert (layout.case("p1_ct1") / "image.run.json").read_bytes() == before


# ---- privacy --------------------------------------------------------------------------------------------------------


def test_no_identity_reaches_what_is_shared(source):
    files = scan(source, "MRN-4711", patient_name="Doe^Jane", birth_date="19700203", identified=True)
    write_rtstruct(source / "MRN-4711" / "rs.dcm", {"GTV-1": MASK}, files)
    layout, records = converted(study_of(source))
    assert list(records) == ["sub-0001_ct1"]
    secrets = ["4711", "Doe", "Jane", "19700203", "1.2.826", json.dumps(str(source)), str(source)]
    for path in layout.root.rglob("*"):
        shared = layout.private not in (path, *path.parents)
        if shared:
            assert not any(secret in path.name for secret in secrets)
        if shared and path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path.name
    assert layout.private.stat().st_mode & 0o777 == 0o700
