"""The settings of the classical methods: each a group of its own, read by the builder of the same name in `methods/`."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cohortseg.settings.base import Name, NotNegative, Part, Positive

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Odd: TypeAlias = Annotated[int, Field(ge=1, le=31)]
Inside: TypeAlias = Literal["all", "body", "lungs"]
Seed: TypeAlias = Annotated[int, Field(ge=0)]


class Classical(Part):
    """What classical methods have in common: the channel they work on, and how many classes they find."""

    channel: Name | None = Field(None, description="channel that is segmented; default: the first")

    @property
    def n_found(self) -> int:
        """Number of classes in the result."""
        return 1


class Levelled(Classical):
    """Methods that sort what they find by brightness, 1 is the darkest."""

    levels: int = Field(2, ge=2, le=16, description="number of brightness levels")
    objects: list[Count] | None = Field(
        None, min_length=1, description="levels (1: darkest) that become class 1, 2, …; default: the brightest"
    )

    @model_validator(mode="after")
    def _objects_are_levels(self) -> "Levelled":
        wanted = self.objects or []
        if len(set(wanted)) < len(wanted) or any(level > self.levels for level in wanted):
            raise ValueError(f"`objects` must be different levels from 1 to {self.levels}, got {wanted}")
        return self

    @property
    def n_found(self) -> int:
        """Number of classes in the result."""
        return len(self.objects or [1])


class Started(Classical):
    """Contours that start from a shape in each plane."""

    start: Literal["ellipse", "box", "otsu"] = Field(
        "ellipse", description="first contour: centred ellipse or box, or what is above Otsu's threshold"
    )
    start_size: float = Field(0.6, gt=0, le=1, description="size of ellipse or box as a share of the plane's sides")


class MultithresholdMethod(Levelled):
    """Brightness levels between several thresholds of one histogram."""

    method: Literal["multithreshold"]
    levels: int = Field(3, ge=2, le=16, description="number of brightness levels")
    rule: Literal["multi_otsu", "tsallis", "valleys"] = Field("multi_otsu", description="how thresholds are found")
    inside: Inside = Field("all", description="region that is divided (body, lungs: CT)")
    q: Positive = Field(0.8, description="entropic index for `tsallis`; 1 is Kapur's rule")


class KMeansMethod(Levelled):
    """K-means clusters of intensities, of intensities with their surroundings, or of principal components."""

    method: Literal["kmeans"]
    levels: int = Field(3, ge=2, le=16, description="number of clusters, sorted by brightness")
    inside: Inside = Field("all", description="region that is divided (body, lungs: CT)")
    features: Literal["intensity", "spatial", "pca"] = Field(
        "intensity", description="intensity; with mean and median of a window; principal components of the window"
    )
    window: Odd = Field(3, description="side of the window in voxels, odd")
    components: Count = Field(3, description="number of principal components")
    seed: Seed = Field(1, description="seed of the starts and of the sample")
    starts: Count = Field(4, description="number of starts; the best result counts")
    sample: int = Field(
        200_000, ge=1000, description="voxels that centres of `spatial` and `pca` are found on, at most"
    )

    @model_validator(mode="after")
    def _odd(self) -> "KMeansMethod":
        if self.window % 2 == 0:
            raise ValueError(f"`window` must be odd, got {self.window}")
        return self


class FuzzyMethod(Levelled):
    """Fuzzy c-means, plain or intuitionistic."""

    method: Literal["fuzzy_cmeans"]
    levels: int = Field(3, ge=2, le=16, description="number of clusters, sorted by brightness")
    inside: Inside = Field("all", description="region that is divided (body, lungs: CT)")
    fuzziness: float = Field(2.0, gt=1, description="exponent m of the memberships")
    hesitation: Literal["none", "sugeno", "yager"] = Field(
        "none", description="generator of the non-membership; none: plain fuzzy c-means"
    )
    strength: float = Field(
        1.0, ge=0, description="lambda of Sugeno (0: no hesitation) or exponent of Yager, at most 1 (1: no hesitation)"
    )
    tolerance: Positive = Field(1e-5, description="end when no membership changes by more")
    iterations: Count = Field(200, description="upper bound of the iterations")

    @model_validator(mode="after")
    def _generator(self) -> "FuzzyMethod":
        if self.hesitation == "yager" and not 0 < self.strength <= 1:
            raise ValueError(f"`hesitation: yager` needs a `strength` above 0 and at most 1, got {self.strength}")
        return self


class RegionGrowingMethod(Levelled):
    """Region growing from one seed, or from the commonest grey levels."""

    method: Literal["region_growing"]
    seeds: Literal["first_and_modes", "mode", "brightest", "darkest", "centre"] = Field(
        "first_and_modes",
        description="first voxel, then the commonest grey levels; or one seed, whose region is class 1",
    )
    criterion: Literal["running_mean", "seed", "confidence"] = Field(
        "running_mean", description="what a neighbour is compared with: mean of the region, seed, mean and deviation"
    )
    tolerance: Positive = Field(0.1, description="largest difference, as a share of the 1st to 99th percentile range")
    deviations: Positive = Field(2.5, description="standard deviations for `confidence`")
    rounds: Count = Field(4, description="rounds for `confidence`")
    connectivity: Literal[1, 2, 3] = Field(1, description="neighbours share a face (1), an edge (2), a corner (3)")
    regions: Count = Field(32, description="largest number of regions for `first_and_modes`")

    @model_validator(mode="after")
    def _one_region_is_one_class(self) -> "RegionGrowingMethod":
        if self.seeds != "first_and_modes" and self.objects is not None:
            raise ValueError("`objects` goes with `seeds: first_and_modes`: one seed finds one class")
        return self


class SplitMergeMethod(Levelled):
    """Split and merge in each plane."""

    method: Literal["split_merge"]
    spread: Share = Field(0.2, description="largest difference within a region, as a share of the plane's range")
    smallest: Literal[1, 2, 4, 8, 16, 32] = Field(1, description="side of the smallest square in pixels")


class ContourRegionsMethod(Levelled):
    """Closed regions between contours of each plane."""

    method: Literal["contour_regions"]
    scale_mm: Positive = Field(1.5, description="standard deviation of the Gaussian before the gradient")
    strength: NotNegative = Field(0.05, description="borders weaker than this fall (plane scaled to 0..1, per pixel)")


class CannyMethod(Classical):
    """Areas that Canny's edges surround, in each plane."""

    method: Literal["canny"]
    scale: Positive = Field(2.0, description="standard deviation of the Gaussian in pixels")
    low: Share = Field(0.8, description="an edge goes on above this quantile of the gradients")
    high: Share = Field(0.9, description="an edge begins above this quantile of the gradients")
    gap: int = Field(3, ge=0, le=50, description="gaps of contours up to about twice so many pixels are closed")
    smallest_share: Share = Field(0.001, description="areas below this share of the plane are left out")

    @model_validator(mode="after")
    def _order(self) -> "CannyMethod":
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        return self


