"""Do preprocess, postprocess, evaluate and export take a case that is larger than the memory they may use?

    python benchmarks/oversize.py FOLDER [--slices 4000] [--edge 1024] [--workers 1] [--cap-mb 2000]

Makes one case with its reference and a predicted label in FOLDER (kept, so that a second call only measures), then runs
the steps as their jobs do, by blocks or slabs. The memory of each process is capped by the kernel (RLIMIT_DATA): a step that needs more ends
with an error. CPU seconds and peak proportional memory of the whole process tree; the digests of what was written tell
whether two runs (other workers, other memory) made the same bytes.
"""

import argparse
import json
import resource
import sys
from pathlib import Path

import numpy as np
from measure import machine, run

from cohortseg.cohort import Case, cases_text
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, write_json, write_text
from cohortseg.layout import Layout
from cohortseg.preprocess.plan import VERSION
from cohortseg.settings import ExportSettings, MetricSettings, PostprocessSettings, PreprocessSettings
from cohortseg.stages import EvaluateStage, ExportStage, PostprocessStage, PreprocessStage
from cohortseg.volume import Grid

NAME = "sub-1_ct1"
CLEANING = PostprocessSettings(opening_mm=1.5, fill_holes=True, min_volume_ml=0.5, keep=3)
SLAB = 32
CLASSES = ["lesion"]
SETTINGS = {
    "preprocess": PreprocessStage(classes=CLASSES, channels=["image"], preprocess=PreprocessSettings()),
    "postprocess": PostprocessStage(classes=CLASSES, postprocess=CLEANING),
    "evaluate": EvaluateStage(classes=CLASSES, metrics=MetricSettings()),
    "export": ExportStage(classes=CLASSES, export=ExportSettings(formats=["nifti"])),
}
PREDICTED = f"experiments/otsu/untrained/cases/{NAME}"
MADE = {
    "preprocess": f"cases/{NAME}/prepared.json",
    "postprocess": f"{PREDICTED}/post.json",
    "evaluate": f"{PREDICTED}/metrics.json",
    "export": f"{PREDICTED}/export.json",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slices", type=int, default=4000)
    parser.add_argument("--edge", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cap-mb", type=int, default=2000)
    parser.add_argument("--stages", nargs="+", default=list(MADE))
    told = parser.parse_args()
    layout = Layout(told.folder)
    grid = Grid((told.slices, told.edge, told.edge), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0))
    if not layout.plan.exists():
        make(layout, grid)
    print(f"{told.slices}x{told.edge}x{told.edge}, {told.workers} workers, cap {told.cap_mb} MB a process; {machine()}")
    for stage in told.stages:
        made = layout.root / MADE[stage]
        made.unlink(missing_ok=True)
        command = [sys.executable, "-m", "cohortseg", stage, "--study", str(layout.root), "--cases", NAME]
        command += ["--threads", "1"] if stage == "preprocess" else ["--experiment", "otsu"]
        command += ["--settings", SETTINGS[stage].model_dump_json(), "--token", str(layout.root / f"{stage}.token")]
        if stage in ("preprocess", "postprocess"):
            command += ["--workers", str(told.workers), "--worker-mb", str(told.cap_mb)]
        else:
            command += ["--most-voxels", "1"]
        cost = run(command, stderr=None, preexec_fn=lambda: capped(told.cap_mb))
        written = read_json(made)["content"] if made.exists() else "nothing"
        print(
            json.dumps(
                {
                    "stage": stage,
                    "ended": cost.returncode,
                    "cpu_s": round(cost.cpu_s, 1),
                    "wall_s": round(cost.wall_s),
                    "peak_mb_of_tree": round(cost.peak_mb),
                    "content": written[-12:],
                }
            ),
            flush=True,
        )


def capped(megabytes: int) -> None:
    """No process of the step may have more memory of its own."""
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))


