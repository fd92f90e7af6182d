"""The settings of methods that learn without a network: each a group of its own, read by its learner in `methods/`."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cohortseg.settings.base import LABELS_FROM, REFERENCE_SHARE, Name, Part, Positive

Count: TypeAlias = Annotated[int, Field(ge=1)]


class LearnedMethod(Part):
    """What they have in common: fitted by `train` on the training cases of a fold, on one channel as it was converted."""

    channel: Name | None = Field(None, description="channel that is learnt from and segmented; default: the first")
    labels_from: Name | None = Field(None, description=LABELS_FROM)
    reference_share: float = Field(0.0, ge=0, le=1, description=REFERENCE_SHARE)


class VoxelMethod(LearnedMethod):
    """Classifiers of single voxels by their features at several scales."""

    scales_mm: tuple[Positive, ...] = Field(
        (1.0, 2.0, 4.0), min_length=1, description="standard deviations of the Gaussians of the features"
    )
    position: bool = Field(True, description="let the place in the image count as well")
    per_class: Count = Field(500, description="voxels drawn of each class in each training case, at most")
    cases: Count = Field(100, description="training cases that voxels are drawn from, at most; which, by the seed")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=lambda: [1], min_length=1, description="one model per fold and seed"
    )

    @model_validator(mode="after")
    def _seeds_differ(self) -> "VoxelMethod":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("`seeds` names one twice")
        return self


class ForestMethod(VoxelMethod):
    """A random forest on the features of single voxels."""

    method: Literal["forest"]
    trees: Count = Field(50, description="number of trees")
    depth: Count = Field(14, description="largest depth of a tree")


class SvmMethod(VoxelMethod):
    """Support vectors with a Gaussian kernel on the features of single voxels."""

    method: Literal["svm"]
    per_class: Count = Field(60, description="voxels drawn of each class in each training case, at most")
    cases: Count = Field(20, description="training cases that voxels are drawn from, at most; which, by the seed")
    penalty: Positive = Field(1.0, description="weight of voxels on the wrong side of the border (C)")


class MeanShapeMethod(LearnedMethod):
    """How often each class lies at each place: a guess that does not look at the image."""

    method: Literal["mean_shape"]
    box: tuple[Count, Count, Count] = Field((48, 48, 48), description="places along z, y, x that an image is cut into")


class EllipsoidMethod(LearnedMethod):
    """One ellipsoid in the middle of every image, of the size that fits the training cases best: class 1 alone."""

    method: Literal["ellipsoid"]
    sizes: int = Field(40, ge=2, description="sizes that are tried")


LEARNED_SETTINGS: dict[str, type[Part]] = {
    "forest": ForestMethod,
    "svm": SvmMethod,
    "mean_shape": MeanShapeMethod,
    "ellipsoid": EllipsoidMethod,
}
