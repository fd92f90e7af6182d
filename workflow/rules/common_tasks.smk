"""What the rules of stability and of labels that are no references ask for."""

from cohortseg.cohort import some_of

CHANGED = STUDY.stability
CHANGED_CASES = (
    set(some_of(CASES.values(), CHANGED.cases, seed=CHANGED.seed)) if CHANGED else set()
)


def changed_names(wildcards):
    """The cases of a batch whose image is changed."""
    return [name for name in names_of(wildcards) if name in CHANGED_CASES]


def stability_tokens():
    """The tokens of all batches with such a case, of all experiments that predict by themselves."""
    return [
        token("stability", batch, experiment)
        for experiment in sorted(STUDY.experiments)
        if not STUDY.members(experiment)
        for batch, cases in sorted(FOLD_BATCHES.items())
        if any(case.case in CHANGED_CASES for case in cases)
    ]


if CHANGED and workflow.is_main_process:
    write_asked(
        LAYOUT,
        {
            f"stability-{experiment}": [
                revision_of("stability"),
                stage_settings(STUDY, "stability", experiment),
            ]
            for experiment in STUDY.experiments
        },
    )


def labels_from(wildcards):
    """The experiment whose labels an experiment learns from."""
    return STUDY.labels_of(wildcards.experiment)


def pseudo_labels(wildcards):
    """The tokens of the labels of a fold's frozen members; none where a training learns from references."""
    if STUDY.labels_of(wildcards.experiment) is None:
        return []
    return [
        token("pseudolabel", f"fold-{wildcards.fold}-{batch}", wildcards.experiment)
        for batch, cases in voting_batches().items()
        if cases[0].fold != wildcards.fold
    ]


def source_of_labels(wildcards):
    """What labels are made with: the source's model of the fold, or what it has found already; images of both."""
    source, fold = labels_from(wildcards), wildcards.fold
    stages = {
        stage
        for experiment in (source, wildcards.experiment)
        for stage in (
            model_space_of(experiment) if experiment in STUDY.networks else ["convert"]
        )
    }
    batches = {case.batch for case in batch_of(wildcards)}
    images = sorted(token(stage, batch) for stage in stages for batch in batches)
    if source in STUDY.trained:
        seed = seeds_of(STUDY.trained[source])[0]
        return [*images, str(LAYOUT.model(source, fold, seed) / "train.json")]
    if source in STUDY.tune:
        return images
    return [*images, token("predict", wildcards.fold_batch, source)]


def tuned_source(wildcards):
    """The settings that the fold has chosen for a source without weights."""
    source = labels_from(wildcards)
    return [] if source in STUDY.trained else tuned(source, wildcards.fold)


def gpus_of_source(wildcards):
    """One GPU where the source is a network."""
    return int(labels_from(wildcards) in STUDY.networks)


if workflow.is_main_process:
    write_asked(
        LAYOUT,
        {
            f"pseudolabel-{experiment}": [
                revision_of("pseudolabel"),
                stage_settings(STUDY, "pseudolabel", experiment),
            ]
            for experiment in STUDY.trained
            if STUDY.labels_of(experiment) is not None
        },
    )
