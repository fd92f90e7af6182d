"""What Snakemake plans without running: the cluster's profile, use as a module, a thousand cases, lint."""

import re
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import lint_workflow
import pytest
import yaml
from lint_workflow import write_study
from tiny_study import CONFIG, ROOT, call, cohortseg, snakemake_command, study_of

from cohortseg.cli.plan_study import FILES_PER_CASE
from cohortseg.cohort import Case, read_cases

pytestmark = pytest.mark.workflow

N_CASES = 1000


def made_up(number: int, *, voxels: int, batch: str, fold_batch: str) -> Case:
    """A row of the table of cases, as one could write it by hand."""
    return Case(
        case=f"sub-{number:04d}_ct1",
        subject=f"sub-{number:04d}",
        modality="CT",
        manufacturer="",
        model="",
        kernel="",
        slice_thickness_mm="2",
        shape="",
        voxels=voxels,
        label="rtstruct",
        positive="yes",
        source=f"sha256:{number}",
        fold=str(number % 2),
        role="cohort",
        batch=batch,
        fold_batch=fold_batch,
    )


# Without the rules' own messages Snakemake tells the wildcards and resources of each job.
TALKATIVE = f"""
include: "{ROOT}/Snakefile"

workflow.default_target = "all"
for each in workflow.rules:
    each.message = None
"""


@dataclass(frozen=True)
class Planned:
    """One job of a dry run."""

    rule: str
    wildcards: str
    resources: dict[str, str]


def plan_jobs(home: Path, *arguments: str) -> list[Planned]:
    """The jobs that a dry run from the root of the repository tells."""
    (home / "Talkative.smk").write_text(TALKATIVE)
    places = ["-s", str(home / "Talkative.smk"), "--configfile", str(home / "config.yaml"), "--directory", str(home)]
    done = call([sys.executable, "-m", "snakemake", "--cores", "all", "-n", *places, *arguments], ROOT)
    assert done.returncode == 0, done.output
    # The jobs of a group are told further in.
    blocks = re.findall(r"^ *rule (\w+):\n((?: {4,}\w+: .*\n)+)", done.output, re.MULTILINE)
    told = [(rule, dict(re.findall(r"^ +(\w+): (.*)$", block, re.MULTILINE))) for rule, block in blocks]
    return [
        Planned(rule, lines.get("wildcards", ""), dict(re.findall(r"(\w+)=([^,]*)", lines["resources"])))
        for rule, lines in told
        if rule != "all"
    ]


def test_the_cluster_profile_asks_for_a_gpu_only_where_a_network_is(fresh):
    jobs = plan_jobs(fresh, "--profile", "slurm")
    assert Counter(job.rule for job in jobs)["train"] == 2
    assert len(jobs) == 41
    with_gpu = {(job.rule, job.wildcards.split(",")[0]) for job in jobs if job.resources.get("gpu", "0") != "0"}
    assert with_gpu == {("train", "experiment=unet"), ("predict", "experiment=unet")}
    assert all(int(job.resources["mem_mb"]) > 0 and int(job.resources["runtime"]) > 0 for job in jobs)


EVERY_GPU_JOB = {
    "experiments": {
        "otsu": {"method": "threshold"},
        "unet": {"method": "unet", "steps": 6},
        "taught": {"method": "unet", "steps": 6, "labels_from": "unet"},
        "searched": {"method": "unet", "steps": 6},
    },
    "tune": {"searched": {"search": "grid", "space": {"learning_rate": [0.01, 0.003]}}},
    "stability": {"cases": 2},
}
"""Rules that may ask for a card: train, predict, trial, pseudolabel, stability."""


