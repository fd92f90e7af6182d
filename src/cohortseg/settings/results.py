"""Settings of what comes after the methods: cleaning, metrics, report, files for other software, size of jobs."""

from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from cohortseg.settings.base import Name, NotNegative, Part, Positive
from cohortseg.settings.crf import CRFSettings


class PostprocessSettings(Part):
    """What is done to a predicted label, per class, in this order.

    `postprocess: auto` is short for `{choose: true}`.
    """

    crf: CRFSettings | None = Field(
        None, description="refine kept probabilities by a dense conditional random field first; not at all when empty"
    )
    opening_mm: NotNegative = Field(0.0, description="radius of the morphological opening")
    closing_mm: NotNegative = Field(0.0, description="radius of the morphological closing")
    fill_holes: bool = Field(False, description="fill cavities that touch no border")
    min_volume_ml: NotNegative = Field(0.0, description="components below this volume are removed")
    min_slices: int = Field(
        1, ge=1, description="components that overlap themselves over fewer neighbouring slices are removed"
    )
    keep: Literal["all", "largest"] | Annotated[int, Field(ge=1)] = Field(
        "all", description="components to keep: all, the largest, or the n largest"
    )
    choose: bool = Field(
        False,
        description="choose the cleaning of each class from a fixed list (docs/methods.md), for each fold by the validation cases of the other folds, instead of the keys above",
    )
    keep_if: Literal["interval", "gain"] = Field(
        "interval",
        description="what is chosen, and a threshold `auto`, is kept when the mean gain in Dice over subjects is above 0: with its whole interval (and at least 0.001), or by itself",
    )

    def named(self) -> dict[str, Any]:
        """What the settings say is done, as the arguments of `postprocess.chain.postprocess_label`."""
        return self.model_dump(exclude={"choose", "keep_if", "crf"})

    @model_validator(mode="after")
    def _chosen_or_named(self) -> "PostprocessSettings":
        named = sorted(self.model_fields_set - {"choose", "keep_if"}) if self.choose else []
        changed = [name for name in named if getattr(self, name) != type(self).model_fields[name].default]
        if changed:
            raise ValueError(f"`choose` decides what is done; leave out {', '.join(changed)}")
        return self


def _chosen(value: Any) -> Any:
    if isinstance(value, str) and value != "auto":
        raise ValueError("`auto`, or keys with what is done")
    return {"choose": True} if value == "auto" else value


Postprocessing: TypeAlias = Annotated[
    PostprocessSettings, BeforeValidator(_chosen, json_schema_input_type=PostprocessSettings | Literal["auto"])
]


class InstanceSettings(Part):
    """How the objects of a class are told apart after the cleaning: `instances.zarr` beside the label."""

    rule: Literal["components", "watershed", "probability"] = Field(
        "watershed",
        description="components: what touches is one; watershed: parted at waists; probability: parted between cores of high probability, where a method keeps it (`probabilities: true`), else as watershed",
    )
    depth_mm: NotNegative = Field(
        1.0, description="watershed: a waist parts two objects when narrower by more, in half widths, than the thinner"
    )
    smooth_mm: NotNegative = Field(1.0, description="watershed: standard deviation of the Gaussian on the distance")
    marker: float = Field(0.9, gt=0, lt=1, description="probability: what is connected above is the core of an object")


class MetricSettings(Part):
    """Choices of the metrics."""

    nsd_tolerance_mm: Positive = Field(2.0, description="tolerance of the normalised surface distance")
    boundary_band_mm: Positive = Field(
        2.0, description="half width of the band around the reference's surface in which the boundary Jaccard is taken"
    )
    trimap_bands_mm: list[Positive] = Field(
        default_factory=list, description="more such half widths, for the trimap curve; wide ones take time"
    )


PROPERTIES = (
    *("modality", "manufacturer", "model", "kernel", "slice_thickness_mm", "body_part", "orientation", "contrast"),
    *("spacing_mm", "rows", "columns", "n_slices", "kvp", "exposure_mas", "te_ms", "tr_ms", "flip_angle_deg"),
    *("field_strength_t", "transfer_syntax", "lossy", "days", "label", "fold", "role"),
    *("lesion_size", "lesion_volume", "n_lesions", "slice_thickness", "location_side", "location_level"),
)
"""Properties of cases by which results can be broken down: from DICOM, from the cohort, from the reference."""

