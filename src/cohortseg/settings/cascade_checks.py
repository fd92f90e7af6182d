"""Whether the experiments at low resolution, and those that build on them (`cascade`), can be."""

from typing import TYPE_CHECKING

from cohortseg.settings.methods import UNetMethod

if TYPE_CHECKING:
    from cohortseg.settings.study import Study

FEWEST_FOLDS = 3
"""A label for a training case comes from a network that saw neither its fold nor the one held out: one must be left."""


def what_is_wrong(study: "Study") -> str:
    """A line with the key that does not fit; empty when all is well."""
    return next(filter(None, (_of_experiment(study, name) for name in study.experiments)), "")


def _of_experiment(study: "Study", name: str) -> str:
    method = study.experiments[name]
    if not isinstance(method, UNetMethod):
        return ""
    if method.resolution == "low":
        if study.plan.dims == 2:
            return f"experiments.{name}.resolution: `low` is for volumes; plan.dims is 2"
        if method.labels_from is not None:
            return f"experiments.{name}.labels_from: not with `resolution: low`, which learns from references"
    if method.cascade is None:
        return ""
    known = sorted(other for other, one in study.experiments.items() if getattr(one, "resolution", "full") == "low")
    if method.cascade not in known:
        choices = f"choices: {', '.join(known)}" if known else "no experiment has `resolution: low`"
        return f"experiments.{name}.cascade: {method.cascade!r}; {choices}"
    return _of_cascade(study, name, method, method.cascade)


def _of_cascade(study: "Study", name: str, method: UNetMethod, source: str) -> str:
    before = study.experiments[source]
    assert isinstance(before, UNetMethod)
    students = [other for other in study.experiments if study.labels_of(other) == name]
    found = (
        (f"experiments.{name}.resolution: a cascade works at full resolution", method.resolution == "low"),
        (f"split.folds: a cascade needs {FEWEST_FOLDS} at least", study.split.folds < FEWEST_FOLDS),
        (
            f"experiments.{source}.keep: `best` and `patience` look at references that a cascade must not have seen",
            before.keep == "best" or before.patience > 0,
        ),
        (f"experiments.{name}.labels_from: not with `cascade`", method.labels_from is not None),
        (f"experiments.{(students or [''])[0]}.labels_from: {name!r} is a cascade; name another", bool(students)),
        (f"tune.{name}: a cascade is not searched; search {source!r} in a study of its own", name in study.tune),
        (f"tune.{source}: what `experiments.{name}` builds on has one setting for all folds", source in study.tune),
        (f"stability: not with a cascade (experiments.{name})", study.stability is not None),
    )
    return next((line for line, is_so in found if is_so), "")
