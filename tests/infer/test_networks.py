"""The U-Net: its size by hand, its shapes, its seeds."""

import numpy as np
import pytest
import torch
from torch import nn

from cohortseg.errors import SettingsError
from cohortseg.infer.layers import Residual, alignment, default_strides
from cohortseg.infer.networks import ARCHITECTURES, ENCODERS, build_network, forward_of, unet


def test_the_number_of_weights_is_the_sum_by_hand():
    network = unet(dims=2, in_channels=1, out_channels=3, features=(4, 8))
    # a norm has two numbers a channel; convolutions before a norm have no bias
    encoder = (9 * 1 * 4 + 8) + (9 * 4 * 4 + 8) + (9 * 4 * 8 + 16) + (9 * 8 * 8 + 16)
    decoder = (4 * 8 * 4 + 4) + (9 * 8 * 4 + 8) + (9 * 4 * 4 + 8)
    head = 4 * 3 + 3
    assert sum(weight.numel() for weight in network.parameters()) == encoder + decoder + head


@pytest.mark.parametrize(
    ("dims", "strides", "kernels", "size"),
    [
        (2, None, None, (8, 12)),
        (3, None, None, (4, 8, 12)),
        (3, ((1, 1, 1), (1, 2, 2), (1, 2, 2)), ((1, 3, 3), (1, 3, 3), (3, 3, 3)), (3, 8, 12)),
        (3, ((1, 1, 1), (1, 3, 2), (2, 1, 2)), None, (4, 6, 8)),
    ],
)
def test_the_output_has_the_size_of_the_input_and_one_channel_a_class(dims, strides, kernels, size):
    network = unet(dims=dims, in_channels=2, out_channels=5, features=(4, 6, 8), strides=strides, kernels=kernels)
    assert network(torch.zeros(1, 2, *size)).shape == (1, 5, *size)


def test_alignment_is_the_product_of_the_strides():
    assert alignment(default_strides(3, 4)) == (8, 8, 8)
    assert alignment(((1, 1, 1), (1, 2, 2), (2, 2, 3))) == (2, 4, 6)


def test_a_size_off_the_alignment_does_not_pass():
    network = unet(dims=2, in_channels=1, out_channels=2, features=(4, 8, 8))
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, 8, 10))


def test_every_voxel_of_the_field_of_view_reaches_the_centre():
    network = unet(dims=2, in_channels=1, out_channels=1, features=(4, 4))
    image = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    # a sum over channels of one instance norm would be blind to the mean; the centre pixel is not
    network(image)[0, 0, 8, 8].backward()
    assert image.grad is not None
    assert (image.grad[0, 0, 5:12, 5:12] != 0).all()


def test_kernels_of_one_slice_do_not_mix_slices():
    network = unet(dims=3, in_channels=1, out_channels=1, features=(4,), kernels=((1, 3, 3),))
    for part in network.encoder[0]:
        if isinstance(part, nn.GroupNorm):
            part.forward = lambda x: x  # the norm would mix all voxels
    image = torch.randn(1, 1, 3, 9, 9, generator=torch.Generator().manual_seed(0)).requires_grad_()
    network(image)[0, 0, 1, 4, 4].backward()
    assert image.grad is not None
    assert image.grad[0, 0, 1].abs().max() > 0
    assert image.grad[0, 0, [0, 2]].abs().max() == 0


def test_the_norm_is_instance_norm():
    norm = unet(dims=2, in_channels=1, out_channels=1, features=(6,)).encoder[0][1]
    x = torch.randn(3, 6, 5, 4, generator=torch.Generator().manual_seed(0)) * 3.0 + 1.0
    torch.testing.assert_close(norm(x), nn.functional.instance_norm(x))


