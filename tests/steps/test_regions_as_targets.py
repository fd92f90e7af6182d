"""Regions, unions of classes that may lie in each other: settings, targets, losses, decoding and metrics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from study_by_hand import GRID, case_of, sidecar_of, study_of, write_case, write_prediction, write_sidecar
from torch.nn.functional import binary_cross_entropy_with_logits

from cohortseg.errors import SettingsError
from cohortseg.ignored import IGNORE
from cohortseg.infer.networks import forward_of
from cohortseg.infer.regions import Regions, classes_from
from cohortseg.io import store
from cohortseg.metrics.case import case_metrics
from cohortseg.metrics.regions import Summed, holds
from cohortseg.settings import MetricSettings, Study, load_study
from cohortseg.settings.regions import check_regions, decoded_as, labels_of
from cohortseg.stages import EvaluateStage, stage_settings
from cohortseg.steps.evaluate import evaluate
from cohortseg.steps.predict import Result
from cohortseg.train.losses import LOSSES, one_hot, soft_dice
from cohortseg.train.patches import Case, foreground_rows
from cohortseg.train.regions import per_region, region_target
from cohortseg.train.shape_losses import SHAPE_LOSSES
from cohortseg.train.validate import validation
from cohortseg.volume import Volume

CLASSES = ["oedema", "core", "enhancing"]
NESTED = {"whole": CLASSES, "inner": ["core", "enhancing"], "enhancing": ["enhancing"]}
MEMBERS = [[1, 2, 3], [2, 3], [3]]
REGIONS = Regions(list(NESTED), MEMBERS, [1, 2, 3])


def study(regions=NESTED, **net) -> Study:
    values = {name: number for number, name in enumerate(CLASSES, start=1)}
    labels = {"kind": "files", "files": "(?P<subject>.)", "values": values}
    experiments = {
        "net": {"method": "unet", "targets": "regions"} | net,
        "plain": {"method": "unet"},
        "forest": {"method": "forest"},
    }
    cohort = {"source": ".", "images": "(?P<subject>.)", "labels": labels}
    return load_study({"study": "s", "cohort": cohort, "regions": regions, "experiments": experiments})


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("regions", "says"),
    [
        ({"whole": []}, "names no class"),
        ({"whole": ["oedema", "cyst"]}, "no class 'cyst'"),
        ({"whole": ["core", "core"]}, "named twice"),
        ({"core": ["core", "enhancing"]}, "name of a class"),
        ({"whole": ["core", "oedema"], "all": ["oedema", "core"]}, "the same as 'whole'"),
    ],
)
def test_regions_that_are_no_unions_of_classes_are_refused(regions, says):
    with pytest.raises(ValueError, match=says):
        check_regions(regions, CLASSES)


@pytest.mark.parametrize(
    ("regions", "says"),
    [
        ({"whole": CLASSES, "enhancing": ["enhancing"]}, "whole: .* oedema, core are such"),
        ({"enhancing": ["enhancing"], "whole": CLASSES}, "enhancing: .* none is such.* outer regions first"),
        ({"whole": CLASSES, "a": ["oedema", "core"], "b": ["core", "oedema"]}, "a: .* none is such"),
        ({"inner": ["core", "enhancing"], "enhancing": ["enhancing"]}, "'oedema' is in none"),
    ],
)
def test_regions_that_cannot_be_decoded_are_refused(regions, says):
    with pytest.raises(ValueError, match=says):
        decoded_as(regions, CLASSES)


def test_regions_of_metrics_alone_need_no_order():
    parts = {"tumour": ["core", "enhancing"], "fluid": ["oedema", "core"]}
    check_regions(parts, CLASSES)
    assert labels_of(CLASSES, parts) == {
        **{"oedema": [1], "core": [2], "enhancing": [3]},
        **{"tumour": [2, 3], "fluid": [1, 2]},
    }


@pytest.mark.parametrize(
    ("net", "says"),
    [
        ({"loss": "weighted_cross_entropy", "loss_options": {"class_weights": [1, 1, 1, 1]}}, "weighs classes"),
        ({"loss_options": {"shape_weight": 0.1}}, "shapes of classes"),
        ({"uncertainty": True}, "uncertainty"),
        ({"threshold": 0.4}, "threshold"),
        ({"regions": {}}, "names no `regions`"),
        ({"regions": {"whole": CLASSES}}, "name the outer regions first"),
    ],
)
def test_what_networks_of_regions_cannot_do_is_refused_before_anything_runs(net, says):
    with pytest.raises(SettingsError, match=says):
        study(**net)


def test_only_networks_of_regions_depend_on_the_regions():
    one, other = study(), study({**NESTED, "fluid": ["oedema", "core"]}, targets="classes")
    for stage in ("train", "predict"):
        assert stage_settings(one, stage, "plain") == stage_settings(other, stage, "plain")
        assert stage_settings(one, stage, "forest") == stage_settings(other, stage, "forest")
        assert "inner" in stage_settings(one, stage, "net")
    assert stage_settings(one, "evaluate", "plain") != stage_settings(other, "evaluate", "plain")


# ---- targets and losses ---------------------------------------------------------------------------------------------


def test_targets_of_regions_by_hand():
    target = torch.tensor([[0, 1, 2, 3, IGNORE]])
    found = [region_target(target, numbers).tolist() for numbers in MEMBERS]
    assert found == [[[0, 1, 1, 1, 255]], [[0, 0, 1, 1, 255]], [[0, 0, 0, 1, 255]]]


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn((2, 3, 5, 6, 7), generator=generator)
    target = torch.randint(0, 4, (2, 5, 6, 7), generator=generator)
    target[0, :2] = IGNORE
    return logits, target


def test_dice_ce_is_dice_plus_binary_cross_entropy_of_each_channel(batch):
    logits, target = batch
    judged = (target != IGNORE).float()[:, None]
    classes = one_hot(target, 4)
    truth = torch.stack([classes[:, numbers].sum(dim=1) for numbers in MEMBERS], dim=1)
    overlap = soft_dice(torch.sigmoid(logits) * judged, truth).mean()
    entropy = binary_cross_entropy_with_logits(logits, truth, weight=judged.expand_as(truth), reduction="sum")
    wanted = 1 - overlap + entropy / (3 * judged.sum())
    for name in ("dice_ce", "dice_bce"):
        torch.testing.assert_close(per_region(LOSSES[name].build(), MEMBERS)(logits, target), wanted)


@pytest.mark.parametrize("name", sorted({**LOSSES, **SHAPE_LOSSES}.keys() - {"weighted_cross_entropy"}))
def test_every_loss_has_a_gradient_for_regions_and_none_where_nobody_judged(batch, name):
    logits, target = batch[0].clone().requires_grad_(), batch[1]
    options = {"spacing": [1.0, 1.0, 1.0]} if name in ("border_weighted", "boundary", "hausdorff") else {}
    per_region({**LOSSES, **SHAPE_LOSSES}[name].build(**options), MEMBERS)(logits, target).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[0, :, :2] == 0).all()
    assert all(channel.abs().sum() > 0 for channel in logits.grad.transpose(0, 1))


def test_logits_of_classes_are_no_logits_of_regions(batch):
    with pytest.raises(ValueError, match="3 logits for 2 regions"):
        per_region(LOSSES["dice_ce"].build(), [[1, 2], [2]])(*batch)


# ---- decoding -------------------------------------------------------------------------------------------------------


class Says(torch.nn.Module):
    """A network that always gives these logits, one for each region."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.view(1, -1, 1, 1).expand(len(images), -1, *images.shape[2:])


