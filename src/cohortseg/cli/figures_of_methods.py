"""Figures about the methods themselves: how a network is built, and what each of its settings is worth."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from cohortseg.cli.figure_wish import Wish
from cohortseg.io.sidecar import read_json
from cohortseg.report import paper
from cohortseg.report.diagram import diagram
from cohortseg.settings import Method, UNetMethod
from cohortseg.steps.model_space import network_of, patch_zyx, read_plan
from cohortseg.steps.tuning import with_settings


def architecture(wish: Wish) -> Figure | None:
    """The layers of the experiment's network, or of the first that is one, for a patch of the plan.

    Of a network that was trained: minutes and a search decide features and settings of their own (of the first model).
    """
    networks = {name: one for name, one in sorted(wish.study.experiments.items()) if isinstance(one, UNetMethod)}
    name = wish.experiment if wish.experiment in networks else next(iter(networks), None)
    if name is None:
        return None
    import torch

    from cohortseg.infer.diagram import nodes_of
    from cohortseg.infer.networks import build_network, tile_for

    plan, _ = read_plan(wish.layout, networks[name].resolution)
    task = wish.study.synthesis
    n_inputs = None if task is None else len(task.inputs_among(plan["channels"]))
    trained = sorted((wish.layout.root / "experiments" / name).glob("fold-*/train.json"))
    record = read_json(trained[0]) if trained else {}
    method = with_settings(networks[name], record.get("tuned", {}))
    assert isinstance(method, UNetMethod)
    n_classes, features = len(wish.study.cohort.labels.classes), record.get("features") or None
    built, arguments = network_of(plan, method, n_classes, features, n_inputs=n_inputs)
    size = tile_for(built, arguments, patch_zyx(plan))[3 - plan["dims"] :]
    with torch.device("meta"):
        network = build_network(built, arguments, seed=1)
    layers = nodes_of(network, in_channels=arguments["in_channels"], size=size)
    n_weights = sum(weight.numel() for weight in network.parameters())
    return diagram(layers, size=size, title=f"{name}: {n_weights:,} weights")


def ablation(wish: Wish) -> Figure | None:
    """One setting changed at a time: the experiment, and each other that differs from it in exactly one setting."""
    table = ablation_table(wish)
    return None if len(table) < 2 else paper.metric_table(table.set_index("changed")[["n_cases", "mean", "difference"]])


def ablation_table(wish: Wish) -> pd.DataFrame:
    """A row for the experiment and one for each that differs from it in one setting.

    Returns
    -------
    DataFrame
        `experiment`, `changed` (the setting and its value), `n_cases` that both have, `mean` of the primary metric over
        them, `difference` to the experiment on the same cases. One row where nothing differs in a single setting, none
        where the experiment has no row.
    """
    base = wish.study.experiments[wish.experiment]
    of = wish.rows[wish.rows["label"] == wish.label].groupby(["experiment", "case"])[wish.metric].mean()
    columns = ["experiment", "changed", "n_cases", "mean", "difference"]
    if wish.experiment not in of.index.get_level_values(0):
        return pd.DataFrame(columns=columns)
    own = of[wish.experiment].dropna()
    rows = [[wish.experiment, f"{wish.experiment} (as it is)", len(own), float(own.mean()), 0.0]]
    for name, other in wish.study.experiments.items():
        changed = differing(base, other)
        if len(changed) != 1 or name not in of.index.get_level_values(0):
            continue
        key, value = changed[0]
        both = pd.concat([own, of[name]], axis=1, keys=["own", "other"]).dropna()
        rows.append(
            [
                *(name, f"{key}: {_words(value)}", len(both), float(both["other"].mean())),
                float((both["other"] - both["own"]).mean()),
            ]
        )
    return pd.DataFrame(rows, columns=columns)


def differing(one: Method, other: Method) -> list[tuple[str, Any]]:
    """The settings in which another method of the same kind differs, with its values; all of another kind."""
    if type(one) is not type(other):
        return [("method", None), ("", None)]
    mine = one.model_dump(mode="json")
    return [(key, value) for key, value in other.model_dump(mode="json").items() if value != mine[key]]


def _words(value: Any) -> str:
    return str(value.get("name", value)) if isinstance(value, dict) else str(value)
