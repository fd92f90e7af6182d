"""The units of work of an experiment: which models predict which cases."""

from collections.abc import Mapping
from pathlib import Path

from cohortseg.cohort import Case, read_cases
from cohortseg.io.sidecar import read_json
from cohortseg.layout import TEST, UNTRAINED, Layout, ensemble_name, model_name


def plan_units(layout: Layout, cases: list[str], seeds: list[int] | None) -> list[str]:
    """`model/case` for each case and seed; `seeds` is None for a method without weights."""
    folds = {case.case: case.fold for case in read_cases(layout.cases_table)}
    if seeds is None:
        return [f"{UNTRAINED}/{case}" for case in cases]
    return [
        f"{ensemble_name(seed) if folds[case] == TEST else model_name(folds[case], seed)}/{case}"
        for case in cases
        for seed in seeds
    ]


def units_of(layout: Layout, experiment: str, cases: list[str]) -> list[str]:
    """The units of these cases that were predicted, as the tokens of `predict` say."""
    wanted = set(cases)
    return [unit for unit in all_units(layout, experiment, "predict") if split_unit(unit)[1] in wanted]


def all_units(layout: Layout, experiment: str, stage: str) -> list[str]:
    """All units of a stage of an experiment whose case is still in the cohort, sorted."""
    present = {case.case: case.fold_batch for case in read_cases(layout.cases_table)}
    found = []
    for batch in sorted(set(present.values())):
        path: Path = layout.token(stage, batch, experiment)
        if path.exists():
            found += [unit for unit in read_json(path)["cases"] if split_unit(unit)[1] in present]
    return sorted(found)


def validation_cases(layout: Layout) -> set[str]:
    """The cases that some fold keeps out of its training on purpose; with `split.refit` newcomers are among them."""
    folds = range(read_json(layout.ledger)["split"]["folds"])
    return {name for fold in folds for name in read_json(layout.members(str(fold)))["validation"]}


def split_unit(unit: str) -> tuple[str, str]:
    """Model and case of a unit."""
    model, _, case = unit.rpartition("/")
    return model, case


def folds_of_model(layout: Layout, model: str) -> list[str]:
    """The folds whose networks make up a model: one, or all for the ensemble."""
    if model.startswith("fold-"):
        return [model.split("-")[1]]
    return [str(fold) for fold in range(read_json(layout.ledger)["split"]["folds"])]


def seed_of_model(model: str) -> str:
    """The seed in a model's name; empty for a method without weights."""
    return model.rpartition("-seed-")[2] if "-seed-" in model else ""


def head_of(experiment: str, unit: str, cases: Mapping[str, Case], kept_out: set[str]) -> dict[str, str]:
    """What the row of a unit begins with: experiment, fold, seed, split, case, subject."""
    model, name = split_unit(unit)
    return {
        "experiment": experiment,
        "fold": cases[name].fold,
        "seed": seed_of_model(model),
        "split": _split_of(cases[name], model, kept_out),
        "case": name,
        "subject": cases[name].subject,
    }


def _split_of(case: Case, model: str, kept_out: set[str]) -> str:
    """`test`: kept from all models; `val`: kept from its own fold's model; `unseen`: came after the training."""
    if case.fold == TEST or model.startswith("ensemble"):
        return "test"
    return "val" if case.case in kept_out else "unseen"
