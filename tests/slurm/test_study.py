"""A study through `snakemake --cores all --profile slurm` on a real SLURM: same bytes, right partition, right sizes."""

import itertools
import re

import pytest
from comparable import comparable_bytes
from on_cluster import Task, jobs_of, tasks_of
from tiny_study import study_of

from cohortseg.cohort import read_cases
from cohortseg.layout import Layout
from cohortseg.sizing import Size, memory_mb, runtime_minutes, shipped

pytestmark = pytest.mark.slurm


def test_the_cluster_gives_the_bytes_of_the_local_run(on_slurm, local):
    expected, found = comparable_bytes(study_of(local)), comparable_bytes(study_of(on_slurm[0]))
    assert len(expected) > 100
    assert sorted(found) == sorted(expected)
    assert [path for path in expected if found[path] != expected[path]] == []


def test_every_job_was_done_at_the_first_try(on_slurm):
    jobs = jobs_of(on_slurm[0])
    assert {job.state for job in jobs} == {"COMPLETED"}
    # Short steps that follow each other are one job.
    rules = [job.rules for job in jobs]
    assert rules.count("group_read_convert_fingerprint") == 2
    assert rules.count("group_measure_evaluate_export_postprocess") == 4
    assert rules.count("rule_train") == 2
    assert len(jobs) == 17


def test_networks_run_in_the_gpu_partition_and_nothing_else_does(on_slurm):
    jobs = jobs_of(on_slurm[0])
    with_cards = [job for job in jobs if job.gpus]
    assert sorted(job.rules for job in with_cards) == ["rule_predict"] * 2 + ["rule_train"] * 2
    assert all("/unet_" in job.log for job in with_cards)
    assert {job.partition for job in with_cards} == {"gpu"}
    assert {job.partition for job in jobs if not job.gpus} == {"cpu"}


def test_each_network_job_has_one_card_and_no_card_has_two_jobs(on_slurm, cluster):
    jobs = jobs_of(on_slurm[0])
    tasks = tasks_of(cluster, {job.number for job in jobs})
    with_cards = [task for task in tasks if task.cards != "none"]
    assert {task.job for task in with_cards} == {job.number for job in jobs if job.gpus}
    assert {task.cards for task in with_cards} <= {"0", "1"}
    assert not any(
        overlap(one, other)
        for one, other in itertools.combinations(with_cards, 2)
        if (one.node, one.cards) == (other.node, other.cards)
    )
    # The two trainings did run side by side, so that the line above means something.
    trainings = [task for task in with_cards if task.job in {job.number for job in jobs if job.rules == "rule_train"}]
    assert overlap(*trainings)


def overlap(one: Task, other: Task) -> bool:
    """Whether two tasks ran at the same time."""
    return one.begin < other.end and other.begin < one.end


def test_a_job_asks_for_the_memory_and_time_of_its_cases(on_slurm):
    home, _ = on_slurm
    cases = read_cases(Layout(study_of(home)).cases_table)
    jobs = jobs_of(home)

    def asked(stage: str, voxels: list[int]) -> tuple[int, int]:
        sizes, need = [Size(number) for number in voxels], shipped(stage)
        return max(memory_mb(stage, size, need) for size in sizes), runtime_minutes(stage, sizes, need)

    by_batch = {case.batch: [each.voxels for each in cases if each.batch == case.batch] for case in cases}
    for batch, voxels in by_batch.items():
        (job,) = [job for job in jobs if job.log.split("/")[-3:-1] == ["rule_preprocess", batch]]
        assert (job.mem_mb, job.minutes) == asked("preprocess", voxels)
    by_fold = {case.fold_batch: [each.voxels for each in cases if each.fold_batch == case.fold_batch] for case in cases}
    for batch, voxels in by_fold.items():
        (job,) = [job for job in jobs if f"/rule_predict/unet_{batch}/" in job.log]
        assert (job.mem_mb, job.minutes) == asked("predict", voxels)
    # What runs one after the other in a job: the larger memory, the sum of the times.
    read = [(asked("convert", voxels), asked("fingerprint", voxels)) for voxels in by_batch.values()]
    expected = sorted((max(one[0], two[0]), one[1] + two[1]) for one, two in read)
    assert sorted((job.mem_mb, job.minutes) for job in jobs if "_convert_" in job.rules) == expected


def test_threads_are_those_of_the_profile_not_of_the_submitting_machine(on_slurm):
    cpus = {job.rules: job.cpus for job in jobs_of(on_slurm[0]) if job.rules in ("rule_train", "rule_preprocess")}
    assert cpus == {"rule_train": 2, "rule_preprocess": 1}


def test_the_run_ends_with_an_empty_queue_and_no_leftovers(on_slurm):
    home, done = on_slurm
    assert not list(study_of(home).rglob("*.part"))
    assert not list((home / ".snakemake" / "locks").glob("*"))
    assert not re.search(r"rror", done.output)
    assert not list((home / ".snakemake" / "slurm_logs").rglob("*.log"))
