"""Two processes that train together do what one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trained_together
from torch.distributed import TCPStore
from trained_together import TRAININGS, train_one

from cohortseg.errors import SettingsError
from cohortseg.infer.networks import build_network
from cohortseg.train.augment import AUGMENTATIONS, augment
from cohortseg.train.patches import patch_source
from cohortseg.train.team import ALONE, Share, Team

SCRIPT = Path(trained_together.__file__)


def run_two(folder, *more):
    store = TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, SCRIPT, folder, str(store.port), str(rank), "2", *more], env=environment)
        for rank in range(2)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with what two processes made of each training."""
    folder = tmp_path_factory.mktemp("two")
    run_two(folder)
    return folder


@pytest.mark.parametrize("name", [*TRAININGS, "batch_norm"])
def test_two_processes_take_the_steps_of_one(two, name):
    weights, history = train_one(name)
    first, theirs = torch.load(two / f"{name}-0.pt", weights_only=True)
    assert [row[0] for row in theirs] == [row[0] for row in history]
    assert [row[1] for row in theirs] == pytest.approx([row[1] for row in history], rel=1e-5)
    begun = build_network("unet", trained_together.UNET, seed=1).state_dict()
    for key, value in weights.items():
        torch.testing.assert_close(first[key], value, rtol=1e-4, atol=1e-6)
    if name != "batch_norm":
        assert max(float((weights[key] - begun[key]).abs().max()) for key in weights) > 1e-3


@pytest.mark.parametrize("name", [*TRAININGS, "batch_norm"])
def test_both_hold_the_same_weights_and_history_to_the_last_bit(two, name):
    (one, told), (other, heard) = (torch.load(two / f"{name}-{rank}.pt", weights_only=True) for rank in range(2))
    assert told == heard
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_signal_to_one_stops_both_after_the_same_step_and_they_go_on_as_if_nothing_had_happened(two, tmp_path):
    run_two(tmp_path, "2")
    told = {(tmp_path / f"stopped-{rank}").read_text() for rank in range(2)}
    assert len(told) == 1
    assert told.pop().startswith("SIGUSR1 after step ")
    weights, history = torch.load(two / "dice_ce-0.pt", weights_only=True)
    for rank in range(2):
        again, whole = torch.load(tmp_path / f"resumed-{rank}.pt", weights_only=True)
        assert whole == history
        assert all(torch.equal(again[key], weights[key]) for key in weights)


def test_the_shares_of_a_batch_are_all_of_it_and_each_part_is_shared():
    shares = [Team(rank, 2).share(8, 2) for rank in range(2)]
    assert shares == [Share((0, 1, 4, 5), 8), Share((2, 3, 6, 7), 8)]
    assert ALONE.share(7, 3) is None
    assert Team(1, 2).share(4, 8) == Share((1, 3), 4)


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(SettingsError, match=r"batch of 5 in 1 parts .* 2 processes; set `batch` to a multiple of 2"):
        Team(0, 2).share(5)


def test_a_share_of_the_patches_is_a_part_of_the_batch():
    numbers = {"patch": (1, 16, 16), "batch_size": 4, "foreground_share": 0.5, "seed": 3}
    whole, labels = patch_source(trained_together.cases(), **numbers).batch(7)
    some, truth = patch_source(trained_together.cases(), **numbers, share=Share((1, 3), 4)).batch(7)
    assert (some == whole[[1, 3]]).all()
    assert (truth == labels[[1, 3]]).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("preset", ["light", "full"])
def test_a_share_of_a_batch_changes_as_in_the_whole_batch(preset, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((6, 2, 9, 10, 11), generator=generator)
    labels = torch.randint(0, 3, (6, 9, 10, 11), generator=generator)
    whole, truth = augment(images, labels, AUGMENTATIONS[preset], seed=seed)
    assert not torch.equal(whole, images)
    for rows in ((0, 3), (5, 1, 2, 4)):
        own = list(rows)
        some, kept = augment(images[own], labels[own], AUGMENTATIONS[preset], seed=seed, share=Share(rows, 6))
        torch.testing.assert_close(some, whole[own], rtol=1e-5, atol=1e-6)
        assert torch.equal(kept, truth[own])
