"""The step `train` by two processes: the same weights, signals that reach both, a death that ends both."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from test_channels import CHANNELS, prepare, run, study_with_channels

from cohortseg.errors import StudyError
from cohortseg.io.sidecar import read_json
from cohortseg.settings import UNetMethod
from cohortseg.stages import ExperimentStage
from cohortseg.steps import train, training_team
from cohortseg.train.loop import Interrupted


def stage_of(**settings):
    numbers = {"method": "unet", "features": (4, 8), "steps": 3, "batch": 4, "validate_every": 2} | settings
    return ExperimentStage(classes=["lesion"], channels=CHANNELS, experiment=UNetMethod(**numbers))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    layout = study_with_channels(tmp_path_factory.mktemp("study"))
    prepare(layout)
    return layout


def start(study, experiment, settings):
    """The command that the rule calls; its log beside the study."""
    token = study.model(experiment, "0", 1) / "train.json"
    line = [sys.executable, "-m", "cohortseg", "train", "--study", study.root, "--experiment", experiment]
    line += ["--threads", "2", "--fold", "0", "--seed", "1", "--settings", settings.model_dump_json(), "--token", token]
    with (study.root / f"{experiment}.log").open("w") as log:
        return subprocess.Popen(line, stdout=log, stderr=log)


def log_of(study, experiment):
    return (study.root / f"{experiment}.log").read_text()


def members(parent):
    """Process ids of the children of a process."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(text) for text in listed.stdout.split()]


def wait_for(what, seconds=120.0):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.1)


def test_two_processes_make_the_model_that_one_makes(study):
    done = start(study, "two", stage_of(processes=2, minutes=0.02, steps=None)).wait(300)
    assert done == 0, log_of(study, "two")
    record, budget = read_json(study.model("two", "0", 1) / "train.json"), read_json(study.budget("two"))
    assert record["steps"] == budget["steps"] >= 1
    steps = stage_of(steps=budget["steps"])
    token = study.model("one", "0", 1) / "train.json"
    run(train, study, steps, experiment="one", fold="0", seed=1, upstream="", token=token)
    two, one = (load_file(study.model(name, "0", 1) / "weights.safetensors") for name in ("two", "one"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-2, atol=1e-3)
    assert record["key"] != read_json(token)["key"]
    assert log_of(study, "two").count("budget:") == 1


def test_a_signal_stops_both_with_a_checkpoint_and_a_dead_process_ends_the_other(study):
    settings = stage_of(processes=2, steps=100_000, checkpoint_minutes=0.0001)
    resume = study.model("long", "0", 1) / "resume.pt"
    process = start(study, "long", settings)
    wait_for(resume.exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 1
    assert "SIGTERM: the 2 processes of the training have stopped" in log_of(study, "long")
    assert log_of(study, "long").count("of 100000") == 1
    stopped = torch.load(resume, weights_only=True)["step"]

    process = start(study, "long", settings)
    wait_for(lambda: torch.load(resume, weights_only=True)["step"] > stopped)
    first, second = members(process.pid)
    os.kill(second, signal.SIGKILL)
    assert process.wait(120) == 1
    assert "process 1 was killed (SIGKILL)" in log_of(study, "long")
    wait_for(lambda: not os.path.exists(f"/proc/{first}"))  # noqa: PTH110


def test_processes_whose_starter_was_killed_end_as_well(study):
    settings = stage_of(processes=2, steps=100_000, checkpoint_minutes=0.0001)
    process = start(study, "orphan", settings)
    wait_for((study.model("orphan", "0", 1) / "resume.pt").exists)
    left = members(process.pid)
    assert len(left) == 2
    process.kill()
    process.wait()
    wait_for(lambda: not any(os.path.exists(f"/proc/{number}") for number in left))  # noqa: PTH110


# ---- how a training by several processes ends ---------------------------------------------------------------------


def watched(monkeypatch, *scripts):
    monkeypatch.setattr(training_team, "GRACE_S", 0.3)
    monkeypatch.setattr(training_team, "STOPPED_S", 0.3)
    training_team.watch([subprocess.Popen(["sh", "-c", script]) for script in scripts])


def test_all_that_end_well_are_well(monkeypatch):
    watched(monkeypatch, "exit 0", "exit 0")


def test_one_that_waits_for_a_dead_one_is_ended(monkeypatch):
    with pytest.raises(StudyError, match=r"process 1 was killed \(SIGKILL\); process 0 waited for the others and was"):
        watched(monkeypatch, "exec sleep 60", "kill -9 $$")


def test_the_one_that_was_killed_is_named_before_those_that_missed_it(monkeypatch):
    with pytest.raises(StudyError, match=r": process 1 was killed \(SIGKILL\); process 0 ended with status 1$"):
        watched(monkeypatch, "exit 1", "kill -9 $$")


@pytest.mark.parametrize(("script", "out_of_time"), [("exit 138", True), ("kill -10 $$", True), ("exit 143", False)])
def test_a_stop_is_told_from_a_fault(monkeypatch, script, out_of_time):
    with pytest.raises(Interrupted, match="have stopped") as stopped:
        watched(monkeypatch, script, "exit 138" if out_of_time else "exit 143")
    assert stopped.value.out_of_time is out_of_time


def test_a_fault_beside_a_stop_is_a_fault(monkeypatch):
    with pytest.raises(StudyError, match="process 1 ended with status 1"):
        watched(monkeypatch, "exit 138", "exit 1")


def test_too_few_graphics_cards_are_refused_in_one_line(study, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(StudyError, match="2 processes need a graphics card each, this machine has 1"):
        training_team.train_together(study, 2)


def test_only_a_slurm_job_with_a_task_for_each_starts_them_by_srun(monkeypatch):
    told = "JobId=7 JobName=x NumNodes=1-1 NumCPUs=4 NumTasks=2 CPUs/Task=2 ReqB:S:C:T=0:0:*:*"
    monkeypatch.setattr(training_team, "_of_job", lambda number: told if number == "7" else "")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert training_team.srun_line(2) is None
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert training_team.srun_line(3) is None
    assert {"--ntasks=2", "--cpus-per-task=2", "--kill-on-bad-exit=1"} <= set(training_team.srun_line(2) or [])
