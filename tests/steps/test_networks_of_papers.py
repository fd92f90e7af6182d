"""Networks of the papers through the steps: named in the settings, trained, predicted on the native grid."""

import argparse
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from study_by_hand import case_of, sidecar_of, study_of, write_sidecar

from cohortseg.errors import SettingsError
from cohortseg.infer.networks import ARCHITECTURES, build_network, extent_of, tile_for
from cohortseg.infer.weights import read_metadata
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, write_json
from cohortseg.settings import Study, UNetMethod
from cohortseg.settings.networks import NETWORK_SETTINGS, Network
from cohortseg.stages import ExperimentStage, FingerprintStage, PlanStage, PreprocessStage
from cohortseg.steps import fingerprint, plan, predict, preprocess, survey, train
from cohortseg.steps.model_space import network_of
from cohortseg.volume import Grid, Volume

GRID = Grid((3, 31, 26), (4.0, 0.9, 1.1), (-31.0, 12.5, 47.25), ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (-1.0, 0.0, 0.0)))
CASES, HELD_OUT, MODEL = ["p1_ct1", "p2_ct1", "p3_ct1"], ["p3_ct1"], "fold-0-seed-1"
TRAINED = {
    "unet_paper": {"name": "unet_paper", "features": [8, 16], "dropout": 0.0},
    "deepmedic": {"name": "deepmedic", "factors": [1, 3], "dropout": 0.0},
    "vnet": {"name": "vnet", "features": [4, 8, 16]},
    "dcan": {"name": "dcan", "features": [8, 8, 8]},
}
NOT_NAMED = {"unet", "super_resolution"}
"""The planned U-Net, and the one whose result has another size."""


def write_case(layout, name: str, seed: int) -> None:
    """A lopsided object, brighter than the noise around it, somewhere else in each case; as `convert` leaves it."""
    draw = np.random.default_rng(seed)
    label = np.zeros(GRID.shape, np.uint8)
    y, x = draw.integers(3, 12, 2)
    label[:, y : y + 11, x : x + 8] = 1
    image = (draw.normal(0, 30, GRID.shape) + 150 * label).astype(np.int16)
    folder = layout.case(name)
    contents = {
        "image": store.write_volume(folder / "image.zarr", Volume(image, GRID)),
        "label": store.write_volume(folder / "label.zarr", Volume(label, GRID), name="label"),
    }
    facts = {"modality": "CT", "grid": GRID.as_dict()}
    record = sidecar_of("convert", digest(list(contents.values())), contents=contents, facts=facts)
    write_sidecar(folder / "image.json", record)


