"""A study: all its settings together."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from cohortseg.settings.base import Name, Part
from cohortseg.settings.cohort import CohortSettings, ConvertSettings
from cohortseg.settings.methods import Method, UNetMethod
from cohortseg.settings.model_space import PlanSettings, PreprocessSettings, SplitSettings
from cohortseg.settings.networks import PLANES_ONLY
from cohortseg.settings.results import ExportSettings, JobSettings, MetricSettings, PostprocessSettings, ReportSettings


class Study(Part):
    """One study: a cohort, the experiments on it, and how they are judged."""

    study: Name = Field(description="name of the study; its folder under `results`")
    results: Path = Field(Path("results"), description="folder that holds the studies")
    index: Literal["auto", "manual"] = Field(
        "auto", description="auto: look for new scans at each start; manual: only `cohortseg index`"
    )
    cohort: CohortSettings = Field(description="the scans and their labels")
    convert: ConvertSettings = Field(default_factory=ConvertSettings, description="checks while reading")
    plan: PlanSettings = Field(default_factory=PlanSettings, description="model space and network size")
    preprocess: PreprocessSettings = Field(default_factory=PreprocessSettings, description="into model space")
    split: SplitSettings = Field(default_factory=SplitSettings, description="folds")
    experiments: dict[Name, Method] = Field(min_length=1, description="name: method with its settings")
    postprocess: PostprocessSettings = Field(
        default_factory=PostprocessSettings, description="cleaning of predicted labels"
    )
    metrics: MetricSettings = Field(default_factory=MetricSettings, description="metrics")
    report: ReportSettings = Field(default_factory=ReportSettings, description="tables and report")
    export: ExportSettings = Field(default_factory=ExportSettings, description="files for other software")
    jobs: JobSettings = Field(default_factory=JobSettings, description="size of jobs")

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
    def _possible(self) -> "Study":
        if self.cohort.images is not None and self.cohort.labels.kind in ("rtstruct", "seg", "series"):
            raise ValueError("cohort.labels.kind: image files have labels of kind `files` or `none`")
        strangers = sorted(set(self.export.codes) - set(self.cohort.labels.classes))
        if strangers:
            raise ValueError(f"export.codes: no class {', '.join(strangers)}")
        for name, experiment in self.experiments.items():
            if experiment.method == "threshold" and len(self.cohort.labels.classes) != 1:
                raise ValueError(
                    f"experiments.{name}.method: `threshold` finds a single class, the labels name several"
                )
            channel = getattr(experiment, "channel", None)
            if channel is not None and channel not in self.cohort.channel_names:
                known = ", ".join(self.cohort.channel_names)
                raise ValueError(f"experiments.{name}.channel: no channel {channel!r}; choices: {known}")
            if (
                experiment.method == "unet"
                and experiment.threshold is not None
                and len(self.cohort.labels.classes) != 1
            ):
                raise ValueError(f"experiments.{name}.threshold: only with a single class")
        return self

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.results / self.study

    @property
    def trained(self) -> dict[str, UNetMethod]:
        """The experiments whose method needs weights."""
        return {name: method for name, method in self.experiments.items() if isinstance(method, UNetMethod)}
