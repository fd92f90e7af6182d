"""Settings of the cohort: where the scans are, which of them to use, what their labels are, what a good series is."""

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from cohortseg.ignored import IGNORE_CLASS
from cohortseg.settings.base import Name, Part, Pattern, Patterns, Positive

Modality: TypeAlias = Literal[
    "CT", "MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "IO", "PX", "ES", "GM", "SM", "XC", "OT"
]
Mend: TypeAlias = Literal["stray_slices", "repeated_slices", "missing_slices", "uneven_spacing"]
RGB = ("red", "green", "blue")
ONE_CHANNEL = "image"


class SeriesSettings(Part):
    """Which DICOM series become cases, or a channel of cases."""

    modality: Modality | None = Field(None, description="DICOM modality; CT, MR and PT when empty")
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
    phases: Literal["reject", "first", "last", "all"] | int = Field(
        "reject",
        description="series that hold several volumes (phases, echoes, b-values): reject them, take one (first, last, number from 1), or make each a case",
    )
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
        if isinstance(self.phases, int) and self.phases < 1:
            raise ValueError(f"phases are counted from 1, got {self.phases}")
        return self


class LabelSettings(Part):
    """Where the reference labels are and which classes they hold."""

    kind: Literal["auto", "rtstruct", "seg", "series", "files", "none"] = Field(
        "auto",
        description="which label objects to use; auto takes whatever belongs to the image; series: masks stored as image series",
    )
    structures: dict[Name, Patterns] = Field(
        default_factory=dict,
        description="class name: regular expression, or several, that match the whole name of its ROIs, segments or mask series; classes are numbered 1, 2, … in this order; a class called `ignore` holds voxels that nobody judged: they count for nothing in training and metrics, and may be missing",
    )
    files: Pattern | None = Field(
        None,
        description="regular expression on the path of label files (NIfTI, NRRD, MHA, PNG, TIFF, contours as .csv) with a group `subject`, and `scan` where `images` has one",
    )
    values: dict[Name, int] = Field(
        default_factory=dict,
        description="class name: integer value in label files (`ignore` too: voxels that count for nothing); default: the class's own number",
    )
    instances: bool = Field(False, description="label files number the objects of the one class 1, 2, …")
    instance_divisor: int | None = Field(
        None,
        ge=2,
        description="with `instances`, for several classes: a voxel holds the value of its class × this + the number of its object, 0 for none (Cityscapes and COCO: 1000)",
    )
    missing: Literal["predict", "reject"] = Field(
        "predict", description="a case without a label: predict it without scoring it, or reject it"
    )
    missing_structure: Literal["reject", "empty"] = Field(
        "reject", description="a label object that does not name a class: reject the case, or take the class for empty"
    )
    several: Literal["reject", "newest"] = Field(
        "reject", description="several label objects of one image: reject the case, or take the newest"
    )
    resample: bool = Field(False, description="bring label files that lie on another grid onto that of the image")
    planes: Literal["reject", "nearest", "interpolate"] = Field(
        "nearest",
        description="contours (RTSTRUCT) between the slices: reject, give to the nearest slice, interpolate shapes",
    )
    fraction: float = Field(0.5, gt=0, le=1, description="share from which a fractional segment holds a voxel")

    @model_validator(mode="after")
    def _has_classes(self) -> "LabelSettings":
        # A study that makes images needs none; that one which makes labels names some is checked where both are known.
        if not self.structures and not self.values and self.kind != "none":
            raise ValueError("name at least one class in `structures` or `values`")
        if self.structures and self.values and list(self.structures) != list(self.values):
            raise ValueError("`structures` and `values` must name the same classes in the same order")
        if self.kind == "files" and self.files is None:
            raise ValueError("`kind: files` needs the pattern `files`")
        if self.kind in ("rtstruct", "seg", "series") and not self.structures:
            raise ValueError(f"`kind: {self.kind}` needs `structures`")
        if 0 in self.values.values() or len(set(self.values.values())) < len(self.values):
            raise ValueError("`values` must differ from each other and from 0, the background")
        if self.names and not self.classes:
            raise ValueError(f"`{IGNORE_CLASS}` is no class to find, name at least one other")
        if self.instance_divisor is not None and not self.instances:
            raise ValueError("`instance_divisor` goes with `instances: true`")
        if self.instances and self.instance_divisor is None and self.has_ignore:
            raise ValueError(f"`instances` numbers the objects of one class, and leaves no value for `{IGNORE_CLASS}`")
        if self.instances and self.instance_divisor is None and len(self.classes) != 1:
            raise ValueError(f"`instances` goes with a single class, or an `instance_divisor`, got {len(self.classes)}")
        return self

    @property
    def classes(self) -> list[str]:
        """Class names; number 1 is the first, 0 is the background. `ignore` is none of them."""
        return [name for name in self.names if name != IGNORE_CLASS]

    @property
    def names(self) -> list[str]:
        """What label objects hold, in the order of the settings: the classes, and `ignore` among them."""
        return list(self.structures or self.values)

    @property
    def has_ignore(self) -> bool:
        """Whether a structure or value is named for voxels that count for nothing."""
        return IGNORE_CLASS in self.names

    @property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """The regular expressions of each class."""
        return {name: tuple(patterns) for name, patterns in self.structures.items()}

    @property
    def file_values(self) -> dict[str, int]:
        """The value of each class in label files."""
        return self.values or {name: number for number, name in enumerate(self.names, start=1)}


