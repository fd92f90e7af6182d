"""Step `convert`: the source files of a case -> its channels and reference label as OME-Zarr on one checked grid."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohortseg.errors import Rejected, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json
from cohortseg.layout import Layout
from cohortseg.stages import STAGES, ConvertStage
from cohortseg.steps.arguments import add_batch as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.volume import Grid, Volume

if TYPE_CHECKING:
    from cohortseg.io.images import Image

__all__ = ["add_arguments", "run"]

LITTLE_OVERLAP = 0.5
"""A channel that covers less of the first one gives a warning."""
REGISTRATION_SEED = 1
"""Which voxels a registration looks at: the same ones each time."""


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
    source = read_json(layout.source(case))
    # Where the folder lies is no matter: a study goes on after its scans were moved as a whole.
    expected = digest([STAGES["convert"].revision, text, {**source, "root": None}])
    labels = [layout.case(case) / "label.zarr", *([layout.instances(case)] if settings.labels.instances else [])]
    return Work(
        stage="convert",
        sidecar=layout.case(case) / "image.json",
        stores=(*layout.images(case, settings.channels), *(labels if source["label"] else [])),
        inputs={},
        upstream=None,
        make=lambda: _convert_or_fail(layout, case, source, settings),
        # Paths and times of the source are private, so they are no part of the sidecar.
        guard=(layout.source_key(case), expected),
    )


def _convert_or_fail(layout: Layout, case: str, source: dict[str, Any], settings: ConvertStage) -> Record:
    """As `convert`; a source that changes under our hands fails the job, so that the next run looks again.

    A rejection would stay: the file may come back as it was, and then nothing tells that there is something to do. The
    same goes for what was read of a file while it changed, so the source is looked at before the work and after it.
    """
    try:
        _check_unchanged(source)
        try:
            return convert(layout, case, source, settings)
        finally:
            _check_unchanged(source)
    except Rejected as rejected:
        if rejected.reason == "SOURCE_CHANGED":
            raise StudyError(f"{rejected.found}; run again") from None
        raise


def convert(layout: Layout, case: str, source: dict[str, Any], settings: ConvertStage) -> Record:
    """Write the image of each channel and, where there is a label, `label.zarr`; returns facts and digests."""
    paths = layout.images(case, settings.channels)
    # First of all: a case that lost its label and is refused now must not keep the old one.
    for left in [layout.case(case) / "label.zarr", layout.instances(case), *layout.case(case).glob("image-*.zarr")]:
        if left not in paths:
            store.remove(left)
    root = Path(source["root"])
    first, *others = _channels(source, settings)
    image, content = _written(paths[0], root, first, settings)
    contents = {"image": content}
    facts = {"grid": image.grid.as_dict(), **_facts(first, image)}
    if first["part"]:
        facts["part"] = first["part"]
    if others:
        found = {settings.channels[0]: {"modality": first["modality"], "unit": image.unit}}
        for name, path, channel in zip(settings.channels[1:], paths[1:], others, strict=True):
            contents[path.stem], found[name] = _write_other(
                path, root, channel, (paths[0], image.grid, first), settings
            )
        missing = [name for name, channel in zip(settings.channels[1:], others, strict=True) if channel is None]
        facts |= {"channels": found, "missing_channels": missing}
    if source["label"] is not None:
        contents_of_label, facts["label"] = _write_label(layout, case, source, image.grid, settings)
        contents |= contents_of_label
    return {"content": digest(list(contents.values())), "contents": {"label": None, **contents}, "facts": facts}


def _check_unchanged(source: dict[str, Any]) -> None:
    """A file that changed after the index would be read with the wrong header."""
    if not Path(source["root"]).is_dir():
        # A share that is away for a while: no case is refused for good because of that.
        raise StudyError("the source folder is not there; is it mounted?")
    parts = [*filter(None, source["channels"]), *(source["label"]["parts"] if source["label"] else [])]
    files = [file for part in parts for file in part["files"]]
    for number, file in enumerate(files, start=1):
        try:
            stat = (Path(source["root"]) / file["path"]).stat()
        except FileNotFoundError:
            raise Rejected("SOURCE_CHANGED", f"file {number} of {len(files)} is gone") from None
        if (stat.st_size, stat.st_mtime_ns) != (file["size"], file["mtime_ns"]):
            raise Rejected("SOURCE_CHANGED", f"file {number} of {len(files)} was written after the index")


# ---- images ---------------------------------------------------------------------------------------------------------


def _channels(source: dict[str, Any], settings: ConvertStage) -> list[Any]:
    """What each channel is made of, with the colour that is taken of it; None for a missing one."""
    if settings.colour == "rgb":
        return [{**source["channels"][0], "colour": name} for name in settings.channels]
    return [channel and {**channel, "colour": "grey"} for channel in source["channels"]]


def _open(root: Path, channel: dict[str, Any], settings: ConvertStage, *, wide: bool) -> "Image":
    from cohortseg.io.images import open_file, open_picture, open_plane, open_stack

    colour, path = channel["colour"], root / channel["files"][0]["path"]
    if channel["kind"] == "picture":
        return open_picture(path, settings.pixel_mm, colour=colour)
    if channel["kind"] == "file":
        return open_file(path, channel["phases"])
    if channel["kind"] == "plane":
        return open_plane(channel["files"], root, colour=colour)
    rules = {
        "tolerance_mm": settings.convert.slice_tolerance_mm,
        "min_slices": settings.min_slices,
        "warning_mm": settings.convert.slice_warning_mm,
        "mend": settings.convert.mend,
        "gantry_tilt": settings.convert.gantry_tilt,
    }
    return open_stack(channel["files"], root, rules, suv=settings.convert.suv, colour=colour, wide=wide)


def _written(path: Path, root: Path, channel: dict[str, Any], settings: ConvertStage) -> tuple["Image", str]:
    """Stream an image into a store; memory holds one slab."""
    from cohortseg.io.series import Int16OverflowError

    image = _open(root, channel, settings, wide=False)
    try:
        content = store.write(path, image.grid, image.dtype, image.slabs())
    except Int16OverflowError:
        image = _open(root, channel, settings, wide=True)
        content = store.write(path, image.grid, image.dtype, image.slabs())
    return image, content


def _facts(channel: dict[str, Any], image: "Image") -> Record:
    return {**image.facts, "modality": channel["modality"], "unit": image.unit, "dtype": str(image.dtype)}


def _write_other(
    path: Path, root: Path, channel: Any, first: tuple[Path, Grid, dict[str, Any]], settings: ConvertStage
) -> tuple[str, Record]:
    """A further channel on the grid of the first: as it lies in the world, registered, or zeros where it is missing."""
    target, grid, reference = first
    if channel is None:
        return store.write(path, grid, "int16", _zeros(grid)), {"modality": "", "unit": ""}
    if channel["kind"] == "dicom" and settings.convert.registration == "none":
        _check_frames(reference, channel)
    # No name that `new_store` takes for a left-over of its own.
    own = path.with_name(f".own-{path.name}")
    try:
        image, content = _written(own, root, channel, settings)
        facts = _facts(channel, image)
        if settings.convert.registration == "none" and image.grid.matches(grid):
            store.remove(path)
            own.rename(path)
            return content, facts
        return _aligned(path, (own, image), (target, grid), settings, facts)
    finally:
        store.remove(own)


def _zeros(grid: Grid) -> Iterator[tuple[int, Any]]:
    import numpy as np

    thickness = store.shard_shape(grid.shape)[0]
    for start in range(0, grid.shape[0], thickness):
        yield start, np.zeros((min(thickness, grid.shape[0] - start), *grid.shape[1:]), np.int16)


def _check_frames(reference: dict[str, Any], channel: dict[str, Any]) -> None:
    """Without a registration only a frame of reference tells how two series lie to each other."""
    frames = {one["files"][0]["header"].get("frame_uid") for one in (reference, channel)}
    if len(frames) > 1 or None in frames:
        raise Rejected("OTHER_FRAME", "two channels share no frame of reference, and no registration is asked for")


def _aligned(
    path: Path, moving: tuple[Path, "Image"], fixed: tuple[Path, Grid], settings: ConvertStage, facts: Record
) -> tuple[str, Record]:
    from cohortseg.io.series import AIR_HU
    from cohortseg.preprocess.align import align_to, overlap_share, register_rigid

    (own, image), (target, grid) = moving, fixed
    voxels, transform = store.open_array(own), None
    if settings.convert.registration == "rigid":
        transform, found = register_rigid(store.open_array(target), grid, voxels, image.grid, seed=REGISTRATION_SEED)
        facts["registration"] = {**transform.as_dict(), **found}
    share = overlap_share(image.grid if transform is None else transform.moved(image.grid), grid)
    if share == 0:
        raise Rejected("OTHER_FRAME", "a channel lies entirely beside the first one")
    facts["covered_share"] = round(share, 4)
    if share < LITTLE_OVERLAP:
        facts["warnings"] = [*facts.get("warnings", []), f"covers {share:.0%} of the first channel"]
    with store.new_store(path) as part:
        out = store.create(part, grid, "float32")
        # Any channel but CT shows 0 beside itself.
        outside = AIR_HU if image.unit == "HU" else 0.0
        align_to(voxels, image.grid, grid, out, outside=outside, transform=transform)
    return store.content_digest(path), facts


# ---- labels ---------------------------------------------------------------------------------------------------------


def _write_label(
    layout: Layout, case: str, source: dict[str, Any], grid: Grid, settings: ConvertStage
) -> tuple[dict[str, str], Record]:
    """Write the reference label on the image's grid; returns digests and what was found out about it."""
    from cohortseg.io.classes import stored_numbers
    from cohortseg.io.references import Rules, exact, read_reference

    labels = settings.labels
    rules = Rules(
        classes=labels.patterns or exact(labels.names),
        values=labels.file_values,
        named=bool(labels.values),
        tolerance_mm=settings.convert.label_tolerance_mm,
        missing=labels.missing_structure,
        planes=labels.planes,
        fraction=labels.fraction,
        resample=labels.resample,
        instances=labels.instances,
        divisor=labels.instance_divisor,
    )
    label = source["label"]
    found = read_reference(label["kind"], label["parts"], Path(source["root"]), grid, rules)
    n_ignored = stored_numbers(found.label, labels.names)
    path = layout.case(case) / "label.zarr"
    contents = {"label": store.write_volume(path, Volume(found.label, grid), name="label")}
    if found.instances is not None:
        ids = Volume(found.instances, grid)
        contents["instances"] = store.write_volume(layout.instances(case), ids, name="instances")
    return contents, {"kind": label["kind"], **found.facts, **({"n_not_judged": n_ignored} if n_ignored else {})}
