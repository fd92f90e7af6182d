"""Losses of several resolutions, and weights from elsewhere."""

import pytest
import torch
from torch import nn

from cohortseg.infer.networks import build_network
from cohortseg.train.losses import LOSSES, cross_entropy
from cohortseg.train.recipe import Recipe
from cohortseg.train.step import initial_state, one_step, supervised
from cohortseg.train.transfer import first_convolution, take_over

ARGUMENTS = {"dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 8, 8, 8)}


def test_each_coarser_level_counts_half_as_much_as_the_finer():
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    target[:, 4:] = 1
    logits = [torch.randn(1, 2, n, n, generator=torch.Generator().manual_seed(n)) for n in (8, 4, 2)]
    coarse = [target, target[:, ::2, ::2], target[:, ::4, ::4]]
    losses = [cross_entropy()(*pair) for pair in zip(logits, coarse, strict=True)]
    torch.testing.assert_close(
        supervised(cross_entropy(), logits, target), (4 * losses[0] + 2 * losses[1] + losses[2]) / 7
    )


def test_a_coarse_target_holds_classes_that_are_there_and_nothing_between():
    seen = []

    def noted(logits, target):
        seen.append(target)
        return logits.sum()

    target = torch.tensor([[[0, 0, 5, 5, 5, 9], [0, 0, 5, 5, 5, 9], [7, 7, 7, 7, 7, 7]]])
    supervised(noted, [torch.zeros(1, 2, 3, 6), torch.zeros(1, 2, 1, 3)], target)
    assert seen[1].tolist() == [[[0, 5, 9]]]


def test_deep_heads_speak_in_training_alone_and_get_a_gradient():
    network = build_network("unet", ARGUMENTS | {"deep_supervision": True}, seed=1)
    image = torch.randn(1, 1, 16, 24)
    found = network.train()(image)
    assert [tuple(each.shape[2:]) for each in found] == [(16, 24), (8, 12)]  # the coarsest has no head
    supervised(LOSSES["dice_ce"].build(), found, torch.randint(0, 2, (1, 16, 24))).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert isinstance(network.eval()(image), torch.Tensor)


def test_weights_of_the_same_layers_are_taken_over_and_the_others_named():
    given = build_network("unet", ARGUMENTS | {"out_channels": 5}, seed=1).state_dict()
    network = build_network("unet", ARGUMENTS, seed=2)
    assert take_over(network, given) == ["head.weight", "head.bias"]
    for name, value in network.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, given[name])


@pytest.mark.parametrize("channels", [2, 3])
def test_a_first_layer_for_more_channels_sees_the_same_image_in_all_of_them_as_before(channels):
    one = build_network("unet", ARGUMENTS, seed=1)
    several = build_network("unet", ARGUMENTS | {"in_channels": channels}, seed=2)
    assert take_over(several, one.state_dict()) == []
    assert first_convolution(several) == "encoder.0.0.weight"
    image = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(
        several.eval()(image.expand(1, channels, 16, 16)), one.eval()(image), atol=1e-5, rtol=1e-4
    )


def test_the_average_of_a_network_with_batch_norm_has_its_statistics():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    recipe = Recipe(cross_entropy(), lambda step, steps: 1.0, steps=3, learning_rate=0.1, seed=1, ema_decay=0.5)
    state = initial_state(network, recipe)
    images, labels = 5.0 + torch.randn(2, 1, 8, 8), torch.randint(0, 2, (2, 8, 8))
    one_step(state, recipe, images, labels)
    for kept, current in zip(state.average.buffers(), network.buffers(), strict=True):
        assert torch.equal(kept, current)
    assert network[1].running_mean.any()
    assert not torch.equal(state.average[0].weight, network[0].weight)


def test_the_border_that_a_network_gives_nothing_of_does_not_count():
    logits, target = torch.randn(1, 2, 4, 5), torch.randint(0, 2, (1, 8, 9))
    inner = target[:, 2:6, 2:7]
    assert supervised(cross_entropy(), logits, target) == cross_entropy()(logits, inner)
