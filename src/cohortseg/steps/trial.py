"""Step `trial`: one proposal of settings -> its score on the inner folds of a fold's training cases.

Only cases of the inner folds are opened; the held-out cases of the fold and the test set are not among them. A network
is trained on the inner training part and scored on the inner validation part; a method that learns nothing is scored on
all training cases. Settings that cannot be, or a training that diverges, make a failed trial, never a failed job.
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cohortseg.errors import Rejected, SettingsError, StudyError
from cohortseg.ignored import left_out
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, read_sidecar, run_path, write_json
from cohortseg.layout import Layout
from cohortseg.settings import LearnedMethod, Method, UNetMethod
from cohortseg.stages import STAGES, ExperimentStage, TrialStage
from cohortseg.steps.arguments import add_experiment, add_settings, add_study, add_threads
from cohortseg.steps.batch import log, run_record
from cohortseg.steps.evaluate_image import closeness
from cohortseg.steps.learners import fit_and_segment
from cohortseg.steps.loaded import Network
from cohortseg.steps.model_space import read_plan
from cohortseg.steps.predict import predict_classical, predict_trained
from cohortseg.steps.tuning import Record, needed_trials, point_of, read_trials, score_text, with_settings

__all__ = ["add_arguments", "run"]

Scores = dict[str, list[float]]
"""Case: score of each class."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One experiment, fold and number."""
    add_study(parser)
    add_settings(parser)
    add_experiment(parser)
    add_threads(parser)
    parser.add_argument("--fold", required=True, metavar="K", help="fold whose held-out cases are not opened")
    parser.add_argument("--number", type=int, required=True, metavar="N", help="number of the trial, from 0")
    parser.add_argument("--upstream", default="", metavar="DIGEST", help="digest of the settings that shape the images")
    parser.add_argument("--token", type=Path, required=True, metavar="FILE", help="written last")


def run(arguments: argparse.Namespace) -> None:
    """Try one proposal, or see that it was tried."""
    layout: Layout = arguments.study
    settings = TrialStage.model_validate_json(arguments.settings)
    where = (arguments.experiment, arguments.fold)
    path = layout.trial(*where, arguments.number)
    earlier = read_trials(layout, *where, needed_trials(settings.tune, arguments.number))
    point = point_of(settings.tune, settings.experiment, arguments.number, earlier)
    if not layout.inner(*where).exists():
        raise StudyError(f"no inner folds of experiment {where[0]!r}, fold {where[1]}: run `cohortseg index` first")
    inner = read_json(layout.inner(*where))["folds"]
    # With `split.refit` the members are listed with their sources: another scan of the same name is scored anew.
    frozen = [inner, read_json(layout.members(arguments.fold))["train"]]
    key = _key(layout, settings, point, frozen, arguments)
    record = read_sidecar(path)
    if record is not None and record["key"] == key:
        log("already done")
    else:
        started, cpu = time.perf_counter(), time.process_time()
        twin = next((one for one in earlier if one["settings"] == point), None)
        if twin is not None:
            record = twin | {"same_as": twin["number"]}
        else:
            record = _try(layout, settings, point, inner, arguments, key)
        record |= {"stage": "trial", "revision": STAGES["trial"].revision, "key": key}
        record |= {"number": arguments.number, "settings": point, "metric": settings.tune.metric}
        write_json(run_path(path), run_record(started, cpu))
        write_json(path, record)
    log(f"trial {arguments.number}: {score_text(record['score'])} with {point} {record['reason'] or ''}".rstrip())
    # The record lies beside its token, which Snakemake removes before it runs a job again.
    write_json(arguments.token, {"cases": {}, "trial": arguments.number, "content": record["content"]})


