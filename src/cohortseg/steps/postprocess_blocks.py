"""The step `postprocess` for a label that does not fit into memory: the same stores and numbers, block by block."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.blocks import Readable, Region, Workers, map_tasks, read, regions, start, write_unit
from cohortseg.io import store
from cohortseg.steps.batch import Record
from cohortseg.steps.chosen import ThresholdedLabel
from cohortseg.volume import Shape

SCRATCH_CHUNK = (16, 128, 128)
"""Thin along z: what touches across a cut between blocks is read without the rest of the blocks."""


def clean_by_blocks(
    folder: Path, cleaning: Mapping[str, Mapping[str, Any]], threshold: float | None, workers: Workers
) -> Record:
    """Write `post.zarr` of the prediction in a folder; what the sidecar says of it."""
    from cohortseg.postprocess.block_chain import postprocess_by_blocks

    raw: Readable = store.open_array(folder / "raw.zarr")
    label = raw if threshold is None else ThresholdedLabel(folder, threshold)
    grid = store.read_grid(folder / "raw.zarr")
    with store.new_store(folder / "post.zarr") as part, _scratch(folder / "post.zarr", grid.shape) as new_array:
        post = store.create(part, grid, np.uint8, name="label")
        blocks = write_unit(post) or grid.shape
        options = list(cleaning.values())
        postprocess_by_blocks(
            label,
            post,
            spacing_mm=grid.spacing_mm,
            options=options,
            blocks=blocks,
            new_array=new_array,
            workers=workers,
        )

        def changed(region: Region) -> int:
            return int(np.count_nonzero(read(post, region) != read(raw, region)))

        n_changed = sum(map_tasks(changed, regions(grid.shape, blocks), workers))
        shapes = [
            _shape(post, value, grid.spacing_mm, blocks, new_array, workers) for value in range(1, len(options) + 1)
        ]
        content = store.content_digest(part)
    return {"content": content, "n_voxels_changed": n_changed, "shapes": shapes}


def _shape(
    post: Readable, value: int, spacing_mm: tuple[float, float, float], blocks: Shape, new_array: Any, workers: Workers
) -> dict[str, float]:
    """The shape of one class."""
    from cohortseg.metrics.shape import Counts, count, joined, shape_of
    from cohortseg.postprocess.block_chain import ClassMask
    from cohortseg.postprocess.block_components import find_components

    mask = ClassMask(post, value)
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])

    def counted(region: Region) -> tuple[Shape, Counts]:
        return start(region), count(read(mask, region), start(region), shape)

    counts = joined(map_tasks(counted, regions(shape, blocks), workers), shape)
    found = find_components(mask, connectivity=26, numbers=new_array(np.uint32), blocks=blocks, workers=workers)
    return asdict(shape_of(counts, found.sizes[1:], spacing_mm))


@contextmanager
def _scratch(target: Path, shape: Shape) -> Iterator[Callable[[Any], Any]]:
    """Makes arrays beside a store, with its shards; removed at the end, or with the next store after a kill."""
    folder = target.with_name(f".{target.name}.{os.getpid()}.scratch")

    def new_array(dtype: Any) -> Any:
        return store.create_scratch(folder / str(len(list(folder.iterdir()))), shape, dtype, chunk=SCRATCH_CHUNK)

    folder.mkdir(parents=True)
    try:
        yield new_array
    finally:
        shutil.rmtree(folder, ignore_errors=True)
