"""What models are made from, and who predicts what: trainings, plans, searches of settings."""

from cohortseg.io.sidecar import digest
from cohortseg.layout import TEST
from cohortseg.settings import seeds_of
from cohortseg.steps.tuning import needed_trials, searched_folds


def plan_of(wildcards):
    """The plan, where an experiment needs one."""
    return [str(LAYOUT.plan)] if wildcards.experiment in STUDY.networks else []


def members_of(wildcards):
    """The digest of the frozen members of a fold: trained again when it changes."""
    return digest(text_of(LAYOUT.members(wildcards.fold)))


def upstream_of(wildcards):
    """The digest of the settings that shape what a method is trained on."""
    return shaped_by(wildcards.experiment)


def shaped_by(experiment):
    """The same for a model or a trial: networks see images in model space, all others see them as converted."""
    if experiment in STUDY.networks:
        return settings_digest("convert", "plan", "preprocess")
    return settings_digest("convert")


def inner_digest(experiment, fold):
    """The digest of the frozen cases that the search of a fold may see: searched again when it changes."""
    paths = (LAYOUT.members(fold), LAYOUT.inner(experiment, fold))
    return digest([text_of(path) for path in paths])


def trainings(experiment, folds):
    """The training records of the models of an experiment on some folds, for all seeds."""
    return [
        str(LAYOUT.model(experiment, str(fold), seed) / "train.json")
        for fold in folds
        for seed in seeds_of(STUDY.trained[experiment])
    ]


def models_of(wildcards):
    """The models that predict a batch: those of its fold, or of all folds for the test set."""
    if STUDY.members(wildcards.experiment):
        fold = batch_of(wildcards)[0].fold
        elected = str(LAYOUT.chosen(wildcards.experiment, "model", fold))
        return [elected, *members_tokens(wildcards)]
    if wildcards.experiment not in STUDY.trained:
        return []
    fold = batch_of(wildcards)[0].fold
    folds = range(STUDY.split.folds) if fold == TEST else [fold]
    return trainings(wildcards.experiment, folds)


def histories():
    """The training records of all models."""
    folds = range(STUDY.split.folds)
    return [
        record
        for experiment in sorted(STUDY.trained)
        for record in trainings(experiment, folds)
    ]


def tuned(experiment, fold):
    """The settings that the search of a fold has chosen, as an input; nothing where there is no search."""
    return [str(LAYOUT.tuned(experiment, fold))] if experiment in STUDY.tune else []


def tuned_of_training(wildcards):
    """The settings that a network of a fold is trained with."""
    return tuned(wildcards.experiment, wildcards.fold)


def tuned_of_batch(wildcards):
    """The settings that a method without weights segments a batch with; a trained one has them in its weights."""
    if wildcards.experiment in {*STUDY.trained, *STUDY.networks}:
        return []
    return tuned(wildcards.experiment, batch_of(wildcards)[0].fold)


def tuned_argument(wildcards, input):
    """The same for the command line."""
    return ["--tuned", *input.tuned] if input.tuned else []


def earlier_trials(wildcards):
    """The tokens of the trials that a trial learns from: those of the rounds before its own."""
    needed = needed_trials(STUDY.tune[wildcards.experiment], int(wildcards.number))
    return trials(wildcards.experiment, wildcards.fold, needed)


def trials(experiment, fold, n):
    """The tokens of the first trials of a fold."""
    return [
        token("trial", f"fold-{fold}-{number:03d}", experiment) for number in range(n)
    ]


def trials_of_fold(wildcards):
    """The tokens of all trials of a fold."""
    n = STUDY.n_trials[wildcards.experiment]
    return trials(wildcards.experiment, wildcards.fold, n)


def n_trials_of(wildcards):
    """How many trials a search has."""
    return STUDY.n_trials[wildcards.experiment]


def searches():
    """What the searches of all experiments and folds have chosen."""
    return [
        path
        for experiment in sorted(STUDY.tune)
        for fold in searched_folds(STUDY, experiment)
        for path in tuned(experiment, fold)
    ]
