"""What tables and report of many cases cost, and how large the page is: 10, 200 and 2,000 made-up cases.

    python benchmarks/report_scale.py [--cases 10 200 2000]

The results are drawn by chance (two experiments, raw and post-processed); the stores of all cases are links to one
image and two labels of 40×128×128 voxels, because a report opens a bounded number of them anyway.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from measure import machine, run

from cohortseg.cohort import Case, assign, cases_text, members
from cohortseg.errors import REASONS
from cohortseg.io import store
from cohortseg.io.sidecar import dumps, run_path, write_json, write_text
from cohortseg.layout import UNTRAINED, Layout, model_name
from cohortseg.metrics.case import CaseMeasures, measure_case
from cohortseg.metrics.columns import COLUMNS, PROBABILITY_COLUMNS
from cohortseg.metrics.shape import label_shapes
from cohortseg.settings import MetricSettings, Study, load_study
from cohortseg.stages import stage_settings
from cohortseg.volume import Grid, Volume

GRID = Grid((40, 128, 128), (5.0, 2.5, 2.5), (0.0, 0.0, 0.0))
FOLDS, REJECTED_EVERY = 5, 25
RUN = {"seconds": 3.2, "cpu_seconds": 2.9, "peak_memory_mb": 512.0, "cohortseg": "0", "finished": "then"}


def made_up_study(folder: Path, n_cases: int) -> Study:
    """A finished study but for its tables and its report."""
    config = {
        "study": "big",
        "results": str(folder / "results"),
        "cohort": {"source": str(folder), "labels": {"structures": {"tumour": "GTV.*"}}},
        "split": {"folds": FOLDS},
        "experiments": {"unet": {"method": "unet"}, "otsu": {"method": "threshold"}},
    }
    study = load_study(config)
    layout = Layout(study.folder)
    cases = _cohort(layout, study, n_cases)
    shared = _shared_stores(folder)
    chance, measured = np.random.default_rng(1), _measured(shared)
    shapes = label_shapes(store.read_volume(shared / "post.zarr").array, spacing_mm=GRID.spacing_mm, n_classes=1)
    for number, case in enumerate(cases):
        home = layout.case(case.case)
        _link(home, {"image.zarr": shared / "image.zarr", "label.zarr": shared / "label.zarr"})
        contents = {"image": "i", "label": "l"}
        _sidecar(home / "image.json", "convert", contents=contents, facts={"modality": "CT"})
        for experiment, model, level in (("unet", model_name(case.fold, 1), 0.8), ("otsu", UNTRAINED, 0.4)):
            there = layout.prediction(experiment, model, case.case)
            _link(there, {"post.zarr": shared / "post.zarr"})
            _sidecar(there / "raw.json", "predict")
            _sidecar(there / "post.json", "postprocess", shapes=shapes)
            if number % REJECTED_EVERY == 7:
                _sidecar(there / "metrics.json", "evaluate", status="rejected", reason="NO_REFERENCE", found="no label")
            else:
                _sidecar(there / "metrics.json", "evaluate", **_record(measured, chance, level))
    _tokens(layout, cases)
    _models(layout)
    del config["cohort"]["source"]
    write_text(layout.settings, yaml.safe_dump(config))
    return study


def _cohort(layout: Layout, study: Study, n_cases: int) -> list[Case]:
    makers = ("Aurora", "Meridian", "Northlight")
    plain = [
        Case(
            **{"case": f"sub-{n:05d}_ct1", "subject": f"sub-{n:05d}", "modality": "CT", "manufacturer": makers[n % 3]},
            **{"model": "B", "kernel": f"k{n % 7}", "slice_thickness_mm": str((2, 3, 5)[n % 3]), "shape": "40x128x128"},
            **{"voxels": 655360, "label": "rtstruct", "positive": "yes", "source": str(n)},
        )
        for n in range(n_cases)
    ]
    split = study.split.model_dump(mode="json", exclude={"refit"})
    cases, ledger = assign(plain, {}, split=split, per_job=None, per_predict_job=None)
    write_text(layout.cases_table, cases_text(cases))
    write_json(layout.ledger, ledger)
    for fold in range(FOLDS):
        write_text(layout.members(str(fold)), dumps(members(ledger, cases, str(fold), refit=False)))
    refused = [
        f"x-{n}\tx-{n}\tindex\t{reason}\t{REASONS[reason]}\tfound so"
        for n, reason in enumerate(sorted(REASONS) * (n_cases // 100 + 1))
    ]
    write_text(layout.rejected_table, "\n".join(["case\tsubject\tstage\treason\tmeaning\tfound", *refused]) + "\n")
    head = [
        "case",
        "subject",
        "modality",
        "manufacturer",
        "model",
        "kernel",
        "slice_thickness_mm",
        "n_files",
        "status",
        "reason",
    ]
    lines = [
        "\t".join([c.case, c.subject, "CT", c.manufacturer, c.model, c.kernel, c.slice_thickness_mm, "40", "case", ""])
        for c in cases
    ]
    write_text(layout.series_table, "\n".join(["\t".join(head), *lines]) + "\n")
    return cases


def _shared_stores(folder: Path) -> Path:
    z, y, x = np.indices(GRID.shape)
    image = np.where((y - 64) ** 2 + (x - 64) ** 2 < 55**2, 40, -1000) + np.random.default_rng(2).normal(
        0, 20, GRID.shape
    )
    for name, shift, array in (("image", 0, image), ("label", 0, None), ("post", 4, None)):
        if array is None:
            array = (2 * (z - 20)) ** 2 + (y - 64 - shift) ** 2 + (x - 40 + shift) ** 2 < 18**2
        kind = np.int16 if name == "image" else np.uint8
        store.write_volume(folder / "shared" / f"{name}.zarr", Volume(array.astype(kind), GRID))
    return folder / "shared"


def _link(folder: Path, stores: dict[str, Path]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in stores.items():
        (folder / name).symlink_to(target, target_is_directory=True)


def _sidecar(path: Path, stage: str, **more: object) -> None:
    base = {"status": "ok", "stage": stage, "revision": 1, "key": "k", "inputs": {}, "reason": None, "found": None}
    write_json(path, {**base, "content": "c", **more})
    write_json(run_path(path), RUN)


def _measured(shared: Path) -> CaseMeasures:
    """What `evaluate` finds on the shared stores: a record of the right form for every case."""
    reference, prediction = (store.read_volume(shared / f"{name}.zarr").array > 0 for name in ("label", "post"))
    bands = MetricSettings().trimap_bands_mm
    return measure_case(
        reference,
        prediction,
        spacing_mm=GRID.spacing_mm,
        nsd_tolerance_mm=2.0,
        boundary_band_mm=2.0,
        trimap_bands_mm=tuple(bands),
    )


def _record(found: CaseMeasures, chance: np.random.Generator, level: float) -> dict[str, object]:
    """The record of one case: as measured, but for numbers drawn by chance in the columns between 0 and 1."""
    record: dict[str, dict[str, object]] = {"metrics": {}, "lesions": {}, "trimap": {}, "instances": {}}
    for stage in ("raw", "post"):
        row = dict(found.row) | dict.fromkeys(PROBABILITY_COLUMNS)
        shares = [
            name for name, column in COLUMNS.items() if column.range == (0.0, 1.0) and isinstance(row[name], float)
        ]
        row |= {name: float(np.clip(level + chance.normal(0, 0.1), 0, 1)) for name in shares}
        record["metrics"][stage] = {"tumour": row}
        record["lesions"][stage] = {"tumour": found.lesions}
        record["trimap"][stage] = {"tumour": found.trimap}
        record["instances"][stage] = None
    return {**record, "location": {"tumour": {"left": 0.3, "back": 0.5, "head": 0.5}}}


def _tokens(layout: Layout, cases: list[Case]) -> None:
    batches: dict[str, list[Case]] = {}
    for case in cases:
        batches.setdefault(case.fold_batch, []).append(case)
    for name, inside in batches.items():
        for experiment in ("unet", "otsu"):
            units = {
                f"{model_name(case.fold, 1) if experiment == 'unet' else UNTRAINED}/{case.case}": {} for case in inside
            }
            for stage in ("predict", "postprocess", "evaluate"):
                write_json(layout.token(stage, name, experiment), {"cases": units})


def _models(layout: Layout) -> None:
    steps = np.arange(1, 1001)
    lines = [
        f"{s},{s // 50},0.003,{math.exp(-s / 300):.4f},{'' if s % 100 else 0.3},{'' if s % 100 else 0.8}" for s in steps
    ]
    for fold in range(FOLDS):
        home = layout.model("unet", str(fold), 1)
        write_text(
            home / "history.csv", "step,epoch,learning_rate,loss,validation_loss,dice\n" + "\n".join(lines) + "\n"
        )
        record = {"trained_on": {}, "weights": "w", "n_parameters": 1_000_000, "members": {"train": []}}
        _sidecar(home / "train.json", "train", **record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, nargs="+", default=[10, 200, 2000])
    print(machine())
    print("| cases | aggregate, CPU s | peak MB | report, CPU s | peak MB | report.html MB | tables MB |")
    print("|---|---|---|---|---|---|---|")
    for n_cases in parser.parse_args().cases:
        with tempfile.TemporaryDirectory() as name:
            study = made_up_study(Path(name), n_cases)
            costs = {}
            for step in ("aggregate", "report"):
                command = [sys.executable, "-m", "cohortseg", step, "--study", str(study.folder)]
                costs[step] = run([*command, "--settings", stage_settings(study, step)], stderr=None)
                if costs[step].returncode:
                    sys.exit(f"{step} failed: {json.dumps(command)}")
            layout = Layout(study.folder)
            tables = sum(path.stat().st_size for path in layout.table("summary").parent.glob("*.csv")) / 1e6
            figures = [f"{costs[step].cpu_s:.1f} | {costs[step].peak_mb:.0f}" for step in costs]
            print(
                f"| {n_cases:,} | {' | '.join(figures)} | {layout.report.stat().st_size / 1e6:.2f} | {tables:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
