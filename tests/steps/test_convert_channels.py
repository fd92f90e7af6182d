"""Channels, pictures and masks from source files to stores: each voxel shows what lies at its place in the world."""

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from test_convert import GRID, HU, MASK, ORIGIN_MM, SPACING_MM, converted

from cohortseg.io import store
from cohortseg.io.itk import write_image
from cohortseg.phantom.dicom import write_series
from cohortseg.phantom.labels import write_rtstruct
from cohortseg.settings import load_study
from cohortseg.volume import Grid, Volume

CHANNELS = {"ct": {"modality": "CT"}, "mr": {"modality": "MR"}}
OBLIQUE = (0.8, 0.48, -0.36, 0.0, 0.6, 0.8)
"""Directions of a row and of a column of the second channel."""


def study_of(folder, convert=None, **cohort):
    labels = {"structures": {"tumour": "GTV.*"}}
    return load_study(
        {
            "study": "small",
            "results": str(folder.parent / "results"),
            "cohort": {"source": str(folder), "labels": labels} | cohort,
            "convert": convert or {},
            "experiments": {"net": {"method": "unet"}},
        }
    )


def ramp(world: np.ndarray) -> np.ndarray:
    """A linear function of world position: what linear interpolation gives back exactly."""
    return 200.0 + world @ np.array([3.0, -2.0, 1.5])


def world_of(grid: Grid) -> np.ndarray:
    z, y, x = np.indices(grid.shape)
    return (np.stack([z, y, x, np.ones(grid.shape)], axis=-1) @ grid.affine.T)[..., :3]


def ct_and_mr(source, *, shift_mm=(0.0, 0.0, 0.0), extra=None, **mr):
    """A CT on the grid, and an oblique MR around it whose values tell their place in the world."""
    ct = write_series(source / "ct", HU, spacing_mm=SPACING_MM, origin_mm=ORIGIN_MM, patient_id="P1")
    axes = (tuple(np.cross(OBLIQUE[:3], OBLIQUE[3:])), OBLIQUE[3:], OBLIQUE[:3])
    shape, spacing_mm = (24, 26, 30), (1.9, 1.7, 1.3)
    centre = np.array(GRID.world((3, 8.5, 7.5)))
    half = [(n - 1) / 2 * step for n, step in zip(shape, spacing_mm, strict=True)]
    origin = centre - np.array(half) @ np.array(axes)
    grid = Grid(shape, spacing_mm, tuple(origin), axes)
    values = ramp(world_of(grid))
    options = {"slope": 0.01, "intercept": 0.0, "series": "2", "orientation": OBLIQUE} | mr
    frame = {"FrameOfReferenceUID": dcmread(ct[0]).FrameOfReferenceUID} | (extra or {})
    origin_mm = tuple(origin + shift_mm)
    write_series(
        *(source / "mr", values),
        **options | {"spacing_mm": spacing_mm, "origin_mm": origin_mm, "patient_id": "P1", "modality": "MR"},
        extra=frame,
    )
    return ct


def test_a_second_channel_is_brought_onto_the_grid_of_the_first_by_its_place_in_the_world(tmp_path):
    ct = ct_and_mr(tmp_path / "source")
    write_rtstruct(tmp_path / "source" / "rs.dcm", {"GTV-1": MASK}, ct)
    layout, records = converted(study_of(tmp_path / "source", channels=CHANNELS))
    record = records["phantom-p1_ct1" if "phantom-p1_ct1" in records else "p1_ct1"]
    assert (record["status"], record["facts"]["missing_channels"]) == ("ok", [])
    first, second = (store.read_volume(path) for path in layout.images("p1_ct1", ["ct", "mr"]))
    np.testing.assert_array_equal(first.array, HU)
    assert second.grid == first.grid
    # Stored with a hundredth of a unit.
    np.testing.assert_allclose(second.array, ramp(world_of(GRID)), atol=0.011)
    assert record["facts"]["channels"]["mr"]["covered_share"] == 1.0
    np.testing.assert_array_equal(store.read_volume(layout.case("p1_ct1") / "label.zarr").array, MASK)
    assert set(record["contents"]) == {"image", "image-mr", "label"}
    assert not [path for path in layout.case("p1_ct1").iterdir() if path.name.startswith(".")]


