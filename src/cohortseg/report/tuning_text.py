"""The sentences of the methods text about searches of settings."""

from collections.abc import Mapping
from typing import Any

from cohortseg.report.numbers import counted, metric_look
from cohortseg.report.references import Bibliography

DEFAULT_TRIALS = 20
SAMPLERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "grid": ("trying each point of a grid", ()),
    "random": ("random search", ("random_search", "optuna")),
    "bayes": ("Bayesian search (tree-structured Parzen estimator)", ("tpe", "optuna")),
}


def tuning_sentences(settings: Mapping[str, Any], cited: Bibliography) -> list[str]:
    """One sentence for each search; none where nothing was searched.

    Parameters
    ----------
    settings : mapping
        All settings of the study with their defaults.
    cited : Bibliography
        Notes what is cited.
    """
    experiments = settings.get("experiments") or {}
    return [
        _sentence(name, search, str((experiments.get(name) or {}).get("method")) == "unet", cited)
        for name, search in (settings.get("tune") or {}).items()
    ]


def _sentence(name: str, search: Mapping[str, Any], is_trained: bool, cited: Bibliography) -> str:
    how, keys = SAMPLERS.get(str(search["search"]), (str(search["search"]), ()))
    trials = "" if search["search"] == "grid" else f" in {counted(search.get('trials') or DEFAULT_TRIALS, 'trial')}"
    space = "; ".join(_axis(*item) for item in search["space"].items())
    of = f"{search['scored_folds']} of {search['inner_folds']} inner folds of" if is_trained else "all"
    steps = f" after {counted(search['steps'], 'step')}" if search.get("steps") else ""
    return (
        f"Whatever is said of them above, these settings of experiment “{name}” were chosen in each fold by {how}"
        f"{f' {cited.cite(*keys)}' if keys else ''}{trials}: {space}. What counted was the mean "
        f"{metric_look(str(search['metric'])).title}{steps} on {of} the training cases of the fold, which alone the "
        f"search has seen {cited.cite('varma')}."
    )


def _axis(name: str, axis: Any) -> str:
    if isinstance(axis, Mapping):
        scale = ", on a logarithmic scale" if axis.get("log") else ""
        return f"{name} from {axis['low']:g} to {axis['high']:g}{scale}"
    return f"{name} of {', '.join(f'{value:g}' if isinstance(value, float) else str(value) for value in axis)}"