def run(step, layout, settings, **more) -> None:
    given = {"study": layout, "settings": settings.model_dump_json(), "cases": CASES, "threads": 1}
    step.run(argparse.Namespace(**(given | {"token": layout.root / "token.json"} | more)))


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Three cases in model space for networks of planes; the last is held out."""
    made = study_of(tmp_path_factory.mktemp("study"), *[case_of(n, fold="0" if n in HELD_OUT else "1") for n in CASES])
    for seed, name in enumerate(CASES):
        write_case(made, name, seed)
    write_json(made.members("0"), {"train": CASES[:2], "validation": HELD_OUT})
    common = {"classes": ["lesion"], "channels": ["image"]}
    run(fingerprint, made, FingerprintStage(**common))
    survey.run(argparse.Namespace(study=made))
    values = common | {"plan": {"dims": 2}, "model": None}
    run(plan, made, PlanStage(**{name: values[name] for name in PlanStage.model_fields}))
    run(preprocess, made, PreprocessStage(**common, preprocess={}))
    return made


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_it_is_trained_and_finds_the_object_of_a_case_it_never_saw(layout, name):
    method = UNetMethod(method="unet", architecture=TRAINED[name], steps=80, batch=4, validate_every=80)
    settings = ExperimentStage(classes=["lesion"], channels=["image"], experiment=method)
    where = {"experiment": name, "token": layout.model(name, "0", 1) / "train.json"}
    run(train, layout, settings, **where, fold="0", seed=1, upstream="")
    run(predict, layout, settings, experiment=name, cases=HELD_OUT)
    found = store.read_volume(layout.prediction(name, MODEL, HELD_OUT[0]) / "raw.zarr").array == 1
    truth = store.read_volume(layout.case(HELD_OUT[0]) / "label.zarr").array == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7
    metadata = read_metadata(layout.model(name, "0", 1) / "weights.safetensors")
    assert metadata["architecture"] == name
    assert extent_of(name, metadata["arguments"]).fits(metadata["patch"][1:])


def test_a_part_that_the_network_lacks_cannot_be_frozen(layout):
    weights = layout.model("vnet", "0", 1) / "weights.safetensors"
    if not weights.exists():
        pytest.skip("the V-Net was not trained")
    method = UNetMethod(method="unet", architecture=TRAINED["deepmedic"], steps=1, transfer=weights, frozen=["encoder"])
    settings = ExperimentStage(classes=["lesion"], channels=["image"], experiment=method)
    where = {"experiment": "frozen", "token": layout.model("frozen", "0", 1) / "train.json"}
    with pytest.raises(SettingsError, match="part to freeze 'encoder'"):
        run(train, layout, settings, **where, fold="0", seed=1, upstream="")


def test_every_network_of_a_paper_that_gives_classes_can_be_named():
    names = {name for model in NETWORK_SETTINGS for name in model.model_fields["name"].annotation.__args__}
    assert names == set(ARCHITECTURES) - NOT_NAMED


def test_every_setting_is_described_and_reaches_the_builder(layout):
    """With its defaults each network is built by its settings; a setting the builder does not know would fail."""
    import torch

    made = read_json(layout.plan)
    for model in NETWORK_SETTINGS:
        assert all(field.description for name, field in model.model_fields.items() if name != "name")
        for name in model.model_fields["name"].annotation.__args__:
            settings = TypeAdapter(Network).validate_python({"name": name})
            found, arguments = network_of(
                made, SimpleNamespace(architecture=settings, targets="classes", cascade=None), 1
            )
            with torch.device("meta"):
                network = build_network(found, arguments, seed=1).eval()
                tile = tile_for(found, arguments, (1, 24, 20))
                result = network(torch.zeros(1, 1, *tile[1:]))
            assert result.shape[:2] == (1, 2)
            assert all(size >= planned for size, planned in zip(result.shape[2:], (24, 20), strict=True))


def test_the_settings_know_which_networks_have_no_padding(layout):
    made = read_json(layout.plan)
    for model in NETWORK_SETTINGS:
        for name in model.model_fields["name"].annotation.__args__:
            settings = TypeAdapter(Network).validate_python({"name": name})
            extent = extent_of(
                *network_of(made, SimpleNamespace(architecture=settings, targets="classes", cascade=None), 1)
            )
            assert settings.is_unpadded == extent.is_smaller, name


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"architecture": {"name": "fcn"}}, "fcn is for planes"),
        ({"architecture": {"name": "vnet"}, "encoder": "residual_small"}, "are the planned U-Net's"),
        ({"architecture": {"name": "vnet", "stride": 8}}, "stride"),
        ({"architecture": {"name": "no-net"}}, "no-net"),
        ({"architecture": {"name": "unet_paper"}, "mirror": True}, "keep the size"),
        ({"architecture": {"name": "deepmedic"}, "mirror": True}, "keep the size"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_job(change, line):
    cohort = {"source": "data", "labels": {"structures": {"lesion": "L.*"}}}
    values = {"study": "s", "cohort": cohort, "plan": {"dims": 3}, "experiments": {"a": {"method": "unet", **change}}}
    with pytest.raises(ValidationError, match=line):
        Study.model_validate(values)
