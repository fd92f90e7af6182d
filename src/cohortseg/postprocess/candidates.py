"""What may be done to a predicted class by itself, and what each of these would leave of a case.

A case is looked at once: its components are counted for each of the few shapes that morphology can give the class, with
how many voxels each holds and shares with the reference. Every candidate, and every smallest volume, is then a sum over
these lists: no voxel is read again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cohortseg.ignored import IGNORE
from cohortseg.postprocess.chain import NOTHING, POSTPROCESSES, Keep, Mask, with_margin
from cohortseg.postprocess.components import components, least_voxels
from cohortseg.volume import Array, Triple

Record = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """One entry of the table: options of `postprocess_label`.

    Parameters
    ----------
    summary, source : str
        What is done, and who did so before.
    min_volume_share : float
        Smallest volume that is kept, as a share of the usual volume of a part of the reference (`usual_part_ml`).
    """

    summary: str
    source: str
    opening_mm: float = 0.0
    closing_mm: float = 0.0
    fill_holes: bool = False
    keep: Keep = "all"
    min_volume_share: float = 0.0
    scope: Literal["pointwise", "volume"] = "volume"
    test: str = "tests/postprocess/test_candidates.py"

    @property
    def shape(self) -> str:
        """What morphology it begins with: candidates of the same shape share their components."""
        return f"opening {self.opening_mm:g} closing {self.closing_mm:g} holes {int(self.fill_holes)}"

    def options(self, usual_ml: float) -> dict[str, Any]:
        """The options of `postprocess_label`, where the parts of the reference usually have `usual_ml`."""
        volume_ml = two_digits(self.min_volume_share * usual_ml)
        return {
            "opening_mm": self.opening_mm,
            "closing_mm": self.closing_mm,
            "fill_holes": self.fill_holes,
            "min_volume_ml": volume_ml,
            "min_slices": 1,
            "keep": self.keep,
        }


_ISENSEE = "Isensee et al. 2021 (nnU-Net): the largest component where that helps in cross-validation"
_PEREIRA = "Pereira et al. 2016: volumetric constraint"
_SERRA = "Serra 1982, Image Analysis and Mathematical Morphology"
_SOILLE = "Soille 2004, Morphological Image Analysis, 6.3.7"

CANDIDATES: dict[str, Candidate] = {
    "nothing": Candidate("the label as predicted", "the baseline of every gain", scope="pointwise"),
    "fill_holes": Candidate("holes filled", _SOILLE, fill_holes=True),
    "keep_largest": Candidate("largest component", _ISENSEE, keep="largest"),
    "keep_two": Candidate("two largest components, for paired organs", _ISENSEE, keep=2),
    "min_volume_1_percent": Candidate("no part below 1 % of the usual one", _PEREIRA, min_volume_share=0.01),
    "min_volume_3_percent": Candidate("no part below 3 % of the usual one", _PEREIRA, min_volume_share=0.03),
    "min_volume_10_percent": Candidate("no part below 10 % of the usual one", _PEREIRA, min_volume_share=0.1),
    "min_volume_30_percent": Candidate("no part below 30 % of the usual one", _PEREIRA, min_volume_share=0.3),
    "keep_largest_filled": Candidate("holes filled, largest component", _ISENSEE, fill_holes=True, keep="largest"),
    "min_volume_10_percent_filled": Candidate(
        "holes filled, no part below 10 % of the usual one", _PEREIRA, fill_holes=True, min_volume_share=0.1
    ),
    "opening_2_mm": Candidate("opening by a ball of 2 mm", _SERRA, opening_mm=2.0),
    "opening_2_mm_keep_largest": Candidate(
        "opening by a ball of 2 mm, largest component", _SERRA, opening_mm=2.0, keep="largest"
    ),
    "closing_2_mm": Candidate("closing by a ball of 2 mm", _SERRA, closing_mm=2.0),
}
"""What is tried on each class, the simpler first: of equals the first is taken."""

SHAPES = {candidate.shape: candidate for candidate in CANDIDATES.values()}
LISTED = max([1, *(candidate.keep for candidate in CANDIDATES.values() if isinstance(candidate.keep, int))])
"""Largest components that are listed one by one; of the others it is enough how many have which size."""
BLOCK_VOXELS = 4_000_000


def tally(label: Array, reference: Array, *, spacing_mm: Triple, n_classes: int) -> list[Record]:
    """Voxels of each class and of each of its components, under every shape of the table.

    Parameters
    ----------
    label, reference : uint8 array, shape (z, y, x)
        Class numbers; 0 is the background. Where the reference holds `IGNORE`, voxels decide and are not counted.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    n_classes : int
        Classes without the background.

    Returns
    -------
    list of dict
        Of each class `n_reference` and `n_prediction` voxels, `n_reference_parts` (26-connected), `n_shared` voxels of
        both, and `shapes`: of each shape the components that a candidate chooses from, as [voxels that decide, voxels
        left, of these in the label, of these in the reference], the largest one by one, then `others`: [voxels that
        decide, components, the three sums]. A voxel that another class holds decides but is not left. An absent class
        has no components.

        Each class is looked at alone: background that two classes would grow into counts for both.
    """
    from scipy import ndimage

    boxes = [ndimage.find_objects(array, max_label=n_classes) for array in (label, reference)]
    found = []
    for value in range(1, n_classes + 1):
        box, place = (boxes_of[value - 1] for boxes_of in boxes)
        record: Record = {"n_reference": 0, "n_reference_parts": 0, "n_prediction": 0, "n_shared": 0}
        if place is not None:
            sizes = components(reference[place] == value)[1]
            record |= {"n_reference": int(sizes[1:].sum()), "n_reference_parts": len(sizes) - 1}
        record["shapes"] = {name: {"largest": [], "others": []} for name in SHAPES}
        if box is not None:
            where = with_margin(box)
            before, truth = label[where], reference[where] == value
            mask, judged = before == value, reference[where] != IGNORE
            counted = mask & judged
            record |= {"n_prediction": int(counted.sum()), "n_shared": int((mask & truth).sum())}
            allowed = counted | ((before == 0) & judged)
            for name, candidate in SHAPES.items():
                shaped = _shaped(mask, candidate, spacing_mm)
                record["shapes"][name] = _parts(shaped, counted, allowed, truth)
        found.append(record)
    return found


def _shaped(mask: Mask, candidate: Candidate, spacing_mm: Triple) -> Mask:
    """The mask after the morphology of a candidate, in the order of the chain."""
    for name in ("opening", "closing"):
        radius_mm = getattr(candidate, f"{name}_mm")
        if radius_mm > 0:
            mask = POSTPROCESSES[name].function(mask, radius_mm=radius_mm, spacing_mm=spacing_mm)
    return POSTPROCESSES["fill_holes"].function(mask) if candidate.fill_holes else mask


def _parts(shaped: Mask, mask: Mask, allowed: Mask, truth: Mask) -> dict[str, list[list[int]]]:
    """The components of a shape, the largest first (of equals the first in (z, y, x) order)."""
    numbers, sizes = components(shaped)
    counts = np.stack([sizes, *_counts(numbers, (allowed, mask, truth & allowed), len(sizes))])[:, 1:]
    order = np.argsort(-counts[0], kind="stable")
    largest, rest = counts[:, order[:LISTED]].T, counts[:, order[LISTED:]].T
    kinds, place, n_of_size = np.unique(rest[:, 0], return_inverse=True, return_counts=True)
    sums = np.zeros((len(kinds), 3), np.int64)
    np.add.at(sums, place.ravel(), rest[:, 1:])
    return {
        "largest": largest.tolist(),
        "others": np.column_stack((kinds, n_of_size, sums)).astype(np.int64).tolist(),
    }


def _counts(numbers: Array, masks: Sequence[Mask], n: int) -> npt.NDArray[np.int64]:
    """Voxels of each component in each mask, some planes at a time."""
    found = np.zeros((len(masks), n), np.int64)
    step = max(1, BLOCK_VOXELS // max(1, numbers[0].size))
    for start in range(0, len(numbers), step):
        planes = slice(start, start + step)
        for row, mask in zip(found, masks, strict=True):
            row += np.bincount(numbers[planes][mask[planes]], minlength=n)
    return found


# ---- what a candidate leaves ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Left:
    """Voxels that a candidate leaves of a class, how many of them the reference has, and how many voxels change."""

    n_left: int
    n_shared: int
    n_changed: int


def left_by(record: Mapping[str, Any], candidate: Candidate, *, usual_ml: float, voxel_ml: float) -> Left:
    """What a candidate leaves of a class in a case, from its record.

    Parameters
    ----------
    record : dict
        As `tally` makes it.
    candidate : Candidate
    usual_ml : float
        Usual volume of a part of the reference; NaN where there is none, and then no volume is too small.
    voxel_ml : float
        Volume of a voxel.
    """
    options = {**NOTHING, **candidate.options(usual_ml)}
    least = least_voxels(options["min_volume_ml"], voxel_ml)
    parts = record["shapes"][candidate.shape]
    kept = [part for part in parts["largest"] if part[0] >= least]
    if options["keep"] == "all":
        kept += [[part[0], *part[2:]] for part in parts["others"] if part[0] >= least]
    else:
        kept = kept[: 1 if options["keep"] == "largest" else options["keep"]]
    n_left, n_old, n_shared = (sum(part[column] for part in kept) for column in (1, 2, 3))
    return Left(n_left, n_shared, n_left + record["n_prediction"] - 2 * n_old)


def usual_part_ml(records: Sequence[Mapping[str, Any]], voxel_ml: Sequence[float]) -> float:
    """Median over cases of the mean volume of a part of the reference, in ml; NaN where no case has any."""
    volumes = [
        record["n_reference"] / record["n_reference_parts"] * volume
        for record, volume in zip(records, voxel_ml, strict=True)
        if record["n_reference_parts"]
    ]
    return float(np.median(volumes)) if volumes else math.nan


def two_digits(value: float) -> float:
    """A number a person can read, so that a choice does not change with the third digit; 0 for NaN."""
    return float(f"{value:.2g}") if math.isfinite(value) else 0.0
