"""The loss and the learning rate of a training, from its settings, and as they change from epoch to epoch."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.infer.regions import Regions
from cohortseg.settings import UNetMethod
from cohortseg.settings.losses import OPTIONS, LossOptions
from cohortseg.train.image_losses import IMAGE_LOSSES
from cohortseg.train.losses import LOSSES, LossFunction
from cohortseg.train.patches import Source
from cohortseg.train.recipe import Recipe
from cohortseg.train.regions import per_region
from cohortseg.train.schedules import SCHEDULES, ScheduleFunction, per_epoch
from cohortseg.train.shape_losses import SHAPE_LOSSES
from cohortseg.train.shape_prior import learn_shapes, with_shapes

Objective: TypeAlias = Callable[[float], LossFunction]
"""From an epoch, counted from 0, to the loss in it."""

LEAST_REGION = 0.1
"""Share of its weight that the Dice keeps beside a growing boundary (Kervadec 2021)."""
SPACED = ("border_weighted", "boundary", "hausdorff")


def objective_of(
    method: UNetMethod, *, n_classes: int, spacing_mm: tuple[float, ...], regions: Regions | None = None
) -> Objective:
    """The loss at each epoch; of networks that find regions the mean over these.

    Distances are counted in voxels of the finest axis.

    Raises
    ------
    SettingsError
        When the weights name another number of classes.
    """
    options = method.loss_options or LossOptions()
    if options.class_weights and len(options.class_weights) != n_classes + 1:
        raise SettingsError(
            f"loss_options.class_weights names {len(options.class_weights)} classes, there are {n_classes + 1} "
            "with the background"
        )
    build = choose("loss", method.loss, {**LOSSES, **SHAPE_LOSSES, **IMAGE_LOSSES}).build
    given: dict[str, Any] = {}
    if method.loss in SPACED:
        given["spacing"] = [size / min(spacing_mm) for size in spacing_mm]

    def at(epoch: float) -> LossFunction:
        named = OPTIONS.get(method.loss, ())
        if "dice_share" in named:
            share = options.first_dice_share if epoch < options.first_epochs else options.dice_share
            # Twice, so that equal shares are the plain sum.
            return build(dice_weight=2.0 * share, entropy_weight=2.0 * (1.0 - share))
        if method.loss == "boundary":
            grown = options.boundary_growth * int(epoch)
            weights = {"region_weight": max(LEAST_REGION, 1.0 - grown)}
            return build(**weights, boundary_weight=options.boundary_weight + grown, **given)
        return build(**{name: getattr(options, name) for name in named}, **given)

    if regions is not None:
        return lambda epoch: per_region(at(epoch), regions.members)
    return at


def final_loss(objective: Objective) -> LossFunction:
    """The loss after all changes: validation uses it throughout, so that its curve is of one thing."""
    return objective(float(10**6))


def changing(
    method: UNetMethod,
    *,
    n_classes: int,
    spacing_mm: tuple[float, ...],
    epoch_steps: float,
    regions: Regions | None = None,
) -> dict[str, Any]:
    """What of a `Recipe` depends on epochs, of so many steps: loss, weight of contours, schedule."""
    objective = objective_of(method, n_classes=n_classes, spacing_mm=spacing_mm, regions=regions)
    return {
        "loss": final_loss(objective),
        "loss_at": lambda step: objective(step / epoch_steps),
        "contour_weight": (method.loss_options or LossOptions()).contour_weight,
        "schedule": schedule_of(method, epoch_steps),
    }


def schedule_of(method: UNetMethod, epoch_steps: float) -> ScheduleFunction:
    """The factor on the learning rate."""
    if method.decay_per_epoch is not None:
        return per_epoch(method.decay_per_epoch, epoch_steps)
    return choose("schedule", method.schedule, SCHEDULES).factor


def held_to(recipe: Recipe, method: UNetMethod, source: Source, sizes: Mapping[str, Any], device: Any) -> Recipe:
    """The recipe, with the difference of shape codes where the settings weigh it: then shapes are learnt here first.

    Parameters
    ----------
    sizes : mapping
        `dims`, `n_classes` (background included), and `size` of the finest result for a patch.
    """
    options = method.loss_options or LossOptions()
    if not options.shape_weight:
        return recipe
    shapes = learn_shapes(
        source,
        dims=sizes["dims"],
        n_classes=sizes["n_classes"],
        steps=options.shape_steps,
        code=options.shape_code,
        seed=recipe.seed,
        device=device,
    )
    return with_shapes(recipe, shapes, options.shape_weight, sizes["size"])
