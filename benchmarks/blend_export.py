"""What do blending, the way back to the native grid and writing the label cost, beside the network itself?

    python benchmarks/blend_export.py [--classes 3 26 105] [--slices 300] [--out FILE.csv]

A model-space image of 327 x 530 x 530 to a label of 300 x 512 x 512, tiles of 96 voxels with half overlap, counts for
calibration included. The network is replaced by a function of each voxel that is nothing to compute, so that its result
is known without a window. Gate: the labels equal SimpleITK's linear interpolation of the whole volume, class by class.
Memory is the largest resident set of the process; what one tile of the network's result takes is its own column.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from measure import machine

from cohortseg.infer.blend import Scratch
from cohortseg.infer.native import resample_blocks
from cohortseg.infer.sliding import predict_blocks
from cohortseg.io import store
from cohortseg.steps.predict import Result
from cohortseg.volume import Grid

PATCH = (96, 96, 96)


def grids(slices: int) -> tuple[Grid, Grid]:
    native = Grid((slices, 512, 512), (1.25, 0.8, 0.8), (-204.0, -204.0, -300.0))
    return native.with_spacing((1.25 * 300 / 327, 0.8 * 512 / 530, 0.8 * 512 / 530)), native


def probability(image: np.ndarray, number: int, n_classes: int) -> np.ndarray:
    """A tent about each of the values 0, 1, ...: all together are 1."""
    return np.maximum(0.0, 1.0 - np.abs(image * np.float32(n_classes - 1) - number), dtype=np.float32)


def make_image(path: Path, slices: int) -> None:
    """Smooth waves between 0 and 1, written slab by slab."""
    grid, _ = grids(slices)
    z, y, x = (np.arange(n, dtype=np.float32) / 37.0 for n in grid.shape)
    plane = np.sin(y)[:, None] * np.cos(x)
    slabs = ((i, (0.5 + 0.5 * plane * np.cos(0.7 * z[i]))[None]) for i in range(grid.shape[0]))
    store.write(path, grid, np.float16, slabs)


def child(folder: Path, n_classes: int, slices: int, overlap: float) -> None:
    model, native = grids(slices)
    spent = 0.0

    def forward(batch: np.ndarray) -> np.ndarray:
        nonlocal spent
        began = time.process_time()
        result = np.empty((len(batch), n_classes, *batch.shape[2:]), np.float32)
        for number in range(n_classes):
            result[:, number] = probability(batch[:, 0], number, n_classes)
        spent += time.process_time() - began
        return result

    blocks = predict_blocks(
        store.open_array(folder / "image.zarr"),
        forward,
        patch=PATCH,
        n_channels_out=n_classes,
        overlap=overlap,
        scratch=Scratch(folder=folder),
    )
    result = Result(n_classes - 1, None, {})
    reference = np.broadcast_to(np.uint8(255), native.shape)
    labels = result.labels(resample_blocks(blocks, model, native), reference)
    store.write(folder / "label.zarr", native, np.uint8, labels, name="label")
    used = resource.getrusage(resource.RUSAGE_SELF)
    cost = {"cpu_s_beside_forward": round(used.ru_utime + used.ru_stime - spent, 1), "peak_mb": used.ru_maxrss // 1024}
    (folder / "cost.json").write_text(json.dumps(cost))


def judged(folder: Path, n_classes: int, slices: int) -> float:
    """Share of voxels that equal the plain computation, one class of the whole volume at a time."""
    model, native = grids(slices)
    image = np.asarray(store.open_array(folder / "image.zarr")[:]).astype(np.float32)
    best, labels = np.full(native.shape, -1.0, np.float32), np.zeros(native.shape, np.uint8)
    for number in range(n_classes):
        whole = sitk.GetImageFromArray(probability(image, number, n_classes))
        whole.SetSpacing(model.spacing_mm[::-1])
        whole.SetOrigin(model.origin_mm)
        resampled = sitk.Resample(
            sitk.Crop(whole), native.shape[::-1], sitk.Transform(), sitk.sitkLinear, native.origin_mm,
            native.spacing_mm[::-1], (1, 0, 0, 0, 1, 0, 0, 0, 1), 0.0, sitk.sitkFloat32, True,
        )  # fmt: skip
        found = sitk.GetArrayViewFromImage(resampled)
        labels[found > best] = number
        np.maximum(best, found, out=best)
    same = labels == np.asarray(store.open_array(folder / "label.zarr")[:])
    return float(same.mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--classes", type=int, nargs="+", default=[3, 26, 105])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--judge", type=int, default=26, help="most classes that are compared with SimpleITK")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=int)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.folder, arguments.child, arguments.slices, arguments.overlap)
        return
    print(machine())
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as text:
        folder = Path(text)
        make_image(folder / "image.zarr", arguments.slices)
        for n_classes in arguments.classes:
            base = [sys.executable, __file__, "--folder", text, "--slices", str(arguments.slices)]
            subprocess.run([*base, "--overlap", str(arguments.overlap), "--child", str(n_classes)], check=True)
            row = {
                "classes": n_classes,
                "slices": arguments.slices,
                "overlap": arguments.overlap,
                **json.loads((folder / "cost.json").read_text()),
                "one_tile_mb": round(4 * n_classes * np.prod(PATCH) / 1e6),
                "same_as_simpleitk": judged(folder, n_classes, arguments.slices)
                if n_classes <= arguments.judge
                else "",
            }
            rows.append(row)
            print(row, flush=True)
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
