"""The tables of studies that make images, for the data dictionary."""

from collections.abc import Mapping

from cohortseg.metrics.columns import IMAGE_COLUMNS, Column
from cohortseg.metrics.table_words import Table, count, metric, text


def image_tables(
    head: Mapping[str, Column], by: Mapping[str, Column], summary: Mapping[str, Column]
) -> dict[str, Table]:
    """The tables by name: keys of a case, keys of a group and columns of a summary are those of other tables."""
    region = {
        "region": text(
            "body: largest object of the target above a value; whole: all voxels; else a class of the reference"
        )
    }
    keys = {name: column for name, column in by.items() if name not in ("label", "stage")}
    own = {name: column for name, column in head.items() if name not in ("label", "stage")}
    what = {"metric": text("column of images that is described")}
    return {
        "images": Table(
            "every made image against the real one",
            {**own, **region, **IMAGE_COLUMNS},
        ),
        "images_summary": Table("statistics of made images by experiment", {**keys, **region, **what, **summary}),
        "images_comparison": Table(
            "experiments that make images, in pairs",
            {
                **what,
                "experiment_a": text("first experiment"),
                "experiment_b": text("second experiment"),
                "n_pairs": count("cases measured under both"),
                "n_subjects": count("subjects among them"),
                "n_excluded": count("pairs with an undefined value"),
                "n_unmatched": count("cases measured under one side alone"),
                "median_difference": metric("median over subjects of a - b"),
                "mean_difference": metric("mean over subjects of a - b"),
                "ci_low": metric("low end of its interval: percentiles over resampled subjects"),
                "ci_high": metric("high end of its interval"),
                "p_value": Column("1", "two-sided Wilcoxon signed-rank test", (0.0, 1.0), None, "Wilcoxon 1945"),
                "p_holm": Column(
                    "1", "corrected for the pairs of one region, metric and split", (0.0, 1.0), None, "Holm 1979"
                ),
                "p_permutation": Column("1", "of the mean, by flipped signs", (0.0, 1.0), None, "Fisher 1935"),
                "effect_size": Column(
                    "1", "matched-pairs rank-biserial, above 0 where a is larger", (-1.0, 1.0), None, "Kerby 2014"
                ),
                "better": text("side that the effect favours"),
                "note": text("why numbers are missing"),
                **region,
                "split": by["split"],
                "p_bh": Column(
                    "1", "corrected for all rows by the false discovery rate", (0.0, 1.0), None, "Benjamini 1995"
                ),
            },
        ),
    }


def is_of_images(table: str) -> bool:
    """Whether a table is one of studies that make images."""
    return table == "images" or table.startswith("images_")
