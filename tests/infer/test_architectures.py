"""Networks of the papers: their published numbers, sizes and identities; and that each can learn."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from cohortseg.errors import SettingsError
from cohortseg.infer.architectures.attention import attention_unet
from cohortseg.infer.architectures.dcan import dcan, instances
from cohortseg.infer.architectures.deeplab import deeplab
from cohortseg.infer.architectures.deepmedic import deepmedic
from cohortseg.infer.architectures.densevnet import DenseStack, densevnet
from cohortseg.infer.architectures.drinet import Unpooling, drinet
from cohortseg.infer.architectures.dsn3d import auxiliary_weights, dsn3d
from cohortseg.infer.architectures.fastfcn import fastfcn
from cohortseg.infer.architectures.fcn import Bilinear, fcn
from cohortseg.infer.architectures.fusion import fusion
from cohortseg.infer.architectures.gated_scnn import ShapeGate, gated_scnn
from cohortseg.infer.architectures.highres3dnet import highres3dnet
from cohortseg.infer.architectures.image_to_image import super_resolution, synthetic_ct
from cohortseg.infer.architectures.parts import WithContours, middle, unpool
from cohortseg.infer.architectures.segnet import segnet
from cohortseg.infer.architectures.unet_paper import norm_parameters, unet_3d_paper, unet_paper, unet_resized
from cohortseg.infer.architectures.vnet import vnet
from cohortseg.infer.layers import UNet
from cohortseg.infer.networks import ARCHITECTURES, build_network, extent_of
from cohortseg.settings.networks import LEVELS

TINY = {
    "attention_unet": {"features": [4, 8]},
    "autoencoder": {"features": [8, 16], "code": 8},
    "dcan": {"features": [8, 8, 8]},
    "deeplab": {"width": 4, "blocks": [1, 1, 1, 1], "rates": [1, 2]},
    "deepmedic": {"features": [6] * 8, "hidden": [8], "dropout": 0.0},
    "densevnet": {"features": 6, "depths": [2, 2, 2], "growths": [4, 4, 4], "skips": [4, 4, 4]},
    "drinet": {"features": [8, 8], "depth": 2, "growth": 4},
    "dsn3d": {},
    "fastfcn": {"width": 4, "blocks": [1, 1, 1, 1], "joint": 8, "hidden": 8},
    "fcn": {"features": [4, 4, 4, 8, 8], "hidden": 16, "dropout": 0.0},
    "fusion": {"features": [4, 8]},
    "gated_scnn": {"features": [8, 8, 8], "shapes": 4},
    "highres3dnet": {"features": [4, 4, 4], "hidden": 8},
    "segnet": {"features": [8, 8]},
    "super_resolution": {"features": 8, "factor": 2},
    "synthetic_ct": {"features": [4, 8]},
    "unet": {"features": [4, 8]},
    "unet_3d_paper": {"features": [4, 4], "padding": "same"},
    "unet_paper": {"features": [4, 8], "dropout": 0.0},
    "unet_resized": {"features": [4, 4, 8], "dropout": 0.0},
    "vnet": {"features": [4, 8]},
}
IMAGES_OUT = {"super_resolution", "synthetic_ct"}
EACH = [(name, dims) for name, entry in sorted(ARCHITECTURES.items()) for dims in entry.dims]


def n_parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def size_of(network: nn.Module, channels: int, *size: int) -> tuple[int, ...]:
    """Spatial size of the result, without computing anything (all on the meta device)."""
    return tuple(network(torch.zeros(1, channels, *size)).shape[2:])


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- all of them -----------------------------------------------------------------------------------------------


def test_every_architecture_has_a_tiny_form_here():
    assert set(TINY) == set(ARCHITECTURES)


@pytest.mark.parametrize(("name", "dims"), EACH)
def test_the_result_has_the_size_that_the_extent_says(name, dims):
    arguments = {"dims": dims, "in_channels": 2, "out_channels": 2, **TINY[name]}
    extent = extent_of(name, arguments)
    network = build_network(name, arguments, seed=1).eval()
    steps = (1, 2, 0)[:dims]  # lopsided
    size = [
        least + step * k for least, step, k in zip(extent.at_least((16,) * dims), extent.alignment, steps, strict=True)
    ]
    with torch.no_grad():
        found = network(torch.zeros(1, 2, *size))
    assert found.shape == (1, 2, *extent.output_size(size))


@pytest.mark.parametrize(("name", "dims"), EACH)
def test_it_learns_one_lopsided_image(name, dims):
    """The loss falls to three tenths of a guess: no layer is dead and nothing is misplaced."""
    out = 1 if name in IMAGES_OUT else 2
    arguments = {"dims": dims, "in_channels": out, "out_channels": out, **TINY[name]}
    network = build_network(name, arguments, seed=1).train()
    extent = extent_of(name, arguments)
    size = extent.at_least((16, 24) if dims == 2 else (8, 8, 16))
    result = extent.output_size(size)
    image = noise(1, out, *size) * 0.1
    image[(..., slice(size[-2] // 3, None), slice(None, size[-1] // 2))] += 2.0  # a corner that no flip keeps
    target = middle(image[:, :1], [n - 2 * m for n, m in zip(size, extent.margin, strict=True)])
    target = 1.0 - nn.functional.interpolate(target, result) if out == 1 else (target[:, 0] > 1.0).long()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(120):
        found = network(image)
        found = found.classes if isinstance(found, WithContours) else found
        found = found[0] if isinstance(found, list) else found
        loss = nn.functional.mse_loss(found, target) if out == 1 else nn.functional.cross_entropy(found, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if losses[-1] < 0.3 * min(losses[0], 0.7):
            break
    assert losses[-1] < 0.3 * min(losses[0], 0.7), losses[::10]


@pytest.mark.parametrize(("name", "dims"), EACH)
def test_every_weight_gets_a_gradient(name, dims):
    out = 1 if name in IMAGES_OUT else 2
    arguments = {"dims": dims, "in_channels": out, "out_channels": out, **TINY[name]}
    network = build_network(name, arguments, seed=2).train()
    with torch.no_grad():  # layers that begin as zeros hide those before them
        for number, weight in enumerate(network.parameters()):
            if not weight.any():
                weight.copy_(noise(*weight.shape, seed=number) * 0.1)
    size = extent_of(name, arguments).at_least((32,) * dims if name == "fcn" else (16,) * dims)
    found = network.heads(noise(2, out, *size)) if hasattr(network, "heads") else network(noise(2, out, *size))
    found = [t for group in found for t in group] if name == "dcan" else [found] if torch.is_tensor(found) else found
    sum((t * noise(*t.shape, seed=9)).sum() for t in found).backward()
    still = [key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@pytest.mark.parametrize("name", sorted(LEVELS))
def test_networks_are_built_with_the_fewest_and_most_levels_that_settings_allow(name):
    for levels in LEVELS[name]:
        features = [2**level for level in range(1, levels + 1)]
        network = build_network(name, {"dims": 2, "in_channels": 1, "out_channels": 2, "features": features}, seed=1)
        assert network.eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 2, 64, 64)


def test_a_size_that_does_not_pass_is_refused_with_the_next():
    with pytest.raises(SettingsError, match=r"\(204, 572\)"):
        extent_of("unet_paper", {"dims": 2}).output_size((190, 572))


# ---- U-Nets (A01, A02, A03) --------------------------------------------------------------------------------------


def test_the_papers_unet_has_its_parameters_and_sizes():
    with torch.device("meta"):
        network = unet_paper(dims=2, in_channels=1, out_channels=2)
        one = unet_paper(dims=2, in_channels=1, out_channels=1)
        padded = unet_paper(dims=2, in_channels=1, out_channels=2, padding="same")
        assert (n_parameters(network), n_parameters(one), n_parameters(padded)) == (31_030_658, 31_030_593, 31_030_658)
        seen: list[tuple[int, int]] = []
        for level in network.encoder:
            level.register_forward_hook(lambda _, given, found: seen.append((given[0].shape[-1], found.shape[-1])))
        assert size_of(network, 1, 572, 572) == (388, 388)
        assert size_of(padded, 1, 64, 32) == (64, 32)
    assert seen == [(572, 568), (284, 280), (140, 136), (68, 64), (32, 28)]
    extent = extent_of("unet_paper", {"dims": 2})
    assert [n for n in range(150, 240) if extent.fits((n, n))] == [188, 204, 220, 236]


def test_the_other_well_known_number_belongs_to_the_resized_unet():
    with torch.device("meta"):
        assert n_parameters(unet_resized(dims=2, in_channels=1, out_channels=1)) == 31_031_685
        assert size_of(unet_resized(dims=2, in_channels=1, out_channels=1), 1, 64, 32) == (64, 32)


def test_the_papers_3d_unet_has_its_parameters_and_sizes():
    with torch.device("meta"):
        network = unet_3d_paper(dims=3, in_channels=3, out_channels=3)
        assert n_parameters(network) - norm_parameters(network) == 19_069_955
        assert n_parameters(network) == 19_074_627
        assert size_of(network, 3, 132, 132, 116) == (44, 44, 28)
    assert extent_of("unet_3d_paper", {"dims": 3}).output_size((132, 132, 116)) == (44, 44, 28)


def test_without_padding_the_result_is_that_of_the_middle_alone():
    network = unet_paper(dims=2, in_channels=1, out_channels=1, features=(2, 2), dropout=0.0).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(0.1)  # positive: nothing cancels
    image = noise(1, 1, 40, 36).double().abs().requires_grad_()
    result = network(image)
    result[0, 0, 0, 0].backward()
    touched = torch.nonzero(image.grad[0, 0])
    extent = extent_of("unet_paper", {"dims": 2, "features": (2, 2)})
    margin = extent.margin[0]
    # the corner of the result lies `margin` inside the image
    assert margin < touched.max() <= margin + extent.context[0]
    assert result.shape[2:] == (40 - 2 * margin, 36 - 2 * margin)


# ---- V-Net (A06) -------------------------------------------------------------------------------------------------


def receptive_field(network: nn.Module, part: nn.Module, size: int) -> int:
    """Voxels along the first axis that a middle voxel of a part's result depends on, by its gradient."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1.0 / weight[0].numel() if weight.ndim > 1 else 1.0)  # positive: nothing cancels
    kept = []
    handle = part.register_forward_hook(lambda _, __, found: kept.append(found))
    image = torch.ones(1, 1, size, 16, dtype=torch.float64, requires_grad=True)
    network.double()(image)
    handle.remove()
    found = kept[0]
    found[0, :, found.shape[2] // 2, found.shape[3] // 2].sum().backward()
    seen = image.grad[0, 0].sum(dim=1).nonzero()
    return int(seen.max() - seen.min()) + 1


def test_the_stages_of_the_vnet_see_what_its_table_says():
    network = vnet(dims=2, in_channels=1, out_channels=1, features=(1, 2, 4, 8, 16))
    found = [receptive_field(network, stage, 1024) for stage in network.encoder]
    assert found == [5, 22, 72, 172, 372]
    # On the way up the paper adds a voxel of the level for each transposed convolution (its kernel of 2).
    counted, jump = [372], 8
    for depth in (3, 3, 2, 1):
        counted.append(counted[-1] + jump + 4 * depth * jump)
        jump //= 2
    assert counted[1:] == [476, 528, 546, 551]
    ways_up = [receptive_field(network, stage, 1024) for stage in network.decoder]
    assert all(real <= table for real, table in zip(ways_up, counted[1:], strict=True))
    assert ways_up[0] > 372


def test_the_vnet_has_the_papers_stages_and_keeps_the_size():
    with torch.device("meta"):
        network = vnet(dims=3, in_channels=1, out_channels=2)
        assert size_of(network, 1, 128, 128, 64) == (128, 128, 64)
    stages = [*network.encoder, *network.decoder]
    kernels = [[part for part in stage.modules() if isinstance(part, nn.Conv3d)] for stage in stages]
    assert [len(convolutions) for convolutions in kernels] == [1, 2, 3, 3, 3, 3, 3, 2, 1]
    assert [convolutions[-1].out_channels for convolutions in kernels] == [16, 32, 64, 128, 256, 256, 128, 64, 32]
    assert {tuple(c.kernel_size) for convolutions in kernels for c in convolutions} == {(5, 5, 5)}
    assert not any("Norm" in type(part).__name__ for part in network.modules())


def test_a_stage_that_learned_nothing_hands_on_what_it_got():
    network = vnet(dims=2, in_channels=1, out_channels=2, features=(2, 4))
    stage = network.encoder[1]
    for weight in stage.path.parameters():
        nn.init.zeros_(weight)
    x = noise(1, 4, 6, 8)
    torch.testing.assert_close(stage(x), stage.activation(x))


# ---- FCN (A04) ---------------------------------------------------------------------------------------------------


def test_the_fcn_has_its_parameters_and_keeps_any_size():
    with torch.device("meta"):
        found = {stride: fcn(dims=2, in_channels=3, out_channels=21, stride=stride) for stride in (32, 16, 8)}
        assert n_parameters(found[32]) == 134_346_581
        assert n_parameters(found[8]) - n_parameters(found[32]) == 16_170
        for network in found.values():
            assert all(size_of(network, 3, *size) == size for size in [(500, 375), (7, 9), (64, 65), (33, 31)])


def test_bilinear_enlargement_keeps_a_constant():
    for factor in (2, 8, 32):
        found = Bilinear(factor)(torch.full((1, 2, 5, 6), 3.0))
        inner = found[..., factor:-factor, factor:-factor]
        torch.testing.assert_close(inner, torch.full_like(inner, 3.0))


def test_without_skips_all_strides_put_the_scores_at_the_same_place():
    """A ramp of coarse scores is enlarged to the same ramp: the offsets of all three fit together."""
    size = (300, 260)
    rows = torch.arange(16.0)[:, None] + 0.3 * torch.arange(15.0)[None]
    ramp = rows.expand(1, 1, 16, 15)[..., :10, :9]  # what 300 x 260 and a border of 100 give at stride 32
    zeros = {"pool4": torch.zeros(1, 1, 32, 29), "pool3": torch.zeros(1, 1, 63, 58)}
    found = {}
    for stride in (32, 16, 8):
        network = fcn(dims=2, in_channels=1, out_channels=1, stride=stride, features=(1,) * 5, hidden=1)
        found[stride] = network.fused(ramp, {name: zeros[name] for name in network.scores}, size)
    inner = (..., slice(50, -50), slice(50, -50))
    torch.testing.assert_close(found[16][inner], found[32][inner])
    torch.testing.assert_close(found[8][inner], found[32][inner])
    assert found[8][inner].std() > 0.5


def test_a_skip_lies_where_its_pooling_saw_the_image():
    """A bright square of the image is bright at the same place of the finest scores."""
    network = fcn(dims=2, in_channels=1, out_channels=1, stride=8, features=(1,) * 5, hidden=1).eval()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.zero_()
                part.bias.zero_()
                part.weight[:, :, part.kernel_size[0] // 2, part.kernel_size[1] // 2] = 1.0
        network.classifier[-1].weight.zero_()
        network.scores["pool4"].weight.zero_()
        image = torch.zeros(1, 1, 96, 128)
        image[..., 24:40, 64:80] = 1.0
        found = network(image)[0, 0]
    assert found.sum() > 100
    weight = found.clamp_min(0)
    rows = (weight.sum(1) * torch.arange(96)).sum() / weight.sum()
    columns = (weight.sum(0) * torch.arange(128)).sum() / weight.sum()
    assert abs(rows - 31.5) <= 4.0  # half a cell of the third pooling
    assert abs(columns - 71.5) <= 4.0


# ---- SegNet (A10) ------------------------------------------------------------------------------------------------


def test_unpooling_puts_values_back_where_the_maxima_were():
    x = torch.tensor([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 7.0, 6.0]]]])
    values, places = nn.functional.max_pool2d(x, 2, return_indices=True)
    expected = torch.tensor([[[[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 7.0, 0.0]]]])
    assert torch.equal(unpool(values, places, (2, 4)), expected)
    torch.testing.assert_close(unpool(values, places, (2, 4)), nn.functional.max_unpool2d(values, places, 2))


