"""Step `convert`: the source files of a case -> image and reference label as OME-Zarr on one checked grid."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohortseg.errors import Rejected, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import STAGES, ConvertStage
from cohortseg.steps.arguments import add_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.volume import Array, Grid, Volume

if TYPE_CHECKING:
    from cohortseg.io.geometry import Stack

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
    # Where the folder lies is no matter: a study goes on after its scans were moved as a whole.
    expected = digest([STAGES["convert"].revision, text, {**source, "root": None}])
    return Work(
        stage="convert",
        sidecar=folder / "image.json",
        stores=(folder / "image.zarr", *([folder / "label.zarr"] if source["label"] else [])),
        inputs={},
        upstream=None,
        make=lambda: _convert_or_fail(folder, source, settings),
        # Paths and times of the source are private, so they are no part of the sidecar.
        guard=(layout.source_key(case), expected),
    )


def _convert_or_fail(folder: Path, source: dict[str, Any], settings: ConvertStage) -> Record:
    """As `convert`; a source that changes under our hands fails the job, so that the next run looks again.

    A rejection would stay: the file may come back as it was, and then nothing tells that there is something to do.
    """
    try:
        return convert(folder, source, settings)
    except Rejected as rejected:
        if rejected.reason == "SOURCE_CHANGED":
            raise StudyError(f"{rejected.found}; run again") from None
        raise


def convert(folder: Path, source: dict[str, Any], settings: ConvertStage) -> Record:
    """Write `image.zarr` and, where there is a label, `label.zarr`; returns facts and digests."""
    # First of all: a case that lost its label and is refused now must not keep the old one.
    store.remove(folder / "label.zarr")
    _check_unchanged(source)
    grid, image, facts = _image(folder / "image.zarr", source, settings)
    label = None
    if source["label"] is not None:
        array, found = _label(source, grid, settings)
        label = store.write_volume(folder / "label.zarr", Volume(array, grid), name="label")
        facts |= {"label": {"kind": source["label"]["kind"], **found}}
    return {
        "content": digest([image, label]),
        "contents": {"image": image, "label": label},
        "facts": {"modality": source["modality"], "grid": grid.as_dict(), **facts},
    }


def _check_unchanged(source: dict[str, Any]) -> None:
    """A file that changed after the index would be read with the wrong header."""
    if not Path(source["root"]).is_dir():
        # A share that is away for a while: no case is refused for good because of that.
        raise StudyError("the source folder is not there; is it mounted?")
    files = [*source["files"], *([source["label"]] if source["label"] else [])]
    for number, file in enumerate(files, start=1):
        try:
            stat = (Path(source["root"]) / file["path"]).stat()
        except FileNotFoundError:
            raise Rejected("SOURCE_CHANGED", f"file {number} of {len(files)} is gone") from None
        if (stat.st_size, stat.st_mtime_ns) != (file["size"], file["mtime_ns"]):
            raise Rejected("SOURCE_CHANGED", f"file {number} of {len(files)} was written after the index")


def _image(target: Path, source: dict[str, Any], settings: ConvertStage) -> tuple[Grid, str, Record]:
    """Write the image; returns its grid, digest and facts."""
    if source["kind"] == "file":
        from cohortseg.io.itk import read_image

        volume = read_image(Path(source["root"]) / source["files"][0]["path"])
        return volume.grid, store.write_volume(target, volume), {"dtype": str(volume.array.dtype)}
    from cohortseg.io.geometry import stack_geometry
    from cohortseg.io.series import Int16OverflowError

    records = [file["header"] for file in source["files"]]
    stack = stack_geometry(
        records,
        tolerance_mm=settings.convert.slice_tolerance_mm,
        min_slices=settings.min_slices,
        warning_mm=settings.convert.slice_warning_mm,
        mend=settings.convert.mend,
        gantry_tilt=settings.convert.gantry_tilt,
    )
    paths = [str(Path(source["root"]) / file["path"]) for file in source["files"]]
    try:
        content, facts = _series(target, paths, records, stack, settings.convert.suv, wide=False)
    except Int16OverflowError:
        content, facts = _series(target, paths, records, stack, settings.convert.suv, wide=True)
    return stack.grid, content, {**stack.facts, **facts}


def _series(
    target: Path, paths: list[str], records: list[dict[str, Any]], stack: "Stack", suv: Any, *, wide: bool
) -> tuple[str, Record]:
    """Stream a series into a store; memory holds one slab."""
    from cohortseg.io.series import open_series, read_slabs

    series = open_series(paths, records, stack=stack, wide=wide, suv=suv)
    content = store.write(target, stack.grid, series.dtype, read_slabs(series))
    return content, {"dtype": str(series.dtype), "unit": series.unit, **series.facts}


def _label(source: dict[str, Any], grid: Grid, settings: ConvertStage) -> tuple[Array, Record]:
    """The reference label on the image's grid, and what was found out about it."""
    path = Path(source["root"]) / source["label"]["path"]
    tolerance_mm = settings.convert.label_tolerance_mm
    if source["label"]["kind"] == "files":
        from cohortseg.io.itk import read_label

        return read_label(path, grid, settings.labels.file_values, tolerance_mm=tolerance_mm)
    if source["label"]["kind"] == "rtstruct":
        from cohortseg.io.rtstruct import rtstruct_mask

        return rtstruct_mask(
            path,
            grid,
            settings.labels.structures,
            tolerance_mm=tolerance_mm,
            missing=settings.labels.missing_structure,
            planes=settings.labels.planes,
        )
    from cohortseg.io.dicomseg import seg_mask

    return seg_mask(
        path,
        grid,
        settings.labels.structures,
        tolerance_mm=tolerance_mm,
        missing=settings.labels.missing_structure,
        fraction=settings.labels.fraction,
    )
