"""What the rules of low resolution and of cascades ask for."""

from cohortseg.workflow import resolutions_of

STAGE_AT = {"full": "preprocess", "low": "preprocess_low"}


def model_space_of(experiment):
    """The stages that bring images into the model spaces that the networks of an experiment see them in."""
    return [STAGE_AT[one] for one in resolutions_of(STUDY.experiments[experiment])]


def labels_before(wildcards):
    """The tokens of the labels that a training of a cascade is given; none for others."""
    if STUDY.before(wildcards.experiment) is None:
        return []
    return [
        token("crossfit", f"fold-{wildcards.fold}-{batch}", wildcards.experiment)
        for batch in voting_batches()
    ]


def predictions_before(wildcards):
    """The token of the predictions that a cascade is given for a batch; none for others."""
    source = STUDY.before(wildcards.experiment)
    return [] if source is None else [token("predict", wildcards.fold_batch, source)]


def network_before(wildcards):
    """What labels cases for a cascade: a model that saw neither of two folds, or what its own has found already."""
    source, fold = STUDY.before(wildcards.experiment), wildcards.fold
    other = batch_of(wildcards)[0].fold
    images = [
        token(stage, case.batch)
        for stage in STAGE_AT.values()
        for case in batch_of(wildcards)
    ]
    if other == fold:
        return sorted({*images, *predictions_before(wildcards)})
    pair = LAYOUT.pair(source, fold, other, STUDY.seed_before(wildcards.experiment))
    return sorted({*images, str(pair / "train.json")})


def both_members(wildcards):
    """The digest of the frozen members of two folds: trained again when they change."""
    return digest(
        [text_of(LAYOUT.members(k)) for k in (wildcards.fold, wildcards.without)]
    )


if workflow.is_main_process:
    write_asked(
        LAYOUT,
        {
            f"crossfit-{experiment}": [
                revision_of("crossfit"),
                stage_settings(STUDY, "crossfit", experiment),
            ]
            for experiment in STUDY.experiments
            if STUDY.before(experiment) is not None
        },
    )
