"""Made-up but plausible content of a report: 2 experiments, 14 cases, raw and post, and hostile strings on demand."""

import json
from functools import cache

import numpy as np
import pandas as pd

from cohortseg.errors import REASONS
from cohortseg.report.content import HISTORY_COLUMNS, Overlay, Plane, ReportContent
from cohortseg.report.planes import PLANES
from cohortseg.report.strips import image_strip, outline_strip
from cohortseg.settings import load_study

EVIL = "<script>alert(1)</script>\"'&${7*7}{{7*7}}"
METRIC_INFO = {
    "dice": ("fraction", "2TP / (2TP + FP + FN), in voxels"),
    "nsd": ("fraction", "share of the surface voxels of both masks within nsd_tolerance_mm of the other surface"),
    "hd95_mm": ("mm", "larger of the two directed 95th percentiles of surface distances"),
    "assd_mm": ("mm", "mean surface distance over the surface voxels of both masks, pooled"),
    "sensitivity": ("fraction", "TP / (TP + FN): share of the reference that was found"),
    "precision": ("fraction", "TP / (TP + FP): share of the prediction that is right"),
    "volume_difference_ml": ("ml", "prediction_ml - reference_ml"),
    "reference_ml": ("ml", "volume of the reference"),
}
MEASURED = ("dice", "nsd", "hd95_mm", "assd_mm", "sensitivity", "precision", "volume_difference_ml")
LEVELS = {"unet2d": 0.84, "threshold": 0.44}


def metric_rows(labels=("tumour",), n_cases=14, levels=None, cleaned=("unet2d",)):
    """metrics_by_case.csv: the post-processed stage equals the raw one but for the experiments in `cleaned`."""
    rows = []
    for k, (experiment, level) in enumerate(sorted((levels or LEVELS).items())):
        for m, label in enumerate(labels):
            chance = np.random.default_rng([k, m])
            for n in range(n_cases):
                raw = float(np.clip(level - 0.05 * m + chance.normal(0, 0.09), 0, 0.97))
                reference_ml = float(10 ** np.random.default_rng([n, m]).uniform(0, 2.6))
                for stage in ("raw", "post"):
                    dice = min(0.98, raw + 0.02 * (stage == "post" and experiment in cleaned))
                    rows.append(_row(experiment, label, stage, n, dice, reference_ml))
    return pd.DataFrame(rows)


def _row(experiment, label, stage, n, dice, reference_ml):
    is_empty = experiment == "threshold" and n == 5
    return {
        **{"study": "sarcoma-ct", "experiment": experiment, "fold": n % 3, "seed": 1, "split": "val"},
        **{"case": f"sts-{n + 2:03d}", "subject": f"sts-{n + 2:03d}", "label": label, "stage": stage},
        "dice": 0.0 if is_empty else dice,
        "nsd": np.nan if is_empty else dice * 0.95,
        "hd95_mm": np.nan if is_empty else 42 * (1 - dice),
        "assd_mm": np.nan if is_empty else 9 * (1 - dice),
        "sensitivity": 0.0 if is_empty else min(1.0, dice + 0.04),
        "precision": np.nan if is_empty else dice - 0.03,
        "reference_ml": reference_ml,
        "prediction_ml": 0.0 if is_empty else reference_ml * (1.6 - dice),
        "volume_difference_ml": -reference_ml if is_empty else reference_ml * (0.6 - dice),
        "undefined": "prediction_empty" if is_empty else "",
        "seconds_predict": 1.5,
    }


