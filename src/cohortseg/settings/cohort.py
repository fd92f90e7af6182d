"""Settings of the cohort: where the scans are, which of them to use, what their labels are, what a good series is."""

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from cohortseg.settings.base import Name, Part, Pattern, Patterns, Positive

Mend: TypeAlias = Literal["stray_slices", "repeated_slices", "missing_slices", "uneven_spacing"]


class SeriesSettings(Part):
    """Which DICOM series become cases."""

    modality: Literal["CT", "MR", "PT"] | None = Field(None, description="DICOM modality; all when empty")
    description: Pattern | None = Field(None, description="regular expression that SeriesDescription must contain")
    not_description: Pattern | None = Field(None, description="regular expression that it must not contain")
    body_part: Pattern | None = Field(None, description="regular expression that BodyPartExamined must contain")
    kernel: Pattern | None = Field(None, description="regular expression that ConvolutionKernel must contain")
    image_type: Pattern | None = Field(
        None, description="regular expression that ImageType must contain, values joined by a backslash (ORIGINAL)"
    )
    thickness_mm: tuple[float, float] | None = Field(None, description="smallest and largest slice thickness")
    orientation: Literal["axial", "coronal", "sagittal"] | None = Field(None, description="plane of the slices")
    contrast: bool | None = Field(None, description="with (true) or without (false) contrast agent, by the header")
    min_slices: int = Field(5, ge=1, description="fewer slices than this are rejected (scouts, localisers)")
    choose: Literal["all", "newest", "thinnest", "most_slices"] = Field(
        "all", description="which of several matching series to take"
    )
    choose_per: Literal["study", "subject"] = Field("study", description="`choose` takes one per study, or per subject")
    burned_in: Literal["reject", "keep"] = Field(
        "reject", description="images that say that identity is burned into their pixels"
    )

    @model_validator(mode="after")
    def _ranges(self) -> "SeriesSettings":
        if self.thickness_mm is not None and self.thickness_mm[0] > self.thickness_mm[1]:
            raise ValueError(f"thickness_mm must be (smallest, largest), got {self.thickness_mm}")
        return self


class LabelSettings(Part):
    """Where the reference labels are and which classes they hold."""

    kind: Literal["auto", "rtstruct", "seg", "files", "none"] = Field(
        "auto",
        description="which label objects to use; auto takes whatever belongs to the image",
    )
    structures: dict[Name, Patterns] = Field(
        default_factory=dict,
        description="class name: regular expression, or several, that match the whole name of its ROIs or segments (RTSTRUCT, DICOM-SEG); classes are numbered 1, 2, … in this order",
    )
    files: Pattern | None = Field(
        None,
        description="regular expression on the path of label files (NIfTI, NRRD, MHA) with a group `subject`",
    )
    values: dict[Name, int] = Field(
        default_factory=dict, description="class name: integer value in label files; default: the class's own number"
    )
    missing: Literal["predict", "reject"] = Field(
        "predict", description="a case without a label: predict it without scoring it, or reject it"
    )
    missing_structure: Literal["reject", "empty"] = Field(
        "reject", description="a label object that does not name a class: reject the case, or take the class for empty"
    )
    planes: Literal["reject", "nearest", "interpolate"] = Field(
        "nearest",
        description="contours (RTSTRUCT) between the slices: reject, give to the nearest slice, interpolate shapes",
    )
    fraction: float = Field(0.5, gt=0, le=1, description="share from which a fractional segment holds a voxel")

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
    """What a well-formed series is, and what may be mended."""

    slice_tolerance_mm: Positive = Field(0.1, description="largest deviation of a slice distance from the median")
    slice_warning_mm: Positive = Field(0.01, description="deviations from this on are noted in the report")
    label_tolerance_mm: Positive = Field(
        0.05, description="largest distance of a label's voxel centres from the image's"
    )
    mend: list[Mend] = Field(
        default_factory=list,
        description="faults that are mended and noted instead of rejected: leave out slices of another kind, leave out repeated slices, interpolate missing ones, resample uneven ones",
    )
    gantry_tilt: Literal["reject", "deskew"] = Field(
        "reject", description="a stack whose slices lean: reject it, or shift its slices into a right-angled grid"
    )
    suv: Literal["bw", "lbm", "bsa"] = Field(
        "bw", description="PET uptake per body weight, lean body mass (Janmahasatian), or body surface"
    )
