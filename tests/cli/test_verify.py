"""Verifying finds damage that nobody else looks for, and mending lets the workflow make it again."""

import argparse

import numpy as np
import pytest
from study_by_hand import (
    GRID,
    case_of,
    image_of,
    label_of,
    refused,
    sidecar_of,
    study_of,
    write_case,
    write_prediction,
    write_sidecar,
    write_token,
)

from cohortseg.cli.verify import run
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, write_json

MODEL = "fold-0-seed-1"
CASES = ("p1_ct1", "p2_ct1", "p3_ct1")


@pytest.fixture
def layout(tmp_path):
    """Two good cases, one of them labelled; one refused; one trained model with its predictions."""
    import torch

    from cohortseg.infer.weights import save_weights

    layout = study_of(tmp_path, *[case_of(name) for name in CASES])
    write_case(layout, "p1_ct1", label=label_of())
    write_case(layout, "p2_ct1")
    write_sidecar(layout.case("p3_ct1") / "image.json", refused("convert", "MISSING_SLICE"))
    for seed, name in enumerate(CASES[:2]):
        content = store.write_volume(layout.case(name) / "prepared.zarr", image_of(seed))
        write_sidecar(layout.case(name) / "prepared.json", sidecar_of("preprocess", content))
        write_prediction(layout, "done", f"{MODEL}/{name}")
    for stage in ("convert", "preprocess"):
        write_token(layout, stage, "b0001", list(CASES))
    write_token(layout, "predict", "f0-b0001", [f"{MODEL}/{name}" for name in CASES[:2]], "done")
    folder = layout.model("done", "0", 1)
    weights = save_weights(folder / "weights.safetensors", torch.nn.Linear(2, 3), {"architecture": "unet"})
    record = sidecar_of("train", weights, weights=weights)
    write_sidecar(folder / "train.json", record)
    write_json(folder / "done.json", record)
    return layout


def verify(layout, *, mend=False) -> None:
    run(argparse.Namespace(study=layout.root, mend=mend))


def damage(folder) -> None:
    """Cut a file of voxels short."""
    shard = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json")[0]
    shard.write_bytes(shard.read_bytes()[:10])


def test_a_sound_study_is_sound(layout, capsys):
    verify(layout)
    # 2 images, 1 label, 2 prepared, 2 raw, 2 post, 1 model.
    assert capsys.readouterr().err == "verify: 10 stores, 0 damaged\n"


@pytest.mark.parametrize(
    "place",
    [
        "cases/p1_ct1/image.zarr",
        "cases/p1_ct1/label.zarr",
        "cases/p2_ct1/prepared.zarr",
        f"experiments/done/{MODEL}/cases/p1_ct1/raw.zarr",
        f"experiments/done/{MODEL}/cases/p2_ct1/post.zarr",
    ],
)
def test_a_damaged_store_is_named_and_fails(layout, capsys, place):
    damage(layout.root / place)
    with pytest.raises(StudyError, match=r"^1 of 10 stores are damaged; .* --mend"):
        verify(layout)
    assert capsys.readouterr().err.startswith(f"{place}: damaged store")


def test_the_stores_of_all_channels_and_of_numbered_objects_are_read_again(layout, capsys):
    folder = layout.case("p2_ct1")
    record = read_json(folder / "image.json")
    for seed, path in enumerate([*layout.images("p2_ct1", ["ct", "pet", "mr"])[1:], folder / "instances.zarr"]):
        record["contents"][path.stem] = store.write_volume(path, image_of(seed + 5))
    write_json(folder / "image.json", record)
    verify(layout)
    assert capsys.readouterr().err == "verify: 13 stores, 0 damaged\n"
    damage(folder / "image-mr.zarr")
    with pytest.raises(StudyError, match="1 of 13"):
        verify(layout)
    assert capsys.readouterr().err.startswith("cases/p2_ct1/image-mr.zarr: damaged store")


def test_damage_in_any_channel_of_model_space_is_seen(layout, capsys):
    path = layout.case("p1_ct1") / "prepared.zarr"
    with store.new_store(path) as part:
        array = store.create(part, GRID, np.float16, channels=["ct", "pet"])
        array[:] = np.random.default_rng(1).normal(size=array.shape)
        content = store.content_digest(part)
    write_sidecar(layout.case("p1_ct1") / "prepared.json", sidecar_of("preprocess", content))
    verify(layout)
    capsys.readouterr()
    shards = sorted(one for one in (path / "0").rglob("*") if one.is_file() and one.name != "zarr.json")
    assert len(shards) == 2
    shards[1].unlink()
    with pytest.raises(StudyError, match="1 of 10"):
        verify(layout)
    assert capsys.readouterr().err == "cases/p1_ct1/prepared.zarr: content differs from its sidecar\n"


def test_a_store_that_is_gone_is_missing(layout, capsys):
    store.remove(layout.case("p1_ct1") / "label.zarr")
    with pytest.raises(StudyError, match="1 of 10"):
        verify(layout)
    assert capsys.readouterr().err == "cases/p1_ct1/label.zarr: missing\n"


def test_a_store_of_another_scan_differs_from_its_sidecar(layout, capsys):
    store.write_volume(layout.case("p1_ct1") / "image.zarr", image_of(77))
    with pytest.raises(StudyError):
        verify(layout)
    assert capsys.readouterr().err == "cases/p1_ct1/image.zarr: content differs from its sidecar\n"


def test_damaged_weights_are_found(layout, capsys):
    path = layout.model("done", "0", 1) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StudyError, match="1 of 10"):
        verify(layout)
    assert "weights.safetensors: content differs" in capsys.readouterr().err


def test_mending_forgets_what_is_damaged_and_all_tokens_so_that_it_is_made_again(layout, capsys):
    damage(layout.case("p2_ct1") / "prepared.zarr")
    folder = layout.prediction("done", MODEL, "p1_ct1")
    damage(folder / "raw.zarr")
    verify(layout, mend=True)
    assert "removed 2 damaged results" in capsys.readouterr().err
    assert not (layout.case("p2_ct1") / "prepared.json").exists()
    assert not (folder / "raw.json").exists()
    assert not list(layout.root.glob("cohort/done/**/*.json"))
    assert not list(layout.root.glob("experiments/*/done/**/*.json"))
    # What is sound stays, also where an experiment has an unlucky name.
    assert (layout.case("p1_ct1") / "prepared.json").exists()
    assert (folder / "post.json").exists()
    assert (layout.model("done", "0", 1) / "train.json").exists()
    assert (layout.model("done", "0", 1) / "done.json").exists()
    # And a second look finds nothing: what is forgotten is no longer vouched for.
    verify(layout)


def test_mending_a_sound_study_changes_nothing(layout):
    before = {path: path.stat().st_mtime_ns for path in layout.root.rglob("*")}
    verify(layout, mend=True)
    assert {path: path.stat().st_mtime_ns for path in layout.root.rglob("*")} == before


def test_a_study_that_has_only_been_indexed_is_sound(tmp_path, capsys):
    verify(study_of(tmp_path, case_of("p1_ct1")))
    assert capsys.readouterr().err == "verify: 0 stores, 0 damaged\n"


def test_a_folder_that_is_no_study_is_said_to_be_none(tmp_path):
    with pytest.raises(StudyError, match="index"):
        run(argparse.Namespace(study=tmp_path, mend=False))
