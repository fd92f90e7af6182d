"""Quick validation by hand: Dice per class, absent classes, bounded boxes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from cohortseg.train.losses import LOSSES
from cohortseg.train.patches import Case, foreground_rows
from cohortseg.train.validate import validation

LOSS = LOSSES["dice_ce"].build()


class Reader(nn.Module):
    """Takes the image itself for the label and is certain of it; counts the voxels it sees."""

    def __init__(self, n_classes):
        super().__init__()
        self.weight = nn.Parameter(torch.full((n_classes,), 30.0))
        self.seen = 0

    def forward(self, x):
        self.seen += x.numel()
        classes = torch.arange(len(self.weight)).view(1, -1, *[1] * (x.ndim - 2))
        return (x.round() == classes) * self.weight.view(classes.shape)


def case_of(prediction, label):
    label = np.asarray(label, np.uint8)
    return Case(np.asarray(prediction, np.float32), label, foreground_rows(label))


def line(*values):
    return np.array(values).reshape(1, 1, -1)


def test_dice_per_class_is_the_mean_over_the_cases_that_hold_it():
    cases = [
        case_of(line(0, 1, 1, 2, 2, 0), line(0, 1, 1, 2, 0, 0)),  # class 1: 1, class 2: 2/3
        case_of(line(0, 1, 0, 0, 2, 0), line(0, 1, 1, 1, 0, 0)),  # class 1: 1/2, class 2 absent
    ]
    row = validation(cases, patch=(1, 1, 6), n_classes=4, loss=LOSS)(Reader(4))
    assert row["dice_1"] == pytest.approx(0.75)
    assert row["dice_2"] == pytest.approx(2 / 3)
    assert math.isnan(row["dice_3"])
    assert row["dice"] == pytest.approx((0.75 + 2 / 3) / 2)
    assert row["validation_loss"] > 0.1


def test_a_perfect_network_has_no_loss_and_dice_one():
    label = np.random.default_rng(0).integers(0, 3, (5, 6, 7))
    row = validation([case_of(label, label)], patch=(4, 4, 4), n_classes=3, loss=LOSS)(Reader(3))
    assert row["dice"] == 1.0
    assert row["validation_loss"] < 1e-3


def test_without_labelled_cases_everything_is_undefined():
    row = validation([case_of(line(0, 0), line(0, 0))], patch=(1, 1, 2), n_classes=2, loss=LOSS)(Reader(2))
    assert all(math.isnan(value) for value in row.values())
    assert set(row) == {"validation_loss", "dice", "dice_1"}


def test_the_box_lies_about_the_labelled_voxels_and_is_bounded():
    label = np.zeros((64, 64, 64), np.uint8)
    label[50:60, 5:15, 30:40] = 1
    network = Reader(2)
    row = validation([case_of(label, label)], patch=(8, 8, 8), n_classes=2, loss=LOSS, max_voxels=5000, overlap=0.0)(
        network
    )
    assert row["dice_1"] == 1.0
    assert network.seen == 16**3


def test_slices_are_validated_as_slices():
    label = np.zeros((20, 8, 8), np.uint8)
    label[3:9, 2:5, 2:6] = 1
    network = Reader(2)
    row = validation([case_of(label, label)], patch=(1, 8, 8), n_classes=2, loss=LOSS, max_voxels=640)(network)
    assert row["dice_1"] == 1.0
    assert network.seen == 640


def test_cases_are_spread_evenly_and_limited():
    cases = [case_of(line(0, 1), line(0, 1)) for _ in range(10)]
    network = Reader(2)
    validation(cases, patch=(1, 1, 2), n_classes=2, loss=LOSS, n_cases=3)(network)
    assert network.seen == 3 * 2


def test_the_network_goes_back_to_training():
    network = Reader(2).train()
    validation([case_of(line(0, 1), line(0, 1))], patch=(1, 1, 2), n_classes=2, loss=LOSS)(network)
    assert network.training


class SecondChannel(Reader):
    """Takes the second of two channels for the label."""

    def forward(self, x):
        assert x.shape[1] == 2
        return super().forward(x[:, 1:])


@pytest.mark.parametrize("patch", [(1, 8, 8), (4, 8, 8)])
def test_all_channels_reach_the_network(patch):
    label = np.zeros((9, 14, 11), np.uint8)
    label[3:6, 2:9, 4:7] = 1
    image = np.stack([np.random.default_rng(1).normal(size=label.shape), label]).astype(np.float32)
    case = Case(image, label, foreground_rows(label))
    row = validation([case], patch=patch, n_classes=2, loss=LOSS, max_voxels=4 * 14 * 11)(SecondChannel(2))
    assert row["dice_1"] == 1.0
