"""The data dictionary of the tables about stability under changes of the image."""

from cohortseg.metrics.columns import Column
from cohortseg.metrics.table_words import Table, count, number, text

_WHAT = {
    "label": text("class"),
    "transformation": text(
        "flip_x, flip_y, flip_z: mirrored along an axis of the image; rotate_90, ...: turned in its plane; noise: "
        "Gaussian noise added; resolution: coarser voxels, by linear interpolation"
    ),
}
_SPLIT = text("val, test or unseen, as in metrics_by_case; no reference is looked at")

STABILITY_TABLES: dict[str, Table] = {
    "stability": Table(
        "how far the raw label of a case stays the same when its image is changed",
        {
            "study": text("name of the study"),
            "experiment": text("name of the experiment"),
            "fold": text("fold of the case"),
            "seed": text("seed of the training; empty without training"),
            "split": _SPLIT,
            "case": text("image"),
            "subject": text("pseudonym of the person"),
            **_WHAT,
            "stability": Column(
                "fraction",
                "Dice of the label of the changed image, taken back to the native grid, and the label of the image as "
                "it is; the changed image goes through fingerprint, model space and prediction",
                (0.0, 1.0),
                True,
            ),
            "reason": text(
                "why there is no value: both_empty: neither label has the class; or why the changed image was refused"
            ),
        },
    ),
    "stability_summary": Table(
        "stability summed up over the cases",
        {
            "experiment": text("name of the experiment"),
            "split": _SPLIT,
            **_WHAT,
            "n_cases": count("cases"),
            "n_subjects": count("subjects"),
            "n_undefined": count("rows without a value"),
            "mean": Column("fraction", "mean of the Dice", (0.0, 1.0), True),
            "sd": number("fraction", "sample standard deviation", 0.0),
            "min": number("fraction", "lowest value", 0.0, 1.0),
            "ci_low": number("fraction", "low end of the interval of the mean, resampling subjects", 0.0, 1.0),
            "ci_high": number("fraction", "high end of that interval", 0.0, 1.0),
            "note": text("a warning of few subjects"),
        },
    ),
}
