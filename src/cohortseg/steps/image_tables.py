"""The tables of a study that makes images: every case, statistics by experiment, experiments in pairs."""

from typing import Any

import numpy as np
import pandas as pd

from cohortseg.metrics.columns import IMAGE_COLUMNS
from cohortseg.metrics.comparison import COMPARISON_COLUMNS, compare
from cohortseg.metrics.corrections import benjamini_hochberg
from cohortseg.metrics.summary import groups_of, summarise
from cohortseg.settings import StatisticsSettings
from cohortseg.steps.comparisons import RENAMED
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
    options: dict[str, Any] = {
        "seed": statistics.seed,
        "n_bootstrap": statistics.bootstrap,
        "n_permutations": statistics.permutations,
        "confidence": statistics.confidence,
    }
    tables = [
        compare(part.assign(undefined=""), metric=metric, **options).assign(region=str(key[0]), split=str(key[1]))
        for key, part in groups_of(rows, ["region", "split"])
        for metric in COMPARED
    ]
    tables = [table for table in tables if len(table)]
    nothing = pd.DataFrame(columns=[*COMPARISON_COLUMNS, "region", "split"])
    joined = (pd.concat(tables, ignore_index=True) if tables else nothing).rename(columns=RENAMED)
    joined["p_bh"] = benjamini_hochberg(joined["p_value"].to_numpy(dtype=np.float64))
    return joined
