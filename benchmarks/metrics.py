"""How fast is our full set of metrics for one label, beside the libraries that are installed?

    python benchmarks/metrics.py [--repeat 5] [--values]

Every tool measures the same two seeded masks in a process of its own, single-threaded. Before a time counts, the
metrics that a tool defines as we do must agree with ours; a tool that disagrees fails the run. CPU-seconds are the
median of the repeats after one run on a tiny pair; memory is the peak above the loaded masks and libraries (Linux).
`--values` prints what each tool found, for the table of differences in docs/metrics.md. MONAI, surface-distance and
MedPy are no dependencies: install them beside the project to include them.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SHAPES = {"120x256x256": (120, 256, 256), "300x512x512": (300, 512, 512)}
RADII = {"60 %": 0.3, "full": 0.5}
"""Radius of the reference, as a share of each axis: its box has this share of each side of the image."""
SIZES = {f"{shape}, {box}": (zyx, radius) for shape, zyx in SHAPES.items() for box, radius in RADII.items()}
SPACING_MM = (3.0, 0.8, 0.7)
TOLERANCE_MM = 2.0
AGREE = 1e-4

Masks = tuple[np.ndarray, np.ndarray]


def masks(shape: tuple[int, int, int], reach: float = 0.3, seed: int = 1) -> Masks:
    """A solid reference; a prediction that is moved, smaller, has a hole and twenty stray specks."""
    grid = np.ogrid[tuple(slice(size) for size in shape)]

    def ellipsoid(shift: tuple[float, float, float], radius: float) -> np.ndarray:
        parts = (
            ((axis - size / 2 - step) / (size * radius)) ** 2
            for axis, size, step in zip(grid, shape, shift, strict=True)
        )
        return np.asarray(sum(parts) <= 1)

    prediction = ellipsoid((1, 3, -2), reach - 0.01) & ~ellipsoid((0, 0, 0), 0.05)
    rng = np.random.default_rng(seed)
    for corner in rng.integers([size // 5 for size in shape], [4 * size // 5 for size in shape], size=(20, 3)):
        prediction[tuple(slice(start, start + 3) for start in corner)] = True
    return ellipsoid((0, 0, 0), reach), prediction


def ours(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    from cohortseg.metrics.case import case_metrics

    row = case_metrics(reference, prediction, spacing_mm=SPACING_MM, nsd_tolerance_mm=TOLERANCE_MM)
    return {name: float(value) for name, value in row.items() if not isinstance(value, str)}


def ours_subset(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """What surface-distance gives: Dice, Hausdorff distances, NSD."""
    from cohortseg.metrics import overlap, surface
    from cohortseg.metrics.bits import crop_to_union, pack_pair

    pair = crop_to_union(*pack_pair(reference, prediction))
    found = surface.surface_distances(*pair, spacing_mm=SPACING_MM)
    return {
        "dice": overlap.dice(overlap.count_voxels(*pair)),
        "hd_mm": surface.hd_mm(found),
        "hd95_mm": surface.hd95_mm(found),
        "nsd": surface.nsd(found, tolerance_mm=TOLERANCE_MM),
    }


def with_scipy(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """The plain way: crop, erode, two distance maps."""
    from scipy import ndimage

    box = ndimage.find_objects((reference | prediction).astype(np.uint8))[0]
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (reference[box], prediction[box])]
    maps = [ndimage.distance_transform_edt(~edge, sampling=SPACING_MM) for edge in edges]
    there, back = maps[1][edges[0]], maps[0][edges[1]]
    both = np.concatenate((there, back))
    labels = [ndimage.label(mask[box], structure=np.ones((3, 3, 3)))[1] for mask in (reference, prediction)]
    return {
        "dice": 2 * np.count_nonzero(reference & prediction) / (reference.sum() + prediction.sum()),
        "hd_mm": both.max(),
        "hd95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd_mm": both.mean(),
        "nsd": float(np.mean(both <= TOLERANCE_MM)),
        "n_lesions_reference": labels[0],
        "n_lesions_prediction": labels[1],
    }


def with_simpleitk(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    import SimpleITK

    images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (reference, prediction)]
    for image in images:
        image.SetSpacing(SPACING_MM[::-1])
    overlap, distance = SimpleITK.LabelOverlapMeasuresImageFilter(), SimpleITK.HausdorffDistanceImageFilter()
    overlap.Execute(*images)
    distance.Execute(*images)
    return {
        "dice": overlap.GetDiceCoefficient(1),
        "jaccard": overlap.GetJaccardCoefficient(1),
        "hd_mm of sets": distance.GetHausdorffDistance(),
    }


def with_medpy(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    from medpy.metric import binary

    pair, spacing = (prediction, reference), {"voxelspacing": SPACING_MM}
    return {
        "dice": binary.dc(*pair),
        "hd_mm": binary.hd(*pair, **spacing),
        "hd95_mm pooled": binary.hd95(*pair, **spacing),
        "assd_mm": binary.assd(*pair, **spacing),
    }


def with_monai(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    import torch
    from monai import metrics

    pair = [torch.from_numpy(mask[None, None].astype(np.uint8)) for mask in (prediction, reference)]
    common = {"include_background": True, "spacing": SPACING_MM}
    return {
        "dice": float(metrics.compute_dice(*pair, include_background=True)),
        "hd_mm": float(metrics.compute_hausdorff_distance(*pair, **common)),
        "hd95_mm": float(metrics.compute_hausdorff_distance(*pair, percentile=95, **common)),
        "assd_mm": float(metrics.compute_average_surface_distance(*pair, symmetric=True, **common)),
        "nsd": float(metrics.compute_surface_dice(*pair, class_thresholds=[TOLERANCE_MM], **common)),
    }


def with_surface_distance(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    import surface_distance as library

    found = library.compute_surface_distances(reference, prediction, SPACING_MM)
    return {
        "dice": library.compute_dice_coefficient(reference, prediction),
        "hd_mm": library.compute_robust_hausdorff(found, 100),
        "hd95_mm by area": library.compute_robust_hausdorff(found, 95),
        "nsd by area": library.compute_surface_dice_at_tolerance(found, TOLERANCE_MM),
        "mean distance there by area": library.compute_average_surface_distance(found)[0],
    }


class Tool(NamedTuple):
    """A measuring function, the module it needs, and the metrics it defines as we do."""

    measure: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    module: str
    same: tuple[str, ...]


TOOLS = {
    "cohortseg": Tool(ours, "cohortseg", ()),
    "cohortseg subset": Tool(ours_subset, "cohortseg", ("dice", "hd_mm", "hd95_mm", "nsd")),
    "scipy": Tool(
        with_scipy,
        "scipy",
        ("dice", "hd_mm", "hd95_mm", "assd_mm", "nsd", "n_lesions_reference", "n_lesions_prediction"),
    ),
    "SimpleITK": Tool(with_simpleitk, "SimpleITK", ("dice", "jaccard")),
    "MedPy": Tool(with_medpy, "medpy", ("dice", "hd_mm", "assd_mm")),
    "MONAI": Tool(with_monai, "monai", ("dice", "hd_mm", "hd95_mm", "assd_mm", "nsd")),
    "surface-distance": Tool(with_surface_distance, "surface_distance", ("dice",)),
}


def measure_here(name: str, size: str, repeat: int) -> dict[str, Any]:
    """One tool on one size, in this process."""
    tool, pair = TOOLS[name], masks(*SIZES[size])
    tool.measure(*masks((12, 24, 20)))
    before = peak_kib(reset=True)
    seconds, values = [], {}
    for _ in range(repeat):
        start = time.process_time()
        values = tool.measure(*pair)
        seconds.append(time.process_time() - start)
    return {
        "values": {key: float(value) for key, value in values.items()},
        "cpu_s": statistics.median(seconds),
        "extra_mib": (peak_kib() - before) / 1024,
        "masks_mib": 2 * pair[0].nbytes / 2**20,
    }


def peak_kib(*, reset: bool = False) -> int:
    """Peak resident memory; `reset` starts the record anew from what is held now, where the kernel allows it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def measure_apart(name: str, size: str, repeat: int) -> dict[str, Any]:
    """One tool on one size, single-threaded, in a process of its own."""
    command = [sys.executable, __file__, "--repeat", str(repeat), "--child", name, size]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed on {size}:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def disagreements(tool: Tool, found: dict[str, float], expected: dict[str, float]) -> list[str]:
    return [
        f"{key}: {found[key]:.6g} instead of {expected[key]:.6g}"
        for key in tool.same
        if abs(found[key] - expected[key]) > AGREE * max(1.0, abs(expected[key]))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--values", action="store_true", help="print what each tool found")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), help="tools to run beside ours")
    parser.add_argument("--only", metavar="SIZE", help="sizes whose name begins so")
    parser.add_argument("--child", nargs=2, metavar=("TOOL", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure_here(*options.child, options.repeat)))
        return
    wanted = [name for name in TOOLS if name in ("cohortseg", *options.tools)]
    there = [name for name in wanted if importlib.util.find_spec(TOOLS[name].module)]
    for name in sorted(set(wanted) - set(there)):
        print(f"skipped, not installed: {name}")
    print(f"{'size':<18} {'tool':<17} {'CPU s':>8} {'ratio':>7} {'extra MiB':>10} {'masks MiB':>10}  gate")
    failed = False
    for size in (name for name in SIZES if name.startswith(options.only or "")):
        results = {name: measure_apart(name, size, options.repeat) for name in there}
        own = results["cohortseg"]
        for name, result in results.items():
            wrong = disagreements(TOOLS[name], result["values"], own["values"])
            failed |= bool(wrong)
            verdict = "; ".join(wrong) or f"agrees on {', '.join(TOOLS[name].same) or 'itself'}"
            print(
                f"{size:<18} {name:<17} {result['cpu_s']:>8.3f} {result['cpu_s'] / own['cpu_s']:>7.1f}"
                f" {result['extra_mib']:>10.1f} {result['masks_mib']:>10.1f}  {verdict}"
            )
            if options.values:
                print("    " + ", ".join(f"{key} {value:.5g}" for key, value in sorted(result["values"].items())))
    if failed:
        raise SystemExit("a tool disagrees on a metric that should be the same: no time above counts")


if __name__ == "__main__":
    main()
