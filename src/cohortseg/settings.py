"""All settings of a study: type, unit, default and description in one place.

`config/schema.json`, the comments of `config/default.yaml` and the tables of `config/README.md` are generated from here
(`cohortseg settings`), and a test holds them in sync. Machine limits (memory, partitions, GPUs) are the profile's.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cohortseg.errors import SettingsError

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Spacing: TypeAlias = tuple[Positive, Positive, Positive]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Pattern: TypeAlias = Annotated[str, AfterValidator(_compiles)]


class Part(BaseModel):
    """A group of settings: immutable, numbers finite, and a stranger among the keys is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SeriesSettings(Part):
    """Which DICOM series become cases."""

    modality: Literal["CT", "MR", "PT"] | None = Field(None, description="DICOM modality; all when empty")
    description: Pattern | None = Field(None, description="regular expression that SeriesDescription must contain")
    min_slices: int = Field(5, ge=1, description="fewer slices than this are rejected (scouts, localisers)")


class LabelSettings(Part):
    """Where the reference labels are and which classes they hold."""

    kind: Literal["auto", "rtstruct", "seg", "files", "none"] = Field(
        "auto", description="which label objects to use; auto takes whatever belongs to the image"
    )
    structures: dict[Name, Pattern] = Field(
        default_factory=dict,
        description="class name: regular expression that matches the whole name of its ROIs or segments (RTSTRUCT, DICOM-SEG); classes are numbered 1, 2, … in this order",
    )
    files: Pattern | None = Field(
        None, description="regular expression on the path of label files (NIfTI, NRRD, MHA) with a group `subject`"
    )
    values: dict[Name, int] = Field(
        default_factory=dict, description="class name: integer value in label files; default: the class's own number"
    )
    missing: Literal["predict", "reject"] = Field(
        "predict", description="a case without a label: predict it without scoring it, or reject it"
    )

    @model_validator(mode="after")
    def _has_classes(self) -> "LabelSettings":
        if not self.structures and not self.values:
            raise ValueError("name at least one class in `structures` or `values`")
        if self.structures and self.values and list(self.structures) != list(self.values):
            raise ValueError("`structures` and `values` must name the same classes in the same order")
        if self.kind == "files" and self.files is None:
            raise ValueError("`kind: files` needs the pattern `files`")
        if self.kind in ("rtstruct", "seg") and not self.structures:
            raise ValueError(f"`kind: {self.kind}` needs `structures`")
        if 0 in self.values.values() or len(set(self.values.values())) < len(self.values):
            raise ValueError("`values` must differ from each other and from 0, the background")
        return self

    @property
    def classes(self) -> list[str]:
        """Class names; number 1 is the first, 0 is the background."""
        return list(self.structures or self.values)

    @property
    def file_values(self) -> dict[str, int]:
        """The value of each class in label files."""
        return self.values or {name: number for number, name in enumerate(self.classes, start=1)}


class CohortSettings(Part):
    """Where the scans are and which of them to use."""

    source: Path = Field(description="folder of anything: DICOM in any layout, or image files")
    images: Pattern | None = Field(
        None,
        description="for image files (NIfTI, NRRD, MHA) instead of DICOM: regular expression on the path with a group `subject`",
    )
    modality: Literal["CT", "MR", "PT"] = Field("MR", description="modality of image files, which do not say it")
    series: SeriesSettings = Field(default_factory=SeriesSettings, description="selection of DICOM series")
    labels: LabelSettings = Field(description="reference labels")
    deidentified: bool = Field(
        False,
        description="you vouch that file names and ids hold no identity: ids are kept (DICOM that says PatientIdentityRemoved = YES keeps them anyway)",
    )
    exclude: list[str] = Field(default_factory=list, description="names of cases to leave out")


class ConvertSettings(Part):
    """What a well-formed series is."""

    slice_tolerance_mm: Positive = Field(0.1, description="largest deviation of a slice distance from the median")
    label_tolerance_mm: Positive = Field(
        0.05, description="largest distance of a label's voxel centres from the image's"
    )


