"""Stability through the steps: a threshold is moved by no flip, a network goes through model space again."""

import argparse
from types import SimpleNamespace

import numpy as np
import pytest
from study_by_hand import GRID, case_of, refused, study_of, write_case, write_sidecar
from test_channels import CHANNELS, HELD_OUT, MODEL, NETWORK, prepare, study_with_channels
from test_channels import run as run_step

from cohortseg.cohort import some_of
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.settings import StabilitySettings, StatisticsSettings, ThresholdMethod
from cohortseg.stages import ExperimentStage, StabilityStage
from cohortseg.steps import predict, stability, train
from cohortseg.steps.stability_table import stability_tables
from cohortseg.volume import Volume

EVERYTHING = ["flip_x", "flip_y", "flip_z", "rotate_90", "rotate_180", "rotate_270", "noise", "resolution"]
MOVED = EVERYTHING[:6]
OTSU = ThresholdMethod(method="threshold", rule="otsu")


def bright_box(number: int) -> Volume:
    """A lopsided bright box in grey noise."""
    array = np.random.default_rng(number).normal(0, 20, GRID.shape)
    array[1:4, 2 : 5 + number, 1:4] += 1000
    return Volume(array.astype(np.int16), GRID)


def step(module, layout, settings, cases, token, **more) -> None:
    given = {"study": layout, "experiment": "otsu", "cases": cases, "threads": 1, "tuned": None, "token": token}
    module.run(argparse.Namespace(settings=settings.model_dump_json(), **(given | more)))


@pytest.fixture
def layout(tmp_path):
    """Two cases and one that was rejected, segmented by a threshold."""
    layout = study_of(tmp_path, *[case_of(f"p{n}_ct1", fold=str(n % 2)) for n in range(3)])
    for number in range(2):
        write_case(layout, f"p{number}_ct1", image=bright_box(number))
    write_sidecar(layout.case("p2_ct1") / "image.json", refused("convert", "MISSING_SLICE"))
    for fold in "01":
        write_json(layout.members(fold), {"train": [], "validation": []})
    settings = ExperimentStage(classes=["tumour"], channels=["image"], experiment=OTSU)
    cases = [f"p{n}_ct1" for n in range(3)]
    step(predict, layout, settings, cases, layout.token("predict", "f0-b0001", "otsu"))
    return layout


def settings_of(**more) -> StabilityStage:
    told = StabilitySettings(**({"transformations": EVERYTHING} | more))
    return StabilityStage(classes=["tumour"], channels=["image"], experiment=OTSU, preprocess=None, stability=told)


def test_a_threshold_is_moved_by_no_flip_and_no_quarter_turn(layout):
    before = {path: path.stat().st_mtime_ns for path in sorted(layout.root.rglob("*")) if path.is_file()}
    token = layout.token("stability", "f0-b0001", "otsu")
    step(stability, layout, settings_of(), ["p0_ct1", "p1_ct1", "p2_ct1"], token)
    for name in ("p0_ct1", "p1_ct1"):
        found = read_json(layout.prediction("otsu", "untrained", name) / "stability.json")["stability"]
        assert list(found) == sorted(EVERYTHING)
        assert {found[change]["tumour"] for change in MOVED} == {1.0}
        # The box is far brighter than the noise; half its border voxels are mixed with the background.
        assert found["noise"]["tumour"] > 0.9
        assert 0.3 < found["resolution"]["tumour"] < 1.0
    gone = read_json(layout.prediction("otsu", "untrained", "p2_ct1") / "stability.json")
    assert (gone["status"], gone["reason"]) == ("rejected", "MISSING_SLICE")
    # Nothing of the study was touched, and nothing of the scratch study is left.
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert list((layout.root / ".scratch").iterdir()) == []


def test_the_table_has_a_row_for_each_change_and_the_summary_counts_what_stands_behind(layout):
    token = layout.token("stability", "f0-b0001", "otsu")
    step(stability, layout, settings_of(), ["p0_ct1", "p1_ct1", "p2_ct1"], token)
    told = SimpleNamespace(
        study="s",
        classes=["tumour"],
        experiment_names=["otsu"],
        statistics=StatisticsSettings(bootstrap=100),
        stability=StabilitySettings(transformations=EVERYTHING, cases=9),
    )
    tables = stability_tables(layout, told)
    rows, summary = tables["stability"], tables["stability_summary"].set_index("transformation")
    assert len(rows) == 2 * len(EVERYTHING)
    assert (rows["reason"] == "").all()
    flip = summary.loc["flip_x"]
    assert (flip["n_cases"], flip["n_subjects"], flip["mean"], flip["ci_low"], flip["ci_high"]) == (2, 2, 1, 1, 1)
    noise = rows.loc[rows["transformation"] == "noise", "stability"]
    assert summary.loc["noise", "mean"] == pytest.approx(noise.mean())
    # Fewer cases are asked for: what was measured before does not count.
    told.stability = StabilitySettings(transformations=EVERYTHING, cases=1)
    assert stability_tables(layout, told)["stability"]["case"].nunique() <= 1
    told.stability = None
    assert stability_tables(layout, told)["stability"].empty


