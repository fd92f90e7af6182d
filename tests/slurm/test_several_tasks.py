"""A training by two processes is a job of two tasks, which stops and goes on like any other."""

import shutil

import pytest
from on_cluster import jobs_of, run_on_cluster, write_study
from safetensors.torch import load_file
from tiny_study import study_of

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