def summary_of(rows):
    """summary.csv of `rows`; the confidence interval is as good as any for a page."""
    lines = []
    for (experiment, label, stage), part in rows.groupby(["experiment", "label", "stage"], sort=True):
        for metric in MEASURED:
            values = part[metric].dropna()
            q1, median, q3 = values.quantile([0.25, 0.5, 0.75])
            half = 1.96 * values.std() / max(1, len(values)) ** 0.5
            lines.append(
                {
                    **{"experiment": experiment, "label": label, "stage": stage, "metric": metric},
                    **{"n_cases": len(part), "n_subjects": part["subject"].nunique()},
                    **{"n_defined": len(values), "n_undefined": len(part) - len(values)},
                    **{"mean": values.mean(), "sd": values.std(), "median": median, "q1": q1, "q3": q3},
                    **{
                        "min": values.min(),
                        "max": values.max(),
                        "ci_low": values.mean() - half,
                        "ci_high": values.mean() + half,
                    },
                }
            )
    return pd.DataFrame(lines)


def comparison_of(labels=("tumour",), p_holm=0.0009):
    lines = [
        {
            **{
                "experiment_a": "threshold",
                "experiment_b": "unet2d",
                "label": label,
                "stage": "post",
                "metric": metric,
            },
            **{"n_pairs": 14 if metric == "dice" else 13, "median_difference": -0.41 if metric == "dice" else 16.2},
            **{"p_value": p_holm / 4, "p_holm": p_holm, "effect_size": -1.0, "note": ""},
        }
        for label in labels
        for metric in ("dice", "hd95_mm", "assd_mm")
    ]
    return pd.DataFrame(lines)


def subgroups_of(rows):
    post = rows[rows["stage"] == "post"].assign(
        lesion_size=lambda table: np.where(table["reference_ml"] < 30, "5 to 30 ml", "above 30 ml"),
        slice_thickness_mm=lambda table: np.where(table["fold"] == 0, 3.27, 5.0),
    )
    tables = []
    for name in ("lesion_size", "slice_thickness_mm"):
        grouped = post.groupby(["experiment", "label", "stage", name])["dice"]
        table = grouped.agg(
            **{"n_cases": "count", "median": "median", "mean": "mean"},
            **{"q1": lambda v: v.quantile(0.25), "q3": lambda v: v.quantile(0.75)},
            **{"ci_low": lambda v: v.mean() - 0.05, "ci_high": lambda v: v.mean() + 0.05},
        )
        tables.append(table.reset_index().rename(columns={name: "value"}).assign(property=name))
    return pd.concat(tables, ignore_index=True)


def flow_table():
    lines = [
        ("found", "ok", "", 19),
        ("index", "rejected", "NOT_AN_IMAGE", 2),
        ("index", "rejected", "TOO_FEW_SLICES", 1),
        ("convert", "rejected", "MISSING_SLICE", 1),
        ("convert", "ok", "", 15),
        ("convert", "unlabelled", "NO_REFERENCE", 1),
        ("evaluate threshold", "ok", "", 14),
        ("evaluate threshold", "rejected", "NO_REFERENCE", 1),
        ("evaluate unet2d", "ok", "", 14),
        ("evaluate unet2d", "rejected", "NO_REFERENCE", 1),
    ]
    return pd.DataFrame(
        [
            {"stage": stage, "status": status, "reason": reason, "meaning": REASONS.get(reason, ""), "n": n}
            for stage, status, reason, n in lines
        ]
    )


def rejected_table():
    lines = [
        ("sts-099", "convert", "MISSING_SLICE", "distance 6.54 mm after slice 41, median 3.27 mm"),
        ("sts-070", "index", "TOO_FEW_SLICES", "2 slices, 5 asked for"),
        ("sts-003", "index", "NOT_AN_IMAGE", "RTPLAN"),
        ("sts-004", "index", "NOT_AN_IMAGE", "RTDOSE"),
        ("sts-031", "evaluate", "NO_REFERENCE", "no label object"),
    ]
    return pd.DataFrame(
        [
            {"case": case, "stage": stage, "reason": reason, "meaning": REASONS[reason], "found": found}
            for case, stage, reason, found in lines
        ]
    )