def test_segnet_mirrors_vgg_and_passes_indices_alone():
    with torch.device("meta"):
        network = segnet(dims=2, in_channels=3, out_channels=12)
    down = [part for part in network.encoder.modules() if isinstance(part, nn.Conv2d)]
    up = [part for part in network.decoder.modules() if isinstance(part, nn.Conv2d)]
    assert len(down) == len(up) == 13
    pairs = [(a.in_channels, a.out_channels) for a in down][1:]
    assert [(b.out_channels, b.in_channels) for b in reversed(up)][1:] == pairs  # no wider: nothing is concatenated
    assert (up[-1].out_channels, up[-1].in_channels) == (12, 64)


def test_other_indices_give_another_result():
    network = segnet(dims=2, in_channels=1, out_channels=2, features=(4, 4)).eval()
    image = noise(1, 1, 8, 12)
    before = network(image)
    pool = network.pool

    class Swapped(nn.Module):
        def forward(self, x):
            values, places = pool(x)
            return values, places.flip(-1)

    network.pool = Swapped()
    assert not torch.allclose(network(image), before)


# ---- DeepLab (A11) -----------------------------------------------------------------------------------------------


def test_deeplab_has_features_at_stride_8_and_the_weights_of_its_backbones():
    with torch.device("meta"):
        deep = deeplab(dims=2, in_channels=3, out_channels=21)
        flat = deeplab(dims=2, in_channels=3, out_channels=21, backbone="vgg16")
        assert n_parameters(deep.encoder) == 42_500_160  # ResNet-101's 44,549,160 without its last layer of 2,049,000
        assert n_parameters(deep.pyramid) == 4 * (9 * 2048 * 21 + 21)
        assert n_parameters(flat.encoder) == 14_714_688  # VGG-16's convolutions
        for network in (deep, flat):
            assert size_of(network.encoder, 3, 65, 97) == (9, 13)
            assert size_of(network, 3, 50, 63) == (50, 63)


