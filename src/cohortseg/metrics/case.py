"""All metrics of one label of one case."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cohortseg.metrics import boundary, lesions, overlap, surface
from cohortseg.metrics.bits import Mask, crop_to_union, pack_pair
from cohortseg.metrics.columns import COLUMNS, MASK_COLUMNS
from cohortseg.metrics.lesion_scores import lesion_scores
from cohortseg.metrics.lesions import Floats, Lesions
from cohortseg.metrics.overlap import Counts
from cohortseg.metrics.surface import SurfaceDistances
from cohortseg.volume import Triple

__all__ = ["COLUMNS", "MASK_COLUMNS", "CaseMeasures", "case_metrics", "measure_case"]

Row = dict[str, float | int | str]

MOST_LESIONS = 1000
"""Lesions of a mask that are listed one by one, the largest first; the counts of the row are of all."""


@dataclass(frozen=True)
class CaseMeasures:
    """Everything that is measured of one label of one case.

    Parameters
    ----------
    row : dict
        The keys of `MASK_COLUMNS`.
    lesions : list of dict
        The largest `MOST_LESIONS` lesions of the reference, then of the prediction: `side`, `volume_ml`, `z`, `y`,
        `x` (mean index), `shared_ml` with the other mask, `n_matched` lesions of it and `largest_match_ml` of them,
        `dice` (NaN on the side of the prediction), `max_probability` and `mean_probability` (of predicted lesions) and
        `match_max_probability` (the largest of the lesions that touch one of the reference); NaN without probabilities.
    trimap : list of [float, float]
        Width of a band in mm and the boundary Jaccard in it, for each width asked for.
    reference_centre : (float, float, float) or None
        Mean index (z, y, x) of the reference's voxels; None when it is empty.
    """

    row: Row
    lesions: list[dict[str, Any]]
    trimap: list[tuple[float, float]]
    reference_centre: tuple[float, float, float] | None


def case_metrics(
    reference: Mask,
    prediction: Mask,
    *,
    spacing_mm: Triple,
    nsd_tolerance_mm: float,
    boundary_band_mm: float = 2.0,
) -> Row:
    """The row of `measure_case`."""
    return measure_case(
        reference,
        prediction,
        spacing_mm=spacing_mm,
        nsd_tolerance_mm=nsd_tolerance_mm,
        boundary_band_mm=boundary_band_mm,
    ).row


def measure_case(  # noqa: PLR0913 (each has its name)
    reference: Mask,
    prediction: Mask,
    *,
    spacing_mm: Triple,
    nsd_tolerance_mm: float,
    boundary_band_mm: float = 2.0,
    trimap_bands_mm: tuple[float, ...] = (),
    probability: Any = None,
    n_not_judged: int = 0,
) -> CaseMeasures:
    """Every metric of one label.

    Both masks are packed to bits (an eighth of their size each), and all else works on the box that holds both.
    Memory beside them follows their surfaces; only masks of noise take 6 to 10 bytes for each voxel of the box.

    Parameters
    ----------
    reference, prediction : bool array, shape (z, y, x)
        Masks on the same grid.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    nsd_tolerance_mm : float
        Tolerance of the normalised surface distance; 0 asks for surfaces that coincide.
    boundary_band_mm : float
        Half width of the band of the boundary Jaccard.
    trimap_bands_mm : tuple of float
        More such widths, for a curve; their cost grows with the square of the width in voxels.
    probability : array-like of floats, shape (z, y, x), optional
        Probability of the label, from which predicted lesions get their scores; read some slices at a time.
    n_not_judged : int
        Voxels that count for nothing; neither mask holds one. Where a mask was cut there, the cut is surface.

    Returns
    -------
    CaseMeasures
        Undefined numbers are NaN, and `undefined` says why: both masks empty, all shares and distances; only the
        prediction empty, distances and both precisions (Dice is 0); only the reference empty, distances, both
        sensitivities, boundary and path, the segmentation accuracy and the relative volume difference (Dice is 0).

    Raises
    ------
    ValueError
        When the shapes differ, a mask is not boolean or not (z, y, x), a spacing is not positive and finite, or a
        tolerance or band is negative or not finite.
    """
    named = named_lengths(spacing_mm, nsd_tolerance_mm, boundary_band_mm, trimap_bands_mm)
    whole = reference.size - n_not_judged
    ours, theirs = crop_to_union(*pack_pair(reference, prediction))
    parts = Parts(
        counts=overlap.count_voxels(ours, theirs, n_voxels=whole),
        distances=surface.surface_distances(ours, theirs, spacing_mm=spacing_mm),
        lesions=lesions.match_lesions(ours, theirs),
        boundary_jaccards={
            width: boundary.boundary_jaccard(ours, theirs, band_mm=width, spacing_mm=spacing_mm)
            for width in (boundary_band_mm, *trimap_bands_mm)
        },
        added_path_mm=boundary.added_path_mm(ours, theirs, spacing_mm=spacing_mm),
        scores=None if probability is None else lesion_scores(theirs, probability),
    )
    return measures_of(parts, spacing_mm, named, trimap_bands_mm, n_not_judged)


def named_lengths(
    spacing_mm: Triple, nsd_tolerance_mm: float, boundary_band_mm: float, trimap_bands_mm: Iterable[float]
) -> dict[str, float]:
    """Tolerance and band by name; lengths that are negative or not finite are refused, spacings also when 0."""
    if not all(math.isfinite(size) and size > 0 for size in spacing_mm) or len(spacing_mm) != 3:
        raise ValueError(f"spacing_mm must hold three positive numbers, got {spacing_mm}")
    named = {"nsd_tolerance_mm": nsd_tolerance_mm, "boundary_band_mm": boundary_band_mm}
    for name, length in [*named.items(), *(("trimap_bands_mm", band) for band in trimap_bands_mm)]:
        if not math.isfinite(length) or length < 0:
            raise ValueError(f"{name} must not be negative, got {length}")
    return named


@dataclass(frozen=True)
class Parts:
    """What all numbers of a label are made from, however it was found: in one piece, or slab by slab.

    `boundary_jaccards` holds one for each half width of a band in mm, `scores` those of the predicted lesions.
    """

    counts: Counts
    distances: SurfaceDistances
    lesions: Lesions
    boundary_jaccards: Mapping[float, float]
    added_path_mm: float
    scores: tuple[Floats, Floats] | None


def measures_of(
    parts: Parts,
    spacing_mm: Triple,
    named: Mapping[str, float],
    trimap_bands_mm: tuple[float, ...],
    n_not_judged: int,
) -> CaseMeasures:
    """All numbers of a label; `named` holds `nsd_tolerance_mm` and `boundary_band_mm`."""
    counts, band_mm = parts.counts, named["boundary_band_mm"]
    row: Row = {
        **_overlap_columns(counts),
        **_surface_columns(parts.distances, named["nsd_tolerance_mm"]),
        "boundary_jaccard": parts.boundary_jaccards[band_mm],
        "boundary_band_mm": float(band_mm),
        "added_path_mm": parts.added_path_mm if counts.reference else math.nan,
        **_volume_columns(counts, spacing_mm),
        **_lesion_columns(parts.lesions),
        "not_judged_ml": overlap.volume_ml(n_not_judged, spacing_mm),
        "undefined": _undefined(counts),
    }
    curve = [(width, parts.boundary_jaccards[width]) for width in trimap_bands_mm]
    found = parts.lesions
    return CaseMeasures(row, _lesion_rows(found, spacing_mm, parts.scores), curve, _centre(found))


def _centre(found: Lesions) -> tuple[float, float, float] | None:
    if not found.n_reference:
        return None
    z, y, x = np.average(found.reference_centres, axis=0, weights=found.reference_voxels).tolist()
    return z, y, x


def _overlap_columns(counts: Counts) -> Row:
    return {
        "dice": overlap.dice(counts),
        "jaccard": overlap.jaccard(counts),
        "sensitivity": overlap.sensitivity(counts),
        "precision": overlap.precision(counts),
        "specificity": overlap.specificity(counts),
        "accuracy": overlap.accuracy(counts),
        "segmentation_accuracy": overlap.segmentation_accuracy(counts),
    }


def _surface_columns(distances: SurfaceDistances, tolerance_mm: float) -> Row:
    return {
        "hd_mm": surface.hd_mm(distances),
        "hd95_mm": surface.hd95_mm(distances),
        "assd_mm": surface.assd_mm(distances),
        "nsd": surface.nsd(distances, tolerance_mm=tolerance_mm),
        "nsd_tolerance_mm": float(tolerance_mm),
    }


def _volume_columns(counts: Counts, spacing_mm: Triple) -> Row:
    difference = counts.prediction - counts.reference
    return {
        "reference_ml": overlap.volume_ml(counts.reference, spacing_mm),
        "prediction_ml": overlap.volume_ml(counts.prediction, spacing_mm),
        "volume_difference_ml": overlap.volume_ml(difference, spacing_mm),
        "relative_volume_difference": difference / counts.reference if counts.reference else math.nan,
    }


def _lesion_columns(found: Lesions) -> Row:
    return {
        "n_lesions_reference": found.n_reference,
        "n_lesions_prediction": found.n_prediction,
        "lesion_sensitivity": found.sensitivity,
        "lesion_precision": found.precision,
        "lesion_f1": found.f1,
        "lesion_dice": found.mean_dice,
    }


def _lesion_rows(found: Lesions, spacing_mm: Triple, scores: tuple[Floats, Floats] | None) -> list[dict[str, Any]]:
    rows = []
    largest_score, mean_score = scores or (np.full(found.n_prediction, math.nan),) * 2
    unknown = np.full(found.n_reference, math.nan)
    own = ((unknown, unknown), (largest_score, mean_score))
    best_match = (found.best_match(largest_score), np.full(found.n_prediction, math.nan))
    dices = (found.reference_dice, np.full(found.n_prediction, math.nan))
    sizes = (found.reference_voxels, found.prediction_voxels)
    centres = (found.reference_centres, found.prediction_centres)
    for side, name in enumerate(("reference", "prediction")):
        shared, n_matched = found.shared_of(side)
        largest = found.largest_match_of(side)
        for lesion in np.argsort(-sizes[side], kind="stable")[:MOST_LESIONS]:
            z, y, x = (round(float(place), 3) for place in centres[side][lesion])
            rows.append(
                {
                    "side": name,
                    "volume_ml": overlap.volume_ml(int(sizes[side][lesion]), spacing_mm),
                    **{"z": z, "y": y, "x": x},
                    "shared_ml": overlap.volume_ml(int(shared[lesion]), spacing_mm),
                    "n_matched": int(n_matched[lesion]),
                    "largest_match_ml": overlap.volume_ml(int(largest[lesion]), spacing_mm),
                    "dice": float(dices[side][lesion]),
                    "max_probability": float(own[side][0][lesion]),
                    "mean_probability": float(own[side][1][lesion]),
                    "match_max_probability": float(best_match[side][lesion]),
                }
            )
    return rows


def _undefined(counts: Counts) -> str:
    if not counts.union:
        return "both_empty"
    if not counts.prediction:
        return "prediction_empty"
    return "" if counts.reference else "reference_empty"