def test_outputs_are_sigmoids_and_the_background_is_what_the_largest_leaves():
    networks = [Says(0.0, float(np.log(3.0))), Says(float(np.log(3.0)), -100.0)]
    found = forward_of(networks, torch.device("cpu"), regions=True)(np.zeros((1, 1, 2, 2), np.float32))
    np.testing.assert_allclose(found[0, :, 0, 0], [(0.25 + 0.25) / 2, (0.5 + 0.75) / 2, (0.75 + 0.0) / 2], atol=1e-6)


def test_decoding_by_hand():
    #                 nothing  whole only  core  enhancing  an inner part outside of the whole  exactly one half
    whole = np.float32([0.2, 0.9, 0.9, 0.9, 0.1, 0.5])
    inner = np.float32([0.1, 0.4, 0.8, 0.6, 0.7, 0.0])
    enhancing = np.float32([0.0, 0.3, 0.2, 0.9, 0.0, 0.0])
    label = classes_from([1 - whole, whole, inner, enhancing], [1, 2, 3])
    assert label.dtype == np.uint8
    assert label.tolist() == [0, 1, 2, 3, 2, 0]


@given(st.permutations([1, 2, 3, 4]), st.integers(0, 9999))
def test_the_regions_of_a_label_give_it_back(order, seed):
    classes = [f"c{number}" for number in range(1, 5)]
    regions = {f"r{place}": [f"c{number}" for number in order[place:]] for place in range(4)}
    label = np.random.default_rng(seed).integers(0, 5, 200).astype(np.uint8)
    members = [[int(name[1:]) for name in own] for own in regions.values()]
    masks = [holds(label, numbers).astype(np.float32) for numbers in members]
    decoded = [int(name[1:]) for name in decoded_as(regions, classes)]
    np.testing.assert_array_equal(classes_from([1 - masks[0], *masks], decoded), label)


