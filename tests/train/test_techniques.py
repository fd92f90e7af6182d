"""Training techniques of the documents: sparse labels, layer-wise fine-tuning, decay per epoch, their augmentations."""

import copy

import numpy as np
import pytest
import torch

from cohortseg.errors import SettingsError
from cohortseg.infer.networks import build_network
from cohortseg.settings import UNetMethod
from cohortseg.steps.objective import schedule_of
from cohortseg.train.augment import AUGMENTATIONS, Augmentation, augment
from cohortseg.train.losses import IGNORE, dice_ce
from cohortseg.train.patches import Case, foreground_rows, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import constant, per_epoch
from cohortseg.train.sparse import SparseLabel, sparse_cases
from cohortseg.train.step import initial_state, one_step
from cohortseg.train.transfer import freeze_all_but_last

# ---- sparse annotation ----------------------------------------------------------------------------------------------


def tube(n=11, every=1):
    label = np.zeros((n, 12, 13), np.uint8)
    for z in range(n):
        label[z, 3:8, 2 + z // 3 : 6 + z // 3] = 1
    image = label * 2.0 + np.random.default_rng(0).normal(0, 0.3, label.shape)
    return sparse_cases([Case(image.astype(np.float32), label, foreground_rows(label))], every)[0]


def test_each_fourth_slice_counts_from_the_middle_one():
    case = tube(11, every=4)
    whole = case.label[...]
    assert [z for z in range(11) if (whole[z] != IGNORE).any()] == [1, 5, 9]
    np.testing.assert_array_equal(whole[5], tube(11).label[5])
    assert (whole[[0, 2, 3, 4, 6, 7, 8, 10]] == IGNORE).all()
    assert set(case.foreground[:, 1].tolist()) == {1, 5, 9}
    assert tube(11, every=1).label is not None
    assert isinstance(tube(11, every=1).label, np.ndarray)


@pytest.mark.parametrize("key", [(..., slice(2, 7), slice(0, 3), slice(1, 9)), (slice(0, 11),), ...])
def test_a_region_reads_as_the_whole_does(key):
    label = SparseLabel(tube().label, 3)
    np.testing.assert_array_equal(label[key], label[...][key])


def test_what_nobody_annotated_changes_nothing_in_a_training():
    def trained(case):
        network = build_network("unet", {"dims": 3, "in_channels": 1, "out_channels": 2, "features": (4, 8)}, seed=1)
        recipe = Recipe(loss=dice_ce(), schedule=constant, steps=3, learning_rate=1e-2, seed=1)
        state = initial_state(network, recipe)
        source = patch_source([case], patch=(8, 8, 8), batch_size=2, foreground_share=0.5, seed=1)
        for step in range(3):
            images, labels = source.batch(step)
            assert (labels == IGNORE).any()
            one_step(state, recipe, torch.from_numpy(images), torch.from_numpy(labels))
        return network.state_dict()

    plain = tube()
    shuffled = plain.label.copy()
    hidden = ~SparseLabel(plain.label, 4).annotated
    shuffled[hidden] = np.random.default_rng(3).integers(0, 2, shuffled[hidden].shape)
    other = Case(plain.image, shuffled, foreground_rows(shuffled))
    one, two = (trained(sparse_cases([case], 4)[0]) for case in (plain, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_three_slices_of_thirty_teach_a_tube():
    case = tube(30, every=10)
    network = build_network("unet", {"dims": 3, "in_channels": 1, "out_channels": 2, "features": (4, 8)}, seed=1)
    recipe = Recipe(loss=dice_ce(), schedule=constant, steps=60, learning_rate=1e-2, seed=1)
    state = initial_state(network, recipe)
    source = patch_source([case], patch=(16, 12, 12), batch_size=2, foreground_share=0.5, seed=1)
    for step in range(60):
        one_step(state, recipe, *(torch.from_numpy(part) for part in source.batch(step)))
    whole = torch.from_numpy(case.image[:, :, :12])[None, None]
    found = network.eval()(whole)[0].argmax(0).numpy()
    unseen = ~SparseLabel(tube(30).label, 10).annotated
    truth = tube(30).label[unseen][:, :, :12]
    dice = 2 * (found[unseen] * truth).sum() / (found[unseen].sum() + truth.sum())
    assert dice > 0.9


# ---- layer-wise fine-tuning -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "changed"), [(1, {"head"}), (2, {"head", "decoder"}), (4, {"head", "decoder", "up"})]
)
def test_only_the_last_layers_change(layers, changed):
    network = build_network("unet", {"dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 8)}, seed=1)
    before = copy.deepcopy(network.state_dict())
    trained = freeze_all_but_last(network, layers, (16, 16), 1)
    recipe = Recipe(loss=dice_ce(), schedule=constant, steps=2, learning_rate=1e-2, seed=1)
    state = initial_state(network, recipe)
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    one_step(state, recipe, image, (image[:, 0] > 0).long())
    after = network.state_dict()
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == changed
    assert sum(1 for name in trained if network.get_submodule(name).weight.ndim > 2) == layers


def test_layers_are_counted_in_the_order_of_the_image_not_of_their_names():
    network = build_network("unet", {"dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 8, 16)}, seed=1)
    # Up, two convolutions, up, two convolutions, head: the seventh from the end is the first way up.
    assert freeze_all_but_last(network, 7, (16, 16), 1)[0] == "up.0"
    with pytest.raises(SettingsError, match="the network has 13 layers, not 14"):
        freeze_all_but_last(network, 14, (16, 16), 1)
    assert len(freeze_all_but_last(network, 13, (16, 16), 1)) > 13
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fine_tuned_layers": 2}, "need weights"),
        ({"fine_tuned_layers": 2, "frozen": ["encoder"], "transfer": "w.safetensors"}, "name one"),
        ({"decay_per_epoch": 0.8}, "schedule: exponential"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        UNetMethod(method="unet", **settings)


# ---- decay per epoch ------------------------------------------------------------------------------------------------


def test_the_learning_rate_of_the_tenth_epoch():
    schedule = schedule_of(UNetMethod(method="unet", schedule="exponential", decay_per_epoch=0.8), 200.0)
    assert [1e-3 * schedule(epoch * 200, 2000) for epoch in (0, 1, 9)] == pytest.approx(
        [1e-3, 8e-4, 1.342e-4], rel=1e-3
    )
    assert schedule(399, 2000) == pytest.approx(0.8)
    assert per_epoch(0.8, 2.5)(5, 10) == pytest.approx(0.8**2)


# ---- augmentation ---------------------------------------------------------------------------------------------------


def ramp(*sizes):
    """An image whose channels say where each voxel is, and a label that does so too."""
    places = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in sizes], indexing="ij")
    return torch.stack(places)[None], places[-1].round().long()[None]


def test_image_and_label_of_a_shift_a_rotation_and_a_zoom_move_together():
    images, labels = ramp(40, 50)
    for seed in range(10):
        moved, truth = augment(images, labels, AUGMENTATIONS["shift_rotate_zoom"], seed=seed)
        inside = (moved[0, 1] > 2) & (moved[0, 1] < 47)
        assert (moved[0, 1] - truth[0]).abs()[inside].max() <= 0.51
        assert truth.dtype == torch.int64


def test_shift_rotation_and_zoom_stay_in_their_ranges_and_reach_them():
    images, labels = ramp(41, 61)
    found = []
    for seed in range(200):
        moved, _ = augment(images, labels, AUGMENTATIONS["shift_rotate_zoom"], seed=seed)
        y, x = moved[0]
        inner = (slice(15, 26), slice(20, 41))
        slopes = [[(y[inner].diff(dim=a)).mean(), (x[inner].diff(dim=a)).mean()] for a in (0, 1)]
        (yy, yx), (xy, xx) = [[float(one) for one in row] for row in slopes]
        zooms = np.hypot(yy, yx), np.hypot(xy, xx)
        found.append([*zooms, np.degrees(np.arctan2(yx, yy)), float(y[20, 30] - 20) / 41, float(x[20, 30] - 30) / 61])
    for column, (middle, reach) in zip(
        np.transpose(found), [(1, 0.1), (1, 0.1), (0, 10), (0, 0.1), (0, 0.1)], strict=True
    ):
        assert np.abs(column - middle).max() <= reach * 1.03
        assert np.abs(column - middle).max() > reach * 0.85
    zooms = np.transpose(found)[:2]
    assert abs(np.corrcoef(zooms)[0, 1]) < 0.25  # each axis by itself


@pytest.mark.parametrize("sizes", [(33, 41), (9, 17, 21)])
def test_the_nodes_of_an_elastic_grid_move_as_drawn_and_between_them_it_is_smooth(sizes):
    dims = len(sizes)
    images, labels = ramp(*sizes)
    how = Augmentation(elastic=0.3)
    moved, _ = augment(images, labels, how, seed=5)
    generator = torch.Generator().manual_seed(5)
    for _ in range((3 if dims == 3 else 1) + 1 + dims):
        torch.rand((2, 1), generator=generator)  # angles, size and shifts are drawn first
    drawn = torch.randn((1, dims, *(3,) * dims), generator=generator) * 0.3
    middle = tuple(n // 2 for n in sizes)
    found = moved[0][(slice(None), *middle)] - torch.tensor(middle)
    torch.testing.assert_close(found, drawn[0][(slice(None), *(1,) * dims)], atol=1e-4, rtol=1e-4)
    change = (moved - images)[0][(slice(None), *(slice(2, -2),) * dims)]  # beyond the border the last voxel is repeated
    assert change.diff(dim=1).abs().max() < 0.5
    assert 0.1 < change.std() < 0.6


def test_an_elastic_deformation_of_no_width_changes_nothing_and_thin_axes_stay():
    images, labels = ramp(20, 24)
    still, _ = augment(images, labels, Augmentation(elastic=1e-7), seed=1)
    torch.testing.assert_close(still, images, atol=1e-4, rtol=1e-4)
    images, labels = ramp(1, 20, 24)
    moved, _ = augment(images, labels, Augmentation(elastic=2.0), seed=1)
    assert (moved[0, 0] == 0).all()
    assert (moved[0, 1] - images[0, 1]).abs().max() > 0.5
