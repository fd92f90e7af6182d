"""Options of the losses that have some."""

from pydantic import Field

from cohortseg.settings.base import NotNegative, Part, Positive

_SHARES = ("dice_share", "first_epochs", "first_dice_share")
OPTIONS: dict[str, tuple[str, ...]] = {
    "dice_ce": _SHARES,
    "dice_bce": _SHARES,
    "dice_focal": _SHARES,
    "weighted_cross_entropy": ("class_weights",),
    "border_weighted": ("border_weight", "border_sigma"),
    "boundary": ("boundary_weight", "boundary_growth"),
    "iou_balanced": ("eta",),
}
"""Which options a loss has."""
WITH_CONTOURS = ("dcan", "gated_scnn")
"""Networks with a head for contours, which is trained beside the classes."""


class LossOptions(Part):
    """Numbers of the losses; one that the chosen loss does not have is refused."""

    class_weights: tuple[NotNegative, ...] = Field(
        (), description="weighted_cross_entropy: weight of each class, background first"
    )
    dice_share: float = Field(
        0.5, ge=0, le=1, description="dice_ce, dice_bce, dice_focal: share of the Dice; 0.5 is the plain sum"
    )
    first_epochs: int = Field(0, ge=0, description="epochs in which the Dice has another share, such as 50")
    first_dice_share: float = Field(0.8, ge=0, le=1, description="share of the Dice in the first epochs")
    border_weight: NotNegative = Field(10.0, description="border_weighted: weight of the gap between two objects")
    border_sigma: Positive = Field(5.0, description="border_weighted: its width, in voxels of the finest axis")
    boundary_weight: NotNegative = Field(0.01, description="boundary: weight of the distances")
    boundary_growth: NotNegative = Field(
        0.0, description="boundary: growth of that weight per epoch, taken from the Dice, down to a tenth of it"
    )
    eta: NotNegative = Field(1.5, description="iou_balanced: exponent of the intersection over union")
    contour_weight: NotNegative = Field(1.0, description="dcan, gated_scnn: weight of the loss of the contour head")
    shape_weight: NotNegative = Field(
        0.0,
        description="any loss: weight of the difference of shape codes (ACNN); an autoencoder of the label maps of the training cases is trained first, in addition to `minutes`",
    )
    shape_steps: int = Field(300, ge=1, description="optimiser steps of that autoencoder")
    shape_code: int = Field(16, ge=1, description="channels of its code")

    def of_others(self, loss: str, architecture: str | None) -> list[str]:
        """The options that are set though neither loss nor network has them."""
        known = {"shape_weight", *OPTIONS.get(loss, ()), *(["contour_weight"] if architecture in WITH_CONTOURS else [])}
        known |= {"shape_steps", "shape_code"} if self.shape_weight else set()
        plain = type(self)()
        changed = [name for name in type(self).model_fields if getattr(self, name) != getattr(plain, name)]
        return [name for name in changed if name not in known]
