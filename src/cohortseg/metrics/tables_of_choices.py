"""The data dictionary of the tables of what was chosen on validation folds."""

from cohortseg.metrics.table_words import Table, count, number, text

_WORTH = {
    "n_predictions": count("predictions of validation cases (cases times seeds) that it was chosen by"),
    "n_subjects": count("their subjects"),
    "score_before": number(
        "fraction",
        "mean over these subjects of the Dice without it; an empty reference counts 1 for an empty prediction, else 0",
        0.0,
        1.0,
    ),
    "score_after": number("fraction", "the same with it", 0.0, 1.0),
    "gain": number("fraction", "mean over these subjects of score_after - score_before", -1.0, 1.0),
    "ci_low": number(
        "fraction",
        "low end of the interval of the gain, resampling subjects, for all candidates together",
        source="Westfall and Young 1993",
    ),
    "ci_high": number("fraction", "high end of that interval"),
    "n_held_out": count("predictions of the fold itself, which took no part in the choice"),
    "held_out_gain": number("fraction", "mean gain on these; empty for the test set", -1.0, 1.0),
}
_FOR = {
    "experiment": text("name of the experiment"),
    "applied_to": text("fold whose cases get it, chosen by the cases of the other folds; test: by all folds"),
    "label": text("class"),
    "choice": text(
        "model: which model, or mean of models, predicts (method best); threshold: probability from which a voxel "
        "belongs to the class; cleaning: post-processing"
    ),
}

CHOICE_TABLES: dict[str, Table] = {
    "choices": Table(
        "what was chosen on validation folds, and what it is worth",
        {**_FOR, "chosen": text("the candidate that was kept"), "options": text("what it does"), **_WORTH},
    ),
    "candidates": Table(
        "every candidate of a choice",
        {
            **_FOR,
            "candidate": text("the candidate; its definition stands in docs/methods.md"),
            "options": text("what it does"),
            "verdict": text(
                "kept; less gain: it helps, another helps more; tiny gain: below 0.001; within noise: its interval "
                "holds 0; no gain; too few subjects: fewer than statistics.min_subjects"
            ),
            **_WORTH,
        },
    ),
}
