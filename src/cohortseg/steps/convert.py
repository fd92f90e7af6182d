"""Step `convert`: the source files of a case -> image and reference label as OME-Zarr on one checked grid."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cohortseg.errors import Rejected
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import STAGES, ConvertStage
from cohortseg.steps.arguments import add_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.volume import Array, Grid, Volume

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> None:
    """Convert a batch."""
    settings = ConvertStage.model_validate_json(arguments.settings)
    run_batch(
        arguments.cases,
        lambda case: _work(arguments.study, case, settings, arguments.settings),
        arguments.settings,
        arguments.token,
    )


def _work(layout: Layout, case: str, settings: ConvertStage, text: str) -> Work:
    folder = layout.case(case)
    source = read_json(layout.source(case))
    expected = digest([STAGES["convert"].revision, text, source])
    return Work(
        stage="convert",
        sidecar=folder / "image.json",
        stores=(folder / "image.zarr", *([folder / "label.zarr"] if source["label"] else [])),
        inputs={},
        upstream=None,
        make=lambda: convert(folder, source, settings),
        # Paths and times of the source are private, so they are no part of the sidecar.
        guard=(layout.source_key(case), expected),
    )


def convert(folder: Path, source: dict[str, Any], settings: ConvertStage) -> Record:
    """Write `image.zarr` and, where there is a label, `label.zarr`; returns facts and digests."""
    _check_unchanged(source)
    grid, dtype, slabs, facts = _open(source, settings)
    image = store.write(folder / "image.zarr", grid, dtype, slabs)
    label = None
    store.remove(folder / "label.zarr")
    if source["label"] is not None:
        array, found = _label(source, grid, settings)
        label = store.write_volume(folder / "label.zarr", Volume(array, grid), name="label")
        facts |= {"label": {"kind": source["label"]["kind"], **found}}
    return {
        "content": digest([image, label]),
        "contents": {"image": image, "label": label},
        "facts": {"modality": source["modality"], "grid": grid.as_dict(), "dtype": str(dtype), **facts},
    }


def _check_unchanged(source: dict[str, Any]) -> None:
    """A file that changed after the index would be read with the wrong header."""
    files = [*source["files"], *([source["label"]] if source["label"] else [])]
    for number, file in enumerate(files, start=1):
        try:
            stat = (Path(source["root"]) / file["path"]).stat()
        except FileNotFoundError:
            raise Rejected("SOURCE_CHANGED", f"file {number} of {len(files)} is gone; index again") from None
        if (stat.st_size, stat.st_mtime_ns) != (file["size"], file["mtime_ns"]):
            raise Rejected("SOURCE_CHANGED", f"file {number} of {len(files)} was written after the index; index again")


def _open(source: dict[str, Any], settings: ConvertStage) -> tuple[Grid, Any, Iterator[tuple[int, Array]], Record]:
    """Grid, dtype, slabs (z0, array) and facts of the image."""
    if source["kind"] == "file":
        from cohortseg.io.itk import read_image

        volume = read_image(Path(source["root"]) / source["files"][0]["path"])
        return volume.grid, volume.array.dtype, iter([(0, volume.array)]), {}
    from cohortseg.io.series import open_series

    files = [(str(Path(source["root"]) / file["path"]), file["header"]) for file in source["files"]]
    series = open_series(files, tolerance_mm=settings.convert.slice_tolerance_mm, min_slices=settings.min_slices)
    return series.grid, series.dtype, series.slabs(), series.facts


def _label(source: dict[str, Any], grid: Grid, settings: ConvertStage) -> tuple[Array, Record]:
    """The reference label on the image's grid, and what was found out about it."""
    path = Path(source["root"]) / source["label"]["path"]
    tolerance_mm = settings.convert.label_tolerance_mm
    if source["label"]["kind"] == "files":
        from cohortseg.io.itk import read_label

        return read_label(path, grid, settings.labels.file_values, tolerance_mm=tolerance_mm), {}
    if source["label"]["kind"] == "rtstruct":
        from cohortseg.io.rtstruct import rtstruct_label

        return rtstruct_label(path, grid, settings.labels.structures)
    from cohortseg.io.dicomseg import seg_label

    return seg_label(path, grid, settings.labels.structures, tolerance_mm=tolerance_mm)
