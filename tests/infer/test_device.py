"""Cards are taken one by one; the CPU is taken where there is none."""

import threading

import pytest
import torch

from cohortseg.infer.device import limit_threads, take_device


@pytest.fixture(autouse=True)
def _no_scheduler(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_without_a_card_it_is_the_cpu(tmp_path):
    with take_device(lock_dir=tmp_path, count=0) as device:
        assert device == torch.device("cpu")


def test_two_jobs_get_two_cards(tmp_path):
    with (
        take_device(lock_dir=tmp_path / "locks", count=2) as one,
        take_device(lock_dir=tmp_path / "locks", count=2) as two,
    ):
        assert [one, two] == [torch.device("cuda", 0), torch.device("cuda", 1)]


def test_a_freed_card_is_taken_again(tmp_path):
    for _ in range(2):
        with take_device(lock_dir=tmp_path, count=1) as device:
            assert device == torch.device("cuda", 0)


def test_a_third_job_waits_until_a_card_is_free(tmp_path):
    got = []

    def job():
        with take_device(lock_dir=tmp_path, count=1, poll_seconds=0.01) as device:
            got.append(device)

    with take_device(lock_dir=tmp_path, count=1):
        waiting = threading.Thread(target=job)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        assert got == []
    waiting.join(5)
    assert got == [torch.device("cuda", 0)]


def test_a_card_is_freed_when_the_job_fails(tmp_path):
    with pytest.raises(RuntimeError, match="broken"), take_device(lock_dir=tmp_path, count=1):
        raise RuntimeError("broken")
    with take_device(lock_dir=tmp_path, count=1) as device:
        assert device.index == 0


def test_a_scheduler_has_shared_the_cards_out_already(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with take_device(lock_dir=tmp_path, count=1) as one, take_device(lock_dir=tmp_path, count=1) as two:
        assert one == two == torch.device("cuda", 0)
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_there_is_no_lock():
    with take_device(lock_dir=None, count=2) as one, take_device(lock_dir=None, count=2) as two:
        assert one == two == torch.device("cuda", 0)


def test_threads_are_limited_and_arithmetic_is_repeatable():
    before, was = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        limit_threads(1)
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(was)