class Block:
    """One block of a background and the probabilities of regions."""

    def __init__(self, channels: np.ndarray) -> None:
        self.first, self.stop, self.channels = 0, channels.shape[1], channels

    def channel(self, number: int) -> np.ndarray:
        return self.channels[number]


def test_probabilities_are_counted_by_region():
    random = np.random.default_rng(3)
    truth = random.integers(0, 4, GRID.shape).astype(np.uint8)
    channels = random.random((4, *GRID.shape)).astype(np.float32)
    result = Result(3, None, {}, REGIONS)
    ((_, label),) = result.labels(iter([Block(channels)]), truth)
    np.testing.assert_array_equal(label, classes_from(iter(channels), [1, 2, 3]))
    record = result.record()
    assert record["regions"] == ["whole", "inner", "enhancing"]
    assert [sum(line[1]) for line in record["probabilities"]] == [(truth >= n).sum() for n in (1, 2, 3)]
    sums = np.array(record["probability_sums"][0]).sum(axis=-1)
    assert sums[0, 1] == pytest.approx(channels[1][truth > 0].sum(), rel=1e-5)


def test_validation_scores_regions_and_knows_their_loss():
    label = np.zeros((1, 8, 8), np.uint8)
    label[0, 1:7, 1:7], label[0, 2:6, 2:6], label[0, 3:5, 3:5] = 1, 2, 3
    case = Case(np.zeros(label.shape, np.float32), label, foreground_rows(label))
    loss = per_region(LOSSES["dice_ce"].build(), MEMBERS)
    validate = validation([case], patch=(1, 8, 8), n_classes=4, loss=loss, regions=REGIONS)
    row = validate(Says(2.0, -1.0, -1.0))  # all is whole tumour, of class 1
    assert row["dice_1"] == pytest.approx(2 * 36 / (36 + 64))
    assert row["dice_2"] == row["dice_3"] == 0.0
    logits = torch.tensor([2.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert row["validation_loss"] == pytest.approx(float(loss(logits, torch.from_numpy(label).long())), rel=1e-5)


# ---- metrics --------------------------------------------------------------------------------------------------------


def scored(root: Path, reference: Volume, prediction: Volume, stored: np.ndarray | None = None, **record) -> dict:
    layout = study_of(root, case_of("sub-1_ct1"))
    write_case(layout, "sub-1_ct1", label=reference)
    write_prediction(layout, "net", "fold-0-seed-1/sub-1_ct1", prediction)
    folder = layout.prediction("net", "fold-0-seed-1", "sub-1_ct1")
    write_sidecar(folder / "raw.json", sidecar_of("predict", **record))
    write_sidecar(folder / "post.json", sidecar_of("postprocess", n_voxels_changed=0))
    if stored is not None:
        names = [f"class {number}" for number in range(len(stored))]
        with store.new_store(folder / "probabilities.zarr") as part:
            store.create(part, GRID, np.float16, name="probabilities", channels=names)[:] = stored
    stage = EvaluateStage(classes=CLASSES, regions=NESTED, metrics=MetricSettings())
    return evaluate(layout, "net", "fold-0-seed-1/sub-1_ct1", stage)


@pytest.fixture
def pair() -> tuple[Volume, Volume]:
    random = np.random.default_rng(5)
    reference, prediction = (random.integers(0, 4, GRID.shape).astype(np.uint8) for _ in range(2))
    reference[2:, :3] = IGNORE
    return Volume(reference, GRID), Volume(prediction, GRID)


def test_metrics_of_a_region_are_those_of_the_union_of_its_classes(tmp_path, pair):
    reference, prediction = pair
    found = scored(tmp_path, reference, prediction)["metrics"]["raw"]
    assert list(found) == ["oedema", "core", "enhancing", "whole", "inner"]
    judged = reference.array != IGNORE
    for name, numbers in (("whole", [1, 2, 3]), ("inner", [2, 3]), ("enhancing", [3]), ("oedema", [1])):
        ours, theirs = (np.isin(volume.array, numbers) & judged for volume in pair)
        settings = MetricSettings()
        wanted = case_metrics(ours, theirs, spacing_mm=GRID.spacing_mm, nsd_tolerance_mm=settings.nsd_tolerance_mm)
        for metric in ("dice", "hd95_mm", "nsd", "reference_ml", "n_lesions_prediction", "added_path_mm"):
            assert found[name][metric] == pytest.approx(wanted[metric]), (name, metric)


def test_lesions_of_a_region_get_the_sum_of_the_probabilities_of_its_classes(tmp_path, pair):
    random = np.random.default_rng(6)
    stored = random.dirichlet(np.ones(4), GRID.shape).transpose(3, 0, 1, 2).astype(np.float16)
    found = scored(tmp_path, *pair, stored)["lesions"]["raw"]["inner"]
    union = stored[2].astype(np.float32) + stored[3].astype(np.float32)
    mask = np.isin(pair[1].array, [2, 3]) & (pair[0].array != IGNORE)
    largest = max(line["max_probability"] for line in found if line["side"] == "prediction")
    assert largest == pytest.approx(float(union[mask].max()), rel=1e-6)


def test_a_network_of_regions_has_probabilities_of_regions_alone(tmp_path, pair):
    random = np.random.default_rng(7)
    channels = random.random((4, *GRID.shape)).astype(np.float16)
    result = Result(3, None, {}, REGIONS)
    list(result.labels(iter([Block(channels.astype(np.float32))]), pair[0].array))
    found = scored(tmp_path, *pair, channels, **result.record())
    rows = found["metrics"]["raw"]
    assert all(np.isfinite(rows[name]["brier"]) for name in ("whole", "inner", "enhancing"))
    assert all(np.isnan(rows[name]["brier"]) for name in ("oedema", "core"))
    judged = pair[0].array != IGNORE
    wanted = np.mean((channels[1].astype(np.float32) - (pair[0].array > 0))[judged] ** 2)
    assert rows["whole"]["brier"] == pytest.approx(float(wanted), rel=1e-4)
    shown = {name: [line["max_probability"] for line in lines] for name, lines in found["lesions"]["raw"].items()}
    assert np.isnan(shown["core"]).all()
    assert not np.isnan(shown["whole"]).all()


def test_a_sum_is_read_where_it_is_asked_for():
    channels = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float16)
    summed = Summed(list(channels))
    assert summed[1:2, :, 2:4].shape == (1, 4, 2)
    np.testing.assert_allclose(summed[1:2], channels[:, 1:2].astype(np.float32).sum(axis=0))
