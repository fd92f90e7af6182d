"""Objects of a cleaned label: written beside it, scored against the reference, made again when the settings change."""

import argparse

import numpy as np
import pytest
from study_by_hand import case_of, sidecar_of, study_of, write_case, write_sidecar, write_token

from cohortseg.cli import verify
from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.settings import (
    InstanceSettings,
    MetricSettings,
    PanopticSettings,
    PostprocessSettings,
    StatisticsSettings,
)
from cohortseg.stages import EvaluateStage, PostprocessStage
from cohortseg.steps import evaluate, postprocess
from cohortseg.steps.curves import Scored
from cohortseg.steps.panoptic_tables import panoptic_results
from cohortseg.volume import Grid, Volume

NAME, UNIT = "sub-1_ct1", "untrained/sub-1_ct1"
GRID = Grid((1, 40, 90), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
IDS = np.zeros(GRID.shape, np.int32)
"""Two touching disks of radius 10, 16 apart."""
y, x = np.mgrid[:40, :90]
IDS[0][(y - 20) ** 2 + (x - 25) ** 2 <= 100] = 5
IDS[0][((y - 20) ** 2 + (x - 41) ** 2 <= 100) & (x > 33)] = 9
LABEL = Volume((IDS > 0).astype(np.uint8), GRID)


@pytest.fixture
def layout(tmp_path):
    made = study_of(tmp_path, case_of(NAME))
    write_case(made, NAME, image=Volume(IDS.astype(np.int16), GRID), label=LABEL)
    store.write_volume(made.instances(NAME), Volume(IDS, GRID), name="instances")
    folder = made.prediction("otsu", *UNIT.split("/"))
    content = store.write_volume(folder / "raw.zarr", LABEL, name="label")
    write_sidecar(folder / "raw.json", sidecar_of("predict", content))
    write_token(made, "predict", "f0-b0001", [UNIT], "otsu")
    return made


def step(which, layout, settings):
    token = layout.token(which.__name__.rpartition(".")[2], "f0-b0001", "otsu")
    given = {"study": layout, "experiment": "otsu", "cases": [NAME], "token": token}
    which.run(argparse.Namespace(settings=settings.model_dump_json(), **given))
    return read_json(token)["cases"][UNIT]


def measured(layout, instances):
    """Postprocess and evaluate; what the tokens say, and the agreement of objects."""
    stage = PostprocessStage(classes=["cell"], postprocess=PostprocessSettings(), instances=instances)
    tokens = step(postprocess, layout, stage)
    step(evaluate, layout, EvaluateStage(classes=["cell"], metrics=MetricSettings()))
    return tokens, read_json(layout.prediction("otsu", *UNIT.split("/")) / "metrics.json")["instances"]


def test_touching_disks_are_one_component_and_two_objects(layout):
    token, found = measured(layout, InstanceSettings(depth_mm=2.0, smooth_mm=0.0))
    assert found["raw"]["n_prediction"] == 1
    assert (found["post"]["n_prediction"], found["post"]["n_matched"]) == (2, 2)
    assert found["post"]["panoptic_quality"] > 0.95
    assert found["post"]["aggregated_jaccard"] > 0.95
    store_of = layout.prediction("otsu", *UNIT.split("/")) / "instances.zarr"
    assert token["contents"]["instances"] == store.content_digest(store_of)
    record = read_json(store_of.with_name("post.json"))
    assert (record["n_instances"], record["told_apart_by"]) == (2, "watershed")


def test_a_change_of_the_settings_shows_in_the_token_and_leaves_nothing_behind(layout):
    two, _ = measured(layout, InstanceSettings(depth_mm=2.0))
    one, found = measured(layout, InstanceSettings(rule="components"))
    assert two["content"] == one["content"]
    assert two["contents"] != one["contents"]
    assert found["post"] == found["raw"]
    none, found = measured(layout, None)
    assert "contents" not in none
    assert found["post"] == found["raw"]
    assert not (layout.prediction("otsu", *UNIT.split("/")) / "instances.zarr").exists()


def test_probability_is_used_where_it_is_kept_and_the_distance_elsewhere(layout):
    folder = layout.prediction("otsu", *UNIT.split("/"))
    settings = InstanceSettings(rule="probability", marker=0.8, depth_mm=30.0)
    measured(layout, settings)
    assert (read_json(folder / "post.json")["told_apart_by"], read_json(folder / "post.json")["n_instances"]) == (
        "watershed",
        1,
    )
    probability = np.where(IDS > 0, np.where(np.abs(np.mgrid[:1, :40, :90][2] - 33) < 3, 0.6, 0.95), 0.1)
    with store.new_store(folder / "probabilities.zarr") as part:
        array = store.create(part, GRID, np.float16, name="probabilities", channels=["class 0", "class 1"])
        array[0], array[1] = 1 - probability, probability
    contents = {"probabilities": store.content_digest(folder / "probabilities.zarr")}
    write_sidecar(folder / "raw.json", read_json(folder / "raw.json") | {"contents": contents})
    _, found = measured(layout, settings)
    assert read_json(folder / "post.json")["told_apart_by"] == "probability"
    assert found["post"]["n_matched"] == 2


def test_damaged_objects_are_found_by_verify(layout, capsys):
    measured(layout, InstanceSettings())
    folder = layout.prediction("otsu", *UNIT.split("/"))
    store.write_volume(folder / "instances.zarr", Volume(IDS * 2, GRID), name="instances")
    with pytest.raises(Exception, match="damaged"):
        verify.run(argparse.Namespace(study=layout.root, mend=False))
    assert "instances.zarr: content differs" in capsys.readouterr().err


def test_things_are_scored_by_object_and_stuff_by_region_in_one_study(layout):
    both = np.where(LABEL.array > 0, np.uint8(2), np.uint8(1))
    store.write_volume(layout.case(NAME) / "label.zarr", Volume(both, GRID), name="label")
    store.write_volume(layout.prediction("otsu", *UNIT.split("/")) / "raw.zarr", Volume(both, GRID), name="label")
    asked = PanopticSettings(things=["cell"])
    told_apart = InstanceSettings(depth_mm=2.0, smooth_mm=0.0)
    shared = {"classes": ["tissue", "cell"], "panoptic": asked}
    step(postprocess, layout, PostprocessStage(**shared, postprocess=PostprocessSettings(), instances=told_apart))
    step(evaluate, layout, EvaluateStage(**shared, metrics=MetricSettings()))
    folder = layout.prediction("otsu", *UNIT.split("/"))
    found = read_json(folder / "metrics.json")
    assert found["panoptic"]["raw"] == [[1, 0, 0, 1.0], [1, 0, 1, pytest.approx(0.5, abs=0.06)]]
    assert found["panoptic"]["post"] == [[1, 0, 0, 1.0], [2, 0, 0, pytest.approx(2.0, abs=0.1)]]
    assert found["instances"] == {"raw": None, "post": None}
    assert read_json(folder / "post.json")["n_instances"] == 2  # the tissue is no object

    head = {
        "study": "s",
        "experiment": "otsu",
        "fold": "0",
        "seed": "",
        "split": "val",
        "case": NAME,
        "subject": "sub-1",
    }
    tables = panoptic_results([Scored(head, found, {})], ["tissue", "cell"], asked, StatisticsSettings(bootstrap=100))
    lines = tables["panoptic"][tables["panoptic"]["stage"] == "post"].set_index("label")
    assert lines["kind"].tolist() == ["stuff", "thing", "", "", ""]
    assert lines.loc["all", "pq"] == pytest.approx((lines.loc["stuff", "pq"] + lines.loc["things", "pq"]) / 2)
    assert (lines.loc["all", "n_classes"], lines.loc["all", "n_matched"]) == (2, 3)
    assert len(tables["panoptic_by_case"]) == 4
