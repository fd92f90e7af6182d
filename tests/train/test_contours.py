"""Contours as a second task: what they are, what they cost, and that networks with a head for them learn them."""

import math

import pytest
import torch

from cohortseg.infer.architectures.parts import WithContours
from cohortseg.infer.networks import build_network
from cohortseg.train.contours import contour_loss, contour_of
from cohortseg.train.losses import IGNORE, cross_entropy
from cohortseg.train.step import supervised


def test_the_contour_is_one_voxel_on_each_side_of_the_border():
    target = torch.tensor([[[0, 0, 0, 1, 1, 1, 2, 2]]])
    assert contour_of(target).long().tolist() == [[[0, 0, 1, 1, 0, 1, 1, 0]]]
    assert contour_of(target, reach=2).long().tolist() == [[[0, 1, 1, 1, 1, 1, 1, 1]]]
    assert not contour_of(torch.full((1, 4, 4, 4), 3)).any()  # the border of a patch is no contour


def test_two_classes_that_touch_have_a_contour_between_them_and_unlabelled_voxels_make_none():
    target = torch.tensor([[[1, 1, 2, 2, IGNORE, 0, IGNORE, 1]]])
    assert contour_of(target).long().tolist() == [[[0, 1, 1, 0, 0, 0, 0, 0]]]


def test_contour_and_rest_have_half_of_the_weight_each():
    target = torch.tensor([[[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]]])  # two of ten voxels
    edges = torch.zeros(1, 1, 1, 10)
    edges[0, 0, 0, 6:8] = 1.0
    by_hand = 0.5 * math.log1p(math.exp(-1)) + 0.5 * math.log(2)
    assert contour_loss(edges, target) == pytest.approx(by_hand, rel=1e-6)
    two = torch.cat([torch.zeros_like(edges), edges], dim=1)
    assert contour_loss(two, target) == pytest.approx(by_hand, rel=1e-6)


def test_it_is_zero_at_the_true_contour_and_nothing_annotated_costs_nothing():
    target = torch.zeros((1, 9, 9), dtype=torch.long)
    target[0, 3:6, 2:7] = 2
    sure = (2.0 * contour_of(target).float() - 1.0)[:, None] * 60
    assert contour_loss(sure, target) < 1e-6
    assert contour_loss(-sure, target) > 50
    empty = contour_loss(sure, torch.full_like(target, IGNORE))
    assert empty == 0


@pytest.mark.parametrize(("name", "options"), [("dcan", {}), ("gated_scnn", {"shapes": 4})])
def test_in_training_both_heads_learn_and_in_use_the_classes_alone_come_out(name, options):
    arguments = {"dims": 2, "in_channels": 1, "out_channels": 2, "features": (8, 8, 8), **options}
    network = build_network(name, arguments, seed=1)
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    target = (image[:, 0] > 0.5).long()
    found = network(image)
    assert isinstance(found, WithContours)
    plain = supervised(cross_entropy(), found.classes, target)
    both = supervised(cross_entropy(), found, target, contour_weight=3.0)
    torch.testing.assert_close(both, plain + 3.0 * supervised(contour_loss, found.contours, target))
    both.backward()
    head = network.contours if name == "dcan" else network.edge
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in head.parameters())
    assert torch.is_tensor(network.eval()(image))


def test_without_weight_the_contours_change_nothing():
    network = build_network("dcan", {"dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 4, 4)}, seed=1)
    found = network(torch.zeros(1, 1, 8, 8))
    target = torch.zeros((1, 8, 8), dtype=torch.long)
    assert supervised(cross_entropy(), found, target, contour_weight=0.0) == supervised(
        cross_entropy(), found.classes, target
    )