def history(fold, steps=800):
    step = np.arange(1, steps + 1)
    chance = np.random.default_rng(fold)
    fall = np.exp(-step / 200)
    is_validated = step % 100 == 0
    return pd.DataFrame(
        {
            "step": step,
            "epoch": step // 20,
            "learning_rate": 1.5e-3 * (1 + np.cos(np.pi * step / steps)),
            "loss": 1.3 * fall + 0.2 + 0.02 * fold + chance.normal(0, 0.05, steps),
            "validation_loss": np.where(is_validated, 1.3 * fall + 0.3 + 0.03 * fold, np.nan),
            "dice": np.where(is_validated, 0.84 - 0.02 * fold - 0.7 * fall, np.nan),
        }
    )[list(HISTORY_COLUMNS)]


def phantom_slice(dice, seed=0):
    """A grey slice with a bright blob, its reference and a shifted prediction."""
    y, x = np.mgrid[:120, :90]
    reference = ((y - 62) / 17) ** 2 + ((x - 40) / 12) ** 2 < 1
    prediction = ((y - 62 - 14 * (1 - dice)) / 16) ** 2 + ((x - 40 + 10 * (1 - dice)) / 13) ** 2 < 1
    body = ((y - 60) / 56) ** 2 + ((x - 45) / 41) ** 2 < 1
    image = np.where(body, 40.0, -900.0) + 60 * reference + np.random.default_rng(seed).normal(0, 18, y.shape)
    return image, reference.astype(np.uint8), prediction.astype(np.uint8)


@cache
def views(n_cases=3, n_slices=5):
    """Planes of cases sts-002 …: a stack of the slice above; the reference in all of them."""
    return {f"sts-{n + 2:03d}": _planes(n, n_slices) for n in range(n_cases)}


def _planes(seed, n_slices):
    image, reference, _ = phantom_slice(0.6, seed=seed)
    size = (96, 80)
    picture = image_strip([image + 9 * k for k in range(n_slices)], window=(-160, 240), size_px=size)
    outlines = outline_strip([reference] * n_slices, size_px=size, colours={1: "#3fe0ff"}, is_dashed=False)
    numbers = range(11, 11 + n_slices)
    return tuple(Plane(name, size, numbers, 40, 2, picture, outlines) for name in PLANES)


@cache
def overlays(experiments=("threshold", "unet2d"), labels=("tumour",)):
    """Per experiment one worst, one median and one best case of `views`."""
    made = []
    for experiment in experiments:
        for n, kind in enumerate(("worst", "median", "best")):
            dice = 0.3 + 0.2 * n
            prediction = phantom_slice(dice)[2]
            strip = outline_strip([prediction] * 5, size_px=(96, 80), colours={1: "#ffb21a"}, is_dashed=True)
            made.append(Overlay(experiment, f"sts-{n + 2:03d}", labels, kind, "dice", dice, (strip,) * 3, "21 ml"))
    return tuple(made)


def quality_table():
    lines = [
        (1, "unet2d", "sts-031", False, 4.2, "predicted volume 0 ml: far below the others"),
        (2, "unet2d", "sts-004", True, 1.3, "3 models disagree: mean Dice of their labels 0.41"),
        (3, "unet2d", "sts-005", True, 0.0, ""),
    ]
    return pd.DataFrame(lines, columns=["rank", "experiment", "case", "is_scored", "score", "findings"])


def ranks_table():
    return pd.DataFrame(
        {"experiment": ["unet2d", "threshold"], "metric": ["dice"] * 2, "rank": [1, 2], "share_first": [0.98, 0.02]}
    )


