"""The stages of the flow: revision, the settings each gets, and what it needs of a machine.

A stage's `revision` is raised by hand when its computation changes, because Snakemake does not see inside the package.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cohortseg.settings import (
    CandidateSettings,
    CohortSettings,
    ConvertSettings,
    DetectionSettings,
    ExportSettings,
    InstanceSettings,
    LabelSettings,
    Member,
    Method,
    MetricSettings,
    PanopticSettings,
    Part,
    PlanSettings,
    PostprocessSettings,
    PreprocessSettings,
    RegionSettings,
    ReportSettings,
    SplitSettings,
    StabilitySettings,
    StatisticsSettings,
    Study,
    SynthesisSettings,
    TuneSettings,
    TypesSettings,
    UNetMethod,
)
from cohortseg.settings.base import is_none
from cohortseg.settings.regions import labels_of


class ConvertStage(Part):
    """Settings of `convert`."""

    labels: LabelSettings
    convert: ConvertSettings
    channels: list[str]
    colour: str
    pixel_mm: tuple[float, float] | None
    min_slices: int = Field(ge=1)


class FingerprintStage(Part):
    """Settings of `fingerprint`."""

    classes: list[str]
    channels: list[str]


class PlanStage(Part):
    """Settings of `plan`."""

    classes: list[str]
    channels: list[str]
    plan: PlanSettings
    model: Path | None = None


class PreprocessStage(Part):
    """Settings of `preprocess`."""

    classes: list[str]
    channels: list[str]
    preprocess: PreprocessSettings
    synthesis: SynthesisSettings | None = None


class SplitStage(Part):
    """Settings of `split`."""

    split: SplitSettings


class ExperimentStage(Part):
    """Settings of `train` and `predict`; regions where networks find them, the seed of the models before a cascade."""

    classes: list[str]
    channels: list[str]
    experiment: Method
    synthesis: SynthesisSettings | None = None
    regions: dict[str, list[str]] = Field(default_factory=dict)
    seed_before: int | None = Field(None, exclude_if=is_none)


class PseudoLabelStage(Part):
    """Settings of `pseudolabel`: where labels come from, how they are cleaned, and where they are learnt from."""

    classes: list[str]
    channels: list[str]
    source: str
    source_method: Method
    cleaning: PostprocessSettings | None
    in_model_space: bool


class CrossfitStage(Part):
    """Settings of `crossfit`: whose labels a cascade is given, and by which of its models."""

    classes: list[str]
    channels: list[str]
    source: str
    source_method: UNetMethod
    seed: int


class StabilityStage(Part):
    """Settings of `stability`; `preprocess` where the method sees images in model space."""

    classes: list[str]
    channels: list[str]
    experiment: Method
    preprocess: PreprocessSettings | None
    stability: StabilitySettings


class TrialStage(Part):
    """Settings of `trial`: how many trials there are is none of them, so that more may follow."""

    classes: list[str]
    channels: list[str]
    experiment: Method
    regions: dict[str, list[str]] = Field(default_factory=dict)
    tune: TuneSettings
    postprocess: PostprocessSettings
    metrics: MetricSettings
    synthesis: SynthesisSettings | None = None


class PostprocessStage(Part):
    """Settings of `postprocess`."""

    classes: list[str]
    channels: list[str] = Field(default_factory=lambda: ["image"])
    postprocess: PostprocessSettings
    choose_threshold: bool = False
    instances: InstanceSettings | None = None
    panoptic: PanopticSettings | None = None

    @property
    def things(self) -> list[int] | None:
        """Numbers of the classes whose objects are told apart; None: all of them."""
        return None if self.panoptic is None else [self.classes.index(name) + 1 for name in self.panoptic.things]


class CandidatesStage(Part):
    """Settings of `candidates`."""

    classes: list[str]
    choose_threshold: bool


class ChooseStage(Part):
    """Settings of `threshold` and `choose`."""

    classes: list[str]
    choose_threshold: bool
    folds: int
    keep_if: Literal["interval", "gain"]
    min_subjects: int
    seed: int
    bootstrap: int
    confidence: float
    model: Path | None = None


class BestStage(Part):
    """Settings of `contest` and `elect`."""

    classes: list[str]
    members: list[Member]
    folds: int
    keep_if: Literal["interval", "gain"]
    min_subjects: int
    seed: int
    bootstrap: int
    confidence: float


class ScoredStage(Part):
    """Settings of steps that deal with everything that is scored."""

    classes: list[str]
    regions: dict[str, list[str]] = Field(default_factory=dict)

    @property
    def labels(self) -> dict[str, list[int]]:
        """By name the class numbers of classes and regions, in the order of the tables."""
        return labels_of(self.classes, self.regions)


class EvaluateStage(ScoredStage):
    """Settings of `evaluate`."""

    metrics: MetricSettings
    detection: CandidateSettings | None = None
    panoptic: PanopticSettings | None = None
    types: RegionSettings | None = None
    channels: list[str] = Field(default_factory=list)
    synthesis: SynthesisSettings | None = None


class AggregateStage(ScoredStage):
    """Settings of `aggregate`."""

    study: str
    experiment_names: list[str]
    n_trials: dict[str, int] = Field(default_factory=dict)
    choices: dict[str, list[str]] = Field(default_factory=dict)
    metrics: MetricSettings
    statistics: StatisticsSettings
    report: ReportSettings
    stability: StabilitySettings | None = None
    detection: DetectionSettings | None = None
    panoptic: PanopticSettings | None = None
    types: TypesSettings | None = None
    synthesis: SynthesisSettings | None = None


class ReportStage(Part):
    """Settings of `report`."""

    study: str
    classes: list[str]
    experiment_names: list[str]
    metrics: MetricSettings
    report: ReportSettings
    channels: list[str] = Field(default_factory=list)
    synthesis: SynthesisSettings | None = None


class ExportStage(Part):
    """Settings of `export`."""

    classes: list[str]
    export: ExportSettings
    synthesis: SynthesisSettings | None = None


@dataclass(frozen=True)
class Stage:
    """One stage.

    Parameters
    ----------
    revision : int
        Raised when the computation changes.
    settings : type
        The part of the study's settings that the step gets as JSON.
    base_mb, byte_per_voxel : float
        Peak memory of one case: base_mb + byte_per_voxel * voxels.
    seconds_per_mvoxel : float
        Wall time of one case per million voxels, generously.
    """

    revision: int
    settings: type[Part]
    base_mb: float
    byte_per_voxel: float
    seconds_per_mvoxel: float


# Memory and time are upper estimates measured on 1 to 80 million voxels (benchmarks/RESULTS.md).
STAGES: dict[str, Stage] = {
    "convert": Stage(3, ConvertStage, 600, 4, 1.0),
    "fingerprint": Stage(2, FingerprintStage, 500, 4, 0.5),
    "plan": Stage(3, PlanStage, 500, 0, 0),
    "preprocess": Stage(2, PreprocessStage, 700, 4, 2.0),
    "split": Stage(1, SplitStage, 300, 0, 0),
    "train": Stage(4, ExperimentStage, 6000, 0, 0),
    "trial": Stage(2, TrialStage, 2500, 24, 20.0),
    "predict": Stage(2, ExperimentStage, 2500, 24, 20.0),
    "contest": Stage(2, BestStage, 500, 12, 4.0),
    "pseudolabel": Stage(1, PseudoLabelStage, 2500, 24, 20.0),
    "crossfit": Stage(1, CrossfitStage, 2500, 24, 20.0),
    "stability": Stage(1, StabilityStage, 2500, 30, 200.0),
    "elect": Stage(1, BestStage, 500, 0, 0),
    "threshold": Stage(1, ChooseStage, 500, 0, 0),
    "candidates": Stage(2, CandidatesStage, 500, 20, 2.0),
    "choose": Stage(1, ChooseStage, 500, 0, 0),
    "postprocess": Stage(2, PostprocessStage, 500, 14, 1.0),
    "evaluate": Stage(4, EvaluateStage, 500, 12, 1.0),
    "aggregate": Stage(7, AggregateStage, 1000, 0, 0),
    "report": Stage(4, ReportStage, 2000, 0, 0),
    "export": Stage(2, ExportStage, 500, 4, 1.0),
}


SHOW_IMAGES = ("evaluate", "report")
"""Stages that look at channels only where images are made, or (`evaluate`) described."""
NOT_SAID_IF_EMPTY = ("synthesis", "detection", "panoptic", "types")
"""Groups of settings that came later than the first studies."""


def stage_settings(study: Study, stage: str, experiment: str | None = None) -> str:
    """The settings of one stage as JSON text, for a command line and for Snakemake's params."""
    cohort: CohortSettings = study.cohort
    available: dict[str, Any] = {name: getattr(study, name) for name in Study.model_fields}
    available |= {name: getattr(cohort, name) for name in ("labels", "colour", "pixel_mm")}
    selections = cohort.channels.values() or [cohort.series]
    available |= {
        "model": study.model,
        "classes": cohort.labels.classes,
        "channels": cohort.channel_names,
        "min_slices": min(selection.min_slices for selection in selections),
    }
    available["seed_before"] = None
    available["experiment_names"] = sorted(study.experiments)
    available["n_trials"] = study.n_trials
    available["choices"] = {name: study.choices(name) for name in sorted(study.experiments)}
    available |= {name: getattr(study.statistics, name) for name in ("min_subjects", "seed", "bootstrap", "confidence")}
    available |= {"keep_if": study.postprocess.keep_if, "folds": study.split.folds}
    if stage == "evaluate":
        available["detection"] = study.detection and study.detection.of_candidates()
        available["types"] = study.types and study.types.of_region()
    if experiment is not None:
        available |= _of_experiment(study, stage, experiment)
    model = STAGES[stage].settings
    found = model.model_validate({name: available[name] for name in model.model_fields})
    return found.model_dump_json(exclude=_unsaid(study, stage))


