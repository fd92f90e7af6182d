"""An oversize case is measured and exported by slabs: the numbers and the voxels of the whole."""

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage
from study_by_hand import case_of, sidecar_of, study_of, write_case, write_sidecar, write_token

from cohortseg.ignored import IGNORE
from cohortseg.io import store
from cohortseg.layout import Layout
from cohortseg.settings import ExportSettings, MetricSettings, load_study
from cohortseg.stages import EvaluateStage, ExportStage
from cohortseg.steps import evaluate, export
from cohortseg.volume import Grid, Volume

NAME, UNIT, EXPERIMENT = "sub-1_ct1", "untrained/sub-1_ct1", "otsu"
GRID = Grid((150, 30, 90), (2.0, 1.0, 0.8), (-31.0, 12.5, 47.25))
CLASSES = ["lesion", "node"]
EVALUATE = EvaluateStage(classes=CLASSES, regions={"all": CLASSES}, metrics=MetricSettings(trimap_bands_mm=[1.0, 4.0]))
EXPORT = ExportStage(classes=CLASSES, export=ExportSettings(formats=["nifti", "nrrd", "mha"]))


@pytest.fixture
def layout(tmp_path, monkeypatch) -> Layout:
    """Two classes of bodies, some voxels that nobody judged, a raw label, another one after cleaning, probabilities."""
    # As in a large image, where surfaces are few: distances are searched, not mapped in single precision.
    monkeypatch.setattr("cohortseg.metrics.surface.SPARSE", 0)
    layout = study_of(tmp_path, case_of(NAME))
    random = np.random.default_rng(1)
    field = ndimage.gaussian_filter(random.random(GRID.shape), 3)
    low, high = np.quantile(field, (0.8, 0.95))

    def label(shift: int) -> np.ndarray:
        moved = np.roll(field, shift, 0)
        return ((moved > low).astype(np.uint8) + (moved > high)).astype(np.uint8)

    reference = label(0)
    reference[70:75, :4, 5:60] = IGNORE
    write_case(layout, NAME, label=Volume(reference, GRID))
    folder = layout.prediction(EXPERIMENT, *UNIT.split("/"))
    contents = {}
    for stage, shift in (("raw", 2), ("post", 1)):
        contents[stage] = store.write_volume(folder / f"{stage}.zarr", Volume(label(shift), GRID), name="label")
    write_sidecar(folder / "raw.json", sidecar_of("predict", contents["raw"]))
    post = sidecar_of("postprocess", contents["post"], n_voxels_changed=7)
    write_sidecar(folder / "post.json", {**post, "inputs": {"raw": contents["raw"]}})
    write_token(layout, "predict", case_of(NAME).fold_batch, [UNIT], EXPERIMENT)
    shape = (3, *GRID.shape)
    with store.new_store(folder / "probabilities.zarr") as part:
        array = store.create(part, GRID, np.float16, name="probabilities", channels=["background", *CLASSES])
        array[:] = random.random(shape).astype(np.float16)
    return layout


def test_by_slabs_every_number_is_that_of_the_whole(layout):
    whole = evaluate.evaluate(layout, EXPERIMENT, UNIT, EVALUATE)
    parts = evaluate.evaluate(layout, EXPERIMENT, UNIT, EVALUATE, most_voxels=1000)
    row = whole["metrics"]["post"]["all"]
    assert row["not_judged_ml"] > 0
    assert row["n_lesions_prediction"] > 5
    assert whole["lesions"]["raw"]["node"][-1]["max_probability"] > 0
    assert_close(parts, whole)


def assert_close(found: object, expected: object) -> None:
    """Equal but for the last digits of floats, and for the digest, which is of all digits."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected.keys() - {"content"}:
            assert_close(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)
    else:
        assert found == expected


def test_a_case_of_few_voxels_is_read_whole(layout, monkeypatch):
    def refuse(*_arguments: object) -> None:
        raise AssertionError("read by slabs")

    monkeypatch.setattr(evaluate, "open_label", refuse)
    monkeypatch.setattr(export, "open_label", refuse)
    n_voxels = int(np.prod(GRID.shape))
    evaluate.evaluate(layout, EXPERIMENT, UNIT, EVALUATE, most_voxels=n_voxels)
    export.export(layout, EXPERIMENT, UNIT, "sub-1", EXPORT, most_voxels=n_voxels)
    with pytest.raises(AssertionError, match="by slabs"):
        evaluate.evaluate(layout, EXPERIMENT, UNIT, EVALUATE, most_voxels=n_voxels - 1)


def test_exported_by_slabs_the_label_is_the_same(layout):
    suffixes = (".nii.gz", ".nrrd", ".mha")

    def images() -> list[SimpleITK.Image]:
        paths = [layout.exported(EXPERIMENT, "untrained", NAME, suffix) for suffix in suffixes]
        return [SimpleITK.ReadImage(str(path)) for path in paths]

    export.export(layout, EXPERIMENT, UNIT, "sub-1", EXPORT)
    whole = images()
    facts = export.export(layout, EXPERIMENT, UNIT, "sub-1", EXPORT, most_voxels=1000)["facts"]
    assert (len(facts["files"]), facts["skipped"], facts["empty_classes"]) == (3, {}, [])
    for expected, found in zip(whole, images(), strict=True):
        assert SimpleITK.GetArrayFromImage(found).tobytes() == SimpleITK.GetArrayFromImage(expected).tobytes()
        assert (found.GetOrigin(), found.GetSpacing()) == (expected.GetOrigin(), expected.GetSpacing())


BASE = {"study": "s", "cohort": {"source": "x", "labels": {"structures": {"lesion": "GTV"}}}}


@pytest.mark.parametrize(
    ("changes", "stage", "by_slabs"),
    [
        ({}, "evaluate", True),
        ({}, "export", True),
        ({"export": {"formats": ["nifti", "dicom_seg"]}}, "export", False),
        ({"export": {"objects": True}}, "export", False),
        ({"instances": {"rule": "components"}}, "evaluate", False),
        ({"panoptic": {"things": ["lesion"]}}, "evaluate", False),
        ({"detection": {}}, "evaluate", False),
    ],
)
def test_what_must_see_everything_is_never_done_by_slabs(changes, stage, by_slabs):
    study = load_study({**BASE, "experiments": {"a": {"method": "threshold"}}, **changes})
    assert (study.blocks_above(stage) < float("inf")) == by_slabs