def test_a_channel_on_the_same_voxels_is_copied_as_it_is(tmp_path):
    ct = write_series(tmp_path / "source" / "ct", HU, spacing_mm=SPACING_MM, origin_mm=ORIGIN_MM, patient_id="P1")
    frame = dcmread(ct[0]).FrameOfReferenceUID
    options = {"modality": "MR", "series": "2", "intercept": 0.0, "extra": {"FrameOfReferenceUID": frame}}
    write_series(
        tmp_path / "source" / "mr", HU + 1000, spacing_mm=SPACING_MM, origin_mm=ORIGIN_MM, patient_id="P1", **options
    )
    layout, _ = converted(study_of(tmp_path / "source", channels=CHANNELS))
    second = store.read_volume(layout.images("p1_ct1", ["ct", "mr"])[1])
    assert second.array.dtype == np.int16
    np.testing.assert_array_equal(second.array, HU + 1000)


def test_what_a_channel_does_not_cover_is_zero_and_told(tmp_path):
    ct_and_mr(tmp_path / "source", shift_mm=(0.0, 0.0, 40.0))
    layout, records = converted(study_of(tmp_path / "source", channels=CHANNELS))
    second = store.read_volume(layout.images("p1_ct1", ["ct", "mr"])[1]).array
    facts = records["p1_ct1"]["facts"]["channels"]["mr"]
    assert 0 < facts["covered_share"] < 0.5
    assert (second == 0).mean() == pytest.approx(1 - facts["covered_share"], abs=0.15)
    assert facts["warnings"] == [f"covers {facts['covered_share']:.0%} of the first channel"]


@pytest.mark.parametrize("shift_mm", [(0.0, 0.0, 500.0)])
def test_a_channel_beside_the_first_one_is_refused(tmp_path, shift_mm):
    ct_and_mr(tmp_path / "source", shift_mm=shift_mm)
    _, records = converted(study_of(tmp_path / "source", channels=CHANNELS))
    assert records["p1_ct1"]["reason"] == "OTHER_FRAME"


def test_channels_of_different_frames_are_refused_unless_a_registration_is_asked_for(tmp_path):
    ct_and_mr(tmp_path / "source", extra={"FrameOfReferenceUID": "1.2.3.4"})
    _, records = converted(study_of(tmp_path / "source", channels=CHANNELS))
    assert records["p1_ct1"]["reason"] == "OTHER_FRAME"


def test_a_registration_that_finds_nothing_in_common_is_refused(tmp_path):
    ct_and_mr(tmp_path / "source", extra={"FrameOfReferenceUID": "1.2.3.4"})
    _, records = converted(study_of(tmp_path / "source", {"registration": "rigid"}, channels=CHANNELS))
    assert records["p1_ct1"]["reason"] == "NOT_REGISTERED", "a CT of noise has nothing to be aligned by"


def test_a_missing_channel_is_zeros_on_demand(tmp_path):
    write_series(tmp_path / "source" / "ct", HU, spacing_mm=SPACING_MM, origin_mm=ORIGIN_MM, patient_id="P1")
    layout, records = converted(study_of(tmp_path / "source", channels=CHANNELS, missing_channel="zero"))
    assert records["p1_ct1"]["facts"]["missing_channels"] == ["mr"]
    second = store.read_volume(layout.images("p1_ct1", ["ct", "mr"])[1])
    assert second.grid == GRID
    assert not second.array.any()


def test_the_store_of_a_channel_that_is_no_longer_wanted_goes(tmp_path):
    ct_and_mr(tmp_path / "source")
    layout, _ = converted(study_of(tmp_path / "source", channels=CHANNELS))
    assert (layout.case("p1_ct1") / "image-mr.zarr").exists()
    converted(study_of(tmp_path / "source", series={"modality": "CT"}))
    assert sorted(path.name for path in layout.case("p1_ct1").glob("*.zarr")) == ["image.zarr"]


# ---- files ----------------------------------------------------------------------------------------------------------


def test_files_of_several_channels_and_volumes(tmp_path):
    other = Grid((4, 9, 8), (5.0, 1.6, 1.4), tuple(np.add(ORIGIN_MM, (-0.35, -0.4, -1.25))))
    for name, volume in {"t1": Volume(HU, GRID), "t2": Volume(ramp(world_of(other)).astype(np.float32), other)}.items():
        (tmp_path / "source").mkdir(exist_ok=True)
        write_image(tmp_path / "source" / f"a_{name}.nii.gz", volume)
    options = {
        "images": r"^(?P<subject>\w)_(?P<channel>t\d)\.nii",
        "deidentified": True,
        "channels": {"t1": {}, "t2": {}},
    }
    layout, records = converted(study_of(tmp_path / "source", **options))
    assert records["a_mr1"]["status"] == "ok"
    second = store.read_volume(layout.images("a_mr1", ["t1", "t2"])[1])
    # Between the outermost voxel centres of the second file.
    inside = (slice(0, 6), slice(0, 16), slice(0, 14))
    np.testing.assert_allclose(second.array[inside], ramp(world_of(GRID))[inside], atol=1e-3)