@pytest.mark.parametrize("option", ["gpus", "gres"])
def test_every_job_with_a_card_asks_for_the_model_of_the_site_and_no_other_job_names_one(tmp_path, option):
    profile = tmp_path / "slurm"
    shutil.copytree(ROOT / "workflow" / "profiles" / "slurm", profile)
    text = (profile / "profile.yaml").read_text()
    text = text.replace("gpu_model: null", "gpu_model: a100").replace("gpu_option: gpus", f"gpu_option: {option}")
    (profile / "profile.yaml").write_text(text)
    case = made_up(1, voxels=1_000_000, batch="b0001", fold_batch="f1-b0001")
    write_study(tmp_path, [case], {**CONFIG, **EVERY_GPU_JOB})
    jobs = plan_jobs(tmp_path, "--profile", str(profile))
    with_card = [job for job in jobs if job.resources.get("gpu", "0") != "0" or "gres" in job.resources]
    assert {job.rule for job in with_card} == {"train", "predict", "trial", "pseudolabel", "stability"}
    assert all("experiment=otsu" not in job.wildcards for job in with_card)
    for job in jobs:
        asked = {name: job.resources.get(name) for name in ("gpu", "gpu_model", "gres")}
        if job not in with_card:
            assert asked in ({"gpu": n, "gpu_model": None, "gres": None} for n in (None, "0"))
        elif option == "gpus":
            assert asked == {"gpu": "1", "gpu_model": "a100", "gres": None}
        else:
            assert asked == {"gpu": "0", "gpu_model": None, "gres": "gpu:a100:1"}


def test_memory_and_time_grow_with_the_voxels_of_a_case(tmp_path):
    small = made_up(1, voxels=1_000_000, batch="b0001", fold_batch="f1-b0001")
    large = made_up(2, voxels=200_000_000, batch="b0002", fold_batch="f0-b0001")
    write_study(tmp_path, [small, large], CONFIG)
    jobs = {(job.rule, job.wildcards): job.resources for job in plan_jobs(tmp_path)}
    for rule in ("convert", "fingerprint", "preprocess"):
        first, second = jobs[rule, "batch=b0001"], jobs[rule, "batch=b0002"]
        assert int(second["mem_mb"]) > 1.3 * int(first["mem_mb"]), rule
        assert int(second["runtime"]) > int(first["runtime"]), rule
    for rule in ("predict", "postprocess", "evaluate"):
        first, second = (jobs[rule, f"experiment=unet, fold_batch={batch}"] for batch in ("f1-b0001", "f0-b0001"))
        assert int(second["mem_mb"]) > 1.3 * int(first["mem_mb"]), rule
        assert int(second["runtime"]) > int(first["runtime"]), rule


def test_a_newcomer_is_labelled_for_nobody_because_no_fold_learns_from_it(tmp_path):
    first, second, third = (
        made_up(number, voxels=1_000_000, batch=f"b{number:04d}", fold_batch=batch)
        for number, batch in ((1, "f1-b0001"), (2, "f0-b0001"), (3, "f1-b0002"))
    )
    experiments = {**CONFIG["experiments"], "student": {**CONFIG["experiments"]["unet"], "labels_from": "otsu"}}
    write_study(tmp_path, [first, second, replace(third, role="newcomer")], {**CONFIG, "experiments": experiments})
    labelled = {job.wildcards for job in plan_jobs(tmp_path) if job.rule == "pseudolabel"}
    assert labelled == {f"experiment=student, fold={fold}, fold_batch=f{1 - fold}-b0001" for fold in (0, 1)}


def test_it_can_be_used_as_a_module_of_another_workflow(fresh):
    (fresh / "Snakefile").write_text(
        'configfile: "config.yaml"\n\n\n'
        f'module cohortseg:\n    snakefile: "{ROOT}/workflow/Snakefile"\n    config: config\n\n\n'
        "use rule * from cohortseg as cohortseg_*\n"
    )
    planned = call([sys.executable, "-m", "snakemake", "--cores", "2", "-n", "cohortseg_all"], fresh)
    assert planned.returncode == 0, planned.output
    assert planned.planned["cohortseg_convert"] == 6
    assert planned.planned["cohortseg_train"] == 2
    assert planned.planned["cohortseg_report"] == 1