def test_an_atrous_convolution_is_one_with_zeros_between_its_weights():
    network = deeplab(dims=2, in_channels=1, out_channels=2, width=2, blocks=[1, 1, 1, 1], rates=[3])
    atrous = network.pyramid.branches[0][0]
    spread = torch.zeros(*atrous.weight.shape[:2], 7, 7)
    spread[..., ::3, ::3] = atrous.weight.detach()
    x = noise(1, atrous.in_channels, 9, 11)
    torch.testing.assert_close(atrous(x), nn.functional.conv2d(x, spread, atrous.bias, padding=3))


def test_the_pyramid_is_the_sum_of_its_branches():
    network = deeplab(dims=2, in_channels=1, out_channels=3, width=2, blocks=[1, 1, 1, 1]).eval()
    x = noise(1, 64, 7, 9)
    parts = [branch(x) for branch in network.pyramid.branches]
    assert [branch[0].dilation for branch in network.pyramid.branches] == [(6, 6), (12, 12), (18, 18), (24, 24)]
    torch.testing.assert_close(network.pyramid(x), parts[0] + parts[1] + parts[2] + parts[3])


def test_deeplab_displaces_nothing():
    """Features that pick pixels 8 k out of a ramp are enlarged to that ramp."""
    network = deeplab(dims=2, in_channels=1, out_channels=1, width=2, blocks=[1, 1, 1, 1])
    network.encoder, network.pyramid = nn.MaxPool2d(1, 8), nn.Identity()
    ramp = (torch.arange(41.0)[:, None] + 2.0 * torch.arange(33.0)[None])[None, None]
    torch.testing.assert_close(network(ramp), ramp)