def four_dimensional(path):
    import SimpleITK

    volumes = [SimpleITK.GetImageFromArray(np.full((3, 5, 4), n, np.int16)) for n in (1, 2, 3)]
    path.parent.mkdir()
    SimpleITK.WriteImage(SimpleITK.JoinSeries(volumes), str(path))


@pytest.mark.parametrize(("phases", "value"), [("first", 1), ("last", 3), (2, 2)])
def test_a_volume_of_a_file_of_several_is_chosen(tmp_path, phases, value):
    four_dimensional(tmp_path / "source" / "a.nii")
    options = {"images": r"^(?P<subject>\w)\.nii", "deidentified": True, "series": {"phases": phases}}
    layout, _ = converted(study_of(tmp_path / "source", **options))
    assert set(store.read_volume(layout.case("a_mr1") / "image.zarr").array.ravel()) == {value}


@pytest.mark.parametrize("phases", ["reject", "all", 4])
def test_a_file_of_several_volumes_is_refused_where_none_is_chosen(tmp_path, phases):
    four_dimensional(tmp_path / "source" / "a.nii")
    options = {"images": r"^(?P<subject>\w)\.nii", "deidentified": True, "series": {"phases": phases}}
    _, records = converted(study_of(tmp_path / "source", **options))
    assert records["a_mr1"]["reason"] == "SEVERAL_PHASES"


# ---- pictures -------------------------------------------------------------------------------------------------------

PICTURE = np.random.default_rng(5).integers(0, 255, (13, 17, 3)).astype(np.uint8)
IDS = np.zeros((13, 17), np.uint16)
IDS[2:5, 3:9], IDS[7:12, 1:4], IDS[9, 10:15] = 4, 300, 7


def test_colour_pictures_with_numbered_objects(tmp_path):
    (tmp_path / "source").mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "source" / "a.png")
    Image.fromarray(IDS).save(tmp_path / "source" / "a_mask.png")
    labels = {"files": r"^(?P<subject>\w)_mask\.png", "values": {"cell": 1}, "instances": True}
    options = {"images": r"^(?P<subject>\w)\.png", "labels": labels, "deidentified": True, "modality": "GM"}
    study = study_of(tmp_path / "source", **options, colour="rgb", pixel_mm=[0.5, 0.25])
    layout, records = converted(study)
    for number, path in enumerate(layout.images("a_gm1", ["red", "green", "blue"])):
        volume = store.read_volume(path)
        np.testing.assert_array_equal(volume.array[0], PICTURE[..., number])
        assert volume.grid.spacing_mm == (1.0, 0.5, 0.25)
    np.testing.assert_array_equal(store.read_volume(layout.instances("a_gm1")).array[0], IDS)
    np.testing.assert_array_equal(store.read_volume(layout.case("a_gm1") / "label.zarr").array[0], IDS > 0)
    assert records["a_gm1"]["facts"]["label"]["n_instances"] == 3


def test_contours_in_a_table_are_a_label(tmp_path):
    (tmp_path / "source").mkdir()
    write_image(tmp_path / "source" / "a.nii", Volume(HU, GRID))
    rows = [("tumour", "1", 2, 3, 4), ("tumour", "1", 2, 3, 11), ("tumour", "1", 2, 8, 11), ("tumour", "1", 2, 8, 4)]
    lines = ["structure,contour,slice,row,column", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "source" / "a.csv").write_text("\n".join(lines))
    labels = {"files": r"^(?P<subject>\w)\.csv", "values": {"tumour": 1}}
    options = {"images": r"^(?P<subject>\w)\.nii", "labels": labels, "deidentified": True}
    layout, _ = converted(study_of(tmp_path / "source", **options))
    label = store.read_volume(layout.case("a_mr1") / "label.zarr").array
    assert label[2, 4:8, 5:11].all()
    assert not label[[0, 1, 3, 4, 5, 6]].any()


# ---- masks as series ------------------------------------------------------------------------------------------------


def test_masks_that_stand_as_series_are_labels(tmp_path):
    ct = write_series(tmp_path / "source" / "ct", HU, spacing_mm=SPACING_MM, origin_mm=ORIGIN_MM, patient_id="P1")
    frame = dcmread(ct[0]).FrameOfReferenceUID
    other = np.zeros_like(MASK)
    other[3:6, 4:7, 5:9] = True
    for number, (name, mask) in enumerate({"mask GTV": MASK, "mask node": other}.items(), start=2):
        write_series(
            *(tmp_path / "source" / name, mask.astype(np.int16) * 255),
            **{"spacing_mm": SPACING_MM, "origin_mm": ORIGIN_MM, "patient_id": "P1", "series": str(number)},
            intercept=0.0,
            extra={"SeriesDescription": name, "FrameOfReferenceUID": frame},
        )
    labels = {"kind": "series", "structures": {"tumour": "mask GTV", "node": "mask node"}}
    layout, records = converted(study_of(tmp_path / "source", labels=labels))
    label = store.read_volume(layout.case("p1_ct1") / "label.zarr").array
    np.testing.assert_array_equal(label, np.where(MASK, 1, 2 * other))
    facts = records["p1_ct1"]["facts"]["label"]
    assert facts["n_voxels"] == {"tumour": int(MASK.sum()), "node": int(other.sum())}
    assert facts["n_overlap_voxels"] == int((MASK & other).sum())


