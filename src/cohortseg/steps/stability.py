"""Step `stability`: a case, changed in several ways -> how far its label stays the same.

A changed image goes through the whole flow as if it were a scan of its own: fingerprint and model space where the
method is a network, then `predict` with the same models. What comes out is taken back to the native grid and compared
with the raw label of the image as it is. No reference is looked at.
"""

import argparse
import math
from argparse import Namespace
from dataclasses import replace
from typing import Any

from cohortseg.cohort import Case, read_cases
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, write_json
from cohortseg.layout import Layout
from cohortseg.settings import NetworkMethod
from cohortseg.stages import ExperimentStage, FingerprintStage, PreprocessStage, StabilityStage
from cohortseg.steps import fingerprint, predict, preprocess
from cohortseg.steps.arguments import add_experiment_batch, add_threads, add_tuned
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.beside import beside
from cohortseg.steps.loaded import resolution_of
from cohortseg.steps.units import split_unit, units_of

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A batch of an experiment, and threads."""
    add_experiment_batch(parser)
    add_threads(parser)
    add_tuned(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure a batch."""
    settings = StabilityStage.model_validate_json(arguments.settings)
    run_batch(
        units_of(arguments.study, arguments.experiment, arguments.cases),
        lambda unit: _work(arguments, unit, settings),
        arguments.settings,
        arguments.token,
    )


def _work(arguments: argparse.Namespace, unit: str, settings: StabilityStage) -> Work:
    layout: Layout = arguments.study
    folder = layout.prediction(arguments.experiment, *split_unit(unit))
    raw, image = read_json(folder / "raw.json"), read_json(layout.case(split_unit(unit)[1]) / "image.json")
    return Work(
        stage="stability",
        sidecar=folder / "stability.json",
        stores=(),
        inputs={"image": image["content"], "raw": raw["content"], "made from": raw["inputs"]},
        upstream=raw,
        make=lambda: stability(arguments, unit, settings),
    )


def stability(arguments: argparse.Namespace, unit: str, settings: StabilityStage) -> Record:
    """Dice of each label under each change that applies to the image.

    Returns
    -------
    dict
        `stability`: of each transformation, of each label the Dice; None where neither label has the class. A method
        that refuses the changed image has `reason` there instead.
    """
    from cohortseg.preprocess.perturb import applies, dice_of_labels, taken_back

    layout: Layout = arguments.study
    model, case = split_unit(unit)
    plain = store.read_volume(layout.prediction(arguments.experiment, model, case) / "raw.zarr")
    names = [name for name in settings.stability.transformations if applies(name, plain.grid)]
    row = next(one for one in read_cases(layout.cases_table) if one.case == case)
    rows = {name: replace(row, case=f"{case}--{name}") for name in names}
    found: dict[str, Any] = {}
    with beside(
        layout, f"stability-{arguments.experiment}-{model}-{case}", arguments.experiment, [*rows.values()]
    ) as scratch:
        for name, changed in rows.items():
            _write_changed(layout, scratch, case, changed, name, settings)
        _predict(arguments, scratch, [one.case for one in rows.values()], model, settings)
        for name, changed in rows.items():
            folder = scratch.prediction(arguments.experiment, model, changed.case)
            record = read_json(folder / "raw.json")
            if record["status"] != "ok":
                found[name] = {"reason": record["reason"]}
                continue
            back = taken_back(name, store.read_volume(folder / "raw.zarr"), plain.grid)
            dice = dice_of_labels(plain.array, back, len(settings.classes))
            found[name] = {
                label: None if math.isnan(value) else value for label, value in zip(settings.classes, dice, strict=True)
            }
    return {"content": digest(found), "stability": found}


def _write_changed(
    layout: Layout, scratch: Layout, case: str, changed: Case, name: str, settings: StabilityStage
) -> None:
    """The converted case with every channel changed in one way, as `convert` would have left it; without a label."""
    from cohortseg.preprocess.perturb import Strength, transformed

    told = settings.stability
    record = read_json(layout.case(case) / "image.json")
    contents: list[str] = []
    paths = (layout.images(case, settings.channels), scratch.images(changed.case, settings.channels))
    for number, (real, ours) in enumerate(zip(*paths, strict=True)):
        if real.exists():
            strength = Strength(told.noise, told.coarser, (told.seed, number, int(digest(case)[-8:], 16)))
            volume = transformed(name, store.read_volume(real), strength)
            contents.append(store.write_volume(ours, volume))
    write_json(
        scratch.case(changed.case) / "image.json",
        {**record, "content": digest(contents), "contents": {**record.get("contents", {}), "label": None}},
    )


def _predict(
    arguments: argparse.Namespace, scratch: Layout, cases: list[str], model: str, settings: StabilityStage
) -> None:
    """Run the steps of the flow over the changed images."""

    def step(module: Any, told: Any, **more: Any) -> None:
        token = scratch.token(module.__name__.rpartition(".")[2], "all")
        given = {"threads": arguments.threads, "cases": cases, "token": token, **more}
        module.run(Namespace(study=scratch, settings=told.model_dump_json(), **given))

    common = {"classes": settings.classes, "channels": settings.channels}
    method = settings.experiment
    if isinstance(method, NetworkMethod):
        if settings.preprocess is None:
            raise StudyError("a network sees images in model space; `preprocess` is missing in the settings")
        step(fingerprint, FingerprintStage(**common))
        resolution = resolution_of(method)
        step(preprocess, PreprocessStage(**common, preprocess=settings.preprocess), resolution=resolution)
    seed = model.rpartition("-seed-")[2] if "-seed-" in model else ""
    if seed and hasattr(method, "seeds"):
        method = method.model_copy(update={"seeds": [int(seed)]})
    told = ExperimentStage(**common, experiment=method)
    step(predict, told, experiment=arguments.experiment, tuned=getattr(arguments, "tuned", None))