class TophatMethod(Classical):
    """Grey-level morphology: what stands out from its surroundings."""

    method: Literal["tophat"]
    kind: Literal["white", "black", "gradient"] = Field(
        "white", description="small bright or dark structures, or borders"
    )
    radius_mm: Positive = Field(5.0, description="half the sides of the box that does not fit into the structures")
    above: float = Field(50.0, description="what stands out by more is found, in image units (HU)")


class WatershedMethod(Classical):
    """Marker-controlled watershed of bright objects."""

    method: Literal["watershed"]
    surface: Literal["distance", "gradient"] = Field(
        "distance", description="distance: part touching objects; gradient: border at the steepest place"
    )
    rule: Literal["otsu", "multi_otsu", "yen", "li", "triangle", "tsallis", "valley"] = Field(
        "otsu", description="threshold that tells objects from background"
    )
    apart_mm: Positive = Field(5.0, description="smallest distance of two objects' centres (distance)")
    scale_mm: NotNegative = Field(1.0, description="standard deviation of the Gaussian before the gradient (gradient)")
    sure_mm: NotNegative = Field(2.0, description="so far from the threshold's border is sure (gradient)")


class DrlseMethod(Started):
    """Level set without re-initialisation, in each plane."""

    method: Literal["drlse"]
    start: Literal["ellipse", "box", "otsu"] = Field(
        "box", description="first contour: centred ellipse or box, or what is above Otsu's threshold"
    )
    start_size: float = Field(0.8, gt=0, le=1, description="size of ellipse or box as a share of the plane's sides")
    scale: Positive = Field(1.5, description="standard deviation of the Gaussian before the gradient, in pixels")
    step: Positive = Field(5.0, description="time step")
    regularisation: float = Field(0.2, ge=0, lt=0.25, description="weight of the distance term times the time step")
    length: NotNegative = Field(5.0, description="weight of the contour's length on edges (lambda)")
    area: float = Field(1.5, description="weight of the area inside (alpha): above 0 shrinks, below grows")
    iterations: Count = Field(200, description="number of steps")
    refine: int = Field(10, ge=0, description="steps without the area at the end")


class ChanVeseMethod(Started):
    """Active contour without edges, in each plane; the brighter region is class 1."""

    method: Literal["chan_vese"]
    iterations: Count = Field(100, description="number of steps")
    smoothing: int = Field(1, ge=0, le=4, description="smoothings of the contour in each step")
    local_mm: NotNegative = Field(
        0.0, description="radius of the local mean that uneven illumination is removed by; 0: none"
    )
    local_weight: Share = Field(1.0, description="share of the local image in the force")


class GeodesicMethod(Started):
    """Geodesic active contour with a balloon, in each plane."""

    method: Literal["geodesic"]
    start_size: float = Field(0.8, gt=0, le=1, description="size of ellipse or box as a share of the plane's sides")
    iterations: Count = Field(150, description="number of steps")
    smoothing: int = Field(1, ge=0, le=4, description="smoothings of the contour in each step")
    balloon: Literal[-1, 0, 1] = Field(-1, description="-1 shrinks, 1 grows, 0 follows edges only")
    scale: Positive = Field(2.0, description="standard deviation of the Gaussian before the gradient, in pixels")
    steepness: Positive = Field(100.0, description="how fast the stopping image falls with the gradient")
    stop_below: float | None = Field(
        None, gt=0, description="the balloon rests where the stopping image is below; default: its 40th percentile"
    )


