"""One setting at a time, and the layers of a network: from a study's settings and tables."""

import pandas as pd
import pytest
from study_by_hand import case_of, study_of

from cohortseg.cli.figure_targets import TARGETS
from cohortseg.cli.figure_wish import Wish
from cohortseg.cli.figures_of_methods import ablation_table
from cohortseg.infer.networks import build_network
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.preprocess.plan import VERSION
from cohortseg.settings import load_study
from cohortseg.steps.model_space import network_of

NET = {"method": "unet", "features": [4, 8], "steps": 5, "batch": 2}


@pytest.fixture
def wish(tmp_path):
    names = ["p0", "p1", "p2"]
    layout = study_of(tmp_path, *(case_of(name) for name in names))
    experiments = {
        "full": NET,
        "no-augmentation": {**NET, "augmentation": "none"},
        "focal": {**NET, "loss": "dice_focal"},
        "both": {**NET, "loss": "dice_focal", "augmentation": "none"},
        "otsu": {"method": "threshold", "rule": "otsu"},
    }
    dice = {"full": [0.9, 0.8, 0.7], "no-augmentation": [0.6, 0.6, 0.6], "focal": [0.9, None, 0.8], "otsu": [0.1] * 3}
    rows = pd.DataFrame(
        [
            {"experiment": name, "case": case, "label": "tumour", "dice": value}
            for name, values in {**dice, "both": [0.5] * 3}.items()
            for case, value in zip(names, values, strict=True)
        ]
    )
    study = {
        "study": "planted",
        "cohort": {"source": ".", "labels": {"kind": "rtstruct", "structures": {"tumour": "GTV"}}},
        "experiments": experiments,
    }
    return Wish(layout, load_study(study), "full", "tumour", rows)


def test_the_table_has_a_row_for_each_setting_that_was_changed_alone(wish):
    table = ablation_table(wish).set_index("changed")
    assert table.index.tolist() == ["full (as it is)", "augmentation: none", "loss: dice_focal"]
    assert table["n_cases"].tolist() == [3, 3, 2]
    assert table["mean"].tolist() == pytest.approx([0.8, 0.6, 0.85])
    # On the cases that both have: 0.9, 0.7 against 0.9, 0.8.
    assert table["difference"].tolist() == pytest.approx([0.0, -0.2, 0.05])
    assert TARGETS["ablation"](wish) is not None


def test_without_a_second_experiment_there_is_no_ablation(wish):
    assert TARGETS["ablation"](Wish(wish.layout, wish.study, "otsu", "tumour", wish.rows)) is None


def test_without_rows_there_is_no_ablation(wish):
    assert TARGETS["ablation"](Wish(wish.layout, wish.study, "full", "tumour", wish.rows.iloc[:0])) is None


def test_the_diagram_is_of_the_network_that_was_trained(wish):
    levels = [{"features": 4 * 2**k, "stride": [1 + (k > 0)] * 2, "kernel": [3, 3]} for k in range(3)]
    plan = {"version": VERSION, "channels": ["image"], "dims": 2, "patch": {"value": [16, 16]}}
    write_json(wish.layout.plan, {**plan, "network": {"levels": levels}})
    timed = wish.study.experiments["full"].model_copy(update={"features": None, "steps": None, "minutes": 1.0})
    study = wish.study.model_copy(update={"experiments": {"timed": timed}})
    timed_wish = Wish(wish.layout, study, "timed", "tumour", wish.rows)

    def shown():
        (axes,) = TARGETS["architecture"](timed_wish).get_axes()
        return axes.get_title(), {text.get_text() for text in axes.texts}

    title, texts = shown()
    assert {"4", "8", "16"} <= texts
    # In the minutes that were asked for twice the planned features could be trained.
    write_json(wish.layout.model("timed", "0", 1) / "train.json", {"features": [8, 16, 32], "n_parameters": 30_000})
    wider, texts = shown()
    assert {"8", "16", "32"} <= texts
    assert "4" not in texts
    numbers = [int(words.split(": ")[1].split(" ")[0].replace(",", "")) for words in (title, wider)]
    _, arguments = network_of(read_json(wish.layout.plan), timed, 1, [8, 16, 32])
    weights = sum(one.numel() for one in build_network("unet", arguments, seed=1).parameters())
    assert numbers[1] == weights > 3 * numbers[0]


def test_without_a_network_there_is_no_diagram(wish):
    study = wish.study.model_copy(update={"experiments": {"otsu": wish.study.experiments["otsu"]}})
    assert TARGETS["architecture"](Wish(wish.layout, study, "otsu", "tumour", wish.rows)) is None