def _of_experiment(study: Study, stage: str, experiment: str) -> dict[str, Any]:
    """What a stage may ask that depends on the experiment."""
    said: dict[str, Any] = {"experiment": study.experiments[experiment]}
    # Other experiments know nothing of regions, and are not made again when only these change.
    if stage in ("train", "predict", "trial") and not study.finds_regions(experiment):
        said["regions"] = {}
    said["model"] = getattr(said["experiment"], "model", None)
    said["members"] = study.members(experiment)
    if stage in ("contest", "elect"):
        said["keep_if"] = said["experiment"].keep_if
    said["seed_before"] = study.seed_before(experiment)
    said["choose_threshold"] = study.chooses_threshold(experiment)
    if stage == "pseudolabel":
        said["source"] = study.labels_of(experiment)
        said["source_method"] = study.experiments[said["source"]]
        # What is chosen by references of other folds is left out.
        said["cleaning"] = None if study.postprocess.choose else study.postprocess
        said["in_model_space"] = experiment in study.networks
    if stage == "crossfit":
        said["source"] = study.before(experiment)
        said["source_method"] = study.experiments[said["source"]]
        said["seed"] = study.seed_before(experiment)
    if stage == "stability" and experiment not in study.networks:
        said["preprocess"] = None
    if experiment in study.tune:
        said["tune"] = study.tune[experiment].model_copy(update={"trials": None})
    return said


def _unsaid(study: Study, stage: str) -> dict[str, Any]:
    """What a study does not ask for is not said: the text, and so the keys of finished work, stay as they were."""
    unsaid: dict[str, Any] = {name: True for name in NOT_SAID_IF_EMPTY if getattr(study, name) is None}
    looks = study.synthesis is not None or (stage == "evaluate" and study.types is not None)
    if stage in SHOW_IMAGES and not looks:
        unsaid["channels"] = True
    if study.instances is None and stage == "postprocess":
        unsaid["panoptic"] = True
    if not study.export.objects:
        unsaid["export"] = {"objects"}
    if study.cohort.labels.instance_divisor is None:
        unsaid["labels"] = {"instance_divisor"}
    return unsaid