def _key(layout: Layout, settings: TrialStage, point: Record, frozen: Any, arguments: argparse.Namespace) -> str:
    """What the score depends on; how the proposal was found is not among it."""
    tune = settings.tune
    network = settings.experiment if isinstance(settings.experiment, UNetMethod) else None
    plan = read_plan(layout, network.resolution)[1] if network is not None else None
    judged = [tune.metric, tune.stage, settings.metrics.nsd_tolerance_mm, tune.steps]
    cleaned = settings.postprocess.named() if tune.stage == "post" else None
    method = settings.experiment.model_dump(mode="json") | point
    made = [STAGES["trial"].revision, STAGES["train"].revision, method, settings.classes, settings.channels]
    made += [settings.regions] if settings.regions else []
    return digest(["trial", made, frozen, judged, cleaned, plan, arguments.upstream])


def _try(
    layout: Layout, settings: TrialStage, point: Record, inner: Any, arguments: argparse.Namespace, key: str
) -> Record:
    """Score a proposal on each inner fold; what cannot be computed is a failed trial with the reason."""
    from cohortseg.metrics.score import mean_score

    scratch = layout.trial(arguments.experiment, arguments.fold, arguments.number).with_suffix(".scratch")
    scores: list[Scores] = []
    reason = None
    try:
        method = with_settings(settings.experiment, point)
        for number, parts in enumerate(inner):
            folder = scratch / f"inner-{number}"
            if isinstance(method, LearnedMethod):
                found = _learned(layout, settings, method, parts, folder)
            elif isinstance(method, UNetMethod):
                found = _trained(layout, settings, method, parts, folder, arguments, key)
            else:
                found = _classical(layout, settings, method, parts["validation"], folder)
            scores.append(found)
    except SettingsError as error:
        reason = str(error)
    except RuntimeError as error:
        # torch's own kind, which is not imported for a threshold. Trying again would not make a card larger.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        reason = "the memory of the graphics card does not suffice"
    except ValidationError as error:
        reason = "; ".join(str(detail["msg"]).removeprefix("Value error, ") for detail in error.errors())
    shutil.rmtree(scratch, ignore_errors=True)
    listed = [values for found in scores for values in found.values()]
    score = mean_score(listed) if reason is None else None
    if score is not None and score != score:
        score, reason = None, "no inner validation case holds a labelled voxel"
    return {
        "status": "ok" if reason is None else "failed",
        "score": score,
        "reason": reason,
        "n_cases": len(listed),
        "n_trained_on": [len(parts["train"]) for parts in inner],
        "inner": [dict(sorted(found.items())) for found in scores],
        "content": digest([point, score, reason]),
    }


def _labelled(layout: Layout, names: list[str]) -> list[str]:
    """The cases that are there, were not rejected and have a label.

    Raises
    ------
    StudyError
        When there is none.
    """
    found = []
    for name in names:
        image = read_sidecar(layout.case(name) / "image.json")
        if image is not None and image["status"] == "ok" and image["contents"]["label"] is not None:
            found.append(name)
    if not found:
        raise StudyError(f"an inner fold has no labelled case to score on, of {len(names)} cases")
    return found


def _classical(layout: Layout, settings: TrialStage, method: Method, names: list[str], folder: Path) -> Scores:
    """Segment and score cases with a method that learns nothing."""
    found: Scores = {}
    for name in _labelled(layout, names):
        target = folder / f"{name}.zarr"
        try:
            predict_classical(layout, name, target, method, settings.channels)
        except Rejected as rejected:
            # Nothing was found; left out, settings that are refused by hard cases would look better than others.
            log(f"{name}: {rejected}")
            found[name] = [0.0] * len(settings.classes)
            continue
        found[name] = _score(layout, settings, name, target)
    return found


def _learned(
    layout: Layout, settings: TrialStage, method: LearnedMethod, parts: dict[str, list[str]], folder: Path
) -> Scores:
    """Fit on the inner training part, then segment and score the inner validation part."""
    parts = {role: _labelled(layout, parts[role]) for role in ("train", "validation")}
    stage = ExperimentStage(classes=settings.classes, channels=settings.channels, experiment=method)
    nothing = [0.0] * len(settings.classes)
    segmented = fit_and_segment(layout, folder, stage, method, parts)
    return {
        name: nothing if target is None else _score(layout, settings, name, target)
        for name, target in segmented.items()
    }


