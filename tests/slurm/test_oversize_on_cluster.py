"""A case that no node holds: its blocks are done by workers that SLURM starts, with the bytes of this machine."""

import re
import shutil

import pytest
from comparable import comparable_bytes
from on_cluster import run_on_cluster, slurm, wait_for, write_study
from tiny_study import study_of

pytestmark = pytest.mark.slurm

OVERSIZE = {"above_gib": 1e-6, "workers": 2, "worker_gib": 0.6}


def workers_of(home):
    """State and memory of the jobs that worked on blocks, as the controller knows them."""
    told = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in slurm("scontrol", "show", "job", "-o").splitlines()]
    return [job for job in told if job["JobName"] == "cohortseg-blocks" and job["WorkDir"] == str(home)]


def test_blocks_are_shared_by_jobs_of_slurm_with_the_same_bytes(tmp_path, admitted, local, cluster):
    home = tmp_path / "home"
    shutil.copytree(admitted, home)
    write_study(home, jobs={"cases_per_job": 2, "oversize": OVERSIZE})
    token, *_ = sorted((study_of(local) / "experiments" / "otsu" / "done" / "postprocess").glob("*.json"))
    done = run_on_cluster(home, "--", str(token.relative_to(local)))
    assert done.returncode == 0, done.output
    expected, found = comparable_bytes(study_of(local)), comparable_bytes(study_of(home))
    stores = [path for path in found if path.startswith("experiments/otsu/") and "/post.zarr/" in path]
    assert len(stores) >= 4
    assert [path for path in stores if found[path] != expected[path]] == []
    jobs = workers_of(home)
    assert len(jobs) >= 2
    # Given back: none of them goes on when the job whose blocks they did has ended.
    wait_for(lambda: not [job for job in workers_of(home) if job["JobState"] in ("RUNNING", "PENDING", "COMPLETING")])