class PlanSettings(Part):
    """How the plan (model-space grid, normalisation, network size) is made; frozen once made."""

    dims: Literal[2, 3] = Field(3, description="2: slice-wise networks, 3: volumetric networks")
    spacing_mm: Spacing | None = Field(
        None, description="voxel size (z, y, x) in model space; from the fingerprint when empty"
    )
    normalisation: Literal["auto", "ct", "zscore", "percentile", "window"] = Field(
        "auto", description="intensity normalisation; auto chooses by modality"
    )
    window_hu: tuple[float, float] | None = Field(None, description="clip to this range before normalising (CT)")
    patch_voxels: int = Field(110_592, ge=4096, description="upper bound of the voxels in one training patch")

    @model_validator(mode="after")
    def _window(self) -> "PlanSettings":
        if self.window_hu is not None and self.window_hu[0] >= self.window_hu[1]:
            raise ValueError(f"window_hu must be (low, high), got {self.window_hu}")
        if self.normalisation == "window" and self.window_hu is None:
            raise ValueError("`normalisation: window` needs `window_hu`")
        return self


class PreprocessSettings(Part):
    """How an image is brought into model space."""

    interpolation: Literal["linear", "bspline"] = Field(
        "linear", description="interpolation of images; labels: nearest"
    )


class SplitSettings(Part):
    """Cross-validation folds, by subject, frozen once made."""

    folds: int = Field(5, ge=2, le=20, description="number of cross-validation folds")
    seed: int = Field(1, ge=0, description="seed of the assignment")
    test_fraction: float = Field(0.0, ge=0, lt=1, description="share of subjects kept apart as independent test set")
    stratify: list[Literal["labelled", "positive", "manufacturer", "modality"]] = Field(
        ["labelled", "positive"],
        description="properties known from headers that folds should share evenly",
    )
    refit: bool = Field(
        False, description="train again when the training cases change; else models are kept and newcomers are `unseen`"
    )


class ThresholdMethod(Part):
    """A classical method: intensity threshold inside a region, then components."""

    method: Literal["threshold"]
    rule: Literal["fixed", "otsu", "multi_otsu", "yen", "li", "triangle"] = Field(
        "otsu", description="how the threshold is found"
    )
    low: float | None = Field(None, description="lower limit for `fixed`, in image units (HU)")
    high: float | None = Field(None, description="upper limit for `fixed`, in image units (HU)")
    inside: Literal["all", "body", "lungs"] = Field(
        "all", description="region the threshold is applied in (body, lungs: CT)"
    )
    opening_mm: NotNegative = Field(0.0, description="radius of an opening that frees blobs from thin structures")

    @model_validator(mode="after")
    def _limits(self) -> "ThresholdMethod":
        if self.rule == "fixed" and self.low is None and self.high is None:
            raise ValueError("`rule: fixed` needs `low` or `high`")
        if self.rule != "fixed" and (self.low is not None or self.high is not None):
            raise ValueError(f"`low` and `high` go with `rule: fixed`, not with {self.rule!r}")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        return self


class UNetMethod(Part):
    """A trained U-Net; its dimensions, patch and grid come from the plan."""

    method: Literal["unet"]
    features: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="channels per level; from the plan when empty"
    )
    loss: Literal["dice_ce", "dice_bce", "dice", "cross_entropy", "focal"] = Field(
        "dice_ce", description="loss function"
    )
    optimiser: Literal["adamw", "sgd_nesterov"] = Field("adamw", description="optimiser")
    learning_rate: Positive = Field(3e-3, description="largest learning rate")
    weight_decay: NotNegative = Field(1e-4, description="weight decay")
    schedule: Literal["constant", "cosine", "poly", "exponential"] = Field(
        "cosine", description="learning-rate schedule"
    )
    steps: int = Field(1000, ge=1, description="number of optimiser steps")
    batch: int = Field(8, ge=1, description="patches per step")
    foreground_share: float = Field(0.5, ge=0, le=1, description="share of patches centred on a labelled voxel")
    augmentation: Literal["none", "light", "full"] = Field("light", description="augmentation preset")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="arithmetic of the forward pass")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=lambda: [1], min_length=1, description="one model per fold and seed"
    )
    overlap: float = Field(0.5, ge=0, lt=1, description="overlap of the sliding window")
    mirror: bool = Field(False, description="average over mirrored inputs when predicting")
    threshold: float | None = Field(
        None, gt=0, lt=1, description="probability threshold for a single class; else the most probable class"
    )
    validate_every: int = Field(100, ge=1, description="steps between two validations")
    checkpoint_minutes: Positive = Field(5.0, description="minutes between two resume checkpoints")

    @model_validator(mode="after")
    def _seeds_differ(self) -> "UNetMethod":
        twice = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"`seeds` names {', '.join(map(str, twice))} twice")
        return self


Method: TypeAlias = Annotated[ThresholdMethod | UNetMethod, Field(discriminator="method")]


