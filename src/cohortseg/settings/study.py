"""A study: all its settings together."""

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from cohortseg.settings.base import Name, Part
from cohortseg.settings.best import BestMethod, Member
from cohortseg.settings.cascade_checks import what_is_wrong as what_is_wrong_with_cascades
from cohortseg.settings.classical import Classical
from cohortseg.settings.cohort import CohortSettings, ConvertSettings
from cohortseg.settings.detection import DetectionSettings
from cohortseg.settings.learned import LearnedMethod
from cohortseg.settings.methods import (
    METHOD_SETTINGS,
    Method,
    NetworkMethod,
    PretrainedMethod,
    TrainedMethod,
    UNetMethod,
    seeds_of,
)
from cohortseg.settings.model_space import PlanSettings, PreprocessSettings, SplitSettings
from cohortseg.settings.networks import PLANES_ONLY
from cohortseg.settings.panoptic import PanopticSettings
from cohortseg.settings.regions import check_regions, decoded_as
from cohortseg.settings.results import (
    COVARIATES,
    OF_VOXELS,
    PROPERTIES,
    ExportSettings,
    InstanceSettings,
    JobSettings,
    MetricSettings,
    Postprocessing,
    PostprocessSettings,
    ReportSettings,
    StatisticsSettings,
)
from cohortseg.settings.stability import StabilitySettings
from cohortseg.settings.synthesis import IntensityMethod, SynthesisSettings
from cohortseg.settings.synthesis_checks import what_is_wrong
from cohortseg.settings.tune import TuneSettings, why_not
from cohortseg.settings.types import TypesSettings


