"""What a study that makes images may not ask for, and one that makes labels may not either."""

from typing import TYPE_CHECKING, Any

from cohortseg.settings.losses import WITH_CONTOURS
from cohortseg.settings.methods import UNetMethod
from cohortseg.settings.results import PostprocessSettings
from cohortseg.settings.synthesis import BODY, IMAGE_LOSSES, WHOLE, IntensityMethod, SynthesisSettings

if TYPE_CHECKING:
    from cohortseg.settings.study import Study

OF_LABELS: dict[str, Any] = {
    "threshold": None,
    "probabilities": False,
    "uncertainty": False,
    "loss_options": None,
    "annotated_every": 1,
    "boxes": None,
    "targets": "classes",
    "resolution": "full",
    "cascade": None,
    "labels_from": None,
    "reference_share": 0.0,
}
"""Settings of a network that mean nothing for images, with the value that leaves them alone."""


def what_is_wrong(study: "Study") -> str:
    """A line with the key that does not fit; empty when all is well."""
    return _of_labels(study) if study.synthesis is None else _of_images(study, study.synthesis)


def _of_labels(study: "Study") -> str:
    if not study.cohort.labels.classes:
        return "cohort.labels: name at least one class in `structures` or `values`, or an image to make in `synthesis`"
    for name, method in study.experiments.items():
        if isinstance(method, IntensityMethod):
            return f"experiments.{name}.method: `intensity` makes images; say which in `synthesis`"
        if name in study.tune and study.tune[name].metric == "closeness":
            return f"tune.{name}.metric: `closeness` is of images; for labels choose dice, jaccard, nsd"
        if isinstance(method, UNetMethod) and method.makes_images:
            return f"experiments.{name}.loss: {method.loss!r} is for images; say which to make in `synthesis`"
    return ""


def _of_images(study: "Study", synthesis: SynthesisSettings) -> str:
    found = [_of_channels(study, synthesis), _of_regions(study), *(line for line, is_so in _of_groups(study) if is_so)]
    inputs = synthesis.inputs_among(study.cohort.channel_names)
    found += [_of_experiment(name, method, inputs) for name, method in study.experiments.items()]
    found += [_of_search(study, name) for name in study.tune]
    return next(filter(None, found), "")


def _of_channels(study: "Study", synthesis: SynthesisSettings) -> str:
    channels = study.cohort.channel_names
    for key, names in (("target", [synthesis.target]), ("inputs", synthesis.inputs)):
        for channel in names:
            if channel not in channels:
                return f"synthesis.{key}: no channel {channel!r}; choices: {', '.join(channels)}"
    if not synthesis.inputs_among(channels):
        return "synthesis.inputs: the cohort has no other channel; name `coarser` for an image from a coarser one"
    return ""


def _of_regions(study: "Study") -> str:
    """Each class of the reference is a region of its own, and must not hide one of those that every study has."""
    hidden = next((name for name in study.cohort.labels.classes if name in (BODY, WHOLE)), None)
    return (
        f"cohort.labels: a class called {hidden!r} would be taken for the region; give it another name"
        if hidden
        else ""
    )


def _of_groups(study: "Study") -> tuple[tuple[str, bool], ...]:
    """Groups of settings that are for labels, and whether they say something."""
    ending = "; a study that makes images has none"
    return (
        ("postprocess: cleans labels" + ending, study.postprocess != PostprocessSettings()),
        ("regions: are unions of classes" + ending, bool(study.regions)),
        ("detection: of lesions of labels" + ending, study.detection is not None),
        ("export.objects: of labels" + ending, study.export.objects),
        ("panoptic: of objects of labels" + ending, study.panoptic is not None),
        ("types: of regions of labels" + ending, study.types is not None),
        ("stability: of labels" + ending, study.stability is not None),
        ("instances: numbers objects of labels" + ending, study.instances is not None),
        (
            "preprocess.isolate: hides what lies outside the lungs; images are made whole",
            study.preprocess.isolate is not None,
        ),
    )


def _of_experiment(name: str, method: Any, inputs: list[str]) -> str:
    if isinstance(method, IntensityMethod):
        if method.channel is not None and method.channel not in inputs:
            return f"experiments.{name}.channel: no input {method.channel!r}; choices: {', '.join(inputs)}"
        return ""
    if isinstance(method, UNetMethod):
        wrong = _of_network(method, len(inputs))
        return f"experiments.{name}.{wrong}" if wrong else ""
    return f"experiments.{name}.method: {method.method!r} makes labels; here `unet` and `intensity` are possible"


def _of_search(study: "Study", name: str) -> str:
    if not isinstance(study.experiments.get(name), UNetMethod | None):
        return f"tune.{name}: only where a network is trained"
    metric = study.tune[name].metric
    return "" if metric == "closeness" else f"tune.{name}.metric: {metric!r} is of labels; for images say `closeness`"


def _of_network(method: UNetMethod, n_inputs: int) -> str:
    if not method.makes_images:
        return f"loss: {method.loss!r} is for labels; for images choose {', '.join(IMAGE_LOSSES)}"
    for key, plain in OF_LABELS.items():
        if getattr(method, key) != plain:
            return f"{key}: of labels; a study that makes images has none"
    network = method.architecture
    if network is not None and network.name in WITH_CONTOURS:
        return f"architecture: {network.name} finds contours of labels"
    if getattr(network, "level", "") == "decision":
        return "architecture.level: `decision` is a mean of probabilities; an image has none"
    if max(getattr(network, "channels", None) or (), default=1) > n_inputs:
        return f"architecture.channels: different numbers from 1 to {n_inputs}"
    return ""
