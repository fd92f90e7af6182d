"""`cohortseg check-cluster`: right answers of a site pass, each wrong one is named with what is right."""

import shutil
from pathlib import Path

import pytest
import yaml
from tiny_study import ROOT, Run, cohortseg

from cohortseg.cli.check_cluster import cards_in, minutes_of


def test_time_limits_are_read_in_all_their_forms():
    assert minutes_of("2-00:30:00") == 2910
    assert minutes_of("10:00:00") == 600
    assert minutes_of("UNLIMITED") is None


def test_cards_are_counted_by_type():
    assert cards_in("gpu:a100:4(S:0-1),gpu:v100:2,shard:8") == {"a100": 4, "v100": 2}
    assert cards_in("gpu:2") == {"": 2}
    assert cards_in("(null)") == {}


@pytest.fixture
def profile(tmp_path) -> Path:
    """A copy of the profile with the partitions of the throw-away cluster."""
    shutil.copytree(ROOT / "workflow" / "profiles" / "slurm", tmp_path / "slurm")
    limits = {"max_runtime": 2880, "max_threads": 4}
    partitions = {"cpu": {**limits, "max_mem_mb": 12000, "max_gpu": 0}, "gpu": {**limits, "max_mem_mb": 24000}}
    partitions["gpu"]["max_gpu"] = 2
    write_partitions(tmp_path / "slurm", partitions)
    return tmp_path / "slurm"


def write_partitions(profile: Path, partitions: dict) -> None:
    (profile / "partitions.yaml").write_text(yaml.safe_dump({"partitions": partitions}))


def check(profile: Path, *arguments: str) -> Run:
    return cohortseg(profile.parent, "check-cluster", "--profile", str(profile), *arguments)


@pytest.mark.slurm
@pytest.mark.parametrize("option", ["gpus", "gres"])
def test_a_profile_that_fits_passes(cluster, profile, option):
    text = (profile / "profile.yaml").read_text().replace("gpu_model: null", "gpu_model: fake")
    (profile / "profile.yaml").write_text(text.replace("gpu_option: gpus", f"gpu_option: {option}"))
    told = check(profile, "--submit")
    assert told.returncode == 0, told.output
    assert "WRONG" not in told.output
    assert told.output.count("to start at") == 2


@pytest.mark.slurm
def test_each_wrong_answer_is_named_with_what_is_right(cluster, profile):
    write_partitions(
        profile,
        {
            "cpu": {"max_runtime": 9000, "max_mem_mb": 12000, "max_threads": 64, "max_gpu": 0},
            "long": {},
            "gpu": {"max_runtime": 2880, "max_mem_mb": 24000, "max_threads": 4, "max_gpu": 8},
        },
    )
    text = (profile / "profile.yaml").read_text()
    changed = text.replace("account: null", "account: mylab").replace("gpu_model: null", "gpu_model: a100")
    changed = changed.replace("gpu_option: gpus", "gpu_option: cards")
    (profile / "profile.yaml").write_text(changed.replace("train_minutes: 1440", "train_minutes: 6000"))
    told = check(profile)
    assert told.returncode == 1
    wrong = [line for line in told.output.splitlines() if line.startswith("WRONG")]
    expected = [
        "partition cpu: max_runtime 9000, the cluster gives 2880 at most",
        "partition cpu: max_threads 64, the cluster gives 4 at most",
        "partition long: not on this cluster, which has cpu, gpu",
        "partition gpu: max_gpu 8, the cluster gives 2 at most",
        "train_minutes 6000: no partition with cards gives more than 2880",
        "gpu_model a100: choices: fake",
        "gpu_option cards: choices: gpus, gres",
        "account mylab: this cluster keeps no accounts",
    ]
    assert [text for text in expected if not any(text in line for line in wrong)] == []
    assert len(wrong) == len(expected)


def test_without_a_cluster_it_says_so(profile):
    told = cohortseg(profile.parent, "check-cluster", "--profile", str(profile.parent / "none"))
    assert told.returncode == 1
    assert "start from the root of the repository" in told.output