def test_the_seed_alone_decides_the_first_weights():
    arguments = {"dims": 2, "in_channels": 1, "out_channels": 2, "features": [4, 8]}
    torch.manual_seed(5)
    one = build_network("unet", arguments, seed=1).state_dict()
    two = build_network("unet", arguments, seed=1).state_dict()
    other = build_network("unet", arguments, seed=2).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build_network("unet", {"dims": 2, "in_channels": 1, "out_channels": 2, "features": [4]}, seed=1)
    assert torch.equal(torch.rand(1), expected)


def test_dropout_acts_in_training_and_not_in_evaluation():
    network = unet(dims=2, in_channels=1, out_channels=2, features=(8, 8), dropout=0.5)
    image = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    network.eval()
    assert torch.equal(network(image), network(image))
    network.train()
    assert not torch.equal(network(image), network(image))


@pytest.mark.parametrize(
    "wrong",
    [
        {"strides": ((1, 1),)},
        {"strides": ((2, 2), (2, 2))},
        {"strides": ((1, 1, 1), (2, 2, 2))},
        {"kernels": ((3, 3), (2, 3))},
        {"features": ()},
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(wrong):
    with pytest.raises(SettingsError):
        unet(**{"dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 8), **wrong})


def test_an_unknown_architecture_is_refused_with_the_choices():
    with pytest.raises(SettingsError, match="unet"):
        build_network("no-net", {"dims": 2}, seed=0)
    with pytest.raises(SettingsError, match="4-dimensional"):
        build_network("unet", {"dims": 4}, seed=0)


def test_every_architecture_names_its_source():
    assert all(entry.source and entry.dims for entry in ARCHITECTURES.values())


class Fixed(nn.Module):
    """Always the same logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, x):
        return self.logits.view(1, -1, 1, 1).expand(len(x), -1, *x.shape[2:])


def test_an_ensemble_is_the_mean_of_the_probabilities():
    forward = forward_of([Fixed([0.0, 0.0]), Fixed([0.0, float(np.log(3.0))])], torch.device("cpu"))
    result = forward(np.zeros((2, 1, 3, 4), np.float32))
    assert result.shape == (2, 2, 3, 4)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:, 1], (0.5 + 0.75) / 2, atol=1e-6)


def test_half_precision_stays_near_full_precision():
    network = build_network("unet", {"dims": 2, "in_channels": 1, "out_channels": 2, "features": [4, 8]}, seed=1).eval()
    image = np.random.default_rng(0).normal(size=(1, 1, 16, 16)).astype(np.float32)
    full = forward_of([network], torch.device("cpu"))(image)
    half = forward_of([network], torch.device("cpu"), precision="bf16")(image)
    assert 0 < np.abs(full - half).max() < 0.05


# ---- residual encoders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_encoder_builds_a_network_that_keeps_size_and_learns_everywhere(name):
    encoder = ENCODERS[name]
    assert encoder.source
    arguments = {"dims": 3, "in_channels": 2, "out_channels": 3, "features": (4, 6, 8), "blocks": encoder.blocks}
    network = build_network("unet", arguments, seed=1)
    image = torch.randn(1, 2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    found = network(image)
    assert found.shape == (1, 3, 4, 8, 12)
    (found**2).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_a_residual_block_whose_path_is_zero_hands_its_input_on():
    block = Residual(2, 3, 3, (3, 3), (1, 1))
    nn.init.zeros_(block.path[-1].weight)
    image = torch.rand(1, 3, 6, 7)
    torch.testing.assert_close(block(image), image)


def test_the_blocks_of_a_level_are_as_many_as_asked_and_the_last_number_goes_on():
    network = unet(dims=2, in_channels=1, out_channels=2, features=(4, 4, 4, 4), blocks=(1, 3))
    counts = [sum(isinstance(part, Residual) for part in level.modules()) for level in network.encoder]
    assert counts == [1, 3, 3, 3]
    with pytest.raises(SettingsError, match="residual block"):
        unet(dims=2, in_channels=1, out_channels=2, features=(4, 4), blocks=(1, 0))