def _trained(
    layout: Layout,
    settings: TrialStage,
    method: UNetMethod,
    parts: dict[str, list[str]],
    folder: Path,
    arguments: argparse.Namespace,
    key: str,
) -> Scores:
    """Train on the inner training part, then segment and score the inner validation part on native grids."""
    from cohortseg.infer.device import limit_threads, native_precision, take_device
    from cohortseg.infer.images import image_forward_of
    from cohortseg.infer.networks import forward_of
    from cohortseg.infer.weights import load_network
    from cohortseg.steps.model_space import regions_of
    from cohortseg.steps.train import budget_of, fit
    from cohortseg.steps.training_pieces import Pieces, usable

    # A threshold that is chosen later, from probabilities, is not there yet: the most probable class is scored.
    threshold = None if method.threshold == "auto" else method.threshold
    method = method.model_copy(update={"probabilities": False, "uncertainty": False, "threshold": threshold})
    if settings.tune.steps is not None:
        method = method.model_copy(update={"steps": settings.tune.steps})
    task, (plan, plan_digest) = settings.synthesis, read_plan(layout, method.resolution)
    used = {role: usable(layout, parts[role], task, resolution=method.resolution) for role in ("train", "validation")}
    if not used["train"] or not used["validation"]:
        raise StudyError(f"fold {arguments.fold}: an inner fold has no labelled case; name fewer `inner_folds`")
    if method.precision == "auto":
        # The experiment decides once, when it trains; a trial is on its own.
        with take_device(lock_dir=layout.locks) as device:
            method = method.model_copy(update={"precision": native_precision(device)})
    regions = regions_of(settings)
    pieces = Pieces(layout, method, plan, settings.classes, used, method.seeds[0], task=task, regions=regions)
    folder.mkdir(parents=True, exist_ok=True)
    fit(pieces, folder, budget_of(pieces, arguments, plan_digest), arguments, key)
    found: Scores = {}
    limit_threads(arguments.threads)
    with take_device(lock_dir=layout.locks) as device:
        network, metadata = load_network(folder / "weights.safetensors", device)
        if task:
            forward = image_forward_of([network], device, precision=method.precision)
        else:
            forward = forward_of([network], device, precision=method.precision, regions=regions is not None)
        built = Network.of(metadata)
        for name in used["validation"]:
            target = folder / f"{name}.zarr"
            predict_trained(layout, name, target, forward, built, method, len(settings.classes), task)
            if task is not None:
                found[name] = closeness(layout, name, target, settings.channels, task)
            else:
                found[name] = _score(layout, settings, name, target)
    return found


def _score(layout: Layout, settings: TrialStage, name: str, target: Path) -> list[float]:
    """The score of each class, of the raw or the cleaned label; the label itself is not kept."""
    from cohortseg.metrics.score import label_scores
    from cohortseg.postprocess.chain import postprocess_label

    reference, prediction = store.read_volume(layout.case(name) / "label.zarr"), store.read_volume(target)
    label, spacing_mm = prediction.array, prediction.grid.spacing_mm
    metric: Any = settings.tune.metric  # one of labels, as the settings have seen to
    if settings.tune.stage == "post":
        label = postprocess_label(
            label, spacing_mm=spacing_mm, n_classes=len(settings.classes), **settings.postprocess.named()
        )
    shutil.rmtree(target)
    return label_scores(
        reference.array,
        left_out(label, reference.array),
        n_classes=len(settings.classes),
        metric=metric,
        spacing_mm=spacing_mm,
        nsd_tolerance_mm=settings.metrics.nsd_tolerance_mm,
    )
