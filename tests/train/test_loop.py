"""The loop learns, and a run that was stopped goes on as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from cohortseg.errors import SettingsError
from cohortseg.infer.networks import build_network
from cohortseg.train.augment import AUGMENTATIONS, augment
from cohortseg.train.loop import Interrupted, train
from cohortseg.train.losses import LOSSES
from cohortseg.train.patches import Case, foreground_rows, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES
from cohortseg.train.transfer import freeze
from cohortseg.train.validate import validation

LOSS = LOSSES["dice_ce"].build()
PATCH = (1, 16, 24)


def cases_of(count, seed=0):
    """Bright squares on noise; the square is the label."""
    generator = np.random.default_rng(seed)
    cases = []
    for _ in range(count):
        label = np.zeros((3, 20, 28), np.uint8)
        y, x = generator.integers(2, 10), generator.integers(2, 16)
        label[:, y : y + 8, x : x + 9] = 1
        image = (label * 2.0 + generator.normal(size=label.shape)).astype(np.float32)
        cases.append(Case(image, label, foreground_rows(label)))
    return cases


def pieces(dropout=0.0, seed=1):
    arguments = {"dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 8), "dropout": dropout}
    network = build_network("unet", arguments, seed=seed)
    source = patch_source(cases_of(4), patch=PATCH, batch_size=2, foreground_share=0.5, seed=3)
    return network, source, validation(cases_of(2, seed=9), patch=PATCH, n_classes=2, loss=LOSS)


def recipe_of(**numbers):
    standard = {"loss": LOSS, "schedule": SCHEDULES["cosine"].factor, "steps": 12, "learning_rate": 0.01, "seed": 5}
    return Recipe(**{**standard, "validate_every": 4, **numbers})


def without_seconds(history):
    return [{name: value for name, value in row.items() if not name.startswith("seconds_")} for row in history]


class StopsAt:
    """A source that sends this process a signal when a step is drawn."""

    def __init__(self, source, step, number=signal.SIGUSR1):
        self.source, self.step, self.number = source, step, number

    steps_per_epoch = 2.0

    def batch(self, step):
        if step == self.step:
            os.kill(os.getpid(), self.number)
        return self.source.batch(step)


def test_it_learns():
    network, source, validate = pieces()
    history = train(network, source, validate, recipe_of(steps=60, validate_every=30, learning_rate=0.02))
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["dice"] > 0.8


def test_the_history_says_where_it_is():
    network, source, validate = pieces()
    reported = []
    history = train(network, source, validate, recipe_of(steps=10), report=reported.append)
    assert [row["step"] for row in history] == [4, 8, 10]
    assert [row["epoch"] for row in history] == [2.0, 4.0, 5.0]
    assert history[0]["learning_rate"] == pytest.approx(0.01 * SCHEDULES["cosine"].factor(3, 10))
    assert set(history[0]) == {
        "step",
        "epoch",
        "learning_rate",
        "loss",
        "validation_loss",
        "dice",
        "dice_1",
        "seconds_train",
        "seconds_validate",
    }
    assert reported == history


def test_the_loss_of_a_row_is_the_mean_over_its_interval():
    network, source, _ = pieces()
    values = []

    def noted(logits, target):
        value = LOSS(logits, target)
        values.append(float(value.detach()))
        return value

    history = train(network, source, lambda _: {"dice": 0.0}, recipe_of(steps=6, loss=noted))
    assert [row["loss"] for row in history] == pytest.approx([np.mean(values[:4]), np.mean(values[4:])])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"ema_decay": 0.9, "keep": "best"},
        {"optimiser": "sgd_nesterov", "learning_rate": 1e-3},
        {"augmentation": partial(augment, how=AUGMENTATIONS["full"])},
        {"accumulate": 2, "channels_last": True},
    ],
)
def test_a_run_cut_in_two_equals_the_uncut_run_bit_for_bit(tmp_path, number, numbers):
    recipe = recipe_of(**numbers)
    network, source, validate = pieces(dropout=0.2)
    expected = train(network, source, validate, recipe)

    path = tmp_path / "resume.pt"
    first, *_ = pieces(dropout=0.2)
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted, match="of 12"):
        train(first, StopsAt(source, 6, number), validate, recipe, checkpoint=path)
    assert signal.getsignal(number) is handler
    assert 0 < torch.load(path, weights_only=True)["step"] < 12

    second, *_ = pieces(dropout=0.2, seed=99)  # other first weights: all must come from the checkpoint
    torch.manual_seed(1234)
    history = train(second, source, validate, recipe, checkpoint=path)
    assert without_seconds(history) == without_seconds(expected)
    for name, value in network.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_two_runs_with_the_same_seed_are_the_same_and_another_seed_is_not():
    results = []
    for seed in (5, 5, 6):
        network, source, validate = pieces(dropout=0.3)
        train(network, source, validate, recipe_of(seed=seed, steps=5))
        results.append(network.state_dict()["head.weight"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_finished_run_returns_at_once_with_the_same_weights(tmp_path):
    path = tmp_path / "resume.pt"
    network, source, validate = pieces()
    history = train(network, source, validate, recipe_of(), checkpoint=path)

    class Never:
        steps_per_epoch = 2.0

        def batch(self, step):
            raise AssertionError

    again, *_ = pieces(seed=7)
    assert train(again, Never(), validate, recipe_of(), checkpoint=path) == history
    assert torch.equal(again.state_dict()["head.weight"], network.state_dict()["head.weight"])


@pytest.mark.parametrize("foreign", [{"learning_rate": 0.02}, {"seed": 6}, {"steps": 13}])
def test_a_foreign_checkpoint_is_ignored_with_a_note(tmp_path, caplog, foreign):
    path = tmp_path / "resume.pt"
    network, source, validate = pieces()
    train(network, source, validate, recipe_of(**foreign), checkpoint=path)
    fresh, *_ = pieces()
    history = train(fresh, source, validate, recipe_of(), checkpoint=path)
    expected, *_ = pieces()
    assert without_seconds(history) == without_seconds(train(expected, source, validate, recipe_of()))
    assert "another training" in caplog.text


def test_a_checkpoint_of_other_data_is_ignored(tmp_path, caplog):
    path = tmp_path / "resume.pt"
    network, source, validate = pieces()
    train(network, source, validate, recipe_of(), checkpoint=path, identity="these cases")
    train(network, source, validate, recipe_of(), checkpoint=path, identity="other cases")
    assert "another training" in caplog.text


def test_a_damaged_checkpoint_is_ignored_with_a_note(tmp_path, caplog):
    path = tmp_path / "resume.pt"
    path.write_bytes(b"half a file")
    network, source, validate = pieces()
    assert len(train(network, source, validate, recipe_of(), checkpoint=path)) == 3
    assert "damaged" in caplog.text


def test_a_checkpoint_is_written_when_its_time_has_come(tmp_path):
    path = tmp_path / "resume.pt"
    seen = []

    class Watching:
        steps_per_epoch = 2.0

        def batch(self, step):
            seen.append(path.exists())
            return pieces()[1].batch(step)

    network, _, validate = pieces()
    train(network, Watching(), validate, recipe_of(), checkpoint=path, checkpoint_minutes=0.0)
    assert not seen[0]
    assert any(seen)


def test_the_best_weights_are_kept_when_asked():
    scores = iter([0.2, 0.9, 0.4])
    weights = []

    def validate(network):
        weights.append(network.state_dict()["head.weight"].clone())
        return {"dice": next(scores)}

    network, source, _ = pieces()
    train(network, source, validate, recipe_of(keep="best"))
    assert torch.equal(network.state_dict()["head.weight"], weights[1])


def test_undefined_dice_is_never_the_best():
    scores = iter([float("nan"), 0.1, float("nan")])
    weights = []

    def validate(network):
        weights.append(network.state_dict()["head.weight"].clone())
        return {"dice": next(scores)}

    network, source, _ = pieces()
    train(network, source, validate, recipe_of(keep="best"))
    assert torch.equal(network.state_dict()["head.weight"], weights[1])


def test_the_average_trails_behind_the_weights():
    plain, source, validate = pieces()
    train(plain, source, validate, recipe_of(schedule=SCHEDULES["constant"].factor))
    average, source, validate = pieces()
    train(average, source, validate, recipe_of(schedule=SCHEDULES["constant"].factor, ema_decay=0.99))
    first, *_ = pieces()
    moved = [(net.state_dict()["head.weight"] - first.state_dict()["head.weight"]).norm() for net in (average, plain)]
    assert 0 < moved[0] < moved[1]


def test_the_gradient_is_clipped():
    network, source, validate = pieces()
    before = [value.clone() for value in network.parameters()]
    numbers = {
        "optimiser": "sgd_nesterov",
        "weight_decay": 0.0,
        "learning_rate": 1.0,
        "gradient_clip": 1e-3,
        "steps": 1,
    }
    train(network, source, validate, recipe_of(schedule=SCHEDULES["constant"].factor, **numbers))
    moved = torch.cat([(new - old).flatten() for new, old in zip(network.parameters(), before, strict=True)]).norm()
    assert moved.item() == pytest.approx(
        1e-3 * 1.99, rel=1e-3
    )  # the first step of Nesterov is (1 + momentum) gradients


def test_half_precision_trains_too():
    network, source, validate = pieces()
    history = train(network, source, validate, recipe_of(precision="bf16"))
    assert np.isfinite(history[-1]["loss"])
    assert network.state_dict()["head.weight"].dtype == torch.float32


def test_a_loss_that_explodes_stops_the_run():
    network, source, validate = pieces()
    with pytest.raises(SettingsError, match="lower the learning rate"):
        train(network, source, validate, recipe_of(loss=lambda logits, target: logits.sum() * float("inf")))


def test_a_batch_in_parts_gives_the_gradient_of_the_whole():
    """Of a loss that is a mean over voxels, and a network that treats each sample alone."""
    results = []
    for accumulate in (1, 2):
        network, source, _ = pieces()
        numbers = {"loss": LOSSES["cross_entropy"].build(), "steps": 5, "accumulate": accumulate}
        history = train(network, source, lambda _: {"dice": 0.0}, recipe_of(**numbers, optimiser="sgd_nesterov"))
        results.append((history[-1]["loss"], network.state_dict()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for name, value in results[0][1].items():
        torch.testing.assert_close(value, results[1][1][name], rtol=1e-4, atol=1e-6)


def test_training_ends_when_the_dice_no_longer_grows_and_stays_ended(tmp_path):
    scores = [0.5, 0.6, 0.6, 0.55, 0.9, 0.9]
    numbers = {"steps": 24, "validate_every": 4, "patience": 2, "keep": "best"}

    def run(asked):
        network, source, _ = pieces()

        def validate(_):
            asked.append(scores[len(asked)])
            return {"dice": asked[-1]}

        history = train(network, source, validate, recipe_of(**numbers), checkpoint=tmp_path / "resume.pt")
        return history, network.state_dict()

    first, again = [], []
    history, weights = run(first)
    assert [row["dice"] for row in history] == [0.5, 0.6, 0.6, 0.55]
    assert history[-1]["step"] == 16
    resumed, same = run(again)
    assert again == []
    assert without_seconds(resumed) == without_seconds(history)
    assert all(torch.equal(value, same[name]) for name, value in weights.items())


def test_frozen_parts_keep_their_weights_and_the_others_move():
    network, source, _ = pieces()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    freeze(network, ["encoder"])
    train(network, source, lambda _: {"dice": 0.0}, recipe_of(steps=3))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name


def test_progress_counts_every_step():
    network, source, _ = pieces()
    done = []
    train(network, source, lambda _: {"dice": 0.0}, recipe_of(steps=5), progress=done.append)
    assert done == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_training_killed_at_any_time_goes_on_to_the_same_weights(tmp_path, number):
    """Another process each time; it is killed after some steps, twice, and then left alone."""
    random.seed(int(number))
    command = [sys.executable, str(Path(__file__).with_name("killed_training.py"))]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    for _ in range(2):
        process = subprocess.Popen([*command, str(tmp_path / "cut")], stdout=subprocess.PIPE, text=True)
        wanted = random.randint(2, 14)
        for line in process.stdout:
            if int(line) >= wanted:
                process.send_signal(number)
                break
        process.stdout.close()
        process.wait()
    subprocess.run([*command, str(tmp_path / "cut")], check=True)
    whole, cut = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut
