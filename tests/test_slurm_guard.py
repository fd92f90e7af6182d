"""The mended executor, against one that behaves as the plugin does; the real thing is in tests/slurm."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from cohortseg import slurm_guard
from cohortseg.slurm_guard import guard


class Plugin(SimpleNamespace):
    """A module like the executor's: `said` is what SLURM answers to each query, None for no answer."""

    def __init__(self) -> None:
        plugin = self

        class Executor:
            workflow = SimpleNamespace(executor_settings=SimpleNamespace(init_seconds_before_status_checks=20))
            next_seconds_between_status_checks = 170

            def __init__(self) -> None:
                self.failed = []
                self.submitted = []

            def report_job_error(self, job, msg):
                self.failed.append((job.external_jobid, msg))

            def run_job(self, job):
                self.submitted.append(job)

            async def check_active_jobs(self, active_jobs):
                states, _ = await plugin.query_job_status("squeue", None)
                if states is None:
                    return
                for job in active_jobs:
                    if states.get(job.external_jobid) != "COMPLETED":
                        yield job

        async def query_job_status(command, logger):
            return plugin.said, None

        super().__init__(
            said={},
            Executor=Executor,
            query_job_status=query_job_status,
            get_min_job_age=lambda: 300,
            read_partition_file=lambda path: path,
        )


@pytest.fixture
def asked(monkeypatch) -> list[list[str]]:
    """The commands of SLURM that were called; squeue tells of one job that waits."""
    calls: list[list[str]] = []

    def output(command):
        calls.append(command)
        return {"squeue": "7|PartitionTimeLimit|cpu\n8|launch failed requeued held|cpu\n9|Resources|cpu\n"}.get(
            command[0], ""
        )

    monkeypatch.setattr(slurm_guard, "_output", output)
    return calls


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, to be set."""
    now = [0.0]
    monkeypatch.setattr(slurm_guard, "time", SimpleNamespace(monotonic=lambda: now[0], strftime=lambda _: "12:00:00"))
    return now


def jobs(*numbers: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(external_jobid=number) for number in numbers]


def check(executor, active) -> list[str]:
    """One round of status checks: the jobs that are still waited for."""

    async def ask():
        return [job.external_jobid async for job in executor.check_active_jobs(active)]

    return asyncio.run(ask())


def test_after_a_query_without_answer_all_jobs_are_still_waited_for(asked, clock, capsys):
    plugin = Plugin()
    guard(plugin, Path())
    plugin.said = None
    assert check(plugin.Executor(), jobs("1", "2")) == ["1", "2"]
    assert "SLURM does not answer" in capsys.readouterr().err


def test_a_long_silence_ends_the_run_with_the_line_to_type(asked, clock, capsys):
    plugin = Plugin()
    guard(plugin, Path(), patience_minutes=30)
    plugin.said, executor = None, plugin.Executor()
    check(executor, jobs("1"))
    clock[0] = 29 * 60
    assert check(executor, jobs("1")) == ["1"]
    clock[0] = 31 * 60
    with pytest.raises(TimeoutError):
        check(executor, jobs("1"))
    told = capsys.readouterr().err.splitlines()[-1]
    assert "not answered for 30 minutes" in told
    assert "scancel --me" in told


def test_a_job_that_slurm_has_forgotten_fails_after_a_while(asked, clock):
    plugin = Plugin()
    guard(plugin, Path())
    plugin.said, executor = {"1": "RUNNING", "2": "COMPLETED"}, plugin.Executor()
    assert check(executor, jobs("1", "2", "3")) == ["1", "3"]
    clock[0] = 250.0
    assert check(executor, jobs("1", "3")) == ["1", "3"]
    clock[0] = 310.0
    assert check(executor, jobs("1", "3")) == ["1"]
    assert [number for number, _ in executor.failed] == ["3"]


def test_tasks_of_an_array_are_known_by_its_number(asked, clock):
    plugin = Plugin()
    guard(plugin, Path())
    plugin.said, executor = {"4_[3-9]": "PENDING"}, plugin.Executor()
    check(executor, jobs("4_5"))
    clock[0] = 1000.0
    assert check(executor, jobs("4_5")) == ["4_5"]


def test_waiting_jobs_of_this_run_alone_are_released_or_cancelled(asked, clock, capsys):
    plugin = Plugin()
    guard(plugin, Path())
    plugin.said, executor = {"8": "PENDING", "9": "PENDING"}, plugin.Executor()
    for _ in range(5):
        check(executor, jobs("8", "9"))
    done = [command for command in asked if command[0] != "squeue"]
    assert done == [["scontrol", "release", "8"]] * 3 + [["scancel", "8"]] * 2
    plugin.said = {"7": "PENDING"}
    check(executor, jobs("7"))
    assert asked[-1] == ["scancel", "7"]
    assert "can never start in partition cpu (PartitionTimeLimit)" in capsys.readouterr().err


def test_an_ended_job_is_looked_for_within_a_minute(asked, clock):
    plugin = Plugin()
    guard(plugin, Path())
    executor = plugin.Executor()
    check(executor, jobs("1"))
    assert executor.next_seconds_between_status_checks == 60


def test_paths_of_the_profile_start_where_snakemake_was_started(asked):
    plugin = Plugin()
    guard(plugin, Path("/home/me/repository"))
    assert plugin.read_partition_file("slurm/partitions.yaml") == Path("/home/me/repository/slurm/partitions.yaml")
    assert plugin.read_partition_file("/etc/partitions.yaml") == Path("/etc/partitions.yaml")
