"""Fusion of modalities at three levels (A25): which channel is which is a matter of weights; each is looked at."""

import itertools

import pytest
import torch

from cohortseg.infer.architectures.fusion import LEVELS, fusion
from cohortseg.train.losses import cross_entropy
from cohortseg.train.step import supervised

CHANNELS = 3


def network_of(level, seed=1):
    torch.manual_seed(seed)
    return fusion(dims=2, in_channels=CHANNELS, out_channels=3, level=level, features=(4, 8)).eval()


def image(seed=2):
    return torch.randn((2, CHANNELS, 8, 12), generator=torch.Generator().manual_seed(seed))


def permuted(network, level, order):
    """The network whose branch (or first filter) k is that of channel `order[k]` of the given one."""
    other = network_of(level, seed=9)
    weights = dict(network.state_dict())
    if level == "feature":
        first = next(name for name, value in weights.items() if value.ndim == 4)
        weights[first] = weights[first][:, list(order)]
    else:
        own = {name for name in weights if name.startswith("streams.")}
        for name in own:
            _, number, *rest = name.split(".")
            weights[name] = network.state_dict()[".".join(["streams", str(order[int(number)]), *rest])]
        if level == "classifier":
            width = weights["head.weight"].shape[1] // CHANNELS
            places = [order[k] * width + j for k in range(CHANNELS) for j in range(width)]
            weights["head.weight"] = network.state_dict()["head.weight"][:, places]
    other.load_state_dict(weights)
    return other


@pytest.mark.parametrize("order", list(itertools.permutations(range(CHANNELS)))[1:])
@pytest.mark.parametrize("level", LEVELS)
def test_channels_and_branches_permuted_alike_give_the_same_result(level, order):
    network, x = network_of(level), image()
    with torch.no_grad():
        before = network(x)
        torch.testing.assert_close(permuted(network, level, order)(x[:, list(order)]), before, atol=1e-5, rtol=1e-4)
        # The channels alone in another order are another image.
        assert (network(x[:, list(order)]) - before).abs().max() > 1e-3


def test_a_branch_without_an_opinion_leaves_the_order_of_the_classes_to_the_other():
    """Decision: where one network gives each class the same, the mean of the probabilities orders as the other does."""
    network, x = network_of("decision"), image()
    for stream in network.streams[1:]:
        for parameter in stream.parameters():
            torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        alone = network.streams[0](x[:, :1]).softmax(dim=1)
        fused = network(x).softmax(dim=1)
    torch.testing.assert_close(fused, alone / 3 + 2 / 9, atol=1e-6, rtol=1e-5)
    assert torch.equal(fused.argmax(1), alone.argmax(1))


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_looks_at_every_modality(level):
    network, x = network_of(level), image().requires_grad_()
    network(x).sum(dim=(0, 2, 3))[1].backward()
    assert (x.grad.abs().sum(dim=(0, 2, 3)) > 0).all()


@pytest.mark.parametrize("channels", [(), (1, 3)])
def test_networks_that_decide_together_learn_each_by_its_own_loss(channels):
    """Decision: whatever the others say, a network has the gradient that it would have alone, over their number."""
    network = fusion(
        dims=2, in_channels=CHANNELS, out_channels=3, level="decision", features=(4, 8), channels=channels
    ).train()
    x, target = image(), torch.zeros(2, *image().shape[2:], dtype=torch.long)
    target[:, 2:5, 3:6] = 1
    supervised(cross_entropy(), network(x), target).backward()
    streams = (network.network if channels else network).streams
    place, first = (channels or (1,))[0] - 1, streams[0]
    found = [parameter.grad.clone() for parameter in first.parameters()]
    first.zero_grad()
    cross_entropy()(first(x[:, place : place + 1]), target).backward()
    for gradient, parameter in zip(found, first.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad / len(streams))
