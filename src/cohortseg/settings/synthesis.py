"""Settings of a study that makes images: one channel from others, or from a coarser image of itself."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cohortseg.settings.base import Name, Part

IMAGE_LOSSES = ("l1", "l2", "smooth_l1")
"""Losses of a network that makes an image; the others are for labels."""
BODY, WHOLE = "body", "whole"
"""Regions in which made images are measured, beside the classes of the reference."""
Factor: TypeAlias = Annotated[int, Field(ge=1)]


class SynthesisSettings(Part):
    """A study that makes an image instead of a label: CT from MR, one sequence from another, thin slices from thick."""

    target: Name = Field(description="channel that is made")
    inputs: list[Name] = Field(
        default_factory=list,
        description="channels it is made from; when empty all others, or the target itself where `coarser` is named",
    )
    range: tuple[float, float] = Field(
        description="lowest and highest value of the target, in its unit (HU): it is clipped to them in training and scoring, and their difference is the peak of the PSNR"
    )
    coarser: tuple[Factor, Factor, Factor] = Field(
        (1, 1, 1),
        description="super-resolution: the inputs are averaged over so many voxels (z, y, x), then interpolated back",
    )
    body_above: float | None = Field(
        None,
        description="body: the largest object of the target above this value, holes of its slices filled; Otsu's threshold when empty, which is no skin line in MR",
    )
    bits: int = Field(
        8, ge=1, le=16, description="the column `mae_grey` counts in grey levels of so many bits over `range`"
    )

    @model_validator(mode="after")
    def _possible(self) -> "SynthesisSettings":
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range must be (lowest, highest), got {self.range}")
        if len(set(self.inputs)) < len(self.inputs):
            raise ValueError("`inputs` names one twice")
        if self.target in self.inputs and not self.is_finer:
            raise ValueError("the target is no input of its own, unless `coarser` takes something from it")
        return self

    @property
    def is_finer(self) -> bool:
        """Whether the inputs are made coarser first."""
        return self.coarser != (1, 1, 1)

    def inputs_among(self, channels: list[str]) -> list[str]:
        """The inputs by name, in the order in which the network sees them."""
        if self.inputs:
            return list(self.inputs)
        return [self.target] if self.is_finer else [name for name in channels if name != self.target]


class IntensityMethod(Part):
    """Intensities of the target from those of one input, without a network: what a network must beat."""

    method: Literal["intensity"]
    rule: Literal["mean", "linear", "histogram", "input"] = Field(
        "linear",
        description="inside the body of the input (what is brighter than a learnt share of its bright end): the mean of the target; a line; the target's quantile of the same rank; or, inside and outside, the input as it is",
    )
    channel: Name | None = Field(None, description="input that is looked at; default: the first")
