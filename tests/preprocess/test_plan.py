import json
import os
from pathlib import Path

import numpy as np
import pytest
from fingerprint_phantom import fingerprint_of, plan_of, with_channels

from cohortseg.errors import SettingsError
from cohortseg.io.itk import read_image, read_label
from cohortseg.preprocess.drift import drift
from cohortseg.preprocess.fingerprint import case_fingerprint
from cohortseg.preprocess.intensity import normaliser
from cohortseg.preprocess.plan import make_plan, model_spacing, normalisation_numbers
from cohortseg.volume import Grid


def test_spacing_is_the_median_where_voxels_are_nearly_cubes():
    plan = plan_of([fingerprint_of(s) for s in ((1.0, 0.8, 0.7), (1.5, 0.6, 0.9), (2.0, 0.7, 0.8))])
    assert plan["spacing_mm"]["value"] == [1.5, 0.7, 0.8]


def test_a_coarse_axis_takes_the_10th_percentile_of_the_cohort():
    plan = plan_of([fingerprint_of((z, 0.7, 0.9)) for z in range(1, 12)])
    assert plan["spacing_mm"]["value"] == [2.0, 0.7, 0.9]  # median 6
    assert "along z" in plan["spacing_mm"]["because"]


def test_a_coarse_axis_never_becomes_finer_than_the_others():
    plan = plan_of([fingerprint_of((z, 0.7, 0.9)) for z in (0.2, 6.0, 6.5)] * 2)
    assert plan["spacing_mm"]["value"][0] == pytest.approx(max(0.9, np.percentile([0.2, 0.2, 6, 6, 6.5, 6.5], 10)))


def test_slice_networks_leave_the_distance_of_slices_alone():
    plan = plan_of([fingerprint_of((5.0, 0.8, 0.7)), fingerprint_of((1.0, 0.6, 0.5))], dims=2)
    assert plan["spacing_mm"]["value"] == [None, 0.7, 0.6]
    assert model_spacing(plan, (3.3, 9.0, 9.0)) == (3.3, 0.7, 0.6)
    assert len(plan["patch"]["value"]) == len(plan["network"]["alignment"]) == 2


def test_the_settings_win():
    plan = plan_of([fingerprint_of((1, 1, 1))], spacing_mm=(3.0, 1.5, 1.25))
    assert model_spacing(plan, (1, 1, 1)) == (3.0, 1.5, 1.25)
    assert plan["shape"]["value"] == [2, 5, 7]


def test_shape_is_the_median_after_resampling():
    sizes = {(6, 8, 9): 2.0, (30, 10, 20): 1.0, (90, 11, 70): 1.5}
    plan = plan_of([fingerprint_of((z_mm, 1.0, 1.0), shape) for shape, z_mm in sizes.items()])
    assert plan["spacing_mm"]["value"][0] == 1.5
    assert plan["shape"]["value"] == [20, 10, 20]  # planes: 8, 20, 90


def test_ct_is_clipped_to_the_pooled_foreground_each_case_counting_the_same():
    plan = plan_of([fingerprint_of((1, 1, 1), tumour_hu=t) for t in (0, 100)])
    numbers = plan["normalisation"]["image"]["numbers"]
    assert plan["normalisation"]["image"]["name"] == "ct"
    assert (numbers["low"], numbers["high"]) == (-4, 104)
    values = np.concatenate([t + np.arange(24) % 9 - 4 for t in (0, 100)])
    assert numbers["mean"] == pytest.approx(values.mean(), abs=1e-4)
    assert numbers["sd"] == pytest.approx(values.std(), abs=1e-4)


def test_a_case_with_a_large_foreground_counts_no_more_than_another():
    grid = Grid((6, 8, 9), (1, 1, 1), (0, 0, 0))
    cases = []
    for value, thick in ((0, 5), (100, 1)):
        label = np.zeros(grid.shape, np.uint8)
        label[:thick] = 1
        cases.append(case_fingerprint({"image": np.full(grid.shape, value, np.int16)}, label, grid, n_classes=1))
    assert plan_of(cases)["normalisation"]["image"]["numbers"]["mean"] == 50