class PostprocessSettings(Part):
    """What is done to a predicted label, per class, in this order."""

    opening_mm: NotNegative = Field(0.0, description="radius of the morphological opening")
    closing_mm: NotNegative = Field(0.0, description="radius of the morphological closing")
    fill_holes: bool = Field(False, description="fill cavities that touch no border")
    min_volume_ml: NotNegative = Field(0.0, description="components below this volume are removed")
    keep: Literal["all", "largest"] | Annotated[int, Field(ge=1)] = Field(
        "all", description="components to keep: all, the largest, or the n largest"
    )


class MetricSettings(Part):
    """Choices of the metrics."""

    nsd_tolerance_mm: Positive = Field(2.0, description="tolerance of the normalised surface distance")


class ReportSettings(Part):
    """What the tables and the report show."""

    subgroups: list[Literal["manufacturer", "model", "kernel", "slice_thickness_mm", "modality", "lesion_size"]] = (
        Field(
            ["manufacturer", "slice_thickness_mm", "lesion_size"],
            description="properties by which results are broken down",
        )
    )
    primary_metric: Literal["dice", "nsd", "hd95_mm", "assd_mm", "lesion_sensitivity"] = Field(
        "dice", description="metric of comparisons and of the worst and median cases"
    )
    overlays: int = Field(
        3, ge=0, le=50, description="number of worst and of median cases shown as pictures per experiment"
    )


class ExportSettings(Part):
    """Which files are written for other software."""

    formats: list[Literal["nifti"]] = Field(["nifti"], description="formats of exported labels")


class JobSettings(Part):
    """How much work one cluster job takes; finished cases in a job are never made again."""

    cases_per_job: int | None = Field(
        None, ge=1, description="cases per convert, preprocess … job; default: one up to 200 cases, then more"
    )
    cases_per_predict_job: int | None = Field(
        None,
        ge=1,
        description="cases of one fold per predict, postprocess, evaluate job (weights are loaded once); default: 20",
    )


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
    def _possible(self) -> "Study":
        if self.cohort.images is not None and self.cohort.labels.kind in ("rtstruct", "seg"):
            raise ValueError("cohort.labels.kind: image files have labels of kind `files` or `none`")
        for name, experiment in self.experiments.items():
            if experiment.method == "threshold" and len(self.cohort.labels.classes) != 1:
                raise ValueError(
                    f"experiments.{name}.method: `threshold` finds a single class, the labels name several"
                )
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


def load_study(values: dict[str, Any]) -> Study:
    """Settings from plain values (YAML).

    Raises
    ------
    SettingsError
        One line: key, value and choices of each thing that is wrong.
    """
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(detail) for detail in error.errors())) from None
    return study


def _sentence(detail: Any) -> str:
    """One finding of pydantic as `key: what is wrong (got value)`."""
    key = ".".join(str(part) for part in _user_keys(detail["loc"]))
    kind, value = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return f"{key}: unknown key; {_known_keys(detail['loc'])}"
    if kind == "union_tag_invalid":
        context = detail["ctx"]
        return f"{key}.method: {context['tag']!r} is not available; choices: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"{key}.method: missing; choices: {', '.join(sorted(METHOD_SETTINGS))}"
    if kind == "missing":
        return f"{key}: missing"
    message = detail["msg"].removeprefix("Value error, ")
    if not key:
        # The study as a whole: the message begins with the key.
        return str(message)
    return f"{key}: {message}" if isinstance(value, dict) else f"{key}: {message} (got {value!r})"


METHOD_SETTINGS: dict[str, type[Part]] = {"threshold": ThresholdMethod, "unet": UNetMethod}


def _user_keys(location: tuple[Any, ...]) -> list[Any]:
    """The keys the user wrote: pydantic adds the branch it tried of a union, and a mark to a bad key."""
    keys = list(location)
    if keys[:1] == ["experiments"] and keys[2:] and keys[2] in METHOD_SETTINGS:
        del keys[2]
    if keys and re.fullmatch(r"\[key\]|literal\[.*\]|constrained-int", str(keys[-1])):
        del keys[-1]
    return keys


def _known_keys(location: tuple[Any, ...]) -> str:
    """The keys that would have been right where a stranger stands."""
    model: Any = Study
    for depth, part in enumerate(location[:-1]):
        if depth == 2 and location[0] == "experiments":
            model = METHOD_SETTINGS[part]
        elif isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[part].annotation
    if isinstance(model, type) and issubclass(model, BaseModel):
        return f"choices: {', '.join(sorted(model.model_fields))}"
    return "see config/README.md"
