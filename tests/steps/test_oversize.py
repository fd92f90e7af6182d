"""An oversize case: by blocks, alone or shared by processes, the same bytes; the processes are given back."""

import argparse
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from scipy import ndimage
from study_by_hand import case_of, sidecar_of, study_of, write_case, write_sidecar, write_token

from cohortseg.io import store
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.layout import Layout
from cohortseg.preprocess.plan import VERSION
from cohortseg.settings import PostprocessSettings, PreprocessSettings
from cohortseg.stages import PostprocessStage, PreprocessStage
from cohortseg.steps import fingerprint
from cohortseg.volume import Grid, Volume

NAME, UNIT = "sub-1_ct1", "untrained/sub-1_ct1"
GRID = Grid((150, 30, 570), (2.0, 1.0, 0.8), (-31.0, 12.5, 47.25))
"""Three blocks along z, two along x."""
CLEANING = {"opening_mm": 1.6, "closing_mm": 2.0, "fill_holes": True, "min_volume_ml": 0.3, "keep": 3}


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A case converted, measured and predicted."""
    layout = study_of(tmp_path_factory.mktemp("study"), case_of(NAME))
    random = np.random.default_rng(1)
    field = ndimage.gaussian_filter(random.random(GRID.shape), 4)
    label = Volume((field > np.quantile(field, 0.7)).astype(np.uint8), GRID)
    image = Volume((label.array * np.int16(600) + random.integers(-90, 90, GRID.shape)).astype(np.int16), GRID)
    write_case(layout, NAME, image=image, label=label)
    stage = argparse.Namespace(classes=["lesion"], channels=["image"])
    found = fingerprint.fingerprint(layout, NAME, stage, [])
    image_record = read_json(layout.case(NAME) / "image.json")
    write_sidecar(
        layout.case(NAME) / "fingerprint.json",
        {**sidecar_of("fingerprint", **found), "inputs": {"image": image_record["content"]}},
    )
    numbers = {"low": -160.0, "high": 240.0, "mean": 0.0, "sd": 100.0}
    plan = {
        "version": VERSION,
        "channels": ["image"],
        "dims": 3,
        "spacing_mm": {"value": [1.5, 1.2, 0.9]},
        "normalisation": {"image": {"name": "window", "group": None, "numbers": numbers}},
    }
    write_json(layout.plan, plan)
    folder = layout.prediction("otsu", *UNIT.split("/"))
    content = store.write_volume(folder / "raw.zarr", label, name="label")
    write_sidecar(folder / "raw.json", sidecar_of("predict", content))
    write_token(layout, "predict", case_of(NAME).fold_batch, [UNIT], "otsu")
    return layout.root


PREPROCESS = PreprocessStage(classes=["lesion"], channels=["image"], preprocess=PreprocessSettings())
POSTPROCESS = PostprocessStage(classes=["lesion"], postprocess=PostprocessSettings(**CLEANING))
MADE = {"preprocess": f"cases/{NAME}/prepared", "postprocess": f"experiments/otsu/untrained/cases/{NAME}/post"}


def command(stage, root, workers):
    """The line of the job, in a process of its own: the workers' main module must be found."""
    settings = {"preprocess": PREPROCESS, "postprocess": POSTPROCESS}[stage].model_dump_json()
    experiment = ["--experiment", "otsu"] if stage == "postprocess" else []
    given = ["--study", str(root), "--cases", NAME, "--settings", settings, "--token", str(root / "token.json")]
    return [
        sys.executable,
        "-m",
        "cohortseg",
        stage,
        *given,
        *experiment,
        "--workers",
        str(workers),
        "--worker-mb",
        "900",
    ]


def bytes_of(stage, root):
    """What a stage has written, without what tells of one run."""
    made = root / MADE[stage]
    files = [made.with_suffix(".json"), *sorted(made.with_suffix(".zarr").rglob("*"))]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files if path.is_file()}


@pytest.fixture(scope="module")
def whole(before, tmp_path_factory):
    """The study after both stages, each on the whole case."""
    root = tmp_path_factory.mktemp("whole") / "study"
    shutil.copytree(before, root)
    for stage in MADE:
        subprocess.run(command(stage, root, 0), check=True, capture_output=True)
    return root


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stage", MADE)
def test_by_blocks_a_case_becomes_the_same_bytes(stage, workers, before, whole, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(before, root)
    done = subprocess.run(command(stage, root, workers), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("2 workers" in done.stderr) == (workers == 2)
    expected, found = bytes_of(stage, whole), bytes_of(stage, root)
    assert len([path for path in expected if "/c/" in path]) >= 6  # several blocks
    assert sorted(found) == sorted(expected)
    assert [path for path in expected if found[path] != expected[path]] == []
    # Nothing of the work between is left.
    assert [path.name for path in root.rglob(".*") if path.name != ".locks"] == []
    assert list(Layout(root).locks.glob("keys-*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_processes_go_with_their_job_however_it_ends(number, before, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(before, root)
    process = subprocess.Popen(
        command("postprocess", root, 2), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "2 workers" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGSTOP)  # so that it cannot finish while its helpers are counted
    helpers = psutil.Process(process.pid).children(recursive=True)
    assert len(helpers) >= 2
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    process.stderr.read()
    process.stderr.close()
    assert process.wait(60) != 0
    _, alive = psutil.wait_procs(helpers, timeout=60)
    assert alive == []
    # The same command mends it.
    subprocess.run(command("postprocess", root, 1), check=True, capture_output=True)
    assert [path.name for path in root.rglob(".*") if path.name not in (".locks",)] == []


def test_a_failure_gives_the_processes_back(before, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(before, root)
    shutil.rmtree(root / f"experiments/otsu/untrained/cases/{NAME}/raw.zarr/0/c/1")
    (root / f"experiments/otsu/untrained/cases/{NAME}/raw.zarr/0/c/0/0/0").write_bytes(b"damaged")
    done = subprocess.run(command("postprocess", root, 2), check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "FAILED" in done.stderr
    assert still_running(str(root)) == []


def still_running(text):
    """Command lines with a text; of a process that ends meanwhile there is none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return [line for line in found if text in line]
