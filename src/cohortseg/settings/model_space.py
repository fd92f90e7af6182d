"""Settings of model space and folds: plan, preprocessing, split."""

from typing import Literal

from pydantic import Field, model_validator

from cohortseg.settings.base import Part, Spacing, is_none
from cohortseg.settings.classical import LungRegion


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
    device: Literal["cpu", "gpu"] = Field(
        "cpu", description="what the networks are planned for: size of patch and batch"
    )
    patch_voxels: int | None = Field(
        None, ge=4096, description="upper bound of the voxels in one training patch; by the device when empty"
    )
    low_spacing_mm: Spacing | None = Field(
        None,
        exclude_if=is_none,
        description="voxel size (z, y, x) for experiments with `resolution: low`; when empty so coarse that a patch holds a quarter of the usual image, and none where it does so at full resolution",
    )

    @model_validator(mode="after")
    def _window(self) -> "PlanSettings":
        if self.window_hu is not None and self.window_hu[0] >= self.window_hu[1]:
            raise ValueError(f"window_hu must be (low, high), got {self.window_hu}")
        if self.normalisation == "window" and self.window_hu is None:
            raise ValueError("`normalisation: window` needs `window_hu`")
        if self.low_spacing_mm is not None and self.dims == 2:
            raise ValueError("`low_spacing_mm` is for volumes; `dims` is 2")
        return self


class PreprocessSettings(Part):
    """How an image is brought into model space."""

    interpolation: Literal["linear", "bspline"] = Field(
        "linear", description="interpolation of images; labels: nearest"
    )
    bins: int | None = Field(
        None, ge=2, le=4096, description="grey levels in so many bins of equal width over the window; none when empty"
    )
    isolate: LungRegion | None = Field(
        None,
        description="keep the lung region of a chest CT and set all else to air; settings as of `method: lung`, "
        "for example {flip_union: true, margin: 5}",
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