def test_ct_without_labels_uses_all_voxels():
    plan = plan_of([fingerprint_of((1, 1, 1), with_label=False)])
    assert plan["normalisation"]["image"]["numbers"]["low"] < -150
    assert "all voxels" in plan["normalisation"]["image"]["because"]


def test_a_window_has_the_mean_and_sd_of_what_it_shows():
    case = fingerprint_of((1, 1, 1), (12, 14, 16), seed=5)
    plan = plan_of([case], window_hu=(-50, 80))
    image = np.random.default_rng(5).normal(0, 100, (12, 14, 16)).round()
    image[image == 0] = 1
    image[2:4, 3:6, 1:5] = (60 + np.arange(24) % 9 - 4).reshape(2, 3, 4)
    shown = np.clip(image, -50, 80)
    numbers = plan["normalisation"]["image"]["numbers"]
    assert plan["normalisation"]["image"]["name"] == "window"
    assert (numbers["low"], numbers["high"]) == (-50, 80)
    assert numbers["mean"] == pytest.approx(shown.mean(), abs=0.5)
    assert numbers["sd"] == pytest.approx(shown.std(), abs=0.5)


def test_in_a_picture_black_is_a_shade_like_any_other():
    cases = [fingerprint_of((1, 1, 1), seed=i, empty_share=0.5) for i in range(3)]
    for modality in ("US", "SM", "GM", "XC", "ES"):
        chosen = plan_of(cases, modality=modality)["normalisation"]["image"]
        assert (chosen["name"], chosen["group"]) == ("zscore", "whole")
        assert "picture" in chosen["because"]


# ---- several channels -----------------------------------------------------------------------------------------------

BOTH = {"ct": "CT", "pet": "PT"}


def cases_with_pet(n=4, missing=()):
    """CT of about 0 HU, PET of about 60 in the tumour of other voxels."""
    return [
        with_channels(
            fingerprint_of((1, 1, 1), seed=i), pet=None if i in missing else fingerprint_of((1, 1, 1), seed=90 + i)
        )
        for i in range(n)
    ]


def test_each_channel_is_normalised_by_its_own_modality_as_if_it_were_alone():
    cases = cases_with_pet()
    plan = plan_of(cases, modalities=BOTH)
    assert plan["channels"] == ["ct", "pet"]
    assert plan["modality"] == BOTH
    for channel, modality in BOTH.items():
        alone = [case | {"channels": {"image": case["channels"][channel]}} for case in cases]
        assert plan["normalisation"][channel] == plan_of(alone, modality=modality)["normalisation"]["image"]
        numbers = normalisation_numbers(plan, cases[0], channel)
        assert set(numbers) == ({"low", "high", "mean", "sd"} if channel == "ct" else {"mean", "sd"})


def test_a_window_is_for_the_ct_beside_other_channels_and_for_all_where_there_is_none():
    cases = cases_with_pet()
    for options in ({"window_hu": (-50, 80)}, {"normalisation": "ct"}):
        found = plan_of(cases, modalities=BOTH, **options)["normalisation"]
        assert found["pet"]["name"] == "zscore"
        assert found["ct"]["name"] == ("window" if "window_hu" in options else "ct")
    found = plan_of(cases, modalities={"ct": "MR", "pet": "PT"}, normalisation="ct")["normalisation"]
    assert [found[name]["name"] for name in ("ct", "pet")] == ["ct", "ct"]
    found = plan_of(cases, modalities=BOTH, normalisation="percentile")["normalisation"]
    assert [found[name]["name"] for name in ("ct", "pet")] == ["percentile", "percentile"]


