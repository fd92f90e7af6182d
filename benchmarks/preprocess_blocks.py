"""What does it cost to bring an image and its label into model space, and is the result right?

    python benchmarks/preprocess_blocks.py [--slices 300] [--workers 1] [--repeats 3]

Gate: every voxel equal to SimpleITK on the whole volume (to a float16 step). Then CPU seconds and peak memory of one
case, of a case twice as long (memory must stay flat), and of SimpleITK on the whole volume, on the same stores.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from cohortseg.preprocess.intensity import normaliser
from cohortseg.preprocess.resample import resample_to
from cohortseg.volume import Grid

SPACING_MM = (2.0, 0.8, 0.8)
TARGET_MM = (1.5, 1.5, 1.5)
NUMBERS = {"low": -160.0, "high": 240.0, "mean": -40.0, "sd": 110.0}


def source_grid(slices: int) -> Grid:
    return Grid((slices, 512, 512), SPACING_MM, (-204.0, -204.0, -300.0))


def create(path: Path, shape: tuple[int, ...], dtype: str) -> Any:
    shards = (64, *(64 * -(-min(n, 512) // 64) for n in shape[1:]))
    return zarr.create_array(
        path,
        shape=shape,
        dtype=dtype,
        chunks=(64, 64, 64),
        shards=shards,
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
    )


def make_case(folder: Path, slices: int, _workers: int) -> None:
    """A noisy ellipsoid body with a bright ball, and the ball as label; written slab by slab."""
    random = np.random.default_rng(1)
    grid = source_grid(slices)
    image, label = (create(folder / name, grid.shape, dtype) for name, dtype in (("image", "i2"), ("label", "u1")))
    y, x = (np.arange(512) - 256 for _ in range(2))
    body = (y[:, None] / 180) ** 2 + (x / 230) ** 2 < 1
    for z in range(0, slices, 64):
        planes = np.arange(z, min(z + 64, slices))
        ball = ((planes - slices / 2) * 2.5)[:, None, None] ** 2 + (y[:, None] - 40) ** 2 + (x + 60) ** 2 < 50**2
        slab = np.where(body, 30, -1000) + 40 * ball + random.normal(0, 20, ball.shape)
        image[z : z + 64], label[z : z + 64] = slab.astype(np.int16), ball.astype(np.uint8)


def by_blocks(folder: Path, slices: int, workers: int) -> None:
    source = source_grid(slices)
    target = source.with_spacing(TARGET_MM)
    for name, dtype, interpolation, finish in (
        ("image", "f2", "linear", normaliser("window", NUMBERS)),
        ("label", "u1", "nearest", None),
    ):
        out = create(folder / f"{name}_prepared", target.shape, dtype)
        array = zarr.open_array(folder / name, mode="r")
        resample_to(out, array, source, target, interpolation=interpolation, workers=workers, finish=finish)


def whole(folder: Path, slices: int, workers: int) -> None:
    """The same with SimpleITK on the whole volume: the judge and the peer."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(workers)
    source = source_grid(slices)
    target = source.with_spacing(TARGET_MM)
    for name, dtype, interpolator, kind in (
        ("image", "f2", SimpleITK.sitkLinear, SimpleITK.sitkFloat32),
        ("label", "u1", SimpleITK.sitkNearestNeighbor, SimpleITK.sitkUInt8),
    ):
        volume = SimpleITK.GetImageFromArray(zarr.open_array(folder / name, mode="r")[:])
        volume.SetSpacing(source.spacing_mm[::-1])
        volume.SetOrigin(source.origin_mm)
        task = SimpleITK.ResampleImageFilter()
        task.SetSize(target.shape[::-1])
        task.SetOutputSpacing(target.spacing_mm[::-1])
        task.SetOutputOrigin(target.origin_mm)
        task.SetInterpolator(interpolator)
        task.SetOutputPixelType(kind)
        task.UseNearestNeighborExtrapolatorOn()
        voxels = SimpleITK.GetArrayFromImage(task.Execute(volume))
        if name == "image":
            voxels = normaliser("window", NUMBERS)(voxels)
        create(folder / f"{name}_whole", target.shape, dtype)[:] = voxels.astype(dtype)


def gate(folder: Path, _slices: int, _workers: int) -> None:
    for name, allowed in (("image", 2**-9), ("label", 0)):
        ours, judge = (zarr.open_array(folder / f"{name}_{kind}", mode="r")[:] for kind in ("prepared", "whole"))
        off = np.abs(ours.astype(np.float32) - judge.astype(np.float32))
        print(f"{name}: {np.count_nonzero(off)} of {off.size} voxels differ, by at most {off.max():.2g}")
        if off.max() > allowed:
            raise SystemExit(f"gate failed: {name}")


JOBS = {
    "make": make_case,
    "blocks": by_blocks,
    "whole": whole,
    "gate": gate,
}


def job(name: str, folder: Path, slices: int, workers: int) -> dict[str, float]:
    """Run one job in a process of its own; its CPU seconds, wall seconds and peak memory."""
    command = [sys.executable, __file__, "--job", name, "--folder", str(folder), "--slices", str(slices)]
    done = subprocess.run([*command, "--workers", str(workers)], check=True, capture_output=True, text=True)
    *said, numbers = done.stdout.splitlines()
    print("\n".join(said), end="\n" if said else "")
    return dict(json.loads(numbers))


def measure(name: str, folder: Path, slices: int, workers: int, repeats: int) -> None:
    """Print the medians of several runs, each into empty stores."""
    runs = []
    for _ in range(repeats):
        for written in folder.glob("*_prepared" if name == "blocks" else "*_whole"):
            shutil.rmtree(written)
        runs.append(job(name, folder, slices, workers))
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    print(f"{slices} slices, {name}: " + ", ".join(f"{key} {value:.2f}" for key, value in middle.items()))


def run_job(name: str, folder: Path, slices: int, workers: int) -> None:
    """What the child process does; the last line it prints are its numbers."""
    # Zarr decodes in a pool of its own, as large as the machine, and each thread keeps memory of its own.
    zarr.config.set({"threading.max_workers": workers})
    begin, cpu = time.perf_counter(), time.process_time()
    JOBS[name](folder, slices, workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - begin, "peak_mb": peak}))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--slices", type=int, default=300)
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--job", choices=sorted(JOBS), help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.job:
        run_job(given.job, given.folder, given.slices, given.workers)
        return
    with tempfile.TemporaryDirectory() as scratch:
        once, twice = (Path(scratch) / str(n * given.slices) for n in (1, 2))
        job("make", once, given.slices, 1)
        measure("blocks", once, given.slices, given.workers, given.repeats)
        measure("whole", once, given.slices, given.workers, given.repeats)
        job("gate", once, given.slices, 1)
        job("make", twice, 2 * given.slices, 1)
        measure("blocks", twice, 2 * given.slices, given.workers, given.repeats)


if __name__ == "__main__":
    main()
