"""The settings of each method: what an experiment may be."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cohortseg.settings.base import Name, NotNegative, Part, Positive
from cohortseg.settings.classical import CLASSICAL_SETTINGS, ClassicalMethod


class ThresholdMethod(Part):
    """A classical method: intensity threshold inside a region, then components."""

    method: Literal["threshold"]
    rule: Literal["fixed", "otsu", "multi_otsu", "yen", "li", "triangle", "tsallis", "valley"] = Field(
        "otsu", description="how the threshold is found"
    )
    low: float | None = Field(None, description="lower limit for `fixed`, in image units (HU)")
    high: float | None = Field(None, description="upper limit for `fixed`, in image units (HU)")
    inside: Literal["all", "body", "lungs"] = Field(
        "all", description="region the threshold is applied in (body, lungs: CT)"
    )
    opening_mm: NotNegative = Field(0.0, description="radius of an opening that frees blobs from thin structures")
    q: Positive = Field(0.8, description="entropic index for `tsallis`; 1 is Kapur's rule")
    channel: Name | None = Field(None, description="channel that is thresholded; default: the first")

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


Method: TypeAlias = Annotated[ThresholdMethod | ClassicalMethod | UNetMethod, Field(discriminator="method")]

METHOD_SETTINGS: dict[str, type[Part]] = {"threshold": ThresholdMethod, **CLASSICAL_SETTINGS, "unet": UNetMethod}
