"""Images in model space with all but the lung region set to air."""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from study_by_hand import case_of, sidecar_of, study_of, write_sidecar

from cohortseg.io import store
from cohortseg.io.sidecar import digest, write_json
from cohortseg.methods import segmenter
from cohortseg.preprocess.resample import resample
from cohortseg.settings import Study
from cohortseg.stages import FingerprintStage, PlanStage, PreprocessStage
from cohortseg.steps import fingerprint, plan, preprocess, survey
from cohortseg.volume import Volume

sys.path.insert(0, str(Path(__file__).parents[1] / "methods"))
from chest_phantom import GRID, chest

CASES = ["p1_ct1", "p2_ct1"]
REGION = {"flip_union": True, "margin": 3}


def prepared(root, isolate, bins=None):
    layout = study_of(root, *(case_of(name, fold="1") for name in CASES))
    volume, masks = chest()
    label = Volume((masks["mass"] & masks["lungs"]).astype(np.uint8), GRID)
    for name in CASES:
        folder = layout.case(name)
        contents = {
            "image": store.write_volume(folder / "image.zarr", volume),
            "label": store.write_volume(folder / "label.zarr", label, name="label"),
        }
        facts = {"modality": "CT", "grid": GRID.as_dict()}
        record = sidecar_of("convert", digest(list(contents.values())), contents=contents, facts=facts)
        write_sidecar(folder / "image.json", record)
    write_json(layout.members("0"), {"train": CASES, "validation": []})
    common = {"classes": ["tumour"], "channels": ["image"]}

    def run(step, settings):
        given = {"study": layout, "settings": settings.model_dump_json(), "cases": CASES, "threads": 1}
        step.run(argparse.Namespace(**given, token=root / "token.json"))

    run(fingerprint, FingerprintStage(**common))
    survey.run(argparse.Namespace(study=layout))
    options = {"dims": 3, "spacing_mm": (4.0, 3.0, 2.5), "normalisation": "window", "window_hu": (-1000, 400)}
    run(plan, PlanStage(**common, plan=options))
    run(preprocess, PreprocessStage(**common, preprocess={"isolate": isolate, "bins": bins}))
    return layout


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return [prepared(tmp_path_factory.mktemp(name), isolate) for name, isolate in (("plain", None), ("lungs", REGION))]


def test_outside_the_region_is_air_and_inside_nothing_changes(both):
    plain, isolated = (store.read_volume(layout.case(CASES[0]) / "prepared.zarr") for layout in both)
    assert plain.grid == isolated.grid
    volume, masks = chest()
    region = resample(segmenter("lung", REGION)(volume), GRID, plain.grid, interpolation="nearest") > 0
    assert 0.1 < region.mean() < 0.9
    np.testing.assert_array_equal(isolated.array[region], plain.array[region])
    outside = np.unique(isolated.array[~region])
    assert outside.size == 1
    # air is the low end of the window
    assert outside[0] == plain.array.min()
    tumour = resample((masks["mass"] & masks["lungs"]).astype(np.uint8), GRID, plain.grid, interpolation="nearest") > 0
    assert region[tumour].mean() > 0.95


def test_grey_levels_come_in_as_many_bins_as_the_settings_say(tmp_path, both):
    binned = np.asarray(store.read_volume(prepared(tmp_path, None, bins=8).case(CASES[0]) / "prepared.zarr").array)
    plain = np.asarray(store.read_volume(both[0].case(CASES[0]) / "prepared.zarr").array)
    assert 3 < len(np.unique(binned)) <= 8 < len(np.unique(plain))
    # air is the low end, and order is kept
    assert binned.min() == plain.min()
    values = np.unique(binned)
    for low, high in itertools.pairwise(values):  # float16 rounds the two sides of an edge to one value
        assert plain[binned == low].max() <= plain[binned == high].min() + 1e-3


def test_the_label_stays_as_it_was(both):
    one, other = (np.asarray(store.open_array(layout.case(CASES[1]) / "prepared.zarr", "label")) for layout in both)
    np.testing.assert_array_equal(one, other)


def test_a_channel_that_is_not_there_is_refused_before_any_job():
    values = {
        "study": "s",
        "cohort": {"source": "d", "labels": {"kind": "rtstruct", "structures": {"tumour": "GTV"}}},
        "experiments": {"one": {"method": "threshold"}},
        "preprocess": {"isolate": {"channel": "mr"}},
    }
    with pytest.raises(ValueError, match=r"preprocess\.isolate\.channel: no channel 'mr'"):
        Study.model_validate(values)