def make(layout: Layout, grid: Grid) -> None:
    """A case as `convert` and `fingerprint` leave it, and a label as `predict` does: long bodies, specks and holes."""
    blank = dict.fromkeys(("manufacturer", "model", "kernel", "slice_thickness_mm", "shape", "label", "positive"), "")
    places = {"fold": "0", "role": "cohort", "batch": "b0001", "fold_batch": "f0-b0001"}
    case = Case(
        case=NAME, subject="sub-1", modality="CT", voxels=int(np.prod(grid.shape)), source="", **blank, **places
    )
    write_text(layout.cases_table, cases_text([case]))
    write_json(
        layout.ledger,
        {"split": {"folds": 2, "seed": 1}, "cases": {NAME: {"subject": "sub-1", "fold": "0", "role": "train"}}},
    )
    folder, predicted = layout.case(NAME), layout.prediction("otsu", "untrained", NAME)
    contents = {}
    with (
        store.new_store(folder / "image.zarr") as a,
        store.new_store(folder / "label.zarr") as b,
        store.new_store(predicted / "raw.zarr") as c,
        store.new_store(predicted / "post.zarr") as d,
    ):
        image = store.create(a, grid, np.int16, name="image")
        reference, label, cleaned = (store.create(path, grid, np.uint8, name="label") for path in (b, c, d))
        for first in range(0, grid.shape[0], SLAB):
            last = min(first + SLAB, grid.shape[0])
            inside, noise, bodies = slab(grid, first, last)
            image[first:last] = (inside * np.int16(600) + noise).astype(np.int16)
            reference[first:last] = bodies
            label[first:last] = cleaned[first:last] = inside
        contents = {"image": "sha256:made", "label": "sha256:made"}
    common = {"status": "ok", "reason": None, "found": None, "revision": 1, "inputs": {}}
    image_record = {**common, "stage": "convert", "key": "made", "content": digest(contents), "contents": contents}
    write_json(folder / "image.json", {**image_record, "facts": {"modality": "CT", "grid": grid.as_dict()}})
    # A fixed window asks nothing of the fingerprint.
    seen = {"fingerprint": {"channels": {"image": {}}}, "inputs": {"image": digest(contents)}}
    write_json(
        folder / "fingerprint.json",
        {**common, "stage": "fingerprint", "key": "made", "content": "sha256:made", **seen},
    )
    write_json(predicted / "raw.json", {**common, "stage": "predict", "key": "made", "content": "sha256:made"})
    # So that evaluate and export can be measured without postprocess, which writes its own.
    made = {"stage": "postprocess", "key": "made", "content": "sha256:made", "n_voxels_changed": 1}
    write_json(predicted / "post.json", {**common, **made})
    write_json(layout.token("predict", "f0-b0001", "otsu"), {"cases": {f"untrained/{NAME}": {"status": "ok"}}})
    numbers = {"low": -160.0, "high": 240.0, "mean": 0.0, "sd": 100.0}
    write_json(
        layout.plan,
        {
            "version": VERSION,
            "channels": ["image"],
            "dims": 3,
            "spacing_mm": {"value": [0.6, 0.6, 0.6]},
            "normalisation": {"image": {"name": "window", "group": None, "numbers": numbers}},
        },
    )


def slab(grid: Grid, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some slices: three long bodies with holes and specks, noise, and the bodies a little elsewhere without either."""
    random = np.random.default_rng(first)
    z = np.arange(first, last)[:, None, None] / grid.shape[0]
    y, x = (np.arange(n)[:, None] / n if axis == 0 else np.arange(n) / n for axis, n in enumerate(grid.shape[1:]))

    def bodies(shift: float) -> np.ndarray:
        found = np.zeros((last - first, *grid.shape[1:]), np.uint8)
        for number in range(3):
            wave = 0.05 * np.sin(12 * z + number) + shift
            found |= ((y - 0.3 - 0.2 * number) ** 2 + (x - 0.3 - 0.2 * number - wave) ** 2 < 0.006).astype(np.uint8)
        return found

    found = bodies(0.0)
    found ^= (random.random(found.shape, np.float32) > 0.9995).astype(np.uint8)
    noise = random.integers(-90, 90, (1, *grid.shape[1:]), dtype=np.int16)
    return found, np.broadcast_to(noise, found.shape), bodies(0.004)


if __name__ == "__main__":
    main()
