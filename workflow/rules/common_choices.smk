"""What is chosen on validation folds, by whom, and where it stands."""

from cohortseg.io.sidecar import digest
from cohortseg.layout import TEST


def voting_batches():
    """The batches whose cases some fold keeps out of its training on purpose: choices are made by them alone."""
    return {
        batch: cases
        for batch, cases in sorted(FOLD_BATCHES.items())
        if cases[0].fold != TEST
        and (STUDY.split.refit or any(case.role == "cohort" for case in cases))
    }


def voters_digest():
    """The digest of the cases by which choices are made, with their folds and subjects."""
    return digest(
        [
            [case.case, case.fold, case.subject]
            for cases in voting_batches().values()
            for case in cases
        ]
    )


def voting_tokens(stage):
    """The tokens of a stage of an experiment for the batches that take part in choices."""
    return [token(stage, batch, "{experiment}") for batch in voting_batches()]


def chosen_files(what, experiment="{experiment}"):
    """What was chosen for each fold and for the test set, and the list of what it was chosen from."""
    folds = [*map(str, range(STUDY.split.folds)), TEST]
    chosen = [str(LAYOUT.chosen(experiment, what, fold)) for fold in folds]
    return [*chosen, str(LAYOUT.choices(experiment, what))]


def members_tokens(wildcards):
    """The tokens of the predictions of a batch by the experiments among which the best is chosen."""
    return [
        token("predict", wildcards.fold_batch, member.experiment)
        for member in STUDY.members(wildcards.experiment)
    ]


def thresholds_of(wildcards):
    """The chosen probability thresholds of an experiment, where it chooses."""
    chooses = STUDY.chooses_threshold(wildcards.experiment)
    return chosen_files("threshold", wildcards.experiment) if chooses else []


def chosen_of(wildcards):
    """What was chosen for the cases of a batch."""
    experiment, fold = wildcards.experiment, batch_of(wildcards)[0].fold
    cleaning = [what for what in STUDY.choices(experiment) if what != "model"]
    return [str(LAYOUT.chosen(experiment, what, fold)) for what in cleaning]
