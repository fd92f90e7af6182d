"""The data dictionary of the tables about searches of settings."""

from cohortseg.metrics.table_words import Table, count, number, share, text

SEARCH_TABLES: dict[str, Table] = {
    "trials": Table(
        "every trial of every search of settings; scored on inner folds of the training cases, never on held-out ones",
        {
            "experiment": text("name of the experiment"),
            "fold": text("fold whose held-out cases the search has not seen; test: the test set"),
            "trial": count("number of the trial, from 0"),
            "status": text("ok or failed"),
            "is_chosen": text("yes for the trial whose settings the fold uses"),
            "metric": text("what is scored"),
            "score": share("mean over the classes of their means over the inner validation cases"),
            "n_cases": count("cases that were scored, over all inner folds"),
            "n_trained_on": count("cases of the inner training part; 0 for a method that learns nothing"),
            "settings": text("what was tried, as JSON"),
            "reason": text("why a trial failed"),
            "same_as": number("count", "earlier trial with the same settings, whose result was taken", 0.0),
            "seconds_trial": number("s", "wall time of the trial; differs from run to run", 0.0),
        },
    ),
}