COVARIATES = (
    *("reference_ml", "n_lesions_reference", "slice_thickness_mm", "n_slices", "kvp", "exposure_mas", "te_ms", "tr_ms"),
    *("flip_angle_deg", "field_strength_t", "days"),
)
"""Numbers of cases with which results can be correlated."""


class StatisticsSettings(Part):
    """How intervals and tests are made. Changing them measures nothing again."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="confidence of all intervals")
    bootstrap: int = Field(2000, ge=100, le=100_000, description="resamples of subjects for an interval")
    permutations: int = Field(10_000, ge=100, le=1_000_000, description="draws of a permutation test")
    seed: int = Field(1, ge=0, description="seed of resamples and permutations")
    min_subjects: int = Field(
        5, ge=2, description="groups with fewer subjects get no interval and take no part in tests"
    )
    covariates: list[str] = Field(
        ["reference_ml", "slice_thickness_mm"],
        description=f"numbers that results are correlated with: {', '.join(COVARIATES)}, or columns of `cohort.clinical`",
    )


class ReportSettings(Part):
    """What the tables and the report show."""

    subgroups: list[str] = Field(
        ["manufacturer", "slice_thickness_mm", "lesion_size"],
        description=f"properties by which results are broken down: {', '.join(PROPERTIES)}, or columns of `cohort.clinical`",
    )
    primary_metric: Literal["dice", "nsd", "hd95_mm", "assd_mm", "lesion_sensitivity"] = Field(
        "dice", description="metric of comparisons and of the worst and median cases"
    )
    overlays: int = Field(
        3, ge=0, le=50, description="number of worst and of median cases shown as pictures per experiment"
    )
    parquet: bool = Field(
        False,
        description="write every table also as Parquet; needs the extra `parquet` (pip install 'cohortseg[parquet]')",
    )


class Code(NamedTuple):
    """A coded term, such as 10200004, SCT, Liver: its value, coding scheme and meaning."""

    value: str
    scheme: str
    meaning: str


class ExportSettings(Part):
    """Which files are written for other software."""

    formats: list[Literal["nifti", "nrrd", "mha", "dicom_seg", "rtstruct", "stl", "ply"]] = Field(
        ["nifti"], description="formats of exported labels; dicom_seg and rtstruct for cases that came from DICOM"
    )
    objects: bool = Field(
        False,
        description="also write objects, as `instances` numbers them (components of each class without it): a table with class, volume, centre and box of each, a map of their numbers in every format of images, in dicom_seg a segment for each",
    )
    codes: dict[Name, Code] = Field(
        default_factory=dict,
        description="class name: its coded type in DICOM-SEG (value, scheme, meaning); default: Tissue (SCT 85756007)",
    )
    category: Code = Field(
        Code("91723000", "SCT", "Anatomical structure"),
        description="coded category of all classes in DICOM-SEG",
    )
    uids: Literal["keep", "remap"] = Field(
        "keep", description="UIDs in exported DICOM: those of the source, or remapped by a key that stays in `private/`"
    )
    patient: Literal["pseudonym", "keep"] = Field(
        "pseudonym",
        description="name, ids and dates in exported DICOM of scans that do not say PatientIdentityRemoved = YES: the pseudonym alone, or those of the source, as a PACS needs them; always the pseudonym with uids: remap",
    )


OF_VOXELS = ("nifti", "nrrd", "mha")
"""Formats of exported labels that hold voxel after voxel, and can be written slab by slab."""


class OversizeSettings(Part):
    """Cases that are larger than the memory of a machine: worked through by blocks, measured and exported by slabs."""

    above_gib: float = Field(
        2.0, gt=0, description="a case with more GiB than this, counted as 16-bit voxels of one channel, is oversize"
    )
    workers: int = Field(
        1,
        ge=1,
        description="processes that share the blocks of such a case; on SLURM they are jobs of their own; 1: its job does them alone",
    )
    worker_gib: float = Field(2.0, gt=0, description="memory of each of these processes")


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
    oversize: OversizeSettings = Field(
        default_factory=OversizeSettings, description="cases that do not fit into memory"
    )
