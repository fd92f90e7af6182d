"""The data dictionary of the tables of detection: curves, cases told apart, operating points."""

from cohortseg.metrics.columns import Column
from cohortseg.metrics.table_words import Table, count, number, share, text

Columns = dict[str, Column]

_HOW: Columns = {
    "candidates": text("label: components of the cleaned label; probability: of the probability above a threshold"),
    "score": text("score by which candidates count: max_probability, mean_probability or volume_ml of a candidate"),
}


def _rate(name: str, definition: str, *, highest: float = 1.0, higher: bool = True) -> Columns:
    """A rate with its interval."""
    unit = "fraction" if highest == 1.0 else "count"
    ends = {"ci_low": "low end", "ci_high": "high end"}
    columns = {name: Column(unit, definition, (0.0, highest), higher, "Setio 2017" if name.startswith("mean") else "")}
    for end, words in ends.items():
        words_of_end = f"{words} of its interval: percentiles over resampled subjects, thresholds as they are"
        columns[f"{name}_{end}"] = number(unit, words_of_end, 0.0, highest)
    return columns


def detection_tables(head: Columns, by: Columns, note: Columns) -> dict[str, Table]:
    """All tables of detection; `head` and `by` begin their rows, `note` ends them."""
    return {
        "froc": Table(
            "lesions found against false ones, as the score varies from which a predicted lesion counts",
            {
                **by,
                "n_cases": count("cases (times seeds)"),
                "n_lesions": count("lesions of the reference"),
                "score": text(
                    "what a predicted lesion is kept by: its largest probability (max_probability), where "
                    "probabilities were stored, and its volume (volume_ml)"
                ),
                "threshold": number("1 or ml, as the score", "predicted lesions with a lower score are dropped", 0.0),
                "false_per_case": number("count", "predicted lesions per case that touch no reference lesion", 0.0),
                "sensitivity": share("reference lesions that a kept predicted lesion touches"),
                "mean_sensitivity": share("mean at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false lesions per case", "Setio 2017"),
            },
        ),
        "detection": Table(
            "cases with the structure told from cases without it",
            {
                **by,
                "score": text(
                    "score of a case: its largest max_probability (0 without a lesion), or its predicted volume"
                ),
                "n_cases": count("cases (times seeds)"),
                "n_subjects": count("subjects"),
                "n_positive": count("cases whose reference holds the structure"),
                "roc_auc": Column(
                    "fraction",
                    "chance that a case with the structure has the higher score, ties half",
                    (0.0, 1.0),
                    True,
                    "Hanley 1982",
                ),
                "ci_low": share("low end of its interval: percentiles over resampled subjects"),
                "ci_high": share("high end of its interval"),
                **note,
            },
        ),
        "detections": Table(
            "lesions found and false candidates of each case at the operating point of its fold",
            {
                **head,
                **_HOW,
                "threshold": number(
                    "1 or ml, as the score",
                    "candidates with a lower score do not count; chosen by the validation cases of the other folds, "
                    "for the test set by those of all; infinite: none counts",
                    0.0,
                ),
                "n_lesions": count("lesions of the reference"),
                "n_found": count("lesions that a candidate hits which counts"),
                "n_false": count("candidates that count and hit no lesion"),
                "n_candidates": count("lesions hit and false candidates if all counted"),
            },
        ),
        "operating_points": Table(
            "detection at the operating point that the other folds chose",
            {
                **by,
                **_HOW,
                "threshold_low": number("1 or ml, as the score", "lowest threshold of the folds", 0.0),
                "threshold_high": number("1 or ml, as the score", "highest threshold of the folds", 0.0),
                "n_cases": count("cases (times seeds)"),
                "n_subjects": count("subjects"),
                "n_positive": count("cases with a lesion"),
                "n_lesions": count("lesions of the reference"),
                "n_found": count("lesions found"),
                "n_false": count("false candidates"),
                **_rate("sensitivity_per_lesion", "lesions found of all lesions"),
                **_rate("sensitivity_per_scan", "cases with a found lesion of all cases with a lesion"),
                **_rate("specificity_per_scan", "cases without a candidate that counts of all cases without a lesion"),
                **_rate("false_per_scan", "false candidates per case", highest=float("inf"), higher=False),
                **_rate("mean_sensitivity", "mean lesion sensitivity at 1/8, 1/4, 1/2, 1, 2, 4, 8 false per case"),
                **note,
            },
        ),
    }