def test_cases_without_a_channel_have_no_say_in_it():
    cases = cases_with_pet(5, missing=(1, 3))
    having = [cases[i] for i in (0, 2, 4)]
    ours, theirs = (plan_of(found, modalities={"ct": "CT", "pet": "CT"}) for found in (cases, having))
    assert ours["normalisation"]["pet"] == theirs["normalisation"]["pet"]
    assert ours["normalisation"]["ct"] != theirs["normalisation"]["ct"]
    assert ours["seen"]["n_cases"] == ours["seen"]["n_with_foreground"] == 5


def test_a_channel_that_no_case_has_makes_no_plan():
    with pytest.raises(SettingsError, match="'pet': none of the 2 cases"):
        plan_of(cases_with_pet(2, missing=(0, 1)), modalities=BOTH)


# ---- single slices --------------------------------------------------------------------------------------------------


def test_pictures_are_planned_in_the_plane_whatever_their_z_says():
    plans = [plan_of([fingerprint_of((z, 0.5, 0.4), (1, 70, 90))], dims=2, modality="SM") for z in (0.01, 1.0, 40.0)]
    for key in ("patch", "network", "spacing_mm", "shape", "normalisation"):
        assert plans[0][key] == plans[1][key] == plans[2][key]
    assert plans[0]["shape"]["value"] == [1, 70, 90]
    assert all(len(level["stride"]) == 2 for level in plans[0]["network"]["levels"])


def test_single_slices_have_no_volumetric_plan():
    with pytest.raises(SettingsError, match=r"plan\.dims: 3 needs volumes"):
        plan_of([fingerprint_of((1.0, 0.5, 0.4), (1, 70, 90))])


@pytest.mark.parametrize("modality", ["MR", "PT", "US"])
def test_other_modalities_are_normalised_by_their_own_numbers(modality):
    plan = plan_of([fingerprint_of((1, 1, 1))], modality=modality)
    assert plan["normalisation"]["image"]["name"] == "zscore"
    new = fingerprint_of((1, 1, 1), seed=9)
    whole = new["channels"]["image"]["intensity"]["whole"]
    assert normalisation_numbers(plan, new, "image") == {"mean": whole["mean"], "sd": whole["sd"]}


def test_empty_background_is_left_out_of_the_numbers_of_an_mr():
    cases = [fingerprint_of((1, 1, 1), seed=i, empty_share=0.5) for i in range(3)]
    plan = plan_of(cases, modality="MR")
    assert plan["normalisation"]["image"]["group"] == "nonzero"
    assert (
        normalisation_numbers(plan, cases[0], "image")["mean"]
        == cases[0]["channels"]["image"]["intensity"]["nonzero"]["mean"]
    )


def test_percentiles_are_the_cases_own():
    case = fingerprint_of((1, 1, 1))
    plan = plan_of([case], normalisation="percentile", modality="MR")
    whole = case["channels"]["image"]["intensity"]["whole"]
    assert normalisation_numbers(plan, case, "image") == {"low": whole["p00_5"], "high": whole["p99_5"]}


