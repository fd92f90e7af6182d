"""All settings of a study: type, unit, default and description in one place.

`config/schema.json`, the comments of `config/default.yaml` and the tables of `config/README.md` are generated from here
(`cohortseg settings`), and a test holds them in sync. Machine limits (memory, partitions, GPUs) are the profile's.
"""

from cohortseg.settings.base import Name, Part
from cohortseg.settings.best import BestMethod, Member
from cohortseg.settings.cohort import CohortSettings, ConvertSettings, LabelSettings, SeriesSettings
from cohortseg.settings.crf import CRFSettings
from cohortseg.settings.detection import CandidateSettings, DetectionSettings
from cohortseg.settings.learned import LearnedMethod
from cohortseg.settings.load import load_study
from cohortseg.settings.methods import (
    METHOD_SETTINGS,
    Method,
    NetworkMethod,
    PretrainedMethod,
    ThresholdMethod,
    TrainedMethod,
    UNetMethod,
    seeds_of,
)
from cohortseg.settings.model_space import PlanSettings, PreprocessSettings, SplitSettings
from cohortseg.settings.panoptic import PanopticSettings
from cohortseg.settings.results import (
    Code,
    ExportSettings,
    InstanceSettings,
    JobSettings,
    MetricSettings,
    PostprocessSettings,
    ReportSettings,
    StatisticsSettings,
)
from cohortseg.settings.stability import StabilitySettings
from cohortseg.settings.study import Study
from cohortseg.settings.synthesis import IntensityMethod, SynthesisSettings
from cohortseg.settings.tune import Range, TuneSettings
from cohortseg.settings.types import RegionSettings, TypesSettings

__all__ = [
    "METHOD_SETTINGS",
    "BestMethod",
    "CRFSettings",
    "CandidateSettings",
    "Code",
    "CohortSettings",
    "ConvertSettings",
    "DetectionSettings",
    "ExportSettings",
    "InstanceSettings",
    "IntensityMethod",
    "JobSettings",
    "LabelSettings",
    "LearnedMethod",
    "Member",
    "Method",
    "MetricSettings",
    "Name",
    "NetworkMethod",
    "PanopticSettings",
    "Part",
    "PlanSettings",
    "PostprocessSettings",
    "PreprocessSettings",
    "PretrainedMethod",
    "Range",
    "RegionSettings",
    "ReportSettings",
    "SeriesSettings",
    "SplitSettings",
    "StabilitySettings",
    "StatisticsSettings",
    "Study",
    "SynthesisSettings",
    "ThresholdMethod",
    "TrainedMethod",
    "TuneSettings",
    "TypesSettings",
    "UNetMethod",
    "load_study",
    "seeds_of",
]
