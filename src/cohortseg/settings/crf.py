"""Settings of the fully connected conditional random field that may refine probabilities."""

from pydantic import Field, model_validator

from cohortseg.settings.base import Name, NotNegative, Part, Positive


class CRFSettings(Part):
    """Fully connected conditional random field on kept probabilities (Krähenbühl and Koltun 2011), before the cleaning."""

    channels: list[Name] = Field(
        default_factory=list, description="image channels whose intensities count; the first channel when empty"
    )
    window: tuple[float, float] | None = Field(
        None, description="intensities are clipped to this, in image units; default: percentiles 0.5 and 99.5"
    )
    intensity: Positive = Field(
        0.05, description="standard deviation of intensities in the appearance, as a share of the window"
    )
    appearance_weight: NotNegative = Field(10.0, description="weight of voxels that are near and look alike")
    appearance_mm: Positive = Field(10.0, description="standard deviation of their distance")
    smooth_weight: NotNegative = Field(3.0, description="weight of voxels that are very near, whatever they look like")
    smooth_mm: Positive = Field(2.0, description="standard deviation of their distance")
    iterations: int = Field(5, ge=1, le=100, description="updates of the mean field")
    normalised: bool = Field(
        True,
        description="divide kernels by the root of their sums, as the authors' program; false: the paper's formula",
    )

    @model_validator(mode="after")
    def _window(self) -> "CRFSettings":
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError("`window` is a lower and a higher intensity")
        if not self.appearance_weight and not self.smooth_weight:
            raise ValueError("one of `appearance_weight` and `smooth_weight` must be above 0")
        return self
