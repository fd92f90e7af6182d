"""Half-width numbers of small range: the loss is scaled, and a step that overflowed is left out."""

import pytest
import torch

from cohortseg.errors import SettingsError
from cohortseg.infer.networks import build_network
from cohortseg.train import step
from cohortseg.train.losses import LOSSES
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES
from cohortseg.train.step import initial_state, loss_scaler, one_step


def recipe(**numbers):
    standard = {"steps": 9, "learning_rate": 0.01, "seed": 5, "loss": LOSSES["dice_ce"].build()}
    return Recipe(schedule=SCHEDULES["constant"].factor, **{**standard, **numbers})


def network():
    return build_network("unet", {"dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 8)}, seed=1)


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 1, 16, 16, generator=generator), torch.randint(0, 2, (2, 16, 16), generator=generator)


def scaled(monkeypatch, factor):
    monkeypatch.setattr(step, "loss_scaler", lambda *_: torch.amp.GradScaler("cpu", init_scale=factor))


def test_training_in_fp16_on_a_cpu_is_refused_with_the_way_out():
    with pytest.raises(SettingsError, match="graphics cards alone; take bf16, fp32 or auto on a CPU"):
        initial_state(network(), recipe(precision="fp16"))
    assert not loss_scaler(torch.device("cpu"), "bf16").is_enabled()


def test_a_power_of_two_on_the_loss_changes_no_bit_of_the_weights_and_clipping_sees_the_true_norm(monkeypatch):
    plain = initial_state(network(), recipe(gradient_clip=0.05))
    scaled(monkeypatch, 2.0**10)
    other = initial_state(network(), recipe(gradient_clip=0.05))
    for number in range(3):
        for state in (plain, other):
            one_step(state, recipe(gradient_clip=0.05), *batch(number))
    for one, two in zip(plain.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_step_that_overflows_is_left_out_and_the_factor_halved_and_kept_in_checkpoints(monkeypatch):
    scaled(monkeypatch, 3e38)
    state = initial_state(network(), recipe())
    before = [parameter.detach().clone() for parameter in state.network.parameters()]
    one_step(state, recipe(loss=lambda logits, _: 100.0 * logits.square().sum()), *batch())
    assert all(torch.equal(*pair) for pair in zip(before, state.network.parameters(), strict=True))
    assert state.step == 1
    assert state.scaler.get_scale() == pytest.approx(1.5e38, rel=1e-6)
    scaled(monkeypatch, 2.0)
    again = initial_state(network(), recipe())
    again.restore(state.as_dict())
    assert again.scaler.get_scale() == state.scaler.get_scale()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="fp16 trains on a graphics card alone")
def test_fp16_learns_on_a_graphics_card():
    made = recipe(precision="fp16", learning_rate=0.02, steps=40)
    state = initial_state(network().cuda(), made)
    image = torch.zeros(2, 1, 16, 16)
    image[:, :, 4:10, 3:12] = 1.0
    losses = []
    for _ in range(40):
        before = float(state.loss_sum)
        one_step(state, made, image, image[:, 0].long())
        losses.append(float(state.loss_sum) - before)
    assert losses[-1] < 0.7 * losses[0]
