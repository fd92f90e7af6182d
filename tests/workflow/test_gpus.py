"""GPU jobs without a scheduler: `--resources gpu=N` runs N at a time, each on its own card; without cards the CPU."""

import itertools
import sys

import pytest
from tiny_study import call

pytestmark = pytest.mark.workflow

# A job as `train` and `predict` are: it asks for one GPU and takes a card by lock. The cards are made up.
WORKFLOW = """
rule all:
    input: expand("done/{n}", n=range(7))

rule work:
    output: "done/{n}"
    resources: gpu=1
    shell: "{PYTHON} job.py {CARDS} {wildcards.n} && touch {output}"
"""
JOB = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
# The import of torch takes seconds that differ from job to job; only names of devices are wanted of it here.
sys.modules["torch"] = SimpleNamespace(device=lambda *parts: ":".join(str(part) for part in parts))
from cohortseg.infer.device import take_device
with take_device(lock_dir=Path("locks"), count=int(sys.argv[1]), poll_seconds=0.05) as device:
    began = time.monotonic()
    time.sleep(1.0)
    Path(f"told-{sys.argv[2]}").write_text(f"{device} {began} {time.monotonic()}")
"""


def run_jobs(home, *, cards: int, at_a_time: int) -> list[tuple[str, float, float]]:
    """Device, begin and end of each job."""
    (home / "job.py").write_text(JOB)
    (home / "Snakefile").write_text(WORKFLOW.replace("{PYTHON}", sys.executable).replace("{CARDS}", str(cards)))
    line = [sys.executable, "-m", "snakemake", "--cores", "7", "--resources", f"gpu={at_a_time}"]
    done = call(line, home)
    assert done.returncode == 0, done.output
    told = [path.read_text().split() for path in sorted(home.glob("told-*"))]
    assert len(told) == 7
    return [(device, float(began), float(ended)) for device, began, ended in told]


def side_by_side(jobs: list[tuple[str, float, float]]) -> list[tuple[str, str]]:
    """The devices of each two jobs that ran at the same time."""
    return [(one[0], two[0]) for one, two in itertools.combinations(jobs, 2) if one[1] < two[2] and two[1] < one[2]]


def test_two_at_a_time_each_on_a_card_of_its_own(tmp_path):
    jobs = run_jobs(tmp_path, cards=2, at_a_time=2)
    assert {device for device, _, _ in jobs} == {"cuda:0", "cuda:1"}
    pairs = side_by_side(jobs)
    assert pairs
    assert all(one != two for one, two in pairs)


def test_more_jobs_than_cards_wait_for_a_free_one(tmp_path):
    jobs = run_jobs(tmp_path, cards=2, at_a_time=5)
    assert all(one != two for one, two in side_by_side(jobs))


def test_without_cards_the_same_jobs_run_on_the_cpu(tmp_path):
    jobs = run_jobs(tmp_path, cards=0, at_a_time=3)
    assert {device for device, _, _ in jobs} == {"cpu"}
    assert side_by_side(jobs)
