"""What a cluster does to jobs: a silent controller, lost nodes, cancelled and killed jobs, too little time, memory."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import throwaway
from on_cluster import (
    finish_on_cluster,
    jobs_of,
    run_on_cluster,
    slurm,
    start_again_now,
    start_on_cluster,
    wait_for,
    write_study,
)
from tiny_study import run, study_of

pytestmark = pytest.mark.slurm

LONG = {
    "split": {"folds": 2, "seed": 1},
    "experiments": {
        "unet": {"method": "unet", "features": [4, 8], "steps": 800, "batch": 2, "validate_every": 100},
    },
}


def running(home: Path) -> list[str]:
    """Numbers of the study's jobs that run now."""
    return [job.number for job in jobs_of(home) if job.state == "RUNNING"]


def tokens(home: Path) -> list[str]:
    """The batches that are done, by stage."""
    done = study_of(home) / "cohort" / "done"
    return sorted(path.relative_to(done).as_posix() for path in done.rglob("*.json"))


READ = ["convert/b0001.json", "convert/b0002.json", "fingerprint/b0001.json", "fingerprint/b0002.json"]


def test_a_run_outlives_a_controller_that_is_away_for_a_while(fresh, cluster):
    process = start_on_cluster(fresh, "--until", "fingerprint")
    wait_for(lambda: running(fresh))
    throwaway.kill(cluster / "run" / "slurmctld.pid", signal.SIGKILL)
    log = fresh / "run.log"
    wait_for(lambda: "SLURM does not answer" in log.read_text())
    throwaway.start_controller()
    done = finish_on_cluster(fresh, process)
    assert done.returncode == 0, done.output
    # A job that the controller had not yet written down when it died is sent again.
    assert "SLURM answers again" in done.output
    assert tokens(fresh) == READ
    assert {job.state for job in jobs_of(fresh)} == {"COMPLETED"}


def test_cancelled_and_killed_jobs_are_sent_again_with_more_memory_and_time(fresh, cluster):
    process = start_on_cluster(fresh, "--until", "fingerprint")
    wait_for(lambda: len(running(fresh)) == 2)
    first, second = running(fresh)
    slurm("scancel", first)
    slurm("scancel", "--signal=KILL", "--full", second)
    done = finish_on_cluster(fresh, process)
    assert done.returncode == 0, done.output
    assert tokens(fresh) == READ
    jobs = jobs_of(fresh)
    assert sorted(job.state for job in jobs[:2]) in (["CANCELLED", "FAILED"], ["CANCELLED", "CANCELLED"])
    assert {job.state for job in jobs[2:]} == {"COMPLETED"}
    assert len(jobs) == 4
    assert all(
        again.mem_mb > tried.mem_mb and again.minutes > tried.minutes for tried in jobs[:2] for again in jobs[2:]
    )


def test_a_job_that_takes_more_memory_than_it_has_gets_more_at_the_next_try(fresh, cluster):
    ask = "fingerprint:mem_mb=150*attempt**3"
    done = run_on_cluster(fresh, "--until", "fingerprint", "--set-resources", ask, "convert:mem_mb=100")
    assert done.returncode == 0, done.output
    assert tokens(fresh) == READ
    jobs = jobs_of(fresh)
    assert len({job.mem_mb for job in jobs}) > 1
    assert {job.state for job in jobs if job.mem_mb <= 150} <= {"FAILED", "OUT_OF_MEMORY", "CANCELLED"}


def test_a_lost_node_gives_its_job_back_to_the_queue(fresh, cluster):
    process = start_on_cluster(fresh, "--until", "fingerprint")
    wait_for(lambda: len(running(fresh)) == 2)
    numbers = running(fresh)
    nodes = {slurm("squeue", "-h", "-j", number, "-o", "%N").strip() for number in numbers}
    for node in nodes:
        throwaway.kill(cluster / "run" / f"slurmd-{node}.pid", signal.SIGKILL)
        slurm("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")
    for node in nodes:
        throwaway.start_node(node)
        # It comes back by itself, or by this; once it is back SLURM refuses.
        subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], check=False, capture_output=True)
    for number in numbers:
        start_again_now(number)
    done = finish_on_cluster(fresh, process)
    assert done.returncode == 0, done.output
    assert tokens(fresh) == READ
    jobs = jobs_of(fresh)
    # SLURM started the same jobs again. Because this test does not wait two minutes, it may have taken the end of the
    # first start for that of the second; then they were sent once more.
    assert [job.restarts for job in jobs[:2]] == [1, 1]
    assert all(job.state == "COMPLETED" for job in jobs[-2:])


def test_a_job_that_can_never_start_ends_the_run_with_a_line(fresh, cluster):
    impossible = ["--set-resources", "convert:runtime=40000", "--retries", "0"]
    stopped = run_on_cluster(fresh, "--until", "convert", *impossible)
    assert stopped.returncode == 1, stopped.output
    told = re.findall(r"^cohortseg: .* can never start in partition cpu \(PartitionTimeLimit\)", stopped.output, re.M)
    assert len(told) == 2
    assert "cohortseg check-cluster" in stopped.output
    assert {job.state for job in jobs_of(fresh)} == {"CANCELLED"}


def test_a_training_whose_time_ends_goes_on_in_the_same_job_with_the_same_memory(fresh, cluster, tmp_path):
    write_study(fresh, **LONG)
    uncut = tmp_path / "uncut"
    shutil.copytree(fresh, uncut)
    target = [str(Path("results/tiny/experiments/unet") / f"fold-{fold}-seed-1" / "train.json") for fold in (0, 1)]
    alone = run(uncut, "--", *target)
    assert alone.returncode == 0, alone.output
    process = start_on_cluster(fresh, *target)
    log = study_of(fresh) / "logs" / "train" / "unet" / "fold-0-seed-1.log"
    wait_for(lambda: log.exists() and "step 100: " in log.read_text(), seconds=200)
    (job,) = [job for job in jobs_of(fresh) if "/unet_0_1/" in job.log]
    # What `--signal=USR1@120` of the profile does two minutes before the time limit.
    slurm("scancel", "--signal=USR1", job.number)
    start_again_now(job.number)
    done = finish_on_cluster(fresh, process)
    assert done.returncode == 0, done.output
    trainings = [job for job in jobs_of(fresh) if job.rules == "rule_train"]
    assert sorted(job.restarts for job in trainings) == [0, 1]
    assert len({job.mem_mb for job in trainings}) == 1
    for path in target:
        weights = [(home / path).with_name("weights.safetensors").read_bytes() for home in (fresh, uncut)]
        assert weights[0] == weights[1]
    assert not list(study_of(fresh).rglob("resume.pt"))


def test_a_killed_submitter_needs_nothing_but_the_same_command(fresh, cluster):
    process = start_on_cluster(fresh, "--until", "fingerprint")
    wait_for(lambda: running(fresh))
    # The process below `timeout`.
    os.kill(int(slurm("pgrep", "-P", str(process.pid)).split()[0]), signal.SIGKILL)
    process.wait()
    again = run_on_cluster(fresh, "--until", "fingerprint")
    assert again.returncode == 0, again.output
    assert tokens(fresh) == READ
    assert not list(study_of(fresh).rglob("*.part"))
