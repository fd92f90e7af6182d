"""Step `pseudolabel`: a training case of a fold -> the label that another experiment finds on it.

Nothing that has seen a held-out case of the fold takes part: a source that is trained predicts with its model of the
same fold (of its first seed), which was fitted on these very cases; one that is searched does so with the settings that
the fold has chosen; cleaning is done only where the settings name it, not where it is chosen by other folds.
"""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from cohortseg.cohort import Case, read_cases
from cohortseg.errors import Rejected, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, read_sidecar
from cohortseg.layout import TEST, UNTRAINED, Layout, model_name
from cohortseg.settings import LearnedMethod, NetworkMethod, UNetMethod, seeds_of
from cohortseg.stages import ExperimentStage, PseudoLabelStage
from cohortseg.steps import predict
from cohortseg.steps.arguments import add_experiment_batch, add_threads, add_tuned
from cohortseg.steps.batch import Record, Work, run_batch
from cohortseg.steps.beside import beside, link_case
from cohortseg.steps.loaded import resolution_of
from cohortseg.steps.model_space import at_least_one_row
from cohortseg.steps.taught import LABEL
from cohortseg.volume import Volume

__all__ = ["add_arguments", "run"]

FOREGROUND_SEED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A batch of an experiment, and the fold that learns from the labels."""
    add_experiment_batch(parser)
    add_threads(parser)
    add_tuned(parser)
    parser.add_argument("--fold", required=True, metavar="K", help="fold whose training cases are labelled")


def run(arguments: argparse.Namespace) -> None:
    """Label the training cases of a batch.

    Raises
    ------
    StudyError
        When a case of the batch is held out in the fold.
    """
    settings = PseudoLabelStage.model_validate_json(arguments.settings)
    layout: Layout = arguments.study
    rows = {case.case: case for case in read_cases(layout.cases_table)}
    held_out = [name for name in arguments.cases if rows[name].fold in (arguments.fold, TEST)]
    if held_out:
        raise StudyError(f"fold {arguments.fold} keeps {', '.join(held_out)} out; nothing may be learnt from them")
    members = read_json(layout.members(arguments.fold))["train"]
    cases = [name for name in arguments.cases if name in members]
    with ExitStack() as held:
        source = Source(arguments, settings, [rows[name] for name in cases], held)
        run_batch(cases, lambda case: _work(source, case), arguments.settings, arguments.token)


class Source:
    """Where the labels of a batch come from; what is not there yet is predicted when the first case is asked for."""

    def __init__(
        self, arguments: argparse.Namespace, settings: PseudoLabelStage, rows: list[Case], held: ExitStack
    ) -> None:
        self.arguments, self.settings, self.rows, self.held = arguments, settings, rows, held
        self.layout: Layout = arguments.study
        method = settings.source_method
        is_trained = isinstance(method, UNetMethod | LearnedMethod)
        self.model = model_name(arguments.fold, seeds_of(method)[0]) if is_trained else UNTRAINED  # type: ignore[arg-type]
        self.is_there = not is_trained and arguments.tuned is None

    def inputs(self, case: str) -> dict[str, Any]:
        """What the label of a case depends on, known before anything is predicted."""
        if self.is_there:
            raw = read_json(self.layout.prediction(self.settings.source, UNTRAINED, case) / "raw.json")
            return {"label": raw["content"], "inputs": raw["inputs"]}
        method, sidecar = self.settings.source_method, self.layout.case(case) / "image.json"
        if isinstance(method, NetworkMethod):
            sidecar = self.layout.prepared(case, resolution_of(method)).with_suffix(".json")
        found = {"image": (read_sidecar(sidecar) or {}).get("content")}
        if self.arguments.tuned is not None:
            found["tuned"] = digest(read_json(self.arguments.tuned))
        if self.model != UNTRAINED:
            folder = self.layout.root / "experiments" / self.settings.source / self.model
            found["weights"] = read_json(folder / "train.json")["weights"]
        return found

    def label(self, case: str) -> Volume:
        """The raw label of a case.

        Raises
        ------
        Rejected
            As the source did.
        """
        folder = (self.layout if self.is_there else self._predicted).prediction(self.settings.source, self.model, case)
        record = read_json(folder / "raw.json")
        if record["status"] != "ok":
            raise Rejected(record["reason"], record["found"])
        return store.read_volume(folder / "raw.zarr")

    @cached_property
    def _predicted(self) -> Layout:
        """A scratch study in which the cases belong to the fold, segmented by the model of the fold."""
        told, fold = self.arguments, self.arguments.fold
        rows = [replace(row, fold=fold) for row in self.rows]
        name = f"pseudolabel-{told.experiment}-{fold}-{Path(told.token).stem}"
        scratch = self.held.enter_context(beside(self.layout, name, self.settings.source, rows))
        for row in rows:
            link_case(self.layout, scratch, row.case)
        method = self.settings.source_method
        if hasattr(method, "seeds"):
            method = method.model_copy(update={"seeds": method.seeds[:1]})
        stage = ExperimentStage(classes=self.settings.classes, channels=self.settings.channels, experiment=method)
        predict.run(
            argparse.Namespace(
                study=scratch,
                experiment=self.settings.source,
                cases=[row.case for row in rows],
                settings=stage.model_dump_json(),
                token=scratch.token("predict", "all"),
                threads=told.threads,
                tuned=told.tuned,
            )
        )
        return scratch


def _work(source: Source, case: str) -> Work:
    layout, settings = source.layout, source.settings
    folder = layout.pseudo(source.arguments.experiment, source.arguments.fold, case)
    here = read_json(layout.case(case) / ("prepared.json" if settings.in_model_space else "image.json"))
    return Work(
        stage="pseudolabel",
        sidecar=folder / "pseudo.json",
        stores=(folder / LABEL[settings.in_model_space],),
        inputs={"student": here["content"], **(source.inputs(case) if here["status"] == "ok" else {})},
        upstream=here,
        make=lambda: pseudo_label(source, case, folder / LABEL[settings.in_model_space]),
    )


def pseudo_label(source: Source, case: str, target: Path) -> Record:
    """Write the cleaned label of the source, on the native grid or in model space with voxels to centre patches on."""
    from cohortseg.postprocess.chain import postprocess_label

    layout, settings, label = source.layout, source.settings, source.label(case)
    if settings.cleaning is not None:
        array = postprocess_label(
            label.array,
            spacing_mm=label.grid.spacing_mm,
            n_classes=len(settings.classes),
            **settings.cleaning.named(),
        )
        label = Volume(array, label.grid)
    n_voxels = int(np.count_nonzero(label.array))
    if not settings.in_model_space:
        return {"content": store.write_volume(target, label, name="label"), "n_voxels": n_voxels}
    from cohortseg.preprocess.fingerprint import foreground_sample
    from cohortseg.preprocess.resample import resample

    grid = store.read_grid(layout.case(case) / "prepared.zarr")
    array = resample(label.array, label.grid, grid, interpolation="nearest", workers=source.arguments.threads)
    sample = foreground_sample(array, n_classes=len(settings.classes), seed=FOREGROUND_SEED)
    with store.new_store(target) as part:
        store.create(part, grid, np.uint8, name="label")[:] = array
        rows = at_least_one_row(sample)
        zarr.open_group(part, mode="r+").create_array("foreground", data=rows, chunks=(len(rows), 4))
        content = store.content_digest(part)
    return {"content": content, "n_voxels": n_voxels}
