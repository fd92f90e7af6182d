"""What a comparison of methods is drawn from: run records of each case, kinds, and the metric that fits the cohort."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from study_by_hand import case_of, image_of, label_of, sidecar_of, study_of, write_case, write_prediction, write_token

from cohortseg.cli.comparison_figures import costs, draw_costs, draw_panel, kind_of, scores
from cohortseg.cli.figure_targets import TARGETS
from cohortseg.io import store
from cohortseg.io.sidecar import run_path, write_json, write_text
from cohortseg.settings import METHOD_SETTINGS
from cohortseg.volume import Volume

CASES = ["p1_ct1", "p2_ct1", "p3_ct1"]
METHODS = {name: METHOD_SETTINGS[name](method=name) for name in ("threshold", "forest", "unet")}
FOLDER = {"threshold": "untrained", "forest": "fold-0-seed-1", "unet": "fold-0-seed-1"}


@pytest.fixture
def layout(tmp_path):
    """Three methods on three cases, with the seconds and the memory that each took."""
    made = study_of(tmp_path, *[case_of(name) for name in CASES])
    for name in CASES:
        write_case(made, name, image=image_of(), label=label_of())
    for method, model in FOLDER.items():
        for k, name in enumerate(CASES):
            shifted = Volume(
                np.roll(label_of().array, {"threshold": 2, "forest": 1}.get(method, 0), axis=2), label_of().grid
            )
            write_prediction(made, method, f"{model}/{name}", shifted)
            told = {"seconds": 50.0, "cpu_seconds": [1.0, 2.0, 9.0][k], "peak_memory_mb": 100.0 + k, "device": "cpu"}
            write_json(run_path(made.prediction(method, model, name) / "raw.json"), told)
        write_token(made, "postprocess", "f0-b0001", [f"{model}/{name}" for name in CASES], method)
    record = made.model("forest", "0", 1) / "train.json"
    write_json(record, sidecar_of("train"))
    write_json(run_path(record), {"seconds": 7.0, "cpu_seconds": 6.0, "peak_memory_mb": 300.0})
    return made


def rows_of(**values):
    return pd.DataFrame(
        [
            {"experiment": name, "case": case, "label": "tumour", "split": "val", "stage": "post", "dice": dice}
            for name, dices in values.items()
            for case, dice in zip(CASES, dices, strict=True)
        ]
    )


def wish_of(layout, rows, instances=None):
    report = SimpleNamespace(primary_metric="dice")
    study = SimpleNamespace(experiments=METHODS, report=report, instances=instances)
    return SimpleNamespace(layout=layout, study=study, label="tumour", rows=rows, metric="dice")


ROWS = rows_of(threshold=[0.2, 0.4, 0.3], forest=[0.5, math.nan, 0.7], unet=[0.9, 1.0, 0.8])


def test_kinds():
    kinds = [kind_of(method) for method in METHODS.values()]
    assert kinds == ["classical", "learnt without a network", "network"]


def test_a_row_says_what_a_method_reached_and_took(layout):
    found = costs(layout, ROWS.set_index("experiment")["dice"], METHODS).set_index("experiment")
    forest = found.loc["forest"]
    assert (forest["n_cases"], forest["value"]) == (2, pytest.approx(0.6))
    assert forest["seconds_case"] == 2.0  # the median of the processor's, not the clock's
    assert (forest["seconds_train"], forest["memory_mb"]) == (6.0, 102.0)
    assert math.isnan(found.loc["threshold", "seconds_train"])


def test_on_a_gpu_the_clock_counts(layout):
    path = run_path(layout.prediction("unet", FOLDER["unet"], CASES[0]) / "raw.json")
    for name in CASES:
        path = run_path(layout.prediction("unet", FOLDER["unet"], name) / "raw.json")
        write_json(path, {"seconds": 4.0, "cpu_seconds": 1.0, "peak_memory_mb": 9.0, "device": "NVIDIA H100"})
    found = costs(layout, ROWS.set_index("experiment")["dice"], METHODS).set_index("experiment")
    assert found.loc["unet", "seconds_case"] == 4.0


def test_objects_are_what_counts_where_the_reference_numbers_them(layout):
    assert scores(wish_of(layout, ROWS))[0] == "dice"
    objects = ROWS.rename(columns={"dice": "panoptic_quality"})
    objects = pd.concat([objects, objects.assign(stage="raw", panoptic_quality=0.0)])
    write_text(layout.table("instances"), objects.to_csv(index=False))
    assert scores(wish_of(layout, ROWS))[0] == "dice"
    metric, rows = scores(wish_of(layout, ROWS, "watershed"))
    assert metric == "panoptic_quality"
    assert rows.groupby("experiment")["value"].mean()["unet"] == pytest.approx(0.9)


def test_the_figure_keeps_its_numbers_beside_it(layout):
    figure = draw_costs(wish_of(layout, ROWS))
    table = pd.read_csv(layout.figure("costs", "csv"))
    assert table["experiment"].tolist() == ["unet", "forest", "threshold"]
    assert table["front_seconds_case"].tolist() == [True, False, False]
    assert figure is not None
    assert draw_costs(wish_of(layout, ROWS[:0])) is None


def test_the_panel_shows_the_middle_case_of_the_best_method_on_the_slice_of_its_reference(layout):
    figure = draw_panel(wish_of(layout, ROWS))
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["reference", "unet 0.90", "forest 0.50", "threshold 0.20"]
    reference, best, *_ = (np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images)
    assert ((reference[..., 0] != reference[..., 2]) == (best[..., 0] != best[..., 2])).all()


def test_contours_are_those_of_the_methods_that_did_not_refuse_the_case(layout):
    wish = wish_of(layout, ROWS)
    wish.experiment, wish.own = "unet", ROWS[ROWS["experiment"] == "unet"]
    wish.study.cohort = SimpleNamespace(labels=SimpleNamespace(classes=["tumour"]))

    def drawn():
        (axes,) = TARGETS["contours"](wish).get_axes()
        return [text.get_text() for text in axes.get_legend().get_texts()]

    assert drawn() == ["reference", "forest", "threshold", "unet"]
    store.remove(layout.prediction("threshold", FOLDER["threshold"], CASES[0]) / "post.zarr")
    assert drawn() == ["reference", "forest", "unet"]