def test_where_nothing_is_found_there_is_no_dice_and_it_says_so(layout):
    write_case(layout, "p0_ct1", image=Volume(np.zeros(GRID.shape, np.int16), GRID))
    told = ThresholdMethod(method="threshold", rule="fixed", low=500)
    nothing = ExperimentStage(classes=["tumour"], channels=["image"], experiment=told)
    step(predict, layout, nothing, ["p0_ct1"], layout.token("predict", "f0-b0001", "otsu"))
    settings = settings_of(transformations=["flip_x"]).model_copy(update={"experiment": told})
    step(stability, layout, settings, ["p0_ct1"], layout.token("stability", "f0-b0001", "otsu"))
    found = read_json(layout.prediction("otsu", "untrained", "p0_ct1") / "stability.json")
    assert found["stability"] == {"flip_x": {"tumour": None}}


def test_cases_are_of_as_many_subjects_as_possible_and_a_new_one_moves_no_other():
    cases = [case_of(f"s{n // 3}_ct{n % 3}") for n in range(30)]
    chosen = some_of(cases, 10, seed=1)
    assert {name.partition("_")[0] for name in chosen} == {f"s{n}" for n in range(10)}
    assert set(some_of(cases, 4, seed=1)) < set(chosen)
    assert some_of(cases, 4, seed=3) != some_of(cases, 4, seed=1)
    assert some_of(cases[:2], 10, seed=1) == ["s0_ct0", "s0_ct1"]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small network on two channels, trained and applied; the last case lacks a channel."""
    layout = study_with_channels(tmp_path_factory.mktemp("study"))
    prepare(layout)
    settings = ExperimentStage(classes=["lesion"], channels=CHANNELS, experiment=NETWORK)
    where = {"experiment": "unet", "token": layout.model("unet", "0", 1) / "train.json"}
    run_step(train, layout, settings, **where, fold="0", seed=1, upstream="")
    write_json(layout.members("1"), {"train": [], "validation": []})
    token = layout.token("predict", "f0-b0001", "unet")
    run_step(predict, layout, settings, experiment="unet", cases=HELD_OUT, token=token)
    return layout


def test_a_network_goes_through_model_space_again_and_is_nearly_stable(network):
    told = StabilitySettings(transformations=["flip_x", "rotate_90", "noise", "resolution"], noise=0.02)
    settings = StabilityStage(classes=["lesion"], channels=CHANNELS, experiment=NETWORK, preprocess={}, stability=told)
    token = network.token("stability", "f0-b0001", "unet")
    run_step(stability, network, settings, experiment="unet", cases=HELD_OUT[:1], token=token)
    found = read_json(network.prediction("unet", MODEL, HELD_OUT[0]) / "stability.json")["stability"]
    assert list(found) == ["flip_x", "noise", "resolution", "rotate_90"]
    for change in ("flip_x", "rotate_90", "noise"):
        assert 0.8 < found[change]["lesion"] <= 1.0, change
    assert found["resolution"]["lesion"] > 0.5
    assert (network.prediction("unet", MODEL, HELD_OUT[0]) / "raw.zarr").exists()
    assert not (network.prediction("unet", MODEL, HELD_OUT[0]) / "post.json").exists()


def test_without_a_change_a_network_repeats_itself_exactly(network, monkeypatch):
    """The way through the scratch study is the way of the study: an image that did not change has Dice 1."""
    monkeypatch.setattr("cohortseg.preprocess.perturb.transformed", lambda name, volume, strength: volume)
    monkeypatch.setattr("cohortseg.preprocess.perturb.taken_back", lambda name, label, grid: label.array)
    told = StabilitySettings(transformations=["flip_x"], seed=5)
    settings = StabilityStage(classes=["lesion"], channels=CHANNELS, experiment=NETWORK, preprocess={}, stability=told)
    token = network.token("stability", "f0-b0001", "unet")
    run_step(stability, network, settings, experiment="unet", cases=HELD_OUT[1:2], token=token)
    folder = network.prediction("unet", MODEL, HELD_OUT[1])
    assert read_json(folder / "stability.json")["stability"] == {"flip_x": {"lesion": 1.0}}
    assert store.read_volume(folder / "raw.zarr").array.any()
