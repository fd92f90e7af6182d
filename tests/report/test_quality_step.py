"""The table of cases to look at, from the sidecars of a study; and the report of a study that was only predicted."""

import argparse
import csv

import numpy as np
import pytest
import yaml
from study_by_hand import (
    GRID,
    case_of,
    label_of,
    refused,
    sidecar_of,
    study_of,
    write_case,
    write_sidecar,
    write_token,
)

from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, write_json, write_text
from cohortseg.layout import Layout
from cohortseg.metrics.shape import label_shapes
from cohortseg.settings import load_study
from cohortseg.stages import stage_settings
from cohortseg.steps import aggregate, report
from cohortseg.steps.quality import quality
from cohortseg.volume import Volume

CASES = [f"p{number:02d}_ct1" for number in range(12)]
MODELS = ("fold-0-seed-1", "fold-0-seed-2")
SETTINGS = {
    "study": "predicted",
    "cohort": {"labels": {"structures": {"lesion": "x"}, "missing": "predict"}},
    "experiments": {"unet": {"method": "unet", "seeds": [1, 2]}},
}


def shifted(voxels: int) -> Volume:
    label = label_of()
    return Volume(np.roll(label.array, voxels, axis=2), label.grid)


@pytest.fixture
def layout(tmp_path):
    """Twelve cases, predicted by two models; those of the last case disagree, and the first lies beside the others."""
    layout = study_of(tmp_path / "predicted", *(case_of(name) for name in CASES), rejected=(("x1", "TOO_FEW_SLICES"),))
    units = [f"{model}/{name}" for name in CASES for model in MODELS]
    for name in CASES:
        write_case(layout, name)
        for model in MODELS:
            label = shifted(3) if (name, model) == (CASES[-1], MODELS[1]) else label_of()
            if name == CASES[0]:
                label = Volume(np.ones(GRID.shape, np.uint8), GRID)
            folder = layout.prediction("unet", model, name)
            content = store.write_volume(folder / "post.zarr", label, name="label")
            shapes = label_shapes(label.array, spacing_mm=GRID.spacing_mm, n_classes=1)
            write_sidecar(folder / "raw.json", sidecar_of("predict"))
            write_sidecar(folder / "post.json", sidecar_of("postprocess", content, shapes=shapes))
            write_sidecar(folder / "metrics.json", refused("evaluate", "NO_REFERENCE"))
    for stage in ("predict", "postprocess", "evaluate"):
        write_token(layout, stage, "f0-b0001", units, "unet")
    for fold in ("0", "1"):
        write_json(layout.members(fold), {"train": [], "validation": CASES})
    write_text(layout.settings, yaml.safe_dump(SETTINGS))
    write_text(layout.series_table, "case\tchannel\tmodality\tstatus\n")
    return layout


def test_the_odd_and_the_disputed_prediction_come_first(layout):
    found = quality(layout, ["unet"], ["lesion"])
    assert len(found) == 24
    assert set(found["case"][:4]) == {CASES[0], CASES[-1]}
    assert set(found.loc[found["case"] == CASES[-1], "agreement"]) == {0.0}
    assert set(found.loc[found["case"] == CASES[3], "agreement"]) == {1.0}
    assert not found["is_scored"].any()


def test_empty_predictions_are_ranked_shown_and_counted(layout):
    for number, name in enumerate(CASES):
        for model in MODELS:
            folder = layout.prediction("unet", model, name)
            empty = np.zeros(GRID.shape, np.uint8)
            shapes = label_shapes(empty if number else label_of().array, spacing_mm=GRID.spacing_mm, n_classes=1)
            write_sidecar(folder / "post.json", sidecar_of("postprocess", name + model, shapes=shapes))
    found = quality(layout, ["unet"], ["lesion"])
    assert set(found["case"][:22]) == set(CASES[1:])
    assert set(found["empty"][:22]) == {"lesion"}
    assert list(found["empty"][22:]) == ["", ""]
    settings = stage_settings(load_study({**SETTINGS, "cohort": {"source": ".", **SETTINGS["cohort"]}}), "aggregate")
    aggregate.run(argparse.Namespace(study=layout, settings=settings))
    report.run(argparse.Namespace(study=layout, settings=None))
    html = layout.report.read_text()
    assert "unet: 22 of 24 predictions hold no lesion." in html
    assert "nothing predicted" in html


def test_networks_of_an_ensemble_that_disagree_are_named(layout):
    for number, name in enumerate(CASES):
        bits = 0.4 if name == CASES[5] else 0.05 + 0.001 * number
        for model in MODELS:
            uncertainty = {"entropy_bits": 0.1, "disagreement_bits": bits}
            write_sidecar(
                layout.prediction("unet", model, name) / "raw.json", sidecar_of("predict", uncertainty=uncertainty)
            )
    found = quality(layout, ["unet"], ["lesion"]).set_index("case")
    assert all(
        "disagreement of the networks of an ensemble 0.4 bits" in text for text in found.loc[CASES[5], "findings"]
    )


def test_the_study_is_named_either_way():
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    for words in (["results/x"], ["--study", "results/x"], ["--study", "results/x", "--settings", "{}"]):
        assert parser.parse_args(words).study.root.as_posix() == "results/x"
    assert parser.parse_args([]).study is None


def test_what_was_compared_is_remembered_by_its_contents(layout):
    quality(layout, ["unet"], ["lesion"])
    memory = layout.report.parent / "agreement.json"
    known = read_json(memory)
    write_json(memory, dict.fromkeys(known, 0.25))
    assert set(quality(layout, ["unet"], ["lesion"])["agreement"]) == {0.25}
    write_sidecar(
        layout.prediction("unet", MODELS[0], CASES[2]) / "post.json",
        read_json(layout.prediction("unet", MODELS[0], CASES[2]) / "post.json") | {"content": "new"},
    )
    assert set(quality(layout, ["unet"], ["lesion"])["agreement"]) == {0.25, 1.0}


def test_predictions_of_before_shapes_were_measured_are_passed_over(layout):
    path = layout.prediction("unet", MODELS[0], CASES[0]) / "post.json"
    record = read_json(path)
    del record["shapes"]
    write_sidecar(path, record)
    assert len(quality(layout, ["unet"], ["lesion"])) == 23


def test_the_report_of_a_study_that_was_only_predicted(layout):
    settings = stage_settings(load_study({**SETTINGS, "cohort": {"source": ".", **SETTINGS["cohort"]}}), "aggregate")
    aggregate.run(argparse.Namespace(study=layout, settings=settings))
    report.run(argparse.Namespace(study=layout, settings=None))
    html = layout.report.read_text()
    assert "Of 24 predictions (24 without a reference) 4 stand out." in html
    assert "not scored" in html
    assert "No case has been evaluated" in html
    assert html.count('alt="Middle slice of p') == 12
    with layout.table("quality").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 24


def test_a_report_of_nothing_says_what_to_do(tmp_path):
    nothing = argparse.Namespace(study=None, settings=None)
    with pytest.raises(StudyError, match="which study"):
        report.run(nothing)
    with pytest.raises(StudyError, match="no tables"):
        report.run(argparse.Namespace(study=Layout(tmp_path), settings=None))
