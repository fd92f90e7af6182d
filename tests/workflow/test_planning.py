"""What Snakemake plans without running: the cluster's profile, use as a module, a thousand cases, lint."""

import re
import sys
import time
from dataclasses import replace

import lint_workflow
import pytest
from lint_workflow import write_study
from tiny_study import CONFIG, ROOT, call, snakemake_command

from cohortseg.cohort import Case

pytestmark = pytest.mark.workflow

N_CASES = 1000


def jobs_of(output: str) -> list[dict[str, str]]:
    """The jobs of a dry run: rule, message and resources."""
    blocks = re.split(r"^\[.*\]\n", output, flags=re.MULTILINE)[1:]
    found = []
    for block in blocks:
        head = re.match(r"Job \d+: (\w+)(.*)", block)
        resources = re.search(r"resources: (.*)", block)
        if head and resources:
            pairs = re.findall(r"(\w+)=(?:'([^']*)'|([^,\s]+))", resources[1])
            found.append({"rule": head[1], "what": head[2], **{key: quoted or plain for key, quoted, plain in pairs}})
    return found


def test_the_cluster_profile_asks_for_a_gpu_only_where_a_network_is(fresh):
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "--profile", "slurm", "-n", "--verbose"]
    planned = call([*command, "--configfile", str(fresh / "config.yaml"), "--directory", str(fresh)], ROOT)
    assert planned.returncode == 0, planned.output
    jobs = jobs_of(planned.output)
    assert {job["rule"] for job in jobs} >= {"convert", "train", "predict", "evaluate", "report"}
    for job in jobs:
        trained = job["rule"] == "train" or (job["rule"] == "predict" and job["what"].startswith(" unet"))
        assert job.get("gpu", "0") == ("1" if trained else "0"), job


def test_memory_grows_with_the_voxels_of_the_largest_case(tmp_path):
    small = Case("a_ct1", "a", "CT", "", "", "", "1", "", 1_000_000, "none", "no", "x", "0", "cohort", "b0001", "f0-b0001")
    large = replace(small, case="b_ct1", subject="b", voxels=100_000_000, fold="1", batch="b0002", fold_batch="f1-b0001")
    write_study(tmp_path, [small, large], CONFIG)
    planned = call(snakemake_command("-n"), tmp_path)
    assert planned.returncode == 0, planned.output
    memory = {job["rule"] + job["what"]: int(job["mem_mb"]) for job in jobs_of(planned.output) if "mem_mb" in job}
    for stage in ("convert b0001", "fingerprint b0001", "preprocess b0001"):
        first, second = memory[f"{stage}: a_ct1"], memory[f"{stage.replace('b0001', 'b0002')}: b_ct1"]
        assert second > first + 200, stage
    assert memory["predict unet f1-b0001: b_ct1"] > memory["predict unet f0-b0001: a_ct1"] + 1000


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
        Case(
            case=f"sub-{number:04d}_ct1",
            subject=f"sub-{number:04d}",
            modality="CT",
            manufacturer="",
            model="",
            kernel="",
            slice_thickness_mm="2",
            shape="100x512x512",
            voxels=26_214_400,
            label="rtstruct",
            positive="yes",
            source=f"sha256:{number}",
            fold=str(number % 2),
            role="cohort",
            batch=f"b{number // 5:04d}",
            fold_batch=f"f{number % 2}-b{number // 40:04d}",
        )
        for number in range(N_CASES)
    ]
    write_study(tmp_path, cases, CONFIG)
    started = time.monotonic()
    planned = call(snakemake_command("-n", "--quiet", "rules"), tmp_path)
    assert planned.returncode == 0, planned.output
    assert planned.planned["convert"] == planned.planned["preprocess"] == 200
    assert planned.planned["predict"] == planned.planned["export"] == 2 * 2 * 25
    assert time.monotonic() - started < 60


def test_the_workflow_has_no_lint(capsys):
    status = lint_workflow.main()
    assert status == 0, capsys.readouterr().out
