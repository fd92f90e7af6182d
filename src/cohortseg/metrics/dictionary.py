"""The data dictionary: every column of every table of results, with unit, definition, direction and range."""

import math

import pandas as pd

from cohortseg.metrics.columns import COLUMNS, Column
from cohortseg.metrics.table_words import Table, count, metric, ml, number, share, text
from cohortseg.metrics.tables_of_choices import CHOICE_TABLES
from cohortseg.metrics.tables_of_classes import CLASS_TABLES
from cohortseg.metrics.tables_of_cohort import COHORT_TABLES
from cohortseg.metrics.tables_of_detection import detection_tables
from cohortseg.metrics.tables_of_images import image_tables, is_of_images
from cohortseg.metrics.tables_of_panoptic import panoptic_tables
from cohortseg.metrics.tables_of_search import SEARCH_TABLES
from cohortseg.metrics.tables_of_stability import STABILITY_TABLES
from cohortseg.metrics.tables_of_types import type_tables

DIRECTIONS = {True: "higher", False: "lower", None: ""}
DICTIONARY_COLUMNS = ("table", "column", "unit", "definition", "direction", "lowest", "highest", "source")


_STUDY = {"study": text("name of the study")}
_EXPERIMENT = {"experiment": text("name of the experiment")}
_LABEL = {"label": text("class")}
_STAGE = {"stage": text("raw: as predicted; post: after cleaning; candidates: of detection, which need be no label")}
_SPLIT = {
    "split": text(
        "val: cross-validation, scored by the model that did not train on it; test: kept from all models, scored by "
        "the ensemble; unseen: came after the folds were frozen"
    )
}
_BY = {**_EXPERIMENT, **_LABEL, **_STAGE, **_SPLIT}
_FOLD = {"fold": text("fold of the case"), "seed": text("seed of the training; empty without training")}
_CASE = {"case": text("image"), "subject": text("pseudonym of the person")}
_HEAD = {**_STUDY, **_EXPERIMENT, **_FOLD, **_SPLIT, **_CASE, **_LABEL, **_STAGE}
_OF_METRIC = {"metric": text("column of metrics_by_case that is described")}
_NOTE = {"note": text("why numbers are missing, or a warning of few subjects")}
_N = {"n_cases": count("cases"), "n_subjects": count("subjects")}
_SUMMARY = {
    **_N,
    "n_defined": count("rows with a value"),
    "n_undefined": count("rows without one; metrics_by_case says why"),
    "mean": metric("mean of the defined values"),
    "sd": metric("sample standard deviation"),
    "median": metric("median"),
    "q1": metric("lower quartile, linear interpolation"),
    "q3": metric("upper quartile, linear interpolation"),
    "min": metric("lowest value"),
    "max": metric("highest value"),
    "ci_low": metric("low end of the interval of the mean: percentiles over resampled subjects"),
    "ci_high": metric("high end of the interval of the mean"),
    "median_ci_low": metric("low end of the interval of the median: percentiles over resampled subjects"),
    "median_ci_high": metric("high end of the interval of the median"),
    **_NOTE,
}
_PROPERTY = {"property": text("property of the cases that makes the groups")}
_PAIR = {"experiment_a": text("first experiment"), "experiment_b": text("second experiment")}

