"""Step `train`: the frozen members of a fold -> the weights of one network; resumes where it was interrupted."""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cohortseg.errors import StudyError
from cohortseg.infer.device import limit_threads, native_precision
from cohortseg.infer.networks import build_network
from cohortseg.infer.weights import read_tensors, save_weights, weights_digest
from cohortseg.io.sidecar import digest, read_json, read_sidecar, run_path, write_json, write_text
from cohortseg.layout import Layout
from cohortseg.settings import IntensityMethod, LearnedMethod, UNetMethod
from cohortseg.settings.methods import DEFAULT_STEPS
from cohortseg.stages import STAGES, ExperimentStage
from cohortseg.steps.arguments import add_experiment, add_settings, add_study, add_threads, add_tuned
from cohortseg.steps.batch import log, run_record
from cohortseg.steps.cascade import labels_before, pair_members
from cohortseg.steps.intensity import train_intensity
from cohortseg.steps.learners import train_learner
from cohortseg.steps.model_space import read_plan, regions_of
from cohortseg.steps.objective import held_to
from cohortseg.steps.taught import NOBODY_TO_LEARN_FROM, taught
from cohortseg.steps.training_log import Progress, history_text, report
from cohortseg.steps.training_pieces import Pieces, usable
from cohortseg.steps.training_team import train_together
from cohortseg.steps.tuning import tuned_method
from cohortseg.train.budget import fit_budget
from cohortseg.train.loop import train
from cohortseg.train.team import ALONE, Team
from cohortseg.train.transfer import freeze, freeze_all_but_last, take_over

__all__ = ["add_arguments", "run"]

NOT_FOR_TRAINING = {
    "overlap",
    "mirror",
    "threshold",
    "skip_empty",
    "probabilities",
    "uncertainty",
    "checkpoint_minutes",
    "seeds",
}
"""Settings that say how prediction is done, and how often is saved: they do not change the weights."""
WIDEST = 32
"""Most features at full resolution that are tried for a number of minutes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One experiment, fold and seed."""
    add_study(parser)
    add_settings(parser)
    add_experiment(parser)
    add_threads(parser)
    add_tuned(parser)
    parser.add_argument("--fold", required=True, metavar="K", help="fold that is kept out of the training")
    parser.add_argument("--without", metavar="K", help="another fold that is kept out as well")
    parser.add_argument("--seed", type=int, required=True, metavar="S", help="seed of weights and patches")
    parser.add_argument("--upstream", default="", metavar="DIGEST", help="digest of the settings that shape the images")
    parser.add_argument("--token", type=Path, required=True, metavar="FILE", help="train.json, written last")


def run(arguments: argparse.Namespace) -> None:
    """Train, or see that it is done; with several processes where the settings say so."""
    method = ExperimentStage.model_validate_json(arguments.settings).experiment
    if isinstance(method, UNetMethod) and method.processes > 1:
        train_together(arguments.study, method.processes)
    else:
        train_fold(arguments)


