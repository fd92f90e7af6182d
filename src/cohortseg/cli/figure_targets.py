"""The named figures of a study: which tables or stores each is drawn from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohortseg.cli.comparison_figures import draw_costs, draw_panel, predicted
from cohortseg.cli.figure_wish import Wish
from cohortseg.cli.figures_of_groups import (
    by_difficulty_and_volume,
    by_fold,
    by_property,
    image_quality,
    time_of_images,
    trimap_curve,
)
from cohortseg.cli.figures_of_methods import ablation, architecture
from cohortseg.cohort import read_cases
from cohortseg.errors import StudyError
from cohortseg.ignored import left_out
from cohortseg.io import store
from cohortseg.layout import UNTRAINED, Layout
from cohortseg.report import paper
from cohortseg.report.content import of_leading_split
from cohortseg.report.curves import points
from cohortseg.report.glance import best
from cohortseg.report.key_slice import key_slice
from cohortseg.report.paper_groups import location
from cohortseg.stages import ReportStage, stage_settings
from cohortseg.steps.image_pictures import median_panel
from cohortseg.steps.report import last_study
from cohortseg.steps.units import all_units, split_unit
from cohortseg.steps.views import displayed, window_hu

TABLE_METRICS = ("dice", "sensitivity", "precision", "specificity", "accuracy", "hd95_mm")


def wish_of(layout: Layout, experiment: str | None, label: str | None) -> Wish:
    """What is not chosen: the first class, and the experiment with its best median.

    Raises
    ------
    StudyError
        When the study has no tables, or no such experiment or class.
    """
    if not layout.table("metrics_by_case").exists():
        raise StudyError(f"no tables in {layout.root}; run `snakemake --cores all` first")
    study = last_study(layout)
    classes, experiments = list(study.cohort.labels.classes), sorted(study.experiments)
    chosen = label or next(iter(classes), "")  # a study that makes images need not have any
    leaders = {
        each.label: each.experiment for each in best(pd.read_csv(layout.table("summary")), study.report.primary_metric)
    }
    name = experiment or leaders.get(chosen, experiments[0])
    if (chosen and chosen not in classes) or name not in experiments:
        raise StudyError(f"choices: {', '.join(experiments)}; classes: {', '.join(classes)}")
    rows = pd.read_csv(layout.table("metrics_by_case"))
    rows = of_leading_split(rows[rows["stage"] == "post"])
    return Wish(layout, study, name, chosen, rows)


def _history(wish: Wish) -> pd.DataFrame | None:
    """The history of the first model of the experiment, or of any where it was not trained."""
    home = wish.layout.root / "experiments"
    found = sorted((home / wish.experiment).glob("*/history.csv")) or sorted(home.glob("*/*/history.csv"))
    return pd.read_csv(found[0]) if found else None


def _learning_rate(wish: Wish) -> Figure | None:
    history = _history(wish)
    return None if history is None else paper.learning_rate(history)


def _loss(wish: Wish) -> Figure | None:
    history = _history(wish)
    return None if history is None else paper.training(history, curve="loss")


def _dice(wish: Wish) -> Figure | None:
    history = _history(wish)
    return None if history is None else paper.training(history, curve="dice")


def _by_thickness(wish: Wish) -> Figure | None:
    known = {case.case: case.slice_thickness_mm for case in read_cases(wish.layout.cases_table)}
    values = pd.to_numeric(wish.own["case"].map(known), errors="coerce")
    return _boxes(wish, values, paper.THICKNESS_MM, "slice thickness")


def _by_volume(wish: Wish) -> Figure | None:
    volumes = wish.own["reference_ml"].where(wish.own["reference_ml"] > 0)
    return _boxes(wish, volumes, paper.VOLUME_ML, f"volume of {wish.label} in the reference")


def _boxes(wish: Wish, values: pd.Series, bins: dict[str, tuple[float, float]], title: str) -> Figure | None:
    groups = paper.binned(values, wish.own[wish.metric], bins)
    return paper.boxes(groups, metric=wish.metric, title=title) if any(groups.values()) else None


def _precision_recall(wish: Wish) -> Figure | None:
    path = wish.layout.table("curves")
    table = points({"curves": pd.read_csv(path)} if path.exists() else {}, "precision_recall")
    table = table[table["label"] == wish.label]
    found = {str(name): (list(part["x"]), list(part["y"])) for name, part in table.groupby("experiment")}
    return paper.precision_recall(found) if found else None


def _metric_table(wish: Wish) -> Figure | None:
    shown = [name for name in TABLE_METRICS if name in wish.rows.columns]
    means = wish.rows[wish.rows["label"] == wish.label].groupby("experiment")[shown].mean()
    return paper.metric_table(means) if len(means) else None


def _median_case(wish: Wish) -> tuple[str, Any, Any] | None:
    """The case in the middle of the results, with its reference and its prediction."""
    ordered = wish.own.dropna(subset=[wish.metric]).sort_values([wish.metric, "case"])
    if ordered.empty:
        return None
    case = str(ordered["case"].iloc[len(ordered) // 2])
    reference = np.asarray(store.open_array(wish.layout.case(case) / "label.zarr")[:])
    reference = left_out(reference, reference)
    return case, reference, _prediction(wish, wish.experiment, case)


def _prediction(wish: Wish, experiment: str, case: str) -> Any:
    models = {name: model for model, name in map(split_unit, all_units(wish.layout, experiment, "postprocess"))}
    folder = wish.layout.prediction(experiment, models.get(case, UNTRAINED), case)
    return np.asarray(store.open_array(folder / "post.zarr")[:])


def _slices(wish: Wish) -> Figure | None:
    found = _median_case(wish)
    if found is None:
        return None
    case, reference, prediction = found
    n = min(paper.MOST_SLICES, len(reference))
    image = np.stack([displayed(wish.layout, case, place) for place in range(n)])
    return paper.slices(image, reference, prediction, window=window_hu(wish.layout))


def _contours(wish: Wish) -> Figure | None:
    found = _median_case(wish)
    if found is None:
        return None
    case, reference, prediction = found
    place, number = key_slice(reference, prediction), list(wish.study.cohort.labels.classes).index(wish.label) + 1
    found_by = {name: predicted(wish.layout, name, case, place) for name in sorted(wish.study.experiments)}
    masks = {name: label == number for name, label in found_by.items() if label is not None}
    image, window = displayed(wish.layout, case, place), window_hu(wish.layout)
    return paper.contours(image, reference[place] == number, masks, window=window)


def _label_map(wish: Wish) -> Figure | None:
    found = _median_case(wish)
    classes = list(wish.study.cohort.labels.classes)
    if found is None or len(classes) >= len(paper.PALETTE):
        return None
    return paper.label_map(found[2][key_slice(found[1], found[2])], names=classes)


def _segmented(wish: Wish) -> Figure | None:
    found = _median_case(wish)
    if found is None:
        return None
    case, reference, prediction = found
    place = key_slice(reference, prediction)
    image = displayed(wish.layout, case, place)
    window = window_hu(wish.layout)
    black = window[0] if window else image.min()
    return paper.difference(image, np.where(prediction[place] != 0, image, black), window=window)


def _difference(wish: Wish) -> Figure | None:
    """Reference less prediction of the median case: 1 where voxels were missed, -1 where there are too many."""
    found = _median_case(wish)
    if found is None:
        return None
    _, reference, prediction = found
    number, place = list(wish.study.cohort.labels.classes).index(wish.label) + 1, key_slice(reference, prediction)
    masks = [(label[place] == number).astype(float) for label in (reference, prediction)]
    return paper.difference(*masks, titles=("reference", "prediction"))


def _channels(wish: Wish) -> Figure | None:
    """The first two channels of the median case side by side with their difference, each scaled to 0 to 1."""
    found = _median_case(wish)
    names = wish.study.cohort.channel_names
    if found is None or len(names) < 2:
        return None
    paths = wish.layout.images(found[0], names[:2])
    place = key_slice(found[1], found[2])
    one, other = (_unit(np.asarray(store.open_array(path)[place], dtype=float)) for path in paths)
    return paper.difference(one, other, titles=(names[0], names[1]))


def _unit(piece: Any) -> Any:
    low, high = np.percentile(piece, [1, 99])
    return np.clip((piece - low) / max(high - low, 1e-9), 0, 1)


def _made_images(wish: Wish) -> Figure | None:
    """Input, real and made images and their difference, of the median case of the best experiment."""
    task = wish.study.synthesis
    if task is None:
        return None
    settings = ReportStage.model_validate_json(stage_settings(wish.study, "report"))
    return median_panel(wish.layout, settings, task, lambda name: pd.read_csv(wish.layout.table(name)))


TARGETS: dict[str, Callable[[Wish], Figure | None]] = {
    "learning-rate": _learning_rate,
    "loss-curves": _loss,
    "dice-curves": _dice,
    "slices": _slices,
    "results-by-slice-thickness": _by_thickness,
    "results-by-volume": _by_volume,
    "metrics-table": _metric_table,
    "precision-recall": _precision_recall,
    "contours": _contours,
    "label-map": _label_map,
    "original-and-segmented": _segmented,
    "costs": draw_costs,
    "panel": draw_panel,
    "difference-image": _difference,
    "results-by-difficulty": lambda wish: by_property(wish, "difficulty"),
    "results-by-location": lambda wish: by_property(wish, "location", place=location),
    "results-by-atelectasis": lambda wish: by_property(wish, "atelectasis"),
    "results-by-difficulty-and-volume": by_difficulty_and_volume,
    "channels": _channels,
    "image-quality-table": image_quality,
    "time-by-image-size": time_of_images,
    "trimap-curve": trimap_curve,
    "results-by-fold": by_fold,
    "made-images": _made_images,
    "architecture": architecture,
    "ablation": ablation,
}
"""Name: what draws it; None where the study has no data for it."""