TABLES: dict[str, Table] = {
    "metrics_by_case": Table(
        "every metric of every case",
        {
            **_HEAD,
            **COLUMNS,
            "seconds_predict": Column(
                "s", "wall time of the prediction; differs from run to run", (0.0, math.inf), False
            ),
        },
    ),
    "summary": Table("each metric summed up", {**_BY, **_OF_METRIC, **_SUMMARY}),
    "comparison": Table(
        "pairs of experiments on the same cases",
        {
            **_OF_METRIC,
            **_PAIR,
            "n_pairs": count("pairs of values: case, label and stage measured under both; folds and seeds averaged"),
            "n_subjects": count("subjects of these pairs; their mean differences are tested"),
            "n_excluded": count("pairs with an undefined value"),
            "n_unmatched": count("cases measured under one experiment only"),
            "median_difference": metric("median over subjects of a - b; infinite where one fails in most"),
            "mean_difference": metric("mean over subjects of a - b"),
            "ci_low": metric("low end of the interval of the mean difference, resampling subjects"),
            "ci_high": metric("high end of the interval of the mean difference"),
            "p_value": share("two-sided Wilcoxon signed-rank test without zero differences", "Wilcoxon 1945"),
            "p_holm": share("p_value corrected for the pairs of one label, metric and split", "Holm 1979"),
            "p_permutation": share("two-sided permutation test of the mean difference, flipping signs", "Fisher 1935"),
            "effect_size": number(
                "fraction",
                "matched-pairs rank-biserial correlation, positive where a is larger",
                -1.0,
                1.0,
                "Kerby 2014",
            ),
            "better": text("experiment that the effect favours; empty where neither or no direction is better"),
            **_NOTE,
            **_LABEL,
            **_STAGE,
            **_SPLIT,
            "p_bh": share("p_value corrected for all rows of the table", "Benjamini and Hochberg 1995"),
        },
    ),
    "ranks": Table(
        "order of the experiments and how stable it is",
        {
            **_OF_METRIC,
            **_EXPERIMENT,
            **_N,
            "n_incomplete": count("cases left out because some experiment has no value"),
            "mean_rank": number("rank", "mean over cases of the rank within the case, ties averaged", 1.0),
            "rank": number("rank", "rank of mean_rank; 1 is best", 1.0, math.inf, "Wiesenfarth 2021"),
            "rank_low": number("rank", "low end of the interval of rank, resampling subjects", 1.0),
            "rank_high": number("rank", "high end of the interval of rank", 1.0),
            "share_first": share("resamples in which no experiment is better"),
            "tau": number("fraction", "mean Kendall tau of ranking and resampled ranking; 1 is stable", -1.0, 1.0),
            **_NOTE,
            **_LABEL,
            **_STAGE,
            **_SPLIT,
        },
    ),
    "variance": Table(
        "spread over folds and seeds",
        {
            **_BY,
            **_OF_METRIC,
            "factor": text("fold: models on different cases; seed: trainings on the same cases"),
            "n_levels": count("folds or seeds"),
            "n_cases": count("cases with a value"),
            "n_undefined": count("cases left out for want of a value"),
            "lowest": metric("lowest mean of a fold or seed"),
            "highest": metric("highest mean of a fold or seed"),
            "sd_of_means": metric("standard deviation of these means"),
            "sd_within": metric("fold: SD of cases within a fold; seed: SD of a case over seeds"),
            "sd_component": metric("fold: SD between folds beyond the spread of cases; seed: sd_of_means"),
            **_NOTE,
        },
    ),
    "agreement": Table(
        "predicted against reference volumes",
        {
            **_BY,
            **_N,
            "n_left_out": count("cases without volume in both masks"),
            "bias_ml": ml("mean of prediction - reference", "Bland and Altman 1999"),
            "bias_low_ml": ml("low end of the interval of the bias, resampling subjects"),
            "bias_high_ml": ml("high end of the interval of the bias"),
            "sd_ml": ml("standard deviation of the differences"),
            "limit_low_ml": ml("lower limit of agreement, bias - 1.96 SD"),
            "limit_high_ml": ml("upper limit of agreement, bias + 1.96 SD"),
            "limit_error_ml": ml("standard error of a limit"),
            "slope": number("fraction", "slope of the differences on the means: the bias grows with the volume"),
            "slope_p": share("p of slope = 0"),
            "icc_agreement": number("fraction", "ICC(2,1)", -1.0, 1.0, "Shrout and Fleiss 1979"),
            "icc_low": number("fraction", "low end of the interval of icc_agreement", -1.0, 1.0),
            "icc_high": number("fraction", "high end of the interval of icc_agreement", -1.0, 1.0),
            "icc_consistency": number("fraction", "ICC(3,1)", -1.0, 1.0, "Shrout and Fleiss 1979"),
            "concordance": number("fraction", "concordance correlation coefficient", -1.0, 1.0, "Lin 1989"),
            **_NOTE,
        },
    ),
    "subgroups": Table(
        "the primary metric in groups of cases",
        {
            **_EXPERIMENT,
            **_LABEL,
            **_SPLIT,
            "value": text("group; unknown where the case has no such property"),
            **_OF_METRIC,
            **_SUMMARY,
            **_PROPERTY,
            **_STAGE,
        },
    ),
    "gaps": Table(
        "the largest difference between two groups",
        {
            **_EXPERIMENT,
            **_LABEL,
            **_SPLIT,
            **_OF_METRIC,
            **_PROPERTY,
            "n_groups": count("groups with enough subjects"),
            "n_subjects": count("subjects in them"),
            "n_too_small": count("groups with too few subjects, left out here"),
            "best": text("group with the best mean (the highest where no direction is better)"),
            "worst": text("group with the worst mean"),
            "gap": metric("distance of the two means over subjects"),
            "ci_low": metric("low end of the interval of the gap, resampling subjects within the two groups"),
            "ci_high": metric("high end of the interval of the gap"),
            "p_groups": share("Kruskal-Wallis test over all groups", "Kruskal and Wallis 1952"),
            "p_groups_holm": share("p_groups corrected for the properties", "Holm 1979"),
            **_NOTE,
        },
    ),
    "interactions": Table(
        "whether the difference between two experiments depends on the group",
        {
            **_LABEL,
            **_SPLIT,
            **_OF_METRIC,
            **_PROPERTY,
            **_PAIR,
            "n_groups": count("groups with enough subjects"),
            "n_subjects": count("subjects in them"),
            "n_left_out": count("subjects without a finite difference, or only in groups that are too small"),
            "lowest_group": text("group with the smallest mean difference a - b"),
            "lowest_difference": metric("mean over its subjects of a - b"),
            "highest_group": text("group with the largest mean difference a - b"),
            "highest_difference": metric("mean over its subjects of a - b"),
            "contrast": metric("highest_difference - lowest_difference: how much more a gains in the one group"),
            "ci_low": metric("low end of the interval of the contrast, resampling subjects within the two groups"),
            "ci_high": metric("high end of the interval of the contrast"),
            "p_interaction": share(
                "permutation test that the mean of a - b is the same in all groups: groups change places among "
                "subjects, statistic of Welch",
                "Welch 1951; Chung and Romano 2013",
            ),
            "p_interaction_holm": share("p_interaction corrected for the properties", "Holm 1979"),
            **_NOTE,
        },
    ),
    "covariates": Table(
        "how metrics go along with numbers of the cases",
        {
            **_EXPERIMENT,
            **_LABEL,
            **_SPLIT,
            **_OF_METRIC,
            "covariate": text("the number"),
            "n_subjects": count("subjects with both; their means are correlated"),
            "n_left_out": count("subjects without one of them"),
            "rho": number("fraction", "Spearman's rank correlation", -1.0, 1.0, "Spearman 1904"),
            "ci_low": number("fraction", "low end of the interval of rho", -1.0, 1.0, "Bonett and Wright 2000"),
            "ci_high": number("fraction", "high end of the interval of rho", -1.0, 1.0),
            "p_value": share("p of rho = 0"),
            "p_value_holm": share("p_value corrected for the covariates of one metric", "Holm 1979"),
            **_NOTE,
        },
    ),
    "lesions": Table(
        "single lesions of reference and prediction",
        {
            **_HEAD,
            "lesion": count("number within the mask, the largest is 1"),
            "side": text("reference or prediction"),
            "volume_ml": ml("volume"),
            "z": number("voxel", "mean index along z", 0.0),
            "y": number("voxel", "mean index along y", 0.0),
            "x": number("voxel", "mean index along x", 0.0),
            "shared_ml": ml("volume shared with the other mask"),
            "n_matched": count("lesions of the other mask that it touches; 0: missed, or a false alarm"),
            "largest_match_ml": ml("volume of the largest of these"),
            "dice": Column(
                "fraction",
                "Dice with all predicted lesions that touch it, together; only of the reference",
                (0.0, 1.0),
                True,
            ),
            "max_probability": share("largest probability of its voxels; of predicted lesions, where `probabilities`"),
            "mean_probability": share("mean probability of its voxels; likewise"),
            "match_max_probability": share("of the reference: largest max_probability of the lesions that touch it"),
        },
    ),
    "instances": Table(
        "agreement of objects, where the reference numbers them",
        {
            **_HEAD,
            "n_reference": count("objects of the reference"),
            "n_prediction": count("predicted objects: raw, connected components; post, as told apart by `instances`"),
            "n_matched": count("pairs with a Jaccard index above 0.5"),
            "panoptic_quality": Column(
                "fraction", "segmentation_quality x recognition_quality", (0.0, 1.0), True, "Kirillov 2019"
            ),
            "segmentation_quality": Column(
                "fraction", "mean Jaccard index of the matched pairs", (0.5, 1.0), True, "Kirillov 2019"
            ),
            "recognition_quality": Column(
                "fraction", "matches / (matches + half of the unmatched objects)", (0.0, 1.0), True, "Kirillov 2019"
            ),
            "aggregated_jaccard": Column(
                "fraction",
                "shared over united voxels of all reference objects with their best partner; strangers count as united",
                (0.0, 1.0),
                True,
                "Kumar 2017",
            ),
            "precision_at_50": Column(
                "fraction",
                "TP / (TP + FP + FN) over objects at a Jaccard index of 0.5",
                (0.0, 1.0),
                True,
                "Caicedo 2019",
            ),
            "precision_50_to_95": Column(
                "fraction", "mean of the same at 0.50, 0.55, ... 0.95", (0.0, 1.0), True, "Caicedo 2019"
            ),
        },
    ),
    "calibration": Table(
        "predicted and observed shares, over the voxels of all cases",
        {
            **_BY,
            "n_cases": count("cases (times seeds) that are pooled"),
            "low": share("lower end of the bin of probability"),
            "high": share("upper end of the bin"),
            "n_voxels": count("voxels in the bin"),
            "mean_probability": share("mean probability of these voxels"),
            "observed": share("share of them that belong to the label"),
        },
    ),
    "curves": Table(
        "curves over voxels, cases and widths of the boundary band",
        {
            **_BY,
            "curve": text(
                "roc: x 1 - specificity, y sensitivity, over voxels; precision_recall: x sensitivity, y precision; "
                "case_roc: cases with and without the structure told apart by predicted volume (ml); "
                "trimap: x half width in mm, y mean boundary Jaccard"
            ),
            "n_cases": count("cases (times seeds)"),
            "threshold": number("as the curve", "threshold, or width, of the point"),
            "x": number("as the curve", "see curve"),
            "y": number("as the curve", "see curve"),
        },
    ),
    **detection_tables(_HEAD, _BY, _NOTE),
    **panoptic_tables(_HEAD, _BY, _NOTE),
    **type_tables(_SPLIT, _NOTE),
    **CLASS_TABLES,
    **STABILITY_TABLES,
    **SEARCH_TABLES,
    **CHOICE_TABLES,
    **COHORT_TABLES,
    **image_tables({**_STUDY, **_EXPERIMENT, **_FOLD, **_SPLIT, **_CASE}, _BY, _SUMMARY),
    "data_dictionary": Table(
        "this table",
        {
            "table": text("name of the table"),
            "column": text("name of the column"),
            "unit": text("unit; text for words"),
            "definition": text("what it means"),
            "direction": text("higher or lower where that is better, else empty"),
            "lowest": number("as the column", "lowest possible value; empty for text and where there is none"),
            "highest": number("as the column", "highest possible value; empty for text and where there is none"),
            "source": text("paper that the definition follows"),
        },
    ),
}
"""Every table of `tables/`, by name."""


def dictionary(*, images: bool = True) -> pd.DataFrame:
    """`data_dictionary.csv`: columns `DICTIONARY_COLUMNS`, one row per table and column; of images where there are."""
    rows = [
        (
            table,
            name,
            column.unit,
            column.definition,
            DIRECTIONS[column.higher_is_better],
            *(end if math.isfinite(end) else math.nan for end in column.range or (math.nan, math.nan)),
            column.source,
        )
        for table, (_, columns) in TABLES.items()
        if images or not is_of_images(table)
        for name, column in columns.items()
    ]
    return pd.DataFrame(rows, columns=list(DICTIONARY_COLUMNS))