def train_fold(arguments: argparse.Namespace, *, team: Team = ALONE, device: Any = None) -> None:
    """Train, or see that it is done, as one process of a team; on the device given, or on one that is free."""
    layout: Layout = arguments.study
    settings = ExperimentStage.model_validate_json(arguments.settings)
    method = tuned_method(settings.experiment, getattr(arguments, "tuned", None))
    if isinstance(method, LearnedMethod):
        train_learner(arguments, settings, method)
        return
    if isinstance(method, IntensityMethod):
        train_intensity(arguments, settings, method)
        return
    if not isinstance(method, UNetMethod):
        raise StudyError(f"experiment {arguments.experiment!r} has nothing to train")
    plan, plan_digest = read_plan(layout, method.resolution)
    folder, members = _who(layout, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    started, cpu = time.perf_counter(), time.process_time()
    labels = taught(layout, arguments.experiment, arguments.fold, method, in_model_space=True)
    used = {
        role: usable(layout, list(members[role]), settings.synthesis, labels, resolution=method.resolution)
        for role in ("train", "validation")
    }
    before = {}
    if method.cascade is not None:
        before = labels_before(layout, arguments.experiment, arguments.fold, [*used["train"], *used["validation"]])
        used = {role: [name for name in names if name in before] for role, names in used.items()}
    if not used["train"]:
        raise StudyError(f"fold {arguments.fold} {NOBODY_TO_LEARN_FROM}")
    given = (settings.synthesis, regions_of(settings), labels, {name: path for name, (path, _) in before.items()})
    pieces = Pieces(layout, method, plan, settings.classes, used, arguments.seed, team, device, *given)
    budget = budget_of(pieces, arguments, plan_digest)
    key = _key(
        pieces, budget, arguments, plan_digest, members, {name: content for name, (_, content) in before.items()}
    )
    done = read_sidecar(arguments.token) or read_sidecar(folder / "done.json")
    if team.from_first(done is not None and done["key"] == key and _weights_match(folder, done)):
        log("already done")
        if team.is_first:
            write_json(arguments.token, done)
        return
    record = fit(pieces, folder, budget, arguments, key)
    if not team.is_first:
        return
    if method is not settings.experiment:
        record["tuned"] = read_json(arguments.tuned)["settings"]
    write_json(run_path(arguments.token), {**run_record(started, cpu), "threads": arguments.threads})
    # Kept beside the declared output, which Snakemake removes before it runs a job again.
    write_json(folder / "done.json", record)
    write_json(arguments.token, record)
    (folder / "resume.pt").unlink(missing_ok=True)


def _who(layout: Layout, arguments: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """The folder of the model and the cases that it may see."""
    experiment, fold, seed = arguments.experiment, arguments.fold, arguments.seed
    members, other = read_json(layout.members(fold)), getattr(arguments, "without", None)
    if other is None:
        return layout.model(experiment, fold, seed), members
    return layout.pair(experiment, fold, other, seed), pair_members(members, read_json(layout.members(other)))


def _key(
    pieces: Pieces,
    budget: dict[str, Any],
    arguments: argparse.Namespace,
    plan_digest: str,
    members: dict[str, Any],
    before: dict[str, str],
) -> str:
    """What the weights depend on."""
    method = pieces.method
    recipe = [STAGES["train"].revision, recipe_text(method), arguments.fold, arguments.seed, arguments.upstream]
    recipe += [pieces.regions.as_dict()] if pieces.regions else []
    given = weights_digest(method.transfer) if method.transfer is not None else None
    found = [budget["precision"]] if method.precision == "auto" else []
    if method.labels_from is not None:
        found += [pieces.labels.contents, sorted(pieces.labels.left_out)]
    if method.cascade is not None:
        found += [before]
    return digest(["train", recipe, plan_digest, members, [budget["steps"], budget["features"], given, *found]])


def recipe_text(method: UNetMethod) -> str:
    """The settings that decide the weights: how prediction is done, and how often is saved, are not among them."""
    return method.model_dump_json(exclude=NOT_FOR_TRAINING)


def _weights_match(folder: Path, done: dict[str, Any]) -> bool:
    path = folder / "weights.safetensors"
    return path.exists() and weights_digest(path) == done["weights"]


def budget_of(pieces: Pieces, arguments: argparse.Namespace, plan_digest: str) -> dict[str, Any]:
    """Steps, features and precision: those of the settings, or what suits minutes and device, found once.

    What was found stands in `budget.json` of the experiment and is used by all folds and seeds, and whenever they are
    trained again; another plan or recipe is measured anew.
    """
    method = pieces.method
    planned = list(method.features or [level["features"] for level in pieces.plan["network"]["levels"]])
    told = {"steps": method.steps or DEFAULT_STEPS, "features": planned, "precision": method.precision}
    if method.minutes is None and method.precision != "auto":
        return told
    path = pieces.layout.budget(arguments.experiment)
    key = digest([recipe_text(method), plan_digest, STAGES["train"].revision])
    frozen = pieces.team.from_first(read_json(path) if path.exists() else None)
    if frozen is not None and frozen["key"] == key:
        return dict(frozen)
    limit_threads(arguments.threads)
    with pieces.take_device() as device:
        made = {"key": key, "threads": arguments.threads, "device": _device_name(device), **told}
        made["because"] = f"steps and features as the settings say, for {made['device']}"
        if method.precision == "auto":
            made["precision"] = native_precision(device)
        if method.minutes is not None:
            made |= _measured(pieces, planned, device, made["precision"], method.minutes)
    made["because"] += f"; computed in {made['precision']}"
    log(f"budget: {made['because']}")
    found: dict[str, Any] = pieces.team.from_first(
        _freeze(path, made, replace=frozen is not None) if pieces.team.is_first else None
    )
    return found


def _measured(pieces: Pieces, planned: list[int], device: Any, precision: str, minutes: float) -> dict[str, Any]:
    """Steps and features for a number of minutes, and how they were found."""
    method = pieces.method
    candidates = [planned] if method.features or method.architecture else _widths(planned)

    def build(features: Sequence[int]) -> Any:
        return build_network(*pieces.network(features), seed=pieces.seed).to(device)

    recipe, validate = pieces.recipe(DEFAULT_STEPS, precision), pieces.validate(precision)
    found = fit_budget(build, candidates, pieces.source(), validate, recipe, minutes=minutes, team=pieces.team)
    because = (
        f"{minutes:g} minutes at {found.seconds_per_step:.3g} s per step and {found.seconds_per_validation:.3g} "
        f"s per validation every {method.validate_every} steps; steps that would fit, by features at full resolution: "
        + ", ".join(f"{steps} with {width}" for width, steps in found.tried.items())
    )
    return {"minutes": minutes, **asdict(found), "because": because}


def _widths(planned: list[int]) -> list[list[int]]:
    """Twice, once and half the planned features, as far as they are sensible."""
    widths = [[int(factor * width) for width in planned] for factor in (2, 1, 0.5)]
    return [features for features in widths if 8 <= features[0] <= max(WIDEST, planned[0])]


def _freeze(path: Path, made: dict[str, Any], *, replace: bool) -> dict[str, Any]:
    """Write the budget; where another fold has written one in the meantime, its budget counts."""
    if replace:
        write_json(path, made)
        return made
    own = path.with_name(f".{path.name}.{os.getpid()}")
    write_json(own, made)
    try:
        os.link(own, path)
    except FileExistsError:
        made = read_json(path)
    finally:
        own.unlink()
    return made


def _device_name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def fit(
    pieces: Pieces, folder: Path, budget: dict[str, Any], arguments: argparse.Namespace, key: str
) -> dict[str, Any]:
    """Train one network; writes weights and history, returns the record for the sidecar."""
    plan, method = pieces.plan, pieces.method
    architecture, network_arguments = pieces.network(budget["features"])
    limit_threads(arguments.threads)
    with pieces.take_device() as device:
        network = build_network(architecture, network_arguments, seed=pieces.seed).to(device)
        if method.transfer is not None:
            left = take_over(network, read_tensors(method.transfer))
            log(f"transfer: {len(left)} layers keep their first weights{': ' if left else ''}{', '.join(left)}")
            freeze(network, method.frozen)
        if method.fine_tuned_layers is not None:
            size = pieces.sizes[1][3 - plan["dims"] :]
            freeze_all_but_last(network, method.fine_tuned_layers, size, network_arguments["in_channels"])
        source, recipe = pieces.source(), pieces.recipe(budget["steps"], budget["precision"])
        history = train(
            network,
            source,
            pieces.validate(budget["precision"]),
            held_to(recipe, method, source, pieces.result_sizes, device),
            checkpoint=folder / "resume.pt",
            checkpoint_minutes=method.checkpoint_minutes,
            identity=key,
            report=report,
            progress=Progress(budget["steps"]),
            team=pieces.team,
        )
        if not pieces.team.is_first:
            return {}
        metadata = {"architecture": architecture, "arguments": network_arguments, "patch": pieces.sizes[1]}
        metadata |= {"classes": pieces.classes, "channels": plan["channels"], "precision": budget["precision"]}
        metadata |= {"regions": pieces.regions.as_dict()} if pieces.regions else {}
        metadata |= {"normalisation": plan["normalisation"], "spacing_mm": plan["spacing_mm"]["value"]}
        metadata |= {"resolution": method.resolution} if method.resolution != "full" else {}
        metadata |= {"cascade": method.cascade} if method.cascade is not None else {}
        if pieces.task is not None:
            metadata["synthesis"] = pieces.task.model_dump(mode="json")
        weights = save_weights(folder / "weights.safetensors", network, metadata)
    write_text(folder / "history.csv", history_text(history))
    prepared = {
        name: pieces.layout.prepared(name, method.resolution).with_suffix(".json") for name in pieces.used["train"]
    }
    return {
        "status": "ok",
        "stage": "train",
        "revision": STAGES["train"].revision,
        "key": key,
        "inputs": {"plan": digest(plan)},
        "members": pieces.used,
        "trained_on": {name: read_json(path)["content"] for name, path in prepared.items()},
        "weights": weights,
        "content": weights,
        "steps": int(history[-1]["step"]),
        **pieces.labels.record(method, pieces.used["train"]),
        **({"trained_from": "prepared-low"} if method.resolution == "low" else {}),
        **({"cascade": {"from": method.cascade}} if method.cascade is not None else {}),
        "features": network_arguments.get("features", []),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
