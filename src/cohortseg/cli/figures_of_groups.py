"""Figures of groups of cases and of tables: from properties and clinical columns, by fold, against size."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from cohortseg.cli.figure_wish import Wish
from cohortseg.cohort import read_cases
from cohortseg.report import paper
from cohortseg.report.content import of_leading_split
from cohortseg.report.curves import points
from cohortseg.report.paper_groups import by_group, lines, time_by_size
from cohortseg.settings.synthesis import BODY
from cohortseg.steps.clinical import read_clinical

IMAGE_METRICS = ("mae", "psnr_db", "ssim")


def _property(wish: Wish, name: str) -> pd.Series | None:
    """Case: its value in the clinical table of the study; None where no such column was kept."""
    cases = {case.case: case.subject for case in read_cases(wish.layout.cases_table)}
    table = read_clinical(wish.layout, cases)
    return table[name] if name in table.columns else None


def by_property(wish: Wish, name: str, *, place: Callable[[Any], str] = str) -> Figure | None:
    """Boxes by a clinical column, as `cohort.clinical` and `report.subgroups` name it; `place` makes groups of it."""
    found = _property(wish, name)
    if found is None:
        return None
    groups = by_group(wish.own["case"].map(found.map(place)), wish.own[wish.metric])
    return paper.boxes(groups, metric=wish.metric, title=name) if groups else None


def by_difficulty_and_volume(wish: Wish) -> Figure | None:
    """Boxes of each range of volume, apart for each value of the clinical column `difficulty`."""
    found = _property(wish, "difficulty")
    if found is None:
        return None
    volumes, difficulty = wish.own["reference_ml"], wish.own["case"].map(found)
    groups = {
        f"{name}\n{value}": values
        for value in sorted(difficulty.dropna().unique())
        for name, values in paper.binned(
            volumes.where((volumes > 0) & (difficulty == value)), wish.own[wish.metric], paper.VOLUME_ML
        ).items()
    }
    return paper.boxes(groups, metric=wish.metric, title="volume and difficulty") if any(groups.values()) else None


def image_quality(wish: Wish) -> Figure | None:
    """Mean of each measure of made images (MAE, PSNR, SSIM) in the body by experiment, where the study makes any."""
    path = wish.layout.table("images")
    if not path.exists():
        return None
    rows = of_leading_split(pd.read_csv(path))
    inside = rows[rows["region"] == BODY]
    shown = [name for name in IMAGE_METRICS if inside[name].notna().any()]
    return paper.metric_table(inside.groupby("experiment")[shown].mean()) if shown else None


def time_of_images(wish: Wish) -> Figure | None:
    """Time of prediction against the size of the image, all experiments."""
    sizes = {case.case: float(case.voxels) for case in read_cases(wish.layout.cases_table)}
    rows = wish.rows[wish.rows["label"] == wish.label].dropna(subset=["seconds_predict"])
    parts = {str(name): part for name, part in rows.groupby("experiment")}
    voxels = {name: [sizes[case] for case in part["case"]] for name, part in parts.items()}
    seconds = {name: [float(value) for value in part["seconds_predict"]] for name, part in parts.items()}
    return time_by_size(voxels, seconds) if parts else None


def trimap_curve(wish: Wish) -> Figure | None:
    """Boundary Jaccard against the half width of the band, all experiments."""
    path = wish.layout.table("curves")
    table = points({"curves": pd.read_csv(path)} if path.exists() else {}, "trimap")
    table = table[table["label"] == wish.label]
    found = {str(name): (list(part["x"]), list(part["y"])) for name, part in table.groupby("experiment")}
    return lines(found, x="half width of the band (mm)", y="boundary Jaccard") if found else None


def by_fold(wish: Wish) -> Figure | None:
    """A table: mean of the primary metric in each fold and over all cases, a row per experiment."""
    rows = wish.rows[wish.rows["label"] == wish.label]
    if rows.empty:
        return None
    table = rows.pivot_table(index="experiment", columns="fold", values=wish.metric, aggfunc="mean")
    table.columns = [f"fold {fold}" for fold in table.columns]
    return paper.metric_table(table.assign(all=rows.groupby("experiment")[wish.metric].mean()))