# ---- volumes of one series, and single DICOM pictures ---------------------------------------------------------------


def test_a_chosen_phase_has_its_own_voxels(tmp_path):
    for phase, values in ((1, HU), (2, HU[::-1])):
        files = write_series(
            *(tmp_path / "source" / str(phase), values),
            **{"spacing_mm": SPACING_MM, "origin_mm": ORIGIN_MM, "patient_id": "P1", "uid_seed": f"phase {phase}"},
            extra={"TemporalPositionIdentifier": phase, "SeriesInstanceUID": "1.2.3"},
        )
        assert len(files) == 7
    for choice, expected in (("first", HU), (2, HU[::-1])):
        layout, records = converted(study_of(tmp_path / "source", series={"phases": choice}))
        (case,) = [case for case, record in records.items() if record["status"] == "ok"]
        np.testing.assert_array_equal(store.read_volume(layout.case(case) / "image.zarr").array, expected)
        assert records[case]["facts"]["part"] == f"t{1 if choice == 'first' else 2}"
    layout, records = converted(study_of(tmp_path / "source", series={"phases": "all"}))
    assert len(records) == 2


def picture(path, pixels: np.ndarray, modality: str, **more):
    """A DICOM picture without a place in space; a film where the array has four axes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = Dataset()
    own.file_meta = FileMetaDataset()
    own.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    own.SOPClassUID = own.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    own.SOPInstanceUID = own.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{len(list(path.parent.iterdir())) + 1}"
    own.StudyInstanceUID, own.SeriesInstanceUID, own.Modality = "1.2.3", "1.2.3.4", modality
    own.PatientID, own.PatientIdentityRemoved = "P1", "YES"
    is_colour = pixels.shape[-1] == 3
    own.Rows, own.Columns = pixels.shape[-3:-1] if is_colour else pixels.shape[-2:]
    own.SamplesPerPixel, own.PhotometricInterpretation = (3, "RGB") if is_colour else (1, "MONOCHROME2")
    if is_colour:
        own.PlanarConfiguration = 0
    if pixels.ndim == 4:
        own.NumberOfFrames = len(pixels)
    own.BitsAllocated = own.BitsStored = 8 * pixels.itemsize
    own.HighBit, own.PixelRepresentation = own.BitsStored - 1, 0
    own.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    own["PixelData"].VR = "OW"
    for keyword, value in more.items():
        setattr(own, keyword, value)
    own.save_as(path, enforce_file_format=True)


def test_radiographs_are_one_slice_each_and_mean_the_same_whichever_way_they_are_shown(tmp_path):
    values = np.random.default_rng(7).integers(0, 4096, (21, 34)).astype(np.uint16)
    size = {"ImagerPixelSpacing": [0.15, 0.14], "BitsStored": 12, "HighBit": 11}
    picture(tmp_path / "source" / "bright.dcm", values, "DX", **size)
    picture(tmp_path / "source" / "dark.dcm", 4095 - values, "DX", PhotometricInterpretation="MONOCHROME1", **size)
    layout, records = converted(study_of(tmp_path / "source", series={"modality": "DX"}))
    assert {record["status"] for record in records.values()} == {"ok"}
    for case, record in records.items():
        volume = store.read_volume(layout.case(case) / "image.zarr")
        np.testing.assert_array_equal(volume.array[0], values)
        assert volume.grid.spacing_mm == (1.0, 0.15, 0.14)
        assert record["facts"]["spacing_from"] == "imager_pixel_spacing_mm"


def test_one_frame_of_a_colour_film_is_three_channels(tmp_path):
    film = np.random.default_rng(8).integers(0, 255, (4, 12, 15, 3)).astype(np.uint8)
    picture(tmp_path / "source" / "film.dcm", film, "US")
    study = study_of(tmp_path / "source", series={"modality": "US", "phases": 3}, colour="rgb")
    layout, records = converted(study)
    assert records["p1_us1"]["status"] == "ok"
    for number, path in enumerate(layout.images("p1_us1", ["red", "green", "blue"])):
        np.testing.assert_array_equal(store.read_volume(path).array[0], film[2, ..., number])
