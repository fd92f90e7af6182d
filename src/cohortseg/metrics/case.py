"""All metrics of one label of one case, and the data dictionary of their columns."""

import math
from typing import NamedTuple

from cohortseg.metrics import lesions, overlap, surface
from cohortseg.metrics.overlap import Counts, Mask
from cohortseg.metrics.surface import SurfaceDistances
from cohortseg.volume import Triple


class Column(NamedTuple):
    """What a reader must know of a column.

    `range` holds the lowest and highest possible value, None for text. `higher_is_better` is None where neither
    direction is better.
    """

    unit: str
    definition: str
    range: tuple[float, float] | None
    higher_is_better: bool | None


_SHARE = (0.0, 1.0)
_POSITIVE = (0.0, math.inf)

COLUMNS: dict[str, Column] = {
    "dice": Column("fraction", "2TP / (2TP + FP + FN), in voxels", _SHARE, True),
    "jaccard": Column("fraction", "TP / (TP + FP + FN), also called IoU", _SHARE, True),
    "sensitivity": Column("fraction", "TP / (TP + FN): share of the reference that was found", _SHARE, True),
    "precision": Column("fraction", "TP / (TP + FP): share of the prediction that is right", _SHARE, True),
    "specificity": Column("fraction", "TN / (TN + FP); grows with the field of view", _SHARE, True),
    "accuracy": Column("fraction", "(TP + TN) / all voxels; grows with the field of view", _SHARE, True),
    "segmentation_accuracy": Column(
        "fraction", "1 - (FP + FN) / (TP + FN): symmetric difference over the reference", (-math.inf, 1.0), True
    ),
    "hd_mm": Column(
        "mm", "largest distance of a surface voxel to the other surface, either direction", _POSITIVE, False
    ),
    "hd95_mm": Column("mm", "larger of the two directed 95th percentiles of surface distances", _POSITIVE, False),
    "assd_mm": Column("mm", "mean surface distance over the surface voxels of both masks, pooled", _POSITIVE, False),
    "nsd": Column(
        "fraction",
        "share of the surface voxels of both masks within nsd_tolerance_mm of the other surface",
        _SHARE,
        True,
    ),
    "nsd_tolerance_mm": Column("mm", "tolerance of nsd, from the settings", _POSITIVE, None),
    "reference_ml": Column("ml", "volume of the reference", _POSITIVE, None),
    "prediction_ml": Column("ml", "volume of the prediction", _POSITIVE, None),
    "volume_difference_ml": Column("ml", "prediction_ml - reference_ml", (-math.inf, math.inf), None),
    "n_lesions_reference": Column("count", "26-connected components of the reference", _POSITIVE, None),
    "n_lesions_prediction": Column("count", "26-connected components of the prediction", _POSITIVE, None),
    "lesion_sensitivity": Column(
        "fraction", "share of the reference lesions that the prediction touches in at least one voxel", _SHARE, True
    ),
    "lesion_precision": Column(
        "fraction", "share of the predicted lesions that touch the reference in at least one voxel", _SHARE, True
    ),
    "undefined": Column(
        "text", "why some metrics are empty: both_empty, prediction_empty, reference_empty, or nothing", None, None
    ),
}
"""Columns of `metrics_by_case.csv` that `case_metrics` fills, in order."""


def case_metrics(
    reference: Mask, prediction: Mask, *, spacing_mm: Triple, nsd_tolerance_mm: float
) -> dict[str, float | int | str]:
    """Every metric of one label.

    Work and memory follow the box that holds both masks, not the image: about 6 bytes for each voxel of the box,
    10 when both masks are noise.

    Parameters
    ----------
    reference, prediction : bool array, shape (z, y, x)
        Masks on the same grid.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    nsd_tolerance_mm : float
        Tolerance of the normalised surface distance; 0 asks for surfaces that coincide.

    Returns
    -------
    dict
        The keys of `COLUMNS`, in that order. Undefined numbers are NaN, and `undefined` says why: both masks empty,
        all shares and distances; only the prediction empty, distances and both precisions (Dice is 0); only the
        reference empty, distances, both sensitivities and the segmentation accuracy (Dice is 0).

    Raises
    ------
    ValueError
        When the shapes differ, a mask is not boolean or not (z, y, x), a spacing is not positive and finite or the
        tolerance is negative or not finite.
    """
    if not all(math.isfinite(size) and size > 0 for size in spacing_mm) or len(spacing_mm) != 3:
        raise ValueError(f"spacing_mm must hold three positive numbers, got {spacing_mm}")
    if not math.isfinite(nsd_tolerance_mm) or nsd_tolerance_mm < 0:
        raise ValueError(f"nsd_tolerance_mm must not be negative, got {nsd_tolerance_mm}")
    box = surface.union_box(reference, prediction)
    counts = overlap.count_voxels(reference[box], prediction[box], n_voxels=reference.size)
    distances = surface.surface_distances(reference[box], prediction[box], spacing_mm=spacing_mm)
    return {
        **_overlap_columns(counts),
        **_surface_columns(distances, nsd_tolerance_mm),
        **_volume_columns(counts, spacing_mm),
        **_lesion_columns(lesions.match_lesions(reference[box], prediction[box])),
        "undefined": _undefined(counts),
    }


def _overlap_columns(counts: Counts) -> dict[str, float]:
    return {
        "dice": overlap.dice(counts),
        "jaccard": overlap.jaccard(counts),
        "sensitivity": overlap.sensitivity(counts),
        "precision": overlap.precision(counts),
        "specificity": overlap.specificity(counts),
        "accuracy": overlap.accuracy(counts),
        "segmentation_accuracy": overlap.segmentation_accuracy(counts),
    }


def _surface_columns(distances: SurfaceDistances, tolerance_mm: float) -> dict[str, float]:
    return {
        "hd_mm": surface.hd_mm(distances),
        "hd95_mm": surface.hd95_mm(distances),
        "assd_mm": surface.assd_mm(distances),
        "nsd": surface.nsd(distances, tolerance_mm=tolerance_mm),
        "nsd_tolerance_mm": float(tolerance_mm),
    }


def _volume_columns(counts: Counts, spacing_mm: Triple) -> dict[str, float]:
    return {
        "reference_ml": overlap.volume_ml(counts.reference, spacing_mm),
        "prediction_ml": overlap.volume_ml(counts.prediction, spacing_mm),
        "volume_difference_ml": overlap.volume_ml(counts.prediction - counts.reference, spacing_mm),
    }


def _lesion_columns(counts: lesions.LesionCounts) -> dict[str, float | int]:
    return {
        "n_lesions_reference": counts.n_reference,
        "n_lesions_prediction": counts.n_prediction,
        "lesion_sensitivity": counts.sensitivity,
        "lesion_precision": counts.precision,
    }


def _undefined(counts: Counts) -> str:
    if not counts.union:
        return "both_empty"
    if not counts.prediction:
        return "prediction_empty"
    return "" if counts.reference else "reference_empty"