# ---- FastFCN (A16), Gated-SCNN (A15) -----------------------------------------------------------------------------


def test_fastfcn_makes_stride_8_of_stride_32_with_four_dilations():
    with torch.device("meta"):
        network = fastfcn(dims=2, in_channels=3, out_channels=21)
        assert n_parameters(network.encoder) == 23_508_032  # ResNet-50's 25,557,032 without its last layer
        x, levels = torch.zeros(1, 3, 64, 96), []
        for stage in network.encoder:
            x = stage(x)
            levels.append(x)
        assert levels[-1].shape[2:] == (2, 3)
        assert network.pyramid(levels[-3:]).shape == (1, 2048, 8, 12)
    footprints = [branch[0].dilation[0] * 2 + 1 for branch in network.pyramid.branches]
    assert footprints == [3, 5, 9, 17]


def test_a_shut_gate_leaves_the_shapes_as_they_are():
    gate = ShapeGate(2, 3, 1).eval()
    nn.init.zeros_(gate.attention[-1].weight)
    shapes, regions = noise(1, 3, 5, 7), noise(1, 1, 5, 7, seed=1)
    with torch.no_grad():
        gate.attention[-1].bias.fill_(-200.0)
        assert torch.equal(gate(shapes, regions), gate.mixed(shapes))
        gate.attention[-1].bias.fill_(200.0)
        torch.testing.assert_close(gate(shapes, regions), gate.mixed(2 * shapes))