class CohortSettings(Part):
    """Where the scans are and which of them to use."""

    source: Path = Field(description="folder of anything: DICOM in any layout, or image files")
    images: Pattern | None = Field(
        None,
        description="for image files (NIfTI, NRRD, MHA, PNG, TIFF, JPEG) instead of DICOM: regular expression on the path with a group `subject`, and groups `scan` and `channel` where a subject has several",
    )
    modality: Modality = Field("MR", description="modality of image files, which do not say it")
    colour: Literal["grey", "rgb"] = Field("grey", description="colour pictures: as brightness, or as three channels")
    pixel_mm: tuple[Positive, Positive] | None = Field(
        None, description="pixel size (y, x) of pictures, which do not say it in mm; 1 mm when empty"
    )
    series: SeriesSettings = Field(default_factory=SeriesSettings, description="selection of DICOM series")
    channels: dict[Name, SeriesSettings] = Field(
        default_factory=dict,
        description="for cases of several images, instead of `series`: channel name: selection of its series (of image files: the text of the group `channel`); the first gives the grid and has the label",
    )
    channels_per: Literal["subject", "study"] = Field(
        "subject", description="the channels of a case are looked for within one subject, or one DICOM study"
    )
    missing_channel: Literal["reject", "zero"] = Field(
        "reject", description="a case without one of the channels (never the first): reject it, or fill it with zeros"
    )
    labels: LabelSettings = Field(description="reference labels")
    clinical: Path | None = Field(
        None,
        description="table (CSV) of clinical data with a column `subject` (name or original id) or `case`; what subgroups and covariates name is taken from it",
    )
    deidentified: bool = Field(
        False,
        description="you vouch that file names and ids hold no identity: ids are kept (DICOM that says PatientIdentityRemoved = YES keeps them anyway)",
    )
    exclude: list[str] = Field(default_factory=list, description="names of cases to leave out")

    @model_validator(mode="after")
    def _one_way(self) -> "CohortSettings":
        if self.channels and self.colour == "rgb":
            raise ValueError("`colour: rgb` makes its own three channels, leave out `channels`")
        if len(self.channels) == 1:
            raise ValueError("`channels` is for two or more, use `series`")
        if self.images is not None and self.channels and "(?P<channel>" not in self.images:
            raise ValueError("`images` needs a group `(?P<channel>…)` when `channels` are named")
        return self

    @property
    def channel_names(self) -> list[str]:
        """The channels of a case; the first is the reference."""
        return list(self.channels) or (list(RGB) if self.colour == "rgb" else [ONE_CHANNEL])


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
    registration: Literal["none", "rigid"] = Field(
        "none",
        description="how further channels come onto the grid of the first: by the frame of reference they share, or registered (rigid, mutual information)",
    )
