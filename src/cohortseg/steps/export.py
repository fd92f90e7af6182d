"""Step `export`: cleaned labels -> files for other software, on the native grid."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from glob import escape
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from cohortseg.cohort import Case, read_cases
from cohortseg.errors import Rejected, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, file_digest, read_json, read_sidecar
from cohortseg.layout import UNTRAINED, Layout
from cohortseg.settings import Code, ExportSettings
from cohortseg.stages import ExportStage
from cohortseg.steps.arguments import add_experiment_batch_of_slabs as add_arguments
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.export_objects import TABLE, object_files, objects_of, suffix_of, unfit
from cohortseg.steps.slabbed import OpenVolume, is_oversize, open_label
from cohortseg.steps.units import split_unit, units_of
from cohortseg.volume import Volume

__all__ = ["add_arguments", "run"]

Writer: TypeAlias = Callable[[Path], None]
"""Writes one file."""

IMAGES = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha"}
OBJECTS = {"dicom_seg": ".seg.dcm", "rtstruct": ".rtstruct.dcm"}
MESHES = {"stl": ".stl", "ply": ".ply"}
"""A file for each class that has voxels: the class stands before the suffix."""
TISSUE = Code("85756007", "SCT", "Tissue")
"""What a class shows when the settings do not say."""
NOT_DICOM = "the case did not come from DICOM"
NO_FRAME = "the source names no frame of reference, or no place in it"
MORE_NUMBERS = "the label holds more numbers than there are classes"
NO_LABEL = "the study makes an image, and this is a format for labels"


def run(arguments: argparse.Namespace) -> None:
    """Export a batch."""
    settings = ExportStage.model_validate_json(arguments.settings)
    cases = {case.case: case for case in read_cases(arguments.study.cases_table)}
    run_batch(
        units_of(arguments.study, arguments.experiment, arguments.cases),
        lambda unit: _work(
            arguments.study,
            arguments.experiment,
            unit,
            cases[split_unit(unit)[1]],
            settings,
            getattr(arguments, "most_voxels", 0),
        ),
        arguments.settings,
        arguments.token,
    )


def _work(layout: Layout, experiment: str, unit: str, case: Case, settings: ExportStage, most_voxels: int) -> Work:
    model, name = split_unit(unit)
    folder = layout.prediction(experiment, model, name)
    post = read_json(folder / f"{_last(settings)}.json")
    formats = settings.export.formats
    endings = [IMAGES[word] for word in formats if word in IMAGES]
    endings += [suffix_of(ending) for ending in (TABLE, *endings)] if settings.export.objects else []
    certain = {layout.exported(experiment, model, name, ending) for ending in endings}
    # Which other files there should be, only the sidecar of the last time knows; it is gone after a kill.
    last = (read_sidecar(folder / "export.json") or {}).get("facts") or {}
    stem = layout.exported(experiment, model, name, "")
    files = {*_present(stem), *(stem.parent / file for file in last.get("files", {}))}
    # The voxels may stay as they are while the source says something else of the patient.
    source = _source_inputs(layout, case, settings.export) if any(word in OBJECTS for word in formats) else {}
    return Work(
        stage="export",
        sidecar=folder / "export.json",
        stores=tuple(sorted(certain | files)),
        inputs={"post": post["content"], **_objects_input(post, settings), **source},
        upstream=post,
        make=lambda: export(layout, experiment, unit, case.subject, settings, most_voxels),
    )


def _objects_input(post: Record, settings: ExportStage) -> dict[str, str]:
    """The digest of the objects that are exported, where they were told apart."""
    content = post.get("contents", {}).get("instances")
    return {"objects": content} if settings.export.objects and content else {}


def _source_inputs(layout: Layout, case: Case, settings: ExportSettings) -> dict[str, str]:
    """Digests of what an object that names its source depends on beside the label."""
    if settings.uids == "keep":
        return {"source": case.source}
    # Of 256 random bits: nobody finds the key by its digest. Another key maps every UID anew, in all cases alike.
    return {"source": case.source, "uids": digest(_key(layout).hex())}


def _key(layout: Layout) -> bytes:
    from cohortseg.io.uids import study_key

    return study_key(layout.private / "uid.key")


def export(
    layout: Layout, experiment: str, unit: str, subject: str, settings: ExportStage, most_voxels: int = 0
) -> Record:
    """Write a label in all wanted formats and remove its files of others.

    Parameters
    ----------
    layout : Layout
    experiment, unit : str
        Whose label, `model/case`.
    subject : str
        Stands for the patient where identity is left out.
    settings : ExportStage
    most_voxels : int
        A label of more is read slice by slice, where all formats can be written so; 0: none is.

    Returns
    -------
    dict
        `content`, and as facts the digests of the `files` by name, the formats `skipped` with the reason, and the
        classes without voxels (`empty_classes`), which have no mesh.
    """
    model, case = split_unit(unit)
    path = layout.prediction(experiment, model, case) / f"{_last(settings)}.zarr"
    label: Any = open_label(path) if is_oversize(path, most_voxels) else store.read_volume(path)
    formats = list(dict.fromkeys(settings.export.formats))
    files: dict[str, str] = {}
    skipped: dict[str, str] = {}
    present = set(range(1, len(settings.classes) + 1))
    if settings.synthesis is not None:
        skipped = {word: NO_LABEL for word in formats if word not in IMAGES}
    elif any(word not in IMAGES for word in formats):
        numbers = _numbers(label)
        present &= numbers
        if max(numbers) > len(settings.classes):
            skipped = {word: MORE_NUMBERS for word in formats if word not in IMAGES}
    objects, meshes = (
        [word for word in formats if word in group and word not in skipped] for group in (OBJECTS, MESHES)
    )
    sources, obstacle = _sources(layout, case, subject, settings.export) if objects else (None, None)
    if obstacle is not None:
        skipped |= dict.fromkeys(objects, obstacle)
    numbered: Iterator[tuple[str, Writer]] = iter(())
    if settings.export.objects:
        ids = objects_of(layout.prediction(experiment, model, case), label, len(settings.classes))
        no_objects = unfit(ids, formats, [*MESHES, "rtstruct"])
        fit = dict(one for one in (IMAGES | OBJECTS).items() if one[0] in set(formats) - set(no_objects))
        skipped |= {f"objects as {word}": why for word, why in no_objects.items()}
        numbered = _numbered(ids, label, fit, sources, settings, f"{experiment} {model}")
    for suffix, write in chain(
        numbered,
        _images(label, [word for word in formats if word in IMAGES]),
        _objects(label, objects, sources, settings, f"{experiment} {model}"),
        _meshes(label, meshes, {name: n for n, name in enumerate(settings.classes, start=1) if n in present}),
    ):
        target = layout.exported(experiment, model, case, suffix)
        _save(target, write)
        files[target.name] = file_digest(target)
    _remove_others(layout.exported(experiment, model, case, ""), files)
    classes = settings.classes if settings.synthesis is None else []
    empty = [name for n, name in enumerate(classes, start=1) if n not in present]
    return {"content": digest(files), "facts": {"files": files, "skipped": skipped, "empty_classes": empty}}


def _last(settings: ExportStage) -> str:
    """What of a prediction is exported: the cleaned label, or the image as it was made."""
    return "post" if settings.synthesis is None else "raw"


def _numbers(label: Volume) -> set[int]:
    """The numbers that a label holds, slice by slice; always with 0."""
    import numpy as np

    return {0}.union(*(np.unique(plane).tolist() for plane in label.array))


def _save(target: Path, write: Writer) -> None:
    """Write a file in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix tells the format, so the temporary name keeps it.
    part = target.with_name(f".part-{target.name}")
    try:
        write(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _images(label: Volume | OpenVolume, formats: Sequence[str]) -> Iterator[tuple[str, Writer]]:
    from cohortseg.io.itk import write_image
    from cohortseg.io.slab_writer import write_slabs

    for word in formats:
        if isinstance(label, OpenVolume):
            array = label.array
            yield IMAGES[word], partial(write_slabs, grid=label.grid, dtype=array.dtype, slabs=array.slabs())
        else:
            yield IMAGES[word], partial(write_image, volume=label)


def _objects(
    label: Volume, formats: Sequence[str], sources: Any, settings: ExportStage, description: str
) -> Iterator[tuple[str, Writer]]:
    if sources is None:
        return
    from cohortseg.io.rtstruct_writer import write_rtstruct
    from cohortseg.io.seg_writer import write_seg

    segments = _segments([(name, name) for name in settings.classes], settings.export)
    if "dicom_seg" in formats:
        yield (
            OBJECTS["dicom_seg"],
            lambda path: write_seg(
                path, label, sources, segments, description=description, trained=_is_trained(description)
            ),
        )
    if "rtstruct" in formats:
        yield (
            OBJECTS["rtstruct"],
            lambda path: write_rtstruct(path, label, sources, settings.classes, description=description),
        )


def _segments(names: Sequence[tuple[str, str]], settings: ExportSettings) -> list[Any]:
    """A segment for each (class, name), coded as its class."""
    from cohortseg.io.seg_writer import Segment

    return [Segment(name, settings.codes.get(own, TISSUE), settings.category) for own, name in names]


def _is_trained(description: str) -> bool:
    return description.rpartition(" ")[2] != UNTRAINED


def _numbered(
    ids: Volume, label: Volume, formats: dict[str, str], sources: Any, settings: ExportStage, description: str
) -> Iterator[tuple[str, Writer]]:
    from cohortseg.io.seg_writer import write_seg

    write = partial(write_seg, sources=sources, description=description, trained=_is_trained(description))
    coded = partial(_segments, settings=settings.export)
    yield from object_files(ids, label, formats, coded, write if sources is not None else None, settings.classes)


def _meshes(label: Volume, formats: Sequence[str], classes: dict[str, int]) -> Iterator[tuple[str, Writer]]:
    if not formats:
        return
    from cohortseg.io.meshes import surface, write_ply, write_stl

    writers = {"stl": write_stl, "ply": write_ply}
    for name, number in classes.items():
        mesh = surface(label.array == number, label.grid)
        for word in formats:
            # Written before the next one is asked for: a class at a time lies in memory.
            yield f".{name}{MESHES[word]}", partial(writers[word], mesh=mesh)


def _sources(layout: Layout, case: str, subject: str, settings: ExportSettings) -> tuple[Any, str | None]:
    """What the source of a case is, or why nothing can be tied to it."""
    from cohortseg.io.source_images import read_sources

    record = read_json(layout.source(case))
    channel = record["channels"][0]
    if channel["kind"] not in ("dicom", "plane"):
        return None, NOT_DICOM
    root = Path(record["root"])
    if not root.is_dir():
        raise StudyError("the source folder is not there; is it mounted?")
    key = _key(layout) if settings.uids == "remap" else None
    paths = [root / file["path"] for file in channel["files"]]
    try:
        # With remapped UIDs the pseudonym stands there in any case.
        pseudonym = None if settings.patient == "keep" and key is None else subject
        sources = read_sources(paths, frames=_frames(root, channel), key=key, pseudonym=pseudonym)
    except Rejected as rejected:
        # As in `convert`: the file may come back as it was, and a rejection would stay.
        raise StudyError(f"{rejected.found}; run again") from None
    return (sources, None) if sources.has_frame else (None, NO_FRAME)


def _frames(root: Path, channel: dict[str, Any]) -> dict[Path, set[int]]:
    """The frames that were used of each file of which not all are."""
    return {root / file["path"]: set(file["frames"]) for file in channel["files"] if "frames" in file}


def _remove_others(stem: Path, files: dict[str, str]) -> None:
    """Remove files of a case in formats, or of classes, that are no longer wanted."""
    for path in _present(stem):
        if path.name not in files:
            path.unlink()


def _present(stem: Path) -> list[Path]:
    """The exported files of a case that are there, in whatever format."""
    files = [*IMAGES.values(), *OBJECTS.values()]
    patterns = [*files, *(f".*{suffix}" for suffix in MESHES.values()), *map(suffix_of, [TABLE, *files])]
    return [path for pattern in patterns for path in stem.parent.glob(f"{escape(stem.name)}{pattern}")]
