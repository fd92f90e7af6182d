"""The metrics of a case: unit, definition, range, direction and source of each. The one place where they are defined.

The data dictionary, `docs/metrics.md` and the directions of comparisons and ranks are all read from here.
"""

import math
from typing import NamedTuple


class Column(NamedTuple):
    """What a reader must know of a column.

    `range` holds the lowest and highest possible value, None for text. `higher_is_better` is None where neither
    direction is better. `source` names the paper, empty for plain counts.
    """

    unit: str
    definition: str
    range: tuple[float, float] | None
    higher_is_better: bool | None
    source: str = ""


_SHARE = (0.0, 1.0)
_POSITIVE = (0.0, math.inf)
_ANY = (-math.inf, math.inf)

MASK_COLUMNS: dict[str, Column] = {
    "dice": Column("fraction", "2TP / (2TP + FP + FN), in voxels", _SHARE, True, "Dice 1945"),
    "jaccard": Column("fraction", "TP / (TP + FP + FN), also called IoU", _SHARE, True, "Jaccard 1912"),
    "sensitivity": Column("fraction", "TP / (TP + FN): share of the reference that was found", _SHARE, True),
    "precision": Column("fraction", "TP / (TP + FP): share of the prediction that is right", _SHARE, True),
    "specificity": Column("fraction", "TN / (TN + FP); grows with the field of view", _SHARE, True),
    "accuracy": Column("fraction", "(TP + TN) / all voxels; grows with the field of view", _SHARE, True),
    "segmentation_accuracy": Column(
        "fraction", "1 - (FP + FN) / (TP + FN): symmetric difference over the reference", (-math.inf, 1.0), True
    ),
    "hd_mm": Column(
        "mm",
        "largest distance of a surface voxel to the other surface, either direction",
        _POSITIVE,
        False,
        "Huttenlocher 1993",
    ),
    "hd95_mm": Column(
        "mm",
        "larger of the two directed 95th percentiles of surface distances (linear interpolation)",
        _POSITIVE,
        False,
        "Huttenlocher 1993",
    ),
    "assd_mm": Column(
        "mm", "mean surface distance over the surface voxels of both masks, pooled", _POSITIVE, False, "Heimann 2009"
    ),
    "nsd": Column(
        "fraction",
        "share of the surface voxels of both masks within nsd_tolerance_mm of the other surface",
        _SHARE,
        True,
        "Nikolov 2021, voxels counted instead of weighed by area",
    ),
    "nsd_tolerance_mm": Column("mm", "tolerance of nsd, from the settings", _POSITIVE, None),
    "boundary_jaccard": Column(
        "fraction",
        "Jaccard index inside the band of boundary_band_mm around the surface of the reference (trimap)",
        _SHARE,
        True,
        "Kohli 2009; Chen 2018",
    ),
    "boundary_band_mm": Column("mm", "half width of the band of boundary_jaccard, from the settings", _POSITIVE, None),
    "added_path_mm": Column(
        "mm",
        "length of the reference's outlines, slice by slice, that the prediction's outlines do not share",
        _POSITIVE,
        False,
        "Vaassen 2020",
    ),
    "reference_ml": Column("ml", "volume of the reference", _POSITIVE, None),
    "prediction_ml": Column("ml", "volume of the prediction", _POSITIVE, None),
    "volume_difference_ml": Column("ml", "prediction_ml - reference_ml", _ANY, None),
    "relative_volume_difference": Column("fraction", "volume_difference_ml / reference_ml", (-1.0, math.inf), None),
    "n_lesions_reference": Column("count", "26-connected components of the reference", _POSITIVE, None),
    "n_lesions_prediction": Column("count", "26-connected components of the prediction", _POSITIVE, None),
    "lesion_sensitivity": Column(
        "fraction", "share of the reference lesions that the prediction touches in at least one voxel", _SHARE, True
    ),
    "lesion_precision": Column(
        "fraction", "share of the predicted lesions that touch the reference in at least one voxel", _SHARE, True
    ),
    "lesion_f1": Column(
        "fraction",
        "harmonic mean of lesion_sensitivity and lesion_precision; 0 when only one mask has lesions",
        _SHARE,
        True,
    ),
    "lesion_dice": Column(
        "fraction",
        "mean over the reference lesions of their Dice with all predicted lesions that touch them, together; "
        "a missed lesion and a false predicted one count as 0",
        _SHARE,
        True,
        "Baid 2021 (BraTS), without dilation",
    ),
    "not_judged_ml": Column(
        "ml",
        "volume that the reference labels `ignore`: background in both masks, no voxel of the image",
        _POSITIVE,
        None,
    ),
    "undefined": Column(
        "text", "why some metrics are empty: both_empty, prediction_empty, reference_empty, or nothing", None, None
    ),
}
"""What `case.case_metrics` fills, in order."""