def test_the_shape_stream_keeps_the_resolution_and_says_where_edges_are():
    network = gated_scnn(dims=2, in_channels=1, out_channels=3, features=(4, 6, 8), shapes=4).eval()
    classes, edge = network.heads(noise(1, 1, 13, 18))
    assert (classes.shape, edge.shape) == ((1, 3, 13, 18), (1, 1, 13, 18))
    assert torch.equal(network(noise(1, 1, 13, 18)), classes)


# ---- autoencoder (A19) -------------------------------------------------------------------------------------------


def discs(n: int) -> torch.Tensor:
    """Label maps of one disc each, one channel a class, at places and of radii that differ."""
    generator = np.random.default_rng(3)
    y, x = np.mgrid[:16, :16]
    maps = [
        np.hypot(y - generator.uniform(5, 10), x - generator.uniform(5, 10)) < generator.uniform(3, 5) for _ in range(n)
    ]
    inside = torch.tensor(np.array(maps), dtype=torch.float32)
    return torch.stack([1 - inside, inside], dim=1)


def dice(one: torch.Tensor, two: torch.Tensor) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def test_the_autoencoder_knows_shapes_and_projects_what_is_none():
    network = build_network(
        "autoencoder",
        {"dims": 2, "in_channels": 2, "out_channels": 2, "features": [8, 16, 16, 32], "code": 4},
        seed=1,
    )
    shapes = discs(24)
    assert network.encode(shapes)[0].numel() == 16  # of 512 numbers
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(120):
        loss = nn.functional.cross_entropy(network(shapes), shapes.argmax(1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    truth = shapes[:, 1] > 0.5
    assert dice(network(shapes).argmax(1) > 0, truth) > 0.95
    salted = truth ^ (torch.rand(truth.shape, generator=torch.Generator().manual_seed(5)) < 0.1)
    noisy = torch.stack([~salted, salted], dim=1).float()
    assert dice(network(noisy).argmax(1) > 0, truth) > dice(salted, truth)


# ---- attention U-Net (A26) ---------------------------------------------------------------------------------------


class Open(nn.Module):
    """A gate that lets a fixed share through."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, skip, _):
        return torch.full_like(skip[:, :1], self.share)


def test_an_open_gate_is_a_unet_and_a_shut_one_has_no_skip():
    network = attention_unet(dims=2, in_channels=1, out_channels=2, features=(4, 8)).eval()
    plain = UNet(network.encoder, network.up, network.decoder, network.head).eval()
    image = noise(1, 1, 8, 12)
    network.gates = nn.ModuleList([Open(1.0)])
    assert torch.equal(network(image), plain(image))
    network.gates = nn.ModuleList([Open(0.0)])
    kept = network(image)
    with torch.no_grad():
        network.decoder[0][0].weight[:, 4:] = noise(4, 4, 3, 3)  # weights of the skip's channels
    assert torch.equal(network(image), kept)


# ---- DenseVNet (A07), HighRes3DNet (A08), DeepMedic (A09), DRINet (A05) ------------------------------------------


def test_densevnet_has_its_parameters_and_sizes():
    with torch.device("meta"):
        network = densevnet(dims=3, in_channels=1, out_channels=9)
        assert n_parameters(network) - norm_parameters(network) == 877_728
        assert network.head.in_channels == 61
        assert size_of(network, 1, 144, 144, 144) == (144, 144, 144)


def test_a_uniform_prior_changes_nothing():
    network = densevnet(dims=2, in_channels=1, out_channels=3, **TINY["densevnet"], prior=4).eval()
    image = noise(1, 1, 16, 24)
    before = network(image).softmax(1)
    with torch.no_grad():
        network.prior.fill_(math.log(1 / 3))
        torch.testing.assert_close(network(image).softmax(1), before)
        network.prior[:, 0] += 1.0
        assert (network(image).softmax(1)[:, 0] > before[:, 0]).all()


def test_every_layer_of_a_dense_block_sees_all_earlier_maps():
    stack = DenseStack(2, 2, depth=3, growth=4).eval()
    maps: list[torch.Tensor] = []
    for layer in stack.layers:
        layer.register_forward_hook(lambda _, __, found: (found.retain_grad(), maps.append(found))[0])
    x = noise(1, 2, 6, 8).requires_grad_()
    stack(x)
    maps[-1].abs().sum().backward()
    assert x.grad.any()
    assert all(found.grad.any() for found in maps)
    assert stack.outputs == 2 + 3 * 4


def test_highres3dnet_has_its_parameters_and_sees_87_voxels():
    with torch.device("meta"):
        network = highres3dnet(dims=3, in_channels=1, out_channels=160)
        assert n_parameters(network) == 821_904
        assert size_of(network, 1, 7, 8, 9) == (7, 8, 9)
    network = highres3dnet(dims=2, in_channels=1, out_channels=1, features=(1, 1, 1), hidden=1).eval()
    assert receptive_field(network, network, 120) == 87
    assert extent_of("highres3dnet", {"dims": 3}).context == (43, 43, 43)


def test_deepmedic_has_its_sizes_and_its_paths_see_17_and_51_voxels():
    with torch.device("meta"):
        network = deepmedic(dims=3, in_channels=1, out_channels=2)
        assert size_of(network, 1, 57, 105, 57) == (9, 57, 9)
        late = deepmedic(dims=3, in_channels=1, out_channels=2, factors=(1, 3, 5))
        extent = extent_of("deepmedic", {"dims": 3, "factors": (1, 3, 5)})
        assert size_of(late, 1, *extent.smallest) == extent.output_size(extent.smallest) == (15, 15, 15)
    small = deepmedic(dims=2, in_channels=1, out_channels=1, features=(1,) * 8, hidden=(1,)).eval()
    for number, field in enumerate((17, 51)):
        with torch.no_grad():
            for weight in small.parameters():
                weight.fill_(1.0)
        image = torch.ones(1, 1, 57, 57, dtype=torch.float64, requires_grad=True)
        path = small.double().paths[number]
        given = image if number else image[..., 16:-16, 16:-16]
        path(given)[0, 0, 4, 4].backward()
        rows = image.grad[0, 0].sum(1).nonzero().flatten().tolist()
        assert len(rows) == field
        assert (rows[0] + rows[-1]) / 2 == 28  # the middle of the result, 4, is the middle of the image, 28
    with pytest.raises(SettingsError, match="odd"):
        deepmedic(dims=3, in_channels=1, out_channels=2, factors=(1, 2))


def test_unpooling_doubles_the_size():
    with torch.device("meta"):
        assert Unpooling(2, 6, 5)(torch.zeros(1, 6, 3, 4)).shape == (1, 5, 6, 8)
        assert size_of(drinet(dims=2, in_channels=1, out_channels=3), 1, 16, 24) == (16, 24)


# ---- DCAN (A12), 3D DSN (A18) ------------------------------------------------------------------------------------


def test_a_contour_parts_two_touching_discs():
    y, x = np.mgrid[:24, :40]
    first, second = np.hypot(y - 12, x - 12) <= 8, np.hypot(y - 12, x - 28) <= 8
    objects = (first | second).astype(float)
    contours = np.zeros_like(objects)
    contours[:, 20] = objects[:, 20]
    parted = instances(objects, contours)
    assert parted.max() == 2
    assert len(set(parted[first & ~second & (x < 20)])) == 1
    assert ((parted > 0) == (objects > 0.5)).all()  # grown back over the contour
    assert instances(objects, np.zeros_like(objects)).max() == 1
    assert instances(np.zeros((4, 5)), np.zeros((4, 5))).max() == 0


def test_dcan_adds_the_scores_of_its_levels_and_has_two_heads():
    network = dcan(dims=2, in_channels=1, out_channels=3, features=(4, 4, 4)).eval()
    objects, contours = network.heads(noise(1, 1, 8, 12))
    torch.testing.assert_close(objects[0], objects[1] + objects[2] + objects[3])
    assert (len(objects), objects[0].shape, contours[0].shape) == (4, (1, 3, 8, 12), (1, 2, 8, 12))
    assert [len(head) for head in network.train()(noise(2, 1, 8, 12))] == [4, 4]


def test_the_auxiliary_classifiers_reach_early_layers_when_the_head_is_cut():
    network = dsn3d(dims=3, in_channels=1, out_channels=2)
    main, *auxiliary = network(noise(1, 1, 8, 8, 12))
    assert [found.shape for found in auxiliary] == [main.shape] * 2
    (sum(found.square().mean() for found in auxiliary) + 0.0 * main.sum()).backward()
    assert network.encoder[0][0].weight.grad.abs().max() > 0
    assert isinstance(network.eval()(noise(1, 1, 8, 8, 12)), torch.Tensor)


def test_the_auxiliary_weights_fall_by_a_twentieth_every_ten_epochs():
    assert [round(auxiliary_weights(epoch)[0], 6) for epoch in (0, 9, 10, 20)] == [0.3, 0.3, 0.285, 0.27075]
    assert auxiliary_weights(0)[1] == 0.4


# ---- fusion (A25), images (A21, A22) -----------------------------------------------------------------------------


def test_a_stream_that_says_nothing_leaves_the_decision_to_the_other():
    network = fusion(dims=2, in_channels=2, out_channels=3, level="decision", features=(4, 8)).eval()
    image = noise(1, 2, 8, 12)
    one, two = network.each(image)
    torch.testing.assert_close(network(image).softmax(1), (one.softmax(1) + two.softmax(1)) / 2)
    nn.init.zeros_(network.streams[1].head.weight)
    nn.init.zeros_(network.streams[1].head.bias)
    assert torch.equal(network(image).argmax(1), one.argmax(1))


def test_a_fusion_of_some_channels_does_not_see_the_others():
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for channels in ([2], [1, 3]):
        network = fusion(dims=2, in_channels=3, out_channels=2, features=(4, 8), channels=channels).eval()
        others = [k for k in range(3) if k + 1 not in channels]
        hidden = x.clone()
        hidden[:, others] = 7.0
        torch.testing.assert_close(network(hidden), network(x), rtol=0, atol=0)
        hidden[:, channels[-1] - 1] = 7.0
        assert not torch.allclose(network(hidden), network(x))
    with pytest.raises(SettingsError, match="channels 1 to 3"):
        fusion(dims=2, in_channels=3, out_channels=2, channels=[4])


def test_each_level_of_fusion_joins_where_it_says():
    found = {
        level: fusion(dims=2, in_channels=2, out_channels=3, level=level, features=(4, 8))
        for level in ("feature", "classifier", "decision")
    }
    assert found["feature"].encoder[0][0].in_channels == 2
    assert found["classifier"].head.in_channels == 8
    assert [stream.encoder[0][0].in_channels for stream in found["classifier"].streams] == [1, 1]
    with pytest.raises(SettingsError, match="decision"):
        fusion(dims=2, in_channels=2, out_channels=3, level="late")


def test_super_resolution_begins_as_linear_interpolation_and_learns_to_be_better():
    z, y, x = np.mgrid[:32, :8, :8]
    fine = torch.tensor(np.sin(z / 2.0 + y / 5.0) * (1 + x / 8.0), dtype=torch.float32)[None, None]
    coarse = fine.reshape(1, 1, 8, 4, 8, 8).mean(3)
    torch.manual_seed(0)
    network = super_resolution(dims=3, in_channels=1, features=8, factor=4)
    linear = nn.functional.interpolate(coarse, (32, 8, 8), mode="trilinear")
    torch.testing.assert_close(network(coarse), linear)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        loss = nn.functional.smooth_l1_loss(network(coarse), fine)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = network(coarse).detach()
    error, before = (found - fine).square().mean(), (linear - fine).square().mean()
    assert error < before / 2
    assert (found.reshape(1, 1, 8, 4, 8, 8).mean(3) - coarse).abs().mean() < 0.1
    with pytest.raises(ValueError, match="keeps the channels"):
        super_resolution(dims=3, in_channels=1, out_channels=2)


def test_synthesis_gives_one_channel_of_any_sign():
    torch.manual_seed(0)
    found = synthetic_ct(dims=2, in_channels=2, features=(4, 8))(noise(1, 2, 8, 12))
    assert found.shape == (1, 1, 8, 12)
    assert found.min() < 0 < found.max()
