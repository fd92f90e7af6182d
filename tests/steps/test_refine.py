"""The step `postprocess` with a dense random field: what it reads, what it leaves alone, when it runs again."""

import numpy as np
import pytest
from study_by_hand import GRID, case_of, label_of, sidecar_of, study_of, write_case, write_sidecar, write_token
from test_channels import run

from cohortseg.errors import SettingsError, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.settings import CRFSettings, PostprocessSettings, Study
from cohortseg.stages import PostprocessStage
from cohortseg.steps import postprocess
from cohortseg.volume import Volume

CASE = "p1_ct1"
UNITS = {"network": f"fold-0-seed-1/{CASE}", "otsu": f"untrained/{CASE}"}
TRUTH = label_of().array > 0


@pytest.fixture
def layout(tmp_path):
    """A case whose image shows the label sharply, and a network that missed a voxel of it and found one elsewhere."""
    layout = study_of(tmp_path / "study", case_of(CASE))
    image = np.where(TRUTH, 300, 0).astype(np.int16)
    write_case(layout, CASE, image=Volume(image, GRID), label=label_of())
    found = np.where(TRUTH, 0.9, 0.1)
    inside, outside = np.argwhere(TRUTH)[len(np.argwhere(TRUTH)) // 2], np.argwhere(~TRUTH)[0]
    found[tuple(inside)], found[tuple(outside)] = 0.4, 0.6
    for experiment, unit in UNITS.items():
        folder = layout.prediction(experiment, *unit.split("/"))
        raw = Volume((found > 0.5).astype(np.uint8), GRID)
        content = store.write_volume(folder / "raw.zarr", raw, name="label")
        contents = {}
        if experiment == "network":
            with store.new_store(folder / "probabilities.zarr") as part:
                array = store.create(part, GRID, np.float16, name="probabilities", channels=["class 0", "class 1"])
                array[0], array[1] = 1 - found, found
            contents = {"probabilities": store.content_digest(folder / "probabilities.zarr")}
        write_sidecar(folder / "raw.json", sidecar_of("predict", content, contents=contents))
        write_token(layout, "predict", "f0-b0001", [unit], experiment)
    return layout


def cleaned(layout, experiment, **crf):
    named = CRFSettings(appearance_mm=20.0, smooth_mm=8.0, window=(0, 300), **crf)
    settings = PostprocessStage(classes=["lesion"], postprocess=PostprocessSettings(crf=named))
    run(postprocess, layout, settings, experiment=experiment, cases=[CASE])
    folder = layout.prediction(experiment, *UNITS[experiment].split("/"))
    return store.read_volume(folder / "post.zarr").array, read_json(folder / "post.json")


def test_the_field_follows_the_image_where_probabilities_are_kept(layout):
    label, record = cleaned(layout, "network")
    np.testing.assert_array_equal(label > 0, TRUTH)
    assert record["n_voxels_changed"] == 2
    assert record["done"]["crf"]["channels"] == ["image"]
    assert 0 <= record["done"]["crf"]["kernel_error"] < 1e-4


def test_a_method_without_probabilities_keeps_its_label(layout):
    label, record = cleaned(layout, "otsu")
    np.testing.assert_array_equal(
        label, store.read_volume(layout.prediction("otsu", "untrained", CASE) / "raw.zarr").array
    )
    assert "crf" not in record["done"]


def test_other_weights_make_it_anew_and_other_intensities_too(layout):
    first = cleaned(layout, "network")[1]
    assert cleaned(layout, "network")[1]["key"] == first["key"]
    assert cleaned(layout, "network", iterations=3)[1]["key"] != first["key"]
    path = layout.case(CASE) / "image.json"
    write_sidecar(path, read_json(path) | {"content": "sha256:another"})
    assert cleaned(layout, "network")[1]["key"] != first["key"]


def test_a_channel_that_is_not_there_is_named(layout):
    with pytest.raises(StudyError, match="pet"):
        cleaned(layout, "network", channels=["pet"])


def study_with(experiment, **crf):
    cohort = {"source": "somewhere", "labels": {"kind": "rtstruct", "structures": {"lesion": "GTV"}}}
    return Study(study="a", cohort=cohort, experiments={"one": experiment}, postprocess={"crf": crf})


def test_settings_that_cannot_work_are_refused_before_anything_runs():
    kept = {"method": "unet", "probabilities": True}
    assert study_with(kept).postprocess.crf.iterations == 5
    for experiment, crf, said in (
        ({"method": "unet"}, {}, "probabilities: true"),
        ({"method": "threshold"}, {}, "no experiment has probabilities"),
        (kept, {"channels": ["pet"]}, "no channel 'pet'"),
        (kept, {"window": [3, 1]}, "lower and a higher"),
        (kept, {"appearance_weight": 0, "smooth_weight": 0}, "above 0"),
    ):
        with pytest.raises((ValueError, SettingsError), match=said):
            study_with(experiment, **crf)
