"""CT from MR through the rules, from files to the report: no label, no cleaning, a network that beats the floor."""

import SimpleITK
import yaml
from image_phantom import RANGE, pair
from tiny_study import call, cohortseg, read_table, snakemake_command

from cohortseg.io.itk import read_image
from cohortseg.layout import Layout

STUDY = {
    "study": "tiny",
    "cohort": {
        "source": "data",
        "images": r"(?P<subject>p\d+)_(?P<channel>ct|mr)\.nii\.gz$",
        "channels": {"ct": {"description": "ct", "modality": "CT"}, "mr": {"description": "mr", "modality": "MR"}},
        "labels": {"kind": "none"},
    },
    "synthesis": {"target": "ct", "range": list(RANGE), "body_above": -500},
    "split": {"folds": 2, "seed": 1},
    "plan": {"dims": 2, "patch_voxels": 4096},
    "experiments": {
        "line": {"method": "intensity"},
        "unet": {
            "method": "unet", "architecture": {"name": "synthetic_ct", "features": [8, 16]}, "loss": "l1",
            "steps": 250, "batch": 4, "learning_rate": 0.01, "validate_every": 125, "augmentation": "none",
        },
    },
    "report": {"subgroups": [], "overlays": 1},
    "jobs": {"cases_per_job": 8, "cases_per_predict_job": 8},
}  # fmt: skip


def write_pairs(folder):
    folder.mkdir()
    for number in range(1, 9):
        for name, array in zip(("ct", "mr"), pair(number), strict=True):
            image = SimpleITK.GetImageFromArray(array)
            image.SetSpacing((1.2, 0.9, 3.0))
            image.SetOrigin((5.0, -7.0, 11.0))
            SimpleITK.WriteImage(image, str(folder / f"p{number}_{name}.nii.gz"))


def test_a_study_of_images_goes_from_files_to_the_report_and_is_then_finished(tmp_path):
    write_pairs(tmp_path / "data")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    done = call(snakemake_command(), tmp_path)
    assert done.returncode == 0, done.output
    layout = Layout(tmp_path / "results" / "tiny")
    assert "postprocess" not in done.planned
    assert not list(layout.root.rglob("post.zarr"))

    summary = read_table(layout.table("images_summary"))
    errors = {
        row["experiment"]: float(row["mean"])
        for row in summary
        if (row["metric"], row["region"], row["split"]) == ("mae", "body", "val")
    }
    assert errors["unet"] < 0.8 * errors["line"], errors
    rows = read_table(layout.table("images"))
    assert len(rows) == 2 * 8 * 2  # experiments, cases, regions
    assert not any(name.startswith("seconds") for name in rows[0])
    (better,) = {
        row["better"]
        for row in read_table(layout.table("images_comparison"))
        if (row["metric"], row["region"]) == ("mae", "body")
    }
    assert better == "unet"
    assert read_table(layout.table("metrics_by_case")) == []
    flow = {(row["stage"], row["status"]): int(row["n"]) for row in read_table(layout.table("cohort_flow"))}
    assert flow == {("found", "ok"): 8, ("convert", "ok"): 8, ("evaluate line", "ok"): 8, ("evaluate unet", "ok"): 8}

    (exported,) = sorted((layout.root / "export" / "unet").rglob(f"*{rows[0]['case']}.nii.gz"))
    image = read_image(exported)
    assert RANGE[0] <= image.array.min() < -900
    page = layout.report.read_text()
    assert "Image synthesis study" in page
    assert page.count("data:image/png;base64,") == 3
    drawn = cohortseg(tmp_path, "figures", str(layout.root))
    assert drawn.returncode == 0, drawn.output
    names = [path.stem for path in sorted((layout.root / "report" / "figures").glob("*.png"))]
    assert {"learning-rate", "loss-curves", "made-images"} <= set(names)
    tables = {path.name: path.read_bytes() for path in layout.root.glob("tables/*.csv")}

    again = call(snakemake_command(), tmp_path)
    assert "Nothing to be done" in again.output, again.output
    for path in (layout.report, layout.table("metrics_by_case")):
        path.unlink()
    assert call(snakemake_command(), tmp_path).returncode == 0
    assert {path.name: path.read_bytes() for path in layout.root.glob("tables/*.csv")} == tables
