"""A training by two processes is a job of two tasks, which stops and goes on like any other."""

import shutil

import pytest
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
from safetensors.torch import load_file
from tiny_study import run, study_of

from cohortseg.io.sidecar import read_json

pytestmark = pytest.mark.slurm

NETWORK = {"method": "unet", "features": [4, 8], "steps": 6, "batch": 2, "validate_every": 3, "processes": 2}


@pytest.mark.parametrize("nodes", [1, 2])
def test_two_tasks_train_one_network_on_one_node_or_two(tmp_path, admitted, cluster, nodes):
    home = tmp_path / "home"
    shutil.copytree(admitted, home)
    write_study(home, experiments={"unet": NETWORK})
    token = study_of(home) / "experiments" / "unet" / "fold-0-seed-1" / "train.json"
    more = ["--set-resources", "train:nodes=2"] if nodes == 2 else []
    done = run_on_cluster(home, str(token.relative_to(home)), *more)
    assert done.returncode == 0, done.output
    (job,) = [job for job in jobs_of(home) if job.rules == "rule_train"]
    assert (job.cpus, job.gpus, job.partition) == (4, 2, "gpu")
    begun = [line.split() for line in (cluster / "log" / "tasks.log").read_text().splitlines()]
    # The script of the job has no number of a step.
    ranks = [line for line in begun if line[0] == "begin" and line[2] == job.number and len(line) == 7]
    assert len(ranks) == 2
    assert len({line[4] for line in ranks}) == nodes
    record = read_json(token)
    assert record["steps"] == 6
    assert load_file(token.with_name("weights.safetensors"))


def test_the_end_of_its_time_stops_all_tasks_and_the_job_goes_on_with_the_same_weights(tmp_path, admitted, cluster):
    home, uncut = tmp_path / "home", tmp_path / "uncut"
    shutil.copytree(admitted, home)
    write_study(home, experiments={"unet": {**NETWORK, "steps": 600, "validate_every": 50}})
    shutil.copytree(home, uncut)
    token = "results/tiny/experiments/unet/fold-0-seed-1/train.json"
    alone = run(uncut, "--", token)
    assert alone.returncode == 0, alone.output
    process = start_on_cluster(home, token)
    log = study_of(home) / "logs" / "train" / "unet" / "fold-0-seed-1.log"
    wait_for(lambda: log.exists() and "step 50: " in log.read_text(), seconds=200)
    (job,) = [job for job in jobs_of(home) if job.rules == "rule_train"]
    # What `--signal=USR1@120` of the profile does two minutes before the time limit.
    slurm("scancel", "--signal=USR1", job.number)
    start_again_now(job.number)
    done = finish_on_cluster(home, process)
    assert done.returncode == 0, done.output
    # Back in the queue, which only a saved training asks for. As this test does not wait two minutes, SLURM may take
    # the end of the first start for that of the second; then the job was sent once more.
    assert next(job.restarts for job in jobs_of(home) if job.rules == "rule_train") == 1
    weights = [(place / token).with_name("weights.safetensors").read_bytes() for place in (home, uncut)]
    assert weights[0] == weights[1]