PROBABILITY_COLUMNS: dict[str, Column] = {
    "ece": Column(
        "fraction",
        "expected calibration error: mean over the voxels of |observed share - mean probability| of their bin",
        _SHARE,
        False,
        "Naeini 2015",
    ),
    "brier": Column(
        "fraction",
        "mean over the voxels of (probability - belongs to the label)^2",
        _SHARE,
        False,
        "Brier 1950",
    ),
    "roc_auc": Column(
        "fraction",
        "area under the ROC curve over the voxels: chance that a voxel of the label has the higher probability",
        _SHARE,
        True,
        "Hanley 1982",
    ),
    "average_precision": Column(
        "fraction", "precision averaged over the steps of sensitivity, over the voxels", _SHARE, True, "Zhu 2004"
    ),
}
"""What `probabilities.probability_metrics` fills, for the raw labels of methods that give probabilities."""

COLUMNS: dict[str, Column] = {**MASK_COLUMNS, **PROBABILITY_COLUMNS}
"""The metric columns of `metrics_by_case.csv`, in order."""

IMAGE_COLUMNS: dict[str, Column] = {
    "n_voxels": Column("count", "voxels of the region", _POSITIVE, None),
    "mae": Column("unit of the target", "mean of |made - real|, both clipped to `synthesis.range`", _POSITIVE, False),
    "bias": Column("unit of the target", "mean of made - real", _ANY, None),
    "rmse": Column("unit of the target", "root of the mean of (made - real)^2", _POSITIVE, False),
    "mae_grey": Column(
        "grey levels", "mae * (2^bits - 1) / (high - low): mae of images of `synthesis.bits` bits", _POSITIVE, False
    ),
    "psnr_db": Column(
        "dB",
        "10 log10(peak^2 / MSE), peak = high - low of `synthesis.range`, the same for all cases (not the largest value "
        "of an image); as for images of N bits with peak 2^N - 1; undefined (infinite) for equal images",
        _ANY,
        True,
    ),
    "ssim": Column(
        "1",
        "structural similarity over cubes of 7 voxels with K1 0.01, K2 0.03 and the same range, mean over the voxels "
        "of the region around which a cube fits into the image",
        (-1.0, 1.0),
        True,
        "Wang 2004",
    ),
    "missing": Column(
        "text",
        "why numbers are missing: equal_images (PSNR), empty_region (all), too_thin (SSIM)",
        None,
        None,
    ),
}
"""The columns of `images.csv`, in a study that makes images."""

WORST = {"hd_mm": math.inf, "hd95_mm": math.inf, "assd_mm": math.inf, "nsd": 0.0}
"""What a surface metric counts as in comparisons and ranks when only the prediction is empty."""


def sign_of(metric: str) -> int:
    """1 where higher is better, -1 where lower is, 0 where neither is or the metric is not known."""
    known = {**IMAGE_COLUMNS, **COLUMNS}
    better = known[metric].higher_is_better if metric in known else None
    return 0 if better is None else (1 if better else -1)
