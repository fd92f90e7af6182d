"""The layers of a network as an image meets them: counts and sizes that the papers print."""

import torch

from cohortseg.infer.diagram import nodes_of
from cohortseg.infer.networks import build_network


def on_meta(name, **arguments):
    """A network of which nothing but shapes is computed."""
    with torch.device("meta"):
        return build_network(name, {"in_channels": 1, **arguments}, seed=1)


def test_the_papers_unet_has_23_convolutions_and_sizes_from_572_to_388():
    network = on_meta("unet_paper", dims=2, out_channels=2, features=[64, 128, 256, 512, 1024])
    nodes = nodes_of(network, in_channels=1, size=(572, 572))
    kinds = [node.kind for node in nodes]
    assert (kinds.count("convolution"), kinds.count("up"), kinds.count("pooling")) == (19, 4, 4)
    sizes = [node.size[0] for node in nodes]
    assert sizes[:6] == [570, 568, 284, 282, 280, 140]
    assert sizes[-3:] == [390, 388, 388]
    assert min(sizes) == 28
    assert [node.channels for node in nodes][-1] == 2
    assert sum(node.n_parameters for node in nodes) == 31_030_658


def test_the_3d_unet_leads_132_to_44():
    nodes = nodes_of(on_meta("unet_3d_paper", dims=3, out_channels=3), in_channels=1, size=(132, 132, 116))
    assert nodes[-1].size == (44, 44, 28)


def test_it_is_left_as_it_was():
    network = on_meta("unet", dims=2, out_channels=2, features=[4, 8]).train()
    nodes_of(network, in_channels=1, size=(16, 16))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
