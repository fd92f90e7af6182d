"""The chain that cleans a predicted label, class by class, in memory that does not grow with the number of classes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.postprocess.components import keep_largest, keep_n, minimum_slices, minimum_volume
from cohortseg.postprocess.morphology import closing, fill_holes, opening
from cohortseg.volume import Array, Triple

Mask = npt.NDArray[np.bool_]
Keep: TypeAlias = Literal["all", "largest"] | int
Step: TypeAlias = tuple[str, dict[str, Any]]
"""Name of an entry of the table, and its options."""


@dataclass(frozen=True)
class Postprocess:
    """One entry of the table.

    Parameters
    ----------
    function : callable
        Mask in, mask out, with named options.
    scope : {'pointwise', 'halo', 'slice', 'volume'}
        What a voxel of the result depends on; a halo is `halo_radii` times the reach of the radius.
    source : str
        Where the definition comes from.
    halo_radii : int
        Only for scope 'halo'.
    """

    function: Callable[..., Mask]
    scope: Literal["pointwise", "halo", "slice", "volume"]
    source: str
    halo_radii: int = 0


POSTPROCESSES: dict[str, Postprocess] = {
    "opening": Postprocess(opening, "halo", "Serra 1982, Image Analysis and Mathematical Morphology", halo_radii=2),
    "closing": Postprocess(closing, "halo", "Serra 1982, Image Analysis and Mathematical Morphology", halo_radii=2),
    "fill_holes": Postprocess(fill_holes, "volume", "Soille 2004, Morphological Image Analysis, 6.3.7"),
    "minimum_volume": Postprocess(minimum_volume, "volume", "Pereira et al. 2016: volumetric constraint"),
    "minimum_slices": Postprocess(minimum_slices, "volume", "Primakov et al. 2022: overlap in neighbouring slices"),
    "keep_largest": Postprocess(keep_largest, "volume", "Rosenfeld & Pfaltz 1966: connected components"),
    "keep_n": Postprocess(keep_n, "volume", "Rosenfeld & Pfaltz 1966: connected components"),
}

NOTHING: Mapping[str, Any] = {
    "opening_mm": 0.0,
    "closing_mm": 0.0,
    "fill_holes": False,
    "min_volume_ml": 0.0,
    "min_slices": 1,
    "keep": "all",
}
"""The options that leave a label as it is."""


def postprocess_label(  # noqa: PLR0913 (all but one are named options)
    label: Array,
    *,
    spacing_mm: Triple,
    n_classes: int,
    opening_mm: float = 0.0,
    closing_mm: float = 0.0,
    fill_holes: bool = False,
    min_volume_ml: float = 0.0,
    min_slices: int = 1,
    keep: Keep = "all",
) -> npt.NDArray[np.uint8]:
    """Clean each class by itself: opening, closing, holes, small components, kept components, in this order.

    A class grows only into background: what the label gives to another class is never taken from it, so a nested
    structure (a tumour in an organ) survives the filling of its surroundings. Background that two classes want goes to
    the lower number. What a class loses becomes background.

    Parameters
    ----------
    label : uint8 array, shape (z, y, x)
        Class numbers; 0 is the background.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    n_classes : int
        Number of classes without the background: values 1 .. n_classes. A class that is absent stays absent.
    opening_mm, closing_mm : float
        Radii of the morphology; 0 leaves it out.
    fill_holes : bool
        Fill cavities that do not reach the border of the image.
    min_volume_ml : float
        Components below this volume are removed; 0 leaves it out.
    min_slices : int
        Components that overlap themselves over fewer slices are removed; 1 leaves it out.
    keep : 'all', 'largest' or int
        Components of each class that are kept.

    Returns
    -------
    uint8 array, shape (z, y, x)
        A new array.

    Raises
    ------
    SettingsError
        For another `keep`.
    ValueError
        For a label value beyond `n_classes`.
    """
    options: dict[str, Any] = {"opening_mm": opening_mm, "closing_mm": closing_mm, "fill_holes": fill_holes}
    options |= {"min_volume_ml": min_volume_ml, "min_slices": min_slices, "keep": keep}
    return postprocess_classes(label, spacing_mm=spacing_mm, options=[options] * n_classes)


def postprocess_classes(
    label: Array, *, spacing_mm: Triple, options: Sequence[Mapping[str, Any]]
) -> npt.NDArray[np.uint8]:
    """Clean each class in its own way; everything else as in `postprocess_label`.

    Parameters
    ----------
    label : uint8 array, shape (z, y, x)
        Class numbers; 0 is the background.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    options : sequence of dict
        Of each class the options of `postprocess_label`; what is not named is not done.
    """
    from scipy import ndimage

    if label.size and label.max() > len(options):
        raise ValueError(f"the label holds {label.max()}, only {len(options)} classes are named")
    chains = [steps_of(spacing_mm, **{**NOTHING, **of_class}) for of_class in options]
    out = np.zeros(label.shape, np.uint8)
    boxes = ndimage.find_objects(label, max_label=len(chains)) if chains else []
    for value, (box, chain) in enumerate(zip(boxes, chains, strict=True), start=1):
        if box is None:
            continue
        where = with_margin(box)
        before, result = label[where], out[where]
        mask = before == value
        for name, named in chain:
            mask = choose("postprocess", name, POSTPROCESSES).function(mask, **named)
        result[mask & ((before == value) | ((before == 0) & (result == 0)))] = value
    return out


def with_margin(box: tuple[slice, ...]) -> tuple[slice, ...]:
    """The box of a class and one voxel around it, which no step leaves."""
    return tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)


def steps_of(
    spacing_mm: Triple,
    *,
    opening_mm: float,
    closing_mm: float,
    fill_holes: bool,
    min_volume_ml: float,
    min_slices: int,
    keep: Keep,
) -> list[Step]:
    """Names and options of the steps that have something to do, in order."""
    if keep not in ("all", "largest") and not (isinstance(keep, int) and keep >= 1):
        raise SettingsError(f"keep {keep!r} is not available; choices: all, largest, a number from 1")
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    steps: list[tuple[bool, str, dict[str, Any]]] = [
        (opening_mm > 0, "opening", {"radius_mm": opening_mm, "spacing_mm": spacing_mm}),
        (closing_mm > 0, "closing", {"radius_mm": closing_mm, "spacing_mm": spacing_mm}),
        (fill_holes, "fill_holes", {}),
        (min_volume_ml > 0, "minimum_volume", {"min_volume_ml": min_volume_ml, "voxel_ml": voxel_ml}),
        (min_slices > 1, "minimum_slices", {"n_slices": min_slices}),
        (keep == "largest", "keep_largest", {}),
        (isinstance(keep, int), "keep_n", {"n": keep}),
    ]
    return [(name, options) for wanted, name, options in steps if wanted]