class SnakeMethod(Classical):
    """A snake in each plane, from a centred ellipse."""

    method: Literal["snake"]
    start_size: float = Field(0.7, gt=0, le=1, description="axes of the ellipse as a share of the plane's sides")
    points: int = Field(120, ge=8, description="points of the curve")
    scale: Positive = Field(2.0, description="standard deviation of the Gaussian that draws edges wide, in pixels")
    tension: NotNegative = Field(0.015, description="weight of the curve's length (alpha)")
    rigidity: NotNegative = Field(10.0, description="weight of the curve's bending (beta)")
    brightness: float = Field(0.0, description="pull of bright places; below 0: of dark ones")
    edges: float = Field(1.0, description="pull of edges")
    step: Positive = Field(0.001, description="time step (gamma)")
    iterations: Count = Field(2500, description="upper bound of the steps")


class HmrfMethod(Levelled):
    """Tissue classes of normal intensities that prefer neighbours of their kind."""

    method: Literal["hmrf"]
    levels: int = Field(3, ge=2, le=16, description="number of classes, sorted by brightness")
    inside: Inside = Field("all", description="region that is divided (body, lungs: CT)")
    beta: NotNegative = Field(0.5, description="strength of the field; 0: a mixture of Gaussians")
    neighbourhood: Literal["fast", "scaled", "plane"] = Field(
        "fast", description="weights through the plane: as FSL FAST; all by spacing ratio; none"
    )
    iterations: Count = Field(20, description="iterations of expectation and maximisation")
    sweeps: Count = Field(2, description="sweeps of the labels in each")
    shares: bool = Field(False, description="let the share of each class count as well")
    seed: Seed = Field(1, description="seed of the k-means that it starts from")


class LungRegion(Classical):
    """The lungs of a chest CT, on demand mirrored about the spine and with a margin."""

    air_hu: float | None = Field(-400.0, description="air is darker, in HU; by Otsu's rule in the body when empty")
    growth_hu: float = Field(-300.0, description="the lung grows from its air into voxels darker than this, in HU")
    closing_mm: NotNegative = Field(5.0, description="radius that closes vessels and joins regions")
    airways: bool = Field(False, description="keep windpipe and main bronchi")
    flip_union: bool = Field(False, description="add the mirror image of the lungs about the spine")
    spine_rows: Literal["all", "posterior"] = Field(
        "posterior", description="rows whose bone is added up: all (as published), or the back half of the body"
    )
    spine_peak: Literal["highest", "centroid", "symmetry"] = Field(
        "symmetry", description="place in the profile: highest (as published), centroid of the top half, symmetry"
    )
    spine_position: Literal["smoothed", "mean", "raw", "body"] = Field(
        "smoothed", description="exponential smoothing over slices (as published), one mean, each slice's own, mid-body"
    )
    spine_taps: Odd = Field(7, description="taps of the moving average of the profile, odd")
    spine_first: Count = Field(5, description="slices whose mean starts the smoothing")
    spine_alpha: float = Field(0.3, gt=0, le=1, description="weight of the new slice in the smoothing")
    margin: int = Field(
        0, ge=0, le=50, description="radius in pixels of the disk that widens each slice; 5 as published"
    )

    @model_validator(mode="after")
    def _order(self) -> "LungRegion":
        if self.air_hu is not None and self.growth_hu < self.air_hu:
            raise ValueError(f"growth_hu must not be below air_hu, got {self.growth_hu} and {self.air_hu}")
        if self.spine_taps % 2 == 0:
            raise ValueError(f"`spine_taps` must be odd, got {self.spine_taps}")
        return self


class LungMethod(LungRegion):
    """The lungs of a chest CT as class 1, on demand mirrored about the spine and with a margin."""

    method: Literal["lung"]


ClassicalMethod: TypeAlias = (
    MultithresholdMethod
    | KMeansMethod
    | FuzzyMethod
    | RegionGrowingMethod
    | SplitMergeMethod
    | ContourRegionsMethod
    | CannyMethod
    | TophatMethod
    | WatershedMethod
    | DrlseMethod
    | ChanVeseMethod
    | GeodesicMethod
    | SnakeMethod
    | HmrfMethod
    | LungMethod
)

CLASSICAL_SETTINGS: dict[str, type[Part]] = {
    "multithreshold": MultithresholdMethod,
    "kmeans": KMeansMethod,
    "fuzzy_cmeans": FuzzyMethod,
    "region_growing": RegionGrowingMethod,
    "split_merge": SplitMergeMethod,
    "contour_regions": ContourRegionsMethod,
    "canny": CannyMethod,
    "tophat": TophatMethod,
    "watershed": WatershedMethod,
    "drlse": DrlseMethod,
    "chan_vese": ChanVeseMethod,
    "geodesic": GeodesicMethod,
    "snake": SnakeMethod,
    "hmrf": HmrfMethod,
    "lung": LungMethod,
}