def trials_table():
    """Two folds of four trials; in fold 1 one has failed."""
    lines = [
        ("unet2d", fold, trial, "failed" if (fold, trial) == (1, 3) else "ok", "yes" if trial == best else "", rate)
        for fold, best in ((0, 2), (1, 1))
        for trial, rate in enumerate((0.003, 0.001, 0.0004, 0.3))
    ]
    table = pd.DataFrame(lines, columns=["experiment", "fold", "trial", "status", "is_chosen", "rate"])
    failed, losses = table["status"] == "failed", ("focal", "dice")
    return table.drop(columns="rate").assign(
        metric="dice",
        score=[0.5, 0.61, 0.72, 0.1, 0.55, 0.7, 0.6, float("nan")],
        n_cases=3,
        settings=[json.dumps({"learning_rate": rate, "loss": losses[rate < 0.002]}) for rate in table["rate"]],
        reason=failed.map({True: "the loss is no longer finite at step 7", False: ""}),
    )


def study_settings():
    values = {
        "study": "sarcoma-ct",
        "cohort": {"source": ".", "series": {"modality": "CT"}, "labels": {"structures": {"tumour": "GTV.*"}}},
        "split": {"folds": 3, "seed": 1},
        "experiments": {
            "threshold": {"method": "threshold", "rule": "otsu", "inside": "body"},
            "unet2d": {"method": "unet", "steps": 800},
        },
        "postprocess": {"keep": "largest"},
    }
    return load_study(values).model_dump(mode="json")


PLAN = {
    "version": 3,
    "dims": 3,
    "modality": {"image": "CT"},
    "spacing_mm": {
        "value": [3.27, 0.976562, 0.976562],
        "because": "median of the training cases; 12 of 14 have it as they are",
    },
    "normalisation": {
        "image": {
            "name": "window",
            "numbers": {"low": -160.0, "high": 240.0, "mean": -68.3519, "sd": 107.275},
            "group": None,
            "because": "the settings give the window",
        }
    },
    "patch": {"value": [16, 192, 224], "because": "largest patch below 110 000 voxels that halves four times"},
}
SETTINGS = "study: sarcoma-ct\ncohort:\n  source: data/sts\n  series: {modality: CT}\nsplit: {folds: 3, seed: 1}\n"


def full_content(**changes):
    return ReportContent(**{**_values(), **changes})


@cache
def _values():
    rows = metric_rows()
    return {
        "study": "sarcoma-ct",
        "flow": flow_table(),
        "rejected": rejected_table(),
        "rows": rows,
        "summary": summary_of(rows),
        "comparison": comparison_of(),
        "subgroups": subgroups_of(rows),
        "histories": {f"unet2d/fold-{fold}-seed-1": history(fold) for fold in range(3)},
        "overlays": overlays(),
        "views": views(),
        "thumbnails": {"sts-031": image_strip([phantom_slice(0.5)[0]], window=(-160, 240), size_px=(96, 72))},
        "plan": PLAN,
        "settings_text": SETTINGS,
        "versions": {"cohortseg": "0.1.0", "torch": "2.13.0", "python": "3.11.2", "SimpleITK": "2.5.2"},
        "warnings": ["14 subjects are few: intervals are wide, and folds share their training cases."],
        "resources": pd.DataFrame(
            {
                "stage": ["convert", "train", "predict"],
                "n": [15, 3, 28],
                "seconds_total": [62.0, 5400.0, 131.0],
                "seconds_median": [3.9, 1790.0, 4.6],
                "peak_memory_mb": [640.0, 3900.0, 1480.0],
                "cpu_seconds_total": [60.0, 1800.0, 140.0],
                "gpu_seconds_total": [0.0, 5400.0, 0.0],
            }
        ),
        "quality": quality_table(),
        "tables": {"ranks": ranks_table(), "trials": trials_table()},
        "study_settings": study_settings(),
        "n_parameters": {"unet2d": 271706},
        "digests": {"plan (plan.json)": "5f" * 32},
        "files": {"../tables/summary.csv": "statistics by experiment"},
        "primary_metric": "dice",
        "metric_info": METRIC_INFO,
    }


def empty_content():
    nothing = pd.DataFrame()
    return ReportContent("new-study", nothing, nothing, nothing, nothing, nothing, nothing)