def test_the_demo_without_its_scans_says_so_in_one_line(tmp_path):
    stopped = call([sys.executable, "-m", "snakemake", "-n", "--directory", str(tmp_path)], ROOT)
    assert stopped.returncode != 0
    assert "Traceback" not in stopped.output, stopped.output
    assert len([line for line in stopped.output.splitlines() if "data/phantom" in line]) == 1


def test_a_thousand_written_down_cases_are_planned(tmp_path):
    cases = [
        made_up(number, voxels=26_214_400, batch=f"b{number // 5:04d}", fold_batch=f"f{number % 2}-b{number // 40:04d}")
        for number in range(N_CASES)
    ]
    write_study(tmp_path, cases, CONFIG)
    planned = call(snakemake_command("-n", "--quiet", "rules"), tmp_path)
    assert planned.returncode == 0, planned.output
    assert planned.planned["convert"] == planned.planned["preprocess"] == 200
    assert planned.planned["predict"] == planned.planned["export"] == 2 * 2 * 25


def test_a_case_has_no_more_files_than_planned(finished):
    study = study_of(finished[0])
    case = read_cases(study / "cohort" / "cases.tsv")[0].case

    def files(*patterns: str) -> int:
        return sum(path.is_file() for pattern in patterns for path in study.glob(pattern))

    of_cohort = sum(FILES_PER_CASE[stage] for stage in ("convert", "fingerprint", "preprocess"))
    assert of_cohort - 2 <= files(f"cases/{case}/**/*", f"private/*/{case}.json") <= of_cohort
    of_experiment = sum(FILES_PER_CASE[stage] for stage in ("predict", "postprocess", "evaluate", "export"))
    found = files(f"experiments/otsu/*/cases/{case}/**/*", f"export/otsu/*/{case}*")
    assert of_experiment - 2 <= found <= of_experiment


def test_the_default_profile_undoes_nothing_of_the_slurm_profile():
    profiles = [
        yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text()) for name in ("default", "slurm")
    ]
    assert set(profiles[0]) & set(profiles[1]) == set()


def test_a_study_is_planned_in_jobs_hours_memory_disk_and_files(fresh):
    told = cohortseg(fresh, "plan-study", "--configfile", "config.yaml")
    assert told.returncode == 0, told.output
    rows = {line[:28].strip(): line[28:].split() for line in told.output.splitlines()}
    assert rows["convert"][:2] == ["6", "6"]
    assert rows["train unet"][0] == "2"
    assert rows["predict otsu"][:2] == ["2", "6"]
    assert float(rows["train unet"][3]) >= 0.0
    assert rows["predict otsu"][3] == "0.0"
    assert int(rows["total"][0]) == sum(
        int(row[0]) for name, row in rows.items() if row and name not in ("work", "total")
    )


def test_the_workflow_has_no_lint(capsys):
    status = lint_workflow.main()
    assert status == 0, capsys.readouterr().out


def test_a_training_by_several_processes_asks_for_a_task_a_gpu_and_memory_for_each(tmp_path):
    case = made_up(1, voxels=1_000_000, batch="b0001", fold_batch="f1-b0001")
    network = {"method": "unet", "steps": 3, "batch": 4}
    experiments = {"alone": network, "together": {**network, "processes": 2}}
    write_study(tmp_path, [case], {**CONFIG, "experiments": experiments})
    jobs = {job.wildcards.split(",")[0]: job.resources for job in plan_jobs(tmp_path) if job.rule == "train"}
    alone, together = jobs["experiment=alone"], jobs["experiment=together"]
    assert int(together["mem_mb"]) == 2 * int(alone["mem_mb"])
    assert {name: together[name] for name in ("gpu", "tasks", "nodes", "mpi")} == {
        "gpu": "2",
        "tasks": "2",
        "nodes": "1",
        "mpi": "srun",
    }
    assert alone["gpu"] == "1"
    assert not {"tasks", "nodes", "mpi"} & set(alone)
