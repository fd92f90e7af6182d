"""Preprocessing image and label: ours against `nnUNetv2_preprocess`, on the same volumes and to the same voxel size.

usage: python preprocess.py PEER_PYTHON_BIN        (the bin folder of an environment with nnunetv2 2.8)

Two synthetic CT volumes of 300×512×512 at (1.0, 0.75, 0.75) mm, brought to 1.0 mm in every axis, normalised as CT. nnU-Net gets its
fingerprint and plan beforehand, and so do we; both commands run with one worker. nnU-Net interpolates images with order 3,
we linearly by default: both are shown, with our B-spline too.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import yaml
from measure import in_turn, machine, run

ROOT = Path(__file__).parents[1]
SPACING_MM = (1.0, 0.75, 0.75)
NAME = "Dataset501_bench"


def volume(seed: int, n_slices: int) -> tuple[np.ndarray, np.ndarray]:
    """A CT-like volume with two organs."""
    draw = np.random.default_rng(seed)
    z, y, x = np.ogrid[:n_slices, :512, :512]
    body = (y - 256) ** 2 / 190**2 + (x - 256) ** 2 / 235**2 < 1
    organ = ((z - n_slices / 2) / (n_slices / 4)) ** 2 + ((y - 230) / 70) ** 2 + ((x - 330) / 60) ** 2 < 1
    lesion = ((z - n_slices / 2) / 14) ** 2 + ((y - 240) / 22) ** 2 + ((x - 340) / 20) ** 2 < 1
    image = np.full((n_slices, 512, 512), -1000, dtype=np.int16)
    image[np.broadcast_to(body, image.shape)] = 20
    image[organ] = 90
    image[lesion] = 40
    for plane in image:
        plane += draw.normal(0, 15, plane.shape).astype(np.int16)
    return image, (organ.astype(np.uint8) + lesion).astype(np.uint8)


def write(folder: Path, n_volumes: int, n_slices: int) -> None:
    """nnU-Net's layout; ours reads the same files."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number in range(n_volumes):
        for array, path in zip(
            volume(number, n_slices),
            (f"imagesTr/case_{number}_0000.nii.gz", f"labelsTr/case_{number}.nii.gz"),
            strict=True,
        ):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(SPACING_MM[::-1])
            sitk.WriteImage(image, str(folder / path), useCompression=True)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1, "lesion": 2},
        "numTraining": n_volumes,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))


def nnunet(peer: Path, work: Path) -> list[str]:
    """Fingerprint and plan; returns the command that preprocesses."""
    os.environ.update({f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")})
    run([str(peer / "nnUNetv2_extract_fingerprint"), "-d", "501", "-np", "1"])
    run([str(peer / "nnUNetv2_plan_experiment"), "-d", "501"])
    plans = work / "preprocessed" / NAME / "nnUNetPlans.json"
    changed = json.loads(plans.read_text())
    changed["configurations"]["3d_fullres"]["spacing"] = [1.0, 1.0, 1.0]
    plans.write_text(json.dumps(changed))
    return [str(peer / "nnUNetv2_preprocess"), "-d", "501", "-c", "3d_fullres", "-np", "1"]


def ours(work: Path, source: Path, interpolation: str) -> list[str]:
    """Convert, fingerprint and plan; returns the command that preprocesses."""
    from cohortseg.layout import Layout
    from cohortseg.settings import load_study
    from cohortseg.stages import stage_settings

    config = {
        "study": f"bench-{interpolation}",
        "results": str(work / "ours"),
        "cohort": {
            "source": str(source),
            "images": r"imagesTr/(?P<subject>case_\d+)_0000\.nii\.gz$",
            "modality": "CT",
            "labels": {
                "kind": "files",
                "files": r"labelsTr/(?P<subject>case_\d+)\.nii\.gz$",
                "values": {"organ": 1, "lesion": 2},
            },
        },
        "plan": {"spacing_mm": [1.0, 1.0, 1.0]},
        "preprocess": {"interpolation": interpolation},
        "split": {"folds": 2},
        "experiments": {"unet": {"method": "unet"}},
    }
    path = work / f"{interpolation}.yaml"
    path.write_text(yaml.safe_dump(config))
    base = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "2", "--configfile", str(path)]
    cost = run([*base, "--directory", str(work), "--until", "plan"])
    if cost.returncode:
        sys.exit("our own preparation failed")
    study = load_study(config)
    layout = Layout(study.folder)
    cases = sorted(folder.name for folder in (layout.root / "cases").iterdir())
    settings = ["--settings", stage_settings(study, "preprocess"), "--token", str(work / "token.json")]
    command = [
        sys.executable,
        "-m",
        "cohortseg",
        "preprocess",
        "--study",
        str(layout.root),
        "--cases",
        *cases,
        *settings,
    ]
    return ["sh", "-c", f'rm -rf {layout.root}/cases/*/prepared.*; exec "$@"', "sh", *command]


def compare(peer: Path | None, n_volumes: int, n_slices: int, n_runs: int) -> None:
    """Print a row per tool."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        source = work / "raw" / NAME
        write(source, n_volumes, n_slices)
        commands = {f"cohortseg, {how}": ours(work, source, how) for how in ("linear", "bspline")}
        if peer is not None:
            commands["nnU-Net 2.8"] = nnunet(peer, work)
        costs = in_turn(commands, n_runs)
        print(f"\n{n_volumes} volumes of {n_slices}x512x512, image and label")
        last = list(costs.values())[-1]
        for name, cost in costs.items():
            ratios = f"{cost.cpu_s / last.cpu_s:.2f}x CPU, {cost.peak_mb / last.peak_mb:.2f}x memory"
            failed = " FAILED" if cost.returncode else ""
            print(
                f"  {name:<20} {cost.cpu_s:>7.1f} CPU s {cost.wall_s:>7.1f} s {cost.peak_mb:>7.0f} MB   {ratios}{failed}"
            )
        shutil.rmtree(work, ignore_errors=True)


def main() -> None:
    """Two volumes, then one of twice the length for the slope of our memory."""
    print(machine())
    peer = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    compare(peer, 2, 300, 3)
    compare(None, 1, 600, 1)
    print(machine())


if __name__ == "__main__":
    main()
