"""Rules of labels that are no references: what another experiment finds on the training cases of a fold."""


def labels_from(wildcards):
    """The experiment whose labels an experiment learns from."""
    return STUDY.labels_of(wildcards.experiment)


def pseudo_labels(wildcards):
    """The tokens of the labels that a training learns from; none where it learns from references."""
    if STUDY.labels_of(wildcards.experiment) is None:
        return []
    return [
        token("pseudolabel", f"fold-{wildcards.fold}-{batch}", wildcards.experiment)
        for batch, cases in sorted(FOLD_BATCHES.items())
        if cases[0].fold not in (wildcards.fold, TEST)
    ]


def source_of_labels(wildcards):
    """What labels are made with: the source's model of the fold, or what it has found already; images of both."""
    source, fold = labels_from(wildcards), wildcards.fold
    stages = {
        "preprocess" if experiment in STUDY.networks else "convert"
        for experiment in (source, wildcards.experiment)
    }
    batches = {case.batch for case in batch_of(wildcards)}
    images = [token(stage, batch) for stage in stages for batch in batches]
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


rule pseudolabel:
    """Label training cases of a fold by another experiment, which has not seen the fold's held-out cases."""
    input:
        source_of_labels,
        ancient(str(LAYOUT.folds)),
        tuned=tuned_source,
        asked=asked("pseudolabel-{experiment}"),
    output:
        token=token("pseudolabel", "fold-{fold}-{fold_batch}", "{experiment}"),
    log:
        log_of("pseudolabel", "{experiment}/fold-{fold}-{fold_batch}"),
    benchmark:
        benchmark_of("pseudolabel", "{experiment}/fold-{fold}-{fold_batch}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("pseudolabel"),
        runtime=runtime_of("pseudolabel"),
        gpu=gpus_of_source,
    params:
        study=study_folder,
        cases=names_of,
        tuned=tuned_argument,
        settings=settings_of("pseudolabel"),
        revision=revision_of("pseudolabel"),
    message:
        "pseudolabel {wildcards.experiment} fold {wildcards.fold} {wildcards.fold_batch}: {params.cases}"
    shell:
        "cohortseg pseudolabel --study {params.study:q} --experiment {wildcards.experiment:q} --threads {threads}"
        " --fold {wildcards.fold} --cases {params.cases:q} --settings {params.settings:q} --token {output.token:q}"
        " {params.tuned:q} > {log:q} 2>&1"
