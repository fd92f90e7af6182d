"""The data dictionary of the types told of segmented cases."""

from cohortseg.metrics.columns import Column
from cohortseg.metrics.region_features import FEATURES
from cohortseg.metrics.table_words import Table, count, number, share, text

Columns = dict[str, Column]

_SOURCE = {
    "source": text("whose segmentation is described: `reference`, or the experiment"),
    "seed": text("seed of the training of the segmentation; empty without training"),
}


def _rate(name: str, definition: str, source: str = "") -> Columns:
    return {
        name: Column("fraction", definition, (0.0, 1.0), True, source),
        f"{name}_ci_low": share("low end of its interval: percentiles over resampled subjects"),
        f"{name}_ci_high": share("high end of its interval"),
    }


def type_tables(split: Columns, note: Columns) -> dict[str, Table]:
    """`types.csv`, `types_by_case.csv` and `region_features.csv`; `split` begins their rows, `note` ends them."""
    case = {"case": text("image"), "subject": text("pseudonym of the person"), "fold": text("fold of the case")}
    return {
        "types": Table(
            "how well types are told of segmented cases, by a classifier that was fitted on other folds",
            {
                **_SOURCE,
                **split,
                "type": text("the type; empty: all together"),
                "n_cases": count("cases of known type that were told"),
                "n_subjects": count("subjects"),
                "n_untold": count(
                    "further cases of known type: the other folds show fewer than two types to learn from"
                ),
                "n_empty": count("of these, cases without a region: told of no type, which is wrong"),
                **_rate("type_accuracy", "share of cases told rightly; of a type: of its own cases (its sensitivity)"),
                **_rate("balanced_accuracy", "mean over the types of the share of their cases told rightly"),
                "most_frequent": share("accuracy of naming the most frequent type of the other folds for every case"),
                **_rate(
                    "type_roc_auc", "area under the ROC curve of the type against others; of all: mean", "Hanley 1982"
                ),
                **note,
            },
        ),
        "types_by_case": Table(
            "type of each case, and what was told",
            {
                **_SOURCE,
                **split,
                **case,
                "type": text("type by the clinical table"),
                "told": text("type that was told; empty without a region, or without a classifier"),
                "score": share("score of the told type; no calibrated probability"),
                "score_of_type": share("score of the true type; 0 without a region, or where no other fold has it"),
                "model": text("file of the classifier; empty where the other folds show fewer than two types"),
            },
        ),
        "region_features": Table(
            "what the classifier sees of each case: features of the segmented region",
            {
                **_SOURCE,
                **split,
                **case,
                **{name: number(unit, definition) for name, (unit, definition) in FEATURES.items()},
            },
        ),
    }
