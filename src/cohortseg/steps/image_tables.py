"""The tables of a study that makes images: every case, statistics by experiment, experiments in pairs."""

import pandas as pd

from cohortseg.metrics.columns import IMAGE_COLUMNS
from cohortseg.metrics.summary import summarise
from cohortseg.settings import StatisticsSettings
from cohortseg.steps.comparisons import compared_in_groups
from cohortseg.steps.curves import HEAD, Scored

BY = ["experiment", "split", "region"]
COMPARED = ("mae", "rmse", "psnr_db", "ssim")
SUMMARISED = ("mae", "bias", "rmse", "mae_grey", "psnr_db", "ssim")


def image_tables(scored: list[Scored], statistics: StatisticsSettings) -> dict[str, pd.DataFrame]:
    """`images`, `images_summary` and `images_comparison`."""
    rows = image_rows(scored)
    summary = summarise(
        rows,
        by=BY,
        metrics=SUMMARISED,
        seed=statistics.seed,
        n_bootstrap=statistics.bootstrap,
        confidence=statistics.confidence,
    )
    return {"images": rows, "images_summary": summary, "images_comparison": comparison_of_images(rows, statistics)}


def image_rows(scored: list[Scored]) -> pd.DataFrame:
    """`images.csv`: one row per experiment, model, case and region."""
    rows = [{**head, "region": region, **row} for head, record, _ in scored for region, row in record["images"].items()]
    floats = [name for name in IMAGE_COLUMNS if name not in ("n_voxels", "missing")]
    return pd.DataFrame(rows, columns=[*HEAD, "region", *IMAGE_COLUMNS]).astype(dict.fromkeys(floats, float))


def comparison_of_images(rows: pd.DataFrame, statistics: StatisticsSettings) -> pd.DataFrame:
    """`images_comparison.csv`: all pairs of experiments, per region, metric and split; as `comparison.csv`."""
    return compared_in_groups(rows.assign(undefined=""), ["region", "split"], COMPARED, statistics)
