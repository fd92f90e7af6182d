"""Settings of the measure of stability: which changes of an image a method should bear, and on how many cases."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cohortseg.settings.base import NotNegative, Part


class StabilitySettings(Part):
    """How far a result stays the same when the image is changed: Dice of T⁻¹ f(T x) and f(x), without a reference."""

    transformations: list[
        Literal["flip_x", "flip_y", "flip_z", "rotate_90", "rotate_180", "rotate_270", "noise", "resolution"]
    ] = Field(
        ["flip_x", "flip_y", "rotate_90", "noise", "resolution"],
        min_length=1,
        description="changes, each by itself: mirrored along an axis, turned in the plane, noise added, coarser voxels",
    )
    cases: int = Field(10, ge=1, description="cases, of as many subjects as possible; which, the seed says")
    noise: NotNegative = Field(
        0.05, description="noise: standard deviation, as a share of the range between the 1st and 99th percentile"
    )
    coarser: Annotated[float, Field(gt=1)] = Field(
        2.0, description="resolution: factor on the smallest voxel size; axes that are coarser already stay"
    )
    seed: int = Field(1, ge=0, description="seed of the cases and of the noise")

    @model_validator(mode="after")
    def _differ(self) -> "StabilitySettings":
        if len(set(self.transformations)) < len(self.transformations):
            raise ValueError("`transformations` names one twice")
        return self
