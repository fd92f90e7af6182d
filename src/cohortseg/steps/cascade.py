"""What a network of a cascade is given: the label of one at low resolution, on the grid of its own images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cohortseg.errors import StudyError
from cohortseg.infer.one_hot import WithOneHot
from cohortseg.infer.sliding import ArrayLike
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, read_sidecar
from cohortseg.layout import Layout
from cohortseg.settings import NetworkMethod, UNetMethod
from cohortseg.steps.units import split_unit


class Before(NamedTuple):
    """What stands before a network of a cascade, for one case.

    Parameters
    ----------
    upstream : dict
        Sidecar of what it is made from; a rejection there is one of the cascade.
    inputs : dict
        What it depends on.
    label : callable
        Gives the store of the label on the native grid; may write it to the path that it is told.
    """

    upstream: dict[str, Any]
    inputs: dict[str, Any]
    label: Callable[[Path], Path]


def found_before(layout: Layout, method: NetworkMethod, unit: str, seed: int | None) -> Before | None:
    """The raw label of the experiment before, by its model of the same fold (or of all folds); None without a cascade.

    Neither has seen the case, nor has any other that took part in either.
    """
    if not isinstance(method, UNetMethod) or method.cascade is None:
        return None
    model, case = split_unit(unit)
    name = model.rpartition("-seed-")[0]
    folder = layout.prediction(method.cascade, f"{name}-seed-{seed}", case)
    record = read_json(folder / "raw.json")
    return Before(record, {"before": record["content"]}, lambda _: folder / "raw.zarr")


def labels_before(layout: Layout, experiment: str, fold: str, names: Sequence[str]) -> dict[str, tuple[Path, str]]:
    """The labels that a cascade is trained with, on the grid of the model, as `crossfit` has left them; their digests.

    Cases that were rejected are missing.

    Raises
    ------
    StudyError
        When one was not made.
    """
    found = {}
    for name in names:
        folder = layout.before(experiment, fold, name)
        record = read_sidecar(folder / "before.json")
        if record is None and layout.prepared(name).with_suffix(".json").exists():
            raise StudyError(f"no label for case {name!r} to give to the cascade: run the workflow again")
        if record is not None and record["status"] == "ok":
            found[name] = (folder / "before.zarr", str(record["content"]))
    return found


def pair_members(members: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Who a model that is kept from two folds learns from: the training cases of both; it validates on nobody.

    A validation would look at references that one of the two cascades must not have seen. Where cases are listed with
    their sources (`split.refit`) they stay so: another scan trains again.
    """
    shared = [name for name in members["train"] if name in others["train"]]
    with_sources = members["train"] if isinstance(members["train"], Mapping) else None
    return {"train": {name: with_sources[name] for name in shared} if with_sources else shared, "validation": []}


def on_model_grid(label: Path, prepared: Path, target: Path, *, threads: int = 1) -> str:
    """Write a label of the native grid on the grid of a case in model space; returns the digest of its content."""
    from cohortseg.preprocess.resample import resample_to

    grid = store.read_grid(prepared)
    with store.new_store(target) as part:
        array = store.create(part, grid, np.uint8, name="label")
        source = store.read_grid(label)
        resample_to(array, store.open_array(label), source, grid, interpolation="nearest", workers=threads)
        return store.content_digest(part)


@contextmanager
def seen_by_cascade(prepared: Path, before: Path | None, n_classes: int, scratch: Path) -> Iterator[ArrayLike]:
    """What a network sees of a case: the image in model space, and the label before it where there is one."""
    image = store.open_array(prepared)
    if before is None:
        yield image
        return
    try:
        on_model_grid(before, prepared, scratch)
        yield WithOneHot(image, store.open_array(scratch), n_classes)
    finally:
        store.remove(scratch)