@pytest.mark.parametrize("name", ["ct", "zscore", "percentile", "none", "window"])
def test_a_cohort_of_one_single_value_can_still_be_normalised(name):
    images = {"image": np.full((3, 4, 5), 7, np.int16)}
    flat = case_fingerprint(images, None, Grid((3, 4, 5), (1, 1, 1), (0, 0, 0)), n_classes=1)
    plan = plan_of([flat], normalisation=name, window_hu=(-9, 9) if name == "window" else None)
    numbers = normalisation_numbers(plan, flat, "image")
    found = normaliser(plan["normalisation"]["image"]["name"], numbers)(np.full((3, 4, 5), 7, np.int16))
    assert np.unique(found).tolist() == [7 if name == "none" else 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalisation": "zscore", "window_hu": (0, 1)}, "window_hu goes with"),
        ({"normalisation": "window"}, "needs window_hu"),
        ({"window_hu": (5, 1)}, "low must be below high"),
        ({"normalisation": "histogram"}, "choices"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        plan_of([fingerprint_of((1, 1, 1))], **options)


def test_no_case_makes_no_plan():
    with pytest.raises(SettingsError, match="at least one"):
        plan_of([])


def test_the_order_of_the_cases_plays_no_part_and_the_plan_is_json():
    cases = [fingerprint_of((1 + i / 3, 0.7, 0.8 + i / 50), seed=i, tumour_hu=30 * i) for i in range(7)]
    names = [f"case-{i}" for i in range(7)]
    texts = set()
    for turn in (0, 3, 5):
        order = [(i + turn) % 7 for i in range(7)]
        plan = make_plan([cases[i] for i in order], cases=[names[i] for i in order], dims=3, modalities={"image": "CT"})
        texts.add(json.dumps(plan, allow_nan=False))
    assert len(texts) == 1
    assert json.loads(texts.pop())["seen"]["cases"] == names


def test_every_decision_says_why():
    plan = plan_of([fingerprint_of((1, 1, 1))])
    for decision in (
        *(plan[key] for key in ("spacing_mm", "shape", "patch", "network")),
        plan["normalisation"]["image"],
    ):
        assert len(decision["because"]) > 10


DATA = Path(os.environ.get("COHORTSEG_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.data
def test_hippocampi_are_held_whole_and_half_of_them_are_familiar_to_a_plan_of_the_others():
    found = []
    for path in sorted((DATA / "hippocampus" / "images").iterdir())[:40]:
        image = read_image(path)
        label, _ = read_label(DATA / "hippocampus" / "labels" / path.name, image.grid, {"anterior": 1, "posterior": 2})
        found.append(case_fingerprint({"image": image.array}, label, image.grid, n_classes=2))
    plan = plan_of(found[::2], modality="MR")
    assert plan["spacing_mm"]["value"] == [1, 1, 1]
    assert plan["patch"]["value"] == [40, 56, 40]
    assert plan["network"]["alignment"] == [8, 8, 8]
    assert plan["normalisation"]["image"]["name"] == "zscore"
    assert plan["seen"]["classes"] == [1, 2]
    assert sum(drift(plan, case) == [] for case in found[1::2]) >= 18


# ---- the machine it is made for -------------------------------------------------------------------------------------


def test_a_plan_for_a_gpu_has_larger_patches_and_more_features():
    large = [fingerprint_of((1, 1, 1), (200, 210, 220), with_label=False)]
    small, big = (plan_of(large, device=device) for device in ("cpu", "gpu"))
    assert small["patch"]["voxels"] <= 110_592 < big["patch"]["voxels"] <= 2_097_152
    assert [plan["network"]["levels"][0]["features"] for plan in (small, big)] == [16, 32]
    with pytest.raises(SettingsError, match="choices: cpu, gpu"):
        plan_of(large, device="tpu")


def test_planes_get_smaller_patches_and_more_of_them_in_a_step_of_a_cpu():
    large = [fingerprint_of((1, 1, 1), (20, 600, 620), with_label=False)]
    small, big = (plan_of(large, dims=2, device=device) for device in ("cpu", "gpu"))
    assert [plan["patch"]["value"] for plan in (small, big)] == [[128, 128], [512, 512]]
    assert [plan["batch"]["value"] for plan in (small, big)] == [6, 15]
    assert [plan["network"]["levels"][0]["features"] for plan in (small, big)] == [16, 32]


def test_small_patches_come_in_larger_batches():
    large = [fingerprint_of((1, 1, 1), (200, 210, 220), with_label=False)]
    assert plan_of(large, patch_voxels=40_000)["batch"]["value"] == 200_000 // (32 * 32 * 32)
    assert plan_of(large, patch_voxels=200_000)["batch"]["value"] == 2
    assert plan_of(large, patch_voxels=400_000)["batch"]["value"] == 2


def test_the_settings_voxel_size_is_kept_whatever_a_patch_sees():
    large = [fingerprint_of((1, 1, 1), (90, 80, 70))]
    assert plan_of(large, spacing_mm=(1.0, 1.0, 1.0), patch_voxels=4096)["spacing_mm"]["value"] == [1, 1, 1]