class Study(Part):
    """One study: a cohort, the experiments on it, and how they are judged."""

    study: Name = Field(description="name of the study; its folder under `results`")
    results: Path = Field(Path("results"), description="folder that holds the studies")
    index: Literal["auto", "manual"] = Field(
        "auto", description="auto: look for new scans at each start; manual: only `cohortseg index`"
    )
    cohort: CohortSettings = Field(description="the scans and their labels")
    regions: dict[Name, list[Name]] = Field(
        default_factory=dict,
        description="unions of classes that are scored like classes: name: its classes; for networks with `targets: regions` the outer ones first",
    )
    convert: ConvertSettings = Field(default_factory=ConvertSettings, description="checks while reading")
    plan: PlanSettings = Field(default_factory=PlanSettings, description="model space and network size")
    preprocess: PreprocessSettings = Field(default_factory=PreprocessSettings, description="into model space")
    split: SplitSettings = Field(default_factory=SplitSettings, description="folds")
    experiments: dict[Name, Method] = Field(min_length=1, description="name: method with its settings")
    tune: dict[Name, TuneSettings] = Field(
        default_factory=dict, description="name of an experiment: search over its settings, in each fold by itself"
    )
    postprocess: Postprocessing = Field(default_factory=PostprocessSettings, description="cleaning of predicted labels")
    instances: InstanceSettings | None = Field(
        None, description="how objects of a class are told apart and numbered; not at all when empty"
    )
    panoptic: PanopticSettings | None = Field(
        None, description="score some classes by their objects and the others as regions; not at all when empty"
    )
    types: TypesSettings | None = Field(
        None, description="tell the type of each case by the region that was segmented; not at all when empty"
    )
    synthesis: SynthesisSettings | None = Field(
        None, description="the study makes images of a channel instead of labels; not at all when empty"
    )
    metrics: MetricSettings = Field(default_factory=MetricSettings, description="metrics")
    detection: DetectionSettings | None = Field(
        None, description="count lesions found and false alarms at an operating point; not at all when empty"
    )
    stability: StabilitySettings | None = Field(
        None, description="measure how far results stay the same under changes of the image; not at all when empty"
    )
    statistics: StatisticsSettings = Field(default_factory=StatisticsSettings, description="intervals and tests")
    report: ReportSettings = Field(default_factory=ReportSettings, description="tables and report")
    export: ExportSettings = Field(default_factory=ExportSettings, description="files for other software")
    jobs: JobSettings = Field(default_factory=JobSettings, description="size of jobs")

    @model_validator(mode="after")
    def _makes_labels_or_images(self) -> "Study":
        if wrong := what_is_wrong(self):
            raise ValueError(wrong)
        return self

    @model_validator(mode="after")
    def _networks_fit_the_plan(self) -> "Study":
        for name, experiment in self.experiments.items():
            architecture = getattr(experiment, "architecture", None)
            if architecture is not None and architecture.name in PLANES_ONLY and self.plan.dims != 2:
                raise ValueError(
                    f"experiments.{name}.architecture: {architecture.name} is for planes; set `plan.dims` to 2"
                )
        return self

    @model_validator(mode="after")
    def _regions_are_unions_of_classes(self) -> "Study":
        check_regions(self.regions, self.cohort.labels.classes)
        found = [name for name in self.experiments if self.finds_regions(name)]
        if found and not self.regions:
            raise ValueError(f"experiments.{found[0]}.targets: the study names no `regions`")
        if found:
            decoded_as(self.regions, self.cohort.labels.classes)
        if found and self.postprocess.crf is not None:
            raise ValueError(f"postprocess.crf: needs probabilities of classes, experiments.{found[0]} has regions")
        return self

    @model_validator(mode="after")
    def _networks_see_channels_that_are_there(self) -> "Study":
        n = len(self.cohort.channel_names)
        for name, experiment in self.experiments.items():
            wanted = getattr(getattr(experiment, "architecture", None), "channels", None) or ()
            if max(wanted, default=1) > n or len(set(wanted)) < len(wanted):
                raise ValueError(f"experiments.{name}.architecture.channels: different numbers from 1 to {n}")
        return self

    @model_validator(mode="after")
    def _probabilities_are_kept(self) -> "Study":
        if self.postprocess.crf is None:
            return self
        if not self.networks:
            raise ValueError("postprocess.crf: no experiment has probabilities to refine")
        for name, method in self.networks.items():
            if not method.probabilities:
                raise ValueError(f"postprocess.crf: needs `probabilities: true` in experiments.{name}")
            if method.threshold is not None:
                raise ValueError(
                    f"experiments.{name}.threshold: after `postprocess.crf` the most probable class counts"
                )
        for channel in self.postprocess.crf.channels:
            if channel not in self.cohort.channel_names:
                known = ", ".join(self.cohort.channel_names)
                raise ValueError(f"postprocess.crf.channels: no channel {channel!r}; choices: {known}")
        return self

    @model_validator(mode="after")
    def _things_are_classes(self) -> "Study":
        if self.panoptic is not None:
            self.panoptic.check(self.cohort.labels.classes)
        return self

    @model_validator(mode="after")
    def _types_are_known(self) -> "Study":
        if self.types is not None:
            if self.cohort.clinical is None:
                raise ValueError("types.column: the types stand in a table, name it in `cohort.clinical`")
            choices = {
                "label": [*self.cohort.labels.classes, *self.regions],
                "channel": self.cohort.channel_names,
            }
            for key, known in choices.items():
                if (value := getattr(self.types, key)) not in (None, *known):
                    raise ValueError(f"types.{key}: no {key} {value!r}; choices: {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _candidates_have_probabilities(self) -> "Study":
        above = self.detection is not None and self.detection.candidates_above is not None
        if above and not any(getattr(one, "probabilities", False) for one in self.experiments.values()):
            raise ValueError("detection.candidates_above: needs an experiment with `probabilities: true`")
        return self

    @model_validator(mode="after")
    def _possible(self) -> "Study":
        if self.cohort.images is not None and self.cohort.labels.kind in ("rtstruct", "seg", "series"):
            raise ValueError("cohort.labels.kind: image files have labels of kind `files` or `none`")
        named = {
            "report.subgroups": (self.report.subgroups, PROPERTIES),
            "statistics.covariates": (self.statistics.covariates, COVARIATES),
        }
        for key, (names, known_names) in named.items():
            unknown = [name for name in names if name not in known_names]
            if unknown and self.cohort.clinical is None:
                choices = ", ".join(known_names)
                raise ValueError(f"{key}: unknown {unknown[0]!r}; choices: {choices}, or a column of `cohort.clinical`")
        strangers = sorted(set(self.export.codes) - set(self.cohort.labels.classes))
        if strangers:
            raise ValueError(f"export.codes: no class {', '.join(strangers)}")
        return self

    @model_validator(mode="after")
    def _methods_fit(self) -> "Study":
        region = self.preprocess.isolate
        if region is not None and region.channel is not None and region.channel not in self.cohort.channel_names:
            known = ", ".join(self.cohort.channel_names)
            raise ValueError(f"preprocess.isolate.channel: no channel {region.channel!r}; choices: {known}")
        for name, experiment in self.experiments.items():
            if experiment.method == "threshold" and len(self.cohort.labels.classes) != 1:
                raise ValueError(
                    f"experiments.{name}.method: `threshold` finds a single class, the labels name several"
                )
            if isinstance(experiment, Classical) and experiment.n_found > len(self.cohort.labels.classes):
                raise ValueError(f"experiments.{name}.objects: more objects than the labels have classes")
            channel = getattr(experiment, "channel", None)
            if channel is not None and channel not in self.cohort.channel_names:
                known = ", ".join(self.cohort.channel_names)
                raise ValueError(f"experiments.{name}.channel: no channel {channel!r}; choices: {known}")
            if (
                isinstance(experiment, NetworkMethod)
                and experiment.threshold is not None
                and len(self.cohort.labels.classes) != 1
            ):
                raise ValueError(f"experiments.{name}.threshold: only with a single class")
            if isinstance(experiment, BestMethod):
                self._check_members(name, experiment)
        if len({one.model for one in self.experiments.values() if isinstance(one, PretrainedMethod)}) > 1:
            raise ValueError("experiments: the study has one plan, so all `pretrained` ones use the same `model`")
        return self

    @model_validator(mode="after")
    def _labels_come_from_somewhere(self) -> "Study":
        for name in self.experiments:
            method, seen = self.experiments[name], [name]
            if getattr(method, "reference_share", 0.0) and self.labels_of(name) is None:
                raise ValueError(f"experiments.{name}.reference_share: only with `labels_from`")
            if self.labels_of(name) is not None and name in self.tune:
                raise ValueError(f"tune.{name}: a search scores by references, which `labels_from` does without")
            if getattr(method, "boxes", None) is not None and name in self.tune:
                raise ValueError(f"tune.{name}: a search scores by outlines, which `boxes` does without")
            while (source := self.labels_of(seen[-1])) is not None:
                if source not in self.experiments or isinstance(self.experiments[source], BestMethod):
                    known = sorted(other for other, one in self.experiments.items() if not isinstance(one, BestMethod))
                    raise ValueError(f"experiments.{seen[-1]}.labels_from: {source!r}; choices: {', '.join(known)}")
                if source in seen:
                    raise ValueError(f"experiments.{name}.labels_from: leads back to {source!r}")
                seen.append(source)
        return self

    @model_validator(mode="after")
    def _cascades_are_possible(self) -> "Study":
        if wrong := what_is_wrong_with_cascades(self):
            raise ValueError(wrong)
        return self

    def before(self, experiment: str) -> str | None:
        """The experiment whose labels a cascade is given; None for all others."""
        source: str | None = getattr(self.experiments[experiment], "cascade", None)
        return source

    def seed_before(self, experiment: str) -> int | None:
        """The seed of the models that find these labels: the first of that experiment."""
        source = self.before(experiment)
        return None if source is None else seeds_of(self.trained[source])[0]

    def labels_of(self, experiment: str) -> str | None:
        """The experiment whose labels an experiment learns from; None where it learns from references, or not at all."""
        source: str | None = getattr(self.experiments[experiment], "labels_from", None)
        return source

    def _check_members(self, name: str, best: BestMethod) -> None:
        others = [other for other, one in self.experiments.items() if not isinstance(one, BestMethod)]
        strangers = sorted(set(best.among) - set(others))
        if strangers or not others:
            known = f"choices: {', '.join(sorted(others))}" if others else "there is no other experiment"
            raise ValueError(f"experiments.{name}.among: {', '.join(strangers) or 'empty'}; {known}")

    @model_validator(mode="after")
    def _searches_are_possible(self) -> "Study":
        for name, search in self.tune.items():
            experiment = self.experiments.get(name)
            if experiment is None:
                raise ValueError(f"tune.{name}: no such experiment; choices: {', '.join(sorted(self.experiments))}")
            if self.members(name):
                raise ValueError(f"tune.{name}: `best` takes what others predict; search in those")
            if search.steps is not None and not isinstance(experiment, UNetMethod):
                raise ValueError(f"tune.{name}.steps: only where a network is trained")
            if getattr(experiment, "minutes", None) is not None:
                raise ValueError(f"tune.{name}: say `steps` in the experiment, not `minutes`")
            if getattr(experiment, "precision", None) == "auto":
                raise ValueError(f"tune.{name}: say a `precision` in the experiment, not `auto`")
            for key in search.space:
                if reason := why_not(key, METHOD_SETTINGS[experiment.method]):
                    raise ValueError(f"tune.{name}.space.{key}: {reason}")
            self._check_corners(name, search)
        return self

    def _check_corners(self, name: str, search: TuneSettings) -> None:
        """Every corner of a space must be settings that the study could have been written with."""
        experiment = self.experiments[name]
        given = {field: getattr(self, field) for field in type(self).model_fields if field != "tune"}
        for corner in search.corners(METHOD_SETTINGS[experiment.method]):
            tried = {**self.experiments, name: {**experiment.model_dump(), **corner}}
            try:
                Study.model_validate(given | {"experiments": tried})
            except ValidationError as error:
                first, point = error.errors()[0], ", ".join(f"{key} {_short(value)}" for key, value in corner.items())
                reason = first["msg"].removeprefix("Value error, ")
                raise ValueError(f"tune.{name}.space: with {point}: {reason}") from None

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.results / self.study

    @property
    def trained(self) -> dict[str, TrainedMethod]:
        """The experiments whose method is trained on the folds: networks, and learners without one."""
        kinds = (UNetMethod, LearnedMethod, IntensityMethod)
        return {name: method for name, method in self.experiments.items() if isinstance(method, kinds)}

    @property
    def networks(self) -> dict[str, NetworkMethod]:
        """The experiments that predict with networks, trained here or elsewhere."""
        return {name: method for name, method in self.experiments.items() if isinstance(method, NetworkMethod)}

    def chooses_threshold(self, experiment: str) -> bool:
        """Whether the probability threshold of an experiment is chosen on validation folds."""
        return getattr(self.experiments[experiment], "threshold", None) == "auto"

    def finds_regions(self, experiment: str) -> bool:
        """Whether the outputs of an experiment's networks are regions."""
        return getattr(self.experiments[experiment], "targets", "classes") == "regions"

    def members(self, experiment: str) -> list[Member]:
        """The experiments among which the best is chosen; none for another method."""
        best = self.experiments[experiment]
        if not isinstance(best, BestMethod):
            return []
        others = [name for name, one in self.experiments.items() if not isinstance(one, BestMethod)]
        return [
            Member(
                experiment=name,
                seeds=seeds_of(self.trained[name]) if name in self.trained else None,
                has_probabilities=not self.finds_regions(name)
                and (getattr(self.experiments[name], "probabilities", False) or self.chooses_threshold(name)),
            )
            for name in best.among or others
        ]

    def choices(self, experiment: str) -> list[str]:
        """What is chosen for an experiment on validation folds."""
        model = ["model"] if self.members(experiment) else []
        threshold = ["threshold"] if self.chooses_threshold(experiment) else []
        return model + threshold + (["cleaning"] if self.postprocess.choose else [])

    def blocks_above(self, stage: str) -> float:
        """Voxels above which a stage works through a case by blocks or slabs; infinite where it must see the whole."""
        whole = {
            "preprocess": self.preprocess.isolate is not None or self.synthesis is not None,
            "postprocess": self.postprocess.crf is not None or self.instances is not None,
            "evaluate": self.synthesis is not None
            or self.instances is not None
            or self.cohort.labels.instances
            or any(asked is not None for asked in (self.detection, self.panoptic, self.types)),
            "export": self.export.objects or not set(self.export.formats) <= set(OF_VOXELS),
        }
        return math.inf if whole.get(stage, True) else self.jobs.oversize.above_gib * 2**30 / 2

    @property
    def n_trials(self) -> dict[str, int]:
        """The trials of a fold of each experiment that is searched."""
        return {
            name: search.n_trials(METHOD_SETTINGS[self.experiments[name].method])
            for name, search in sorted(self.tune.items())
        }

    @property
    def model(self) -> Path | None:
        """The model package whose plan the study has; none where it plans itself."""
        return next((one.model for one in self.experiments.values() if isinstance(one, PretrainedMethod)), None)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
