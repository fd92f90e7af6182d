"""The settings of each method: what an experiment may be."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cohortseg.settings.base import LABELS_FROM, REFERENCE_SHARE, Name, NotNegative, Part, Positive, is_none
from cohortseg.settings.best import BestMethod
from cohortseg.settings.classical import CLASSICAL_SETTINGS, ClassicalMethod
from cohortseg.settings.learned import (
    LEARNED_SETTINGS,
    EllipsoidMethod,
    ForestMethod,
    LearnedMethod,
    MeanShapeMethod,
    SvmMethod,
)
from cohortseg.settings.losses import LossOptions
from cohortseg.settings.networks import Network
from cohortseg.settings.synthesis import IMAGE_LOSSES, IntensityMethod

DEFAULT_STEPS = 1000
"""Optimiser steps where the settings name neither steps nor minutes."""


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


class NetworkMethod(Part):
    """How networks predict, wherever their weights come from."""

    overlap: float = Field(0.5, ge=0, lt=1, description="overlap of the sliding window")
    mirror: bool = Field(False, description="average over mirrored inputs when predicting")
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] | None = Field(
        None,
        description="probability threshold for a single class; else the most probable class; `auto`: chosen for each fold by the validation cases of the other folds, applied in `postprocess` (keeps the probabilities)",
    )
    skip_empty: bool = Field(
        True, description="tiles of one single value (air, masked background) are background and are not computed"
    )
    probabilities: bool = Field(False, description="keep the probability of each class (`probabilities.zarr`)")
    uncertainty: bool = Field(
        False, description="keep entropy and disagreement of each voxel in bits (`uncertainty.zarr`), and their means"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="arithmetic of the forward pass; auto: bf16 where the machine that trains first has it in hardware, else fp32, decided once for all models and predictions of the experiment; fp16: with a scaled loss, trains on GPUs alone",
    )


class UNetMethod(NetworkMethod):
    """A trained U-Net; its dimensions, patch and grid come from the plan."""

    method: Literal["unet"]
    features: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="channels per level; from the plan when empty"
    )
    encoder: Literal["plain", "residual_small", "residual_medium", "residual_large"] = Field(
        "plain", description="plain: two convolutions per level; residual: blocks with shortcuts, of three sizes"
    )
    architecture: Network | None = Field(
        None, description="network of a paper, by its `name` and options; the planned U-Net when empty"
    )
    deep_supervision: bool = Field(False, description="the loss counts at the coarser levels of the decoder too")
    resolution: Literal["full", "low"] = Field(
        "full",
        exclude_if=lambda value: value == "full",
        description="model space: that of the plan, or a coarser one of which a patch sees at least a quarter (`low_resolution` in plan.json); volumes only",
    )
    cascade: Name | None = Field(
        None,
        exclude_if=is_none,
        description="experiment with `resolution: low` whose labels the network gets as further channels (docs/tasks.md)",
    )
    targets: Literal["classes", "regions"] = Field(
        "classes",
        description="what the network finds: exclusive classes (softmax), or the `regions` of the study (one sigmoid each), which are then written over each other in their order",
    )
    loss: Literal[
        "dice_ce",
        "dice_bce",
        "dice_focal",
        "dice",
        "cross_entropy",
        "focal",
        "tversky",
        "focal_tversky",
        "jaccard",
        "generalised_dice",
        "lovasz_softmax",
        "weighted_cross_entropy",
        "border_weighted",
        "boundary",
        "hausdorff",
        "iou_balanced",
        "l1",
        "l2",
        "smooth_l1",
    ] = Field("dice_ce", description="loss function; l1, l2, smooth_l1 where the study makes images (`synthesis`)")
    loss_options: LossOptions | None = Field(None, description="numbers of the loss; its usual ones when empty")
    optimiser: Literal["adamw", "sgd_nesterov"] = Field("adamw", description="optimiser")
    learning_rate: Positive = Field(3e-3, description="largest learning rate")
    weight_decay: NotNegative = Field(1e-4, description="weight decay")
    schedule: Literal["constant", "cosine", "poly", "exponential", "step_wise"] = Field(
        "cosine", description="learning-rate schedule"
    )
    decay_per_epoch: float | None = Field(
        None, gt=0, le=1, description="schedule `exponential`: the factor of each epoch, such as 0.8"
    )
    steps: int | None = Field(
        None, ge=1, description=f"number of optimiser steps; {DEFAULT_STEPS} when there are no minutes either"
    )
    minutes: Positive | None = Field(
        None,
        description="time to train for instead of steps: measured once on the device that trains, then frozen as steps",
    )
    batch: int | None = Field(None, ge=1, description="patches per step; from the plan when empty")
    processes: int = Field(
        1,
        ge=1,
        description="processes that train one network together, one per GPU or share of the CPUs; each computes its part of every batch, which stays as large as it is",
    )
    accumulate: int = Field(1, ge=1, description="parts that a batch goes through the network in, to save memory")
    gradient_clip: NotNegative = Field(12.0, description="largest norm of the gradient; 0: no limit")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="keep a running average of the weights; 0: the weights")
    keep: Literal["last", "best"] = Field(
        "last",
        description="weights that are kept: best by the validation Dice, which makes results on the validation cases too good",
    )
    patience: int = Field(
        0,
        ge=0,
        description="validations without a better Dice after which training ends, which looks at the validation cases too; 0: never",
    )
    foreground_share: float = Field(0.5, ge=0, le=1, description="share of patches centred on a labelled voxel")
    negative_share: float = Field(0.0, ge=0, le=1, description="share of patches without any labelled voxel")
    balance: Literal["case", "class"] = Field(
        "case", description="patches on labelled voxels: each case as often, or each class of the cohort as often"
    )
    augmentation: Literal["none", "light", "full", "shift_rotate_zoom", "elastic", "vnet"] = Field(
        "light", description="augmentation preset (docs/methods.md)"
    )
    annotated_every: int = Field(
        1,
        ge=1,
        description="only each n-th slice of the training cases has a label, the others count for nothing; with a small `foreground_share`, or patches always have theirs in the middle",
    )
    boxes: float | None = Field(
        None,
        gt=0,
        le=1,
        description="learn from the boxes about the labelled objects of the training cases alone (on each slice where `plan.dims` is 2): so large a share of a box, in its middle, is the class, the rest of it counts for nothing, outside is background; 0.2 as published (Khoreva 2017), 1: whole boxes",
        exclude_if=is_none,
    )
    labels_from: Name | None = Field(None, description=LABELS_FROM)
    reference_share: float = Field(0.0, ge=0, le=1, description=REFERENCE_SHARE)
    transfer: Path | None = Field(
        None, description="weights (.safetensors) to begin with, as far as the layers have the same shape"
    )
    frozen: list[Literal["encoder", "decoder", "up", "head"]] = Field(
        default_factory=list, description="parts of the network that keep the transferred weights"
    )
    fine_tuned_layers: int | None = Field(
        None, ge=1, description="train only so many layers, the last ones, and keep the transferred weights before"
    )
    channels_last: bool = Field(False, description="memory format of the network: quicker on some devices")
    compile: bool = Field(False, description="compile the network with torch (needs a C++ compiler on the machine)")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=lambda: [1], min_length=1, description="one model per fold and seed"
    )
    validate_every: int = Field(100, ge=1, description="steps between two validations")
    checkpoint_minutes: Positive = Field(5.0, description="minutes between two resume checkpoints")

    @model_validator(mode="after")
    def _seeds_differ(self) -> "UNetMethod":
        twice = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"`seeds` names {', '.join(map(str, twice))} twice")
        return self

    @model_validator(mode="after")
    def _shared(self) -> "UNetMethod":
        if self.batch is not None and self.batch % self.processes:
            raise ValueError(f"a `batch` of {self.batch} cannot be shared evenly by {self.processes} `processes`")
        if self.processes > 1 and self.loss_options is not None and self.loss_options.shape_weight:
            raise ValueError("`loss_options.shape_weight` trains an autoencoder first, in one of `processes` alone")
        if self.processes > 1 and self.augmentation == "vnet":
            raise ValueError("`augmentation: vnet` needs whole batches, and each of `processes` has a part")
        if self.foreground_share + self.negative_share > 1:
            raise ValueError("`foreground_share` and `negative_share` are more than 1 together")
        return self

    @model_validator(mode="after")
    def _loss_and_its_numbers(self) -> "UNetMethod":
        network = self.architecture.name if self.architecture is not None else None
        strange = self.loss_options.of_others(self.loss, network) if self.loss_options is not None else []
        if strange:
            raise ValueError(f"`loss_options.{strange[0]}` is nothing that loss {self.loss!r} or the network has")
        if self.loss == "weighted_cross_entropy" and not (self.loss_options and self.loss_options.class_weights):
            raise ValueError("loss `weighted_cross_entropy` needs `loss_options.class_weights`")
        return self

    @property
    def makes_images(self) -> bool:
        """Whether the loss is one of images, not of labels."""
        return self.loss in IMAGE_LOSSES

    @model_validator(mode="after")
    def _finds_regions(self) -> "UNetMethod":
        if self.targets == "classes":
            return self
        if self.loss == "weighted_cross_entropy":
            raise ValueError("loss `weighted_cross_entropy` weighs classes; with `targets: regions` take another one")
        if self.loss_options is not None and self.loss_options.shape_weight:
            raise ValueError("`loss_options.shape_weight` learns shapes of classes, not of `targets: regions`")
        if self.threshold is not None:
            raise ValueError("`threshold` is for a single class; `targets: regions` are decoded at one half")
        if self.uncertainty:
            raise ValueError("`uncertainty` is that of exclusive classes; leave it out with `targets: regions`")
        return self

    @model_validator(mode="after")
    def _chosen_without_references(self) -> "UNetMethod":
        if self.labels_from is not None and (self.keep == "best" or self.patience):
            raise ValueError("`labels_from`: `keep: best` and `patience` would look at references of held-out cases")
        if self.boxes is not None and (self.keep == "best" or self.patience):
            raise ValueError("`boxes`: `keep: best` and `patience` would look at outlines of held-out cases")
        return self

    @model_validator(mode="after")
    def _transferred(self) -> "UNetMethod":
        if self.frozen and self.transfer is None:
            raise ValueError("`frozen` parts need weights: name them with `transfer`")
        if self.fine_tuned_layers and self.transfer is None:
            raise ValueError("`fine_tuned_layers` need weights: name them with `transfer`")
        if self.frozen and self.fine_tuned_layers:
            raise ValueError("`frozen` and `fine_tuned_layers` are two ways to say what is kept; name one")
        return self

    @model_validator(mode="after")
    def _possible(self) -> "UNetMethod":
        if self.steps is not None and self.minutes is not None:
            raise ValueError("`steps` and `minutes` are two ways to say the same; name one")
        if self.architecture is not None and (self.features or self.encoder != "plain" or self.deep_supervision):
            raise ValueError("`features`, `encoder`, `deep_supervision` are the planned U-Net's, not `architecture`'s")
        if self.mirror and self.architecture is not None and self.architecture.is_unpadded:
            raise ValueError("`mirror` is for networks that keep the size of a patch, not for those without padding")
        if self.decay_per_epoch is not None and self.schedule != "exponential":
            raise ValueError("`decay_per_epoch` goes with `schedule: exponential`")
        return self


class PretrainedMethod(NetworkMethod):
    """Finished networks of another study: nothing is trained, and the plan is theirs."""

    method: Literal["pretrained"]
    model: Path = Field(Path("model"), description="folder that `cohortseg package` made")


Method: TypeAlias = Annotated[
    ThresholdMethod
    | ClassicalMethod
    | ForestMethod
    | SvmMethod
    | MeanShapeMethod
    | EllipsoidMethod
    | UNetMethod
    | PretrainedMethod
    | BestMethod
    | IntensityMethod,
    Field(discriminator="method"),
]

TrainedMethod: TypeAlias = UNetMethod | LearnedMethod | IntensityMethod
"""Methods that `train` makes a model for."""


def seeds_of(method: TrainedMethod) -> list[int]:
    """The seeds of a trained method; where chance plays no part there is one model for each fold."""
    seeds: list[int] = getattr(method, "seeds", [1])
    return seeds


METHOD_SETTINGS: dict[str, type[Part]] = {
    "threshold": ThresholdMethod,
    **CLASSICAL_SETTINGS,
    **LEARNED_SETTINGS,
    "unet": UNetMethod,
    "pretrained": PretrainedMethod,
    "best": BestMethod,
    "intensity": IntensityMethod,
}
