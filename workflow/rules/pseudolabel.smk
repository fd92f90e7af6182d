"""Rules of labels that are no references: what another experiment finds on the training cases of a fold."""


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
        gpu=cards(gpus_of_source),
        gpu_model=card_model(gpus_of_source),
        gres=card_gres(gpus_of_source),
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
