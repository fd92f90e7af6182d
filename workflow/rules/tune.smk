"""Rules of a search: try settings on inner folds of the training cases, choose the best; the held-out cases stay shut."""


rule trial:
    """Try one proposal of settings on the inner folds of a fold's frozen training members."""
    input:
        earlier_trials,
        plan_of,
        folds=ancient(str(LAYOUT.folds)),
        asked=asked("trial-{experiment}-{fold}"),
    output:
        token=token("trial", "fold-{fold}-{number}", "{experiment}"),
    log:
        log_of("trial", "{experiment}/fold-{fold}-{number}"),
    benchmark:
        benchmark_of("trial", "{experiment}/fold-{fold}-{number}")
    wildcard_constraints:
        fold=rf"\d+|{TEST}",
        number=r"\d+",
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of_trial,
        runtime=runtime_of_trial,
        gpu=cards(gpus_of),
        gpu_model=card_model(gpus_of),
        gres=card_gres(gpus_of),
    params:
        study=study_folder,
        inner=lambda wildcards: inner_digest(wildcards.experiment, wildcards.fold),
        upstream=lambda wildcards: shaped_by(wildcards.experiment),
        settings=settings_of("trial"),
        revision=revision_of("trial"),
    message:
        "trial {wildcards.number} of {wildcards.experiment} fold {wildcards.fold}"
    shell:
        "cohortseg trial --study {params.study:q} --experiment {wildcards.experiment:q} --threads {threads}"
        " --fold {wildcards.fold} --number {wildcards.number} --upstream {params.upstream:q}"
        " --settings {params.settings:q} --token {output.token:q} > {log:q} 2>&1"


# It reads a few small files: on a cluster a job of its own would cost more.
rule tune:
    """Choose the settings of the best trial of a fold."""
    input:
        trials_of_fold,
        asked=asked("tune-{experiment}"),
    output:
        tuned=str(LAYOUT.tuned("{experiment}", "{fold}")),
    log:
        log_of("tune", "{experiment}/fold-{fold}"),
    benchmark:
        benchmark_of("tune", "{experiment}/fold-{fold}")
    wildcard_constraints:
        fold=rf"\d+|{TEST}",
    localrule: True
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("split"),
        runtime=10,
    params:
        study=study_folder,
        trials=n_trials_of,
    message:
        "tune {wildcards.experiment} fold {wildcards.fold}: {params.trials} trials"
    shell:
        "cohortseg tune --study {params.study:q} --experiment {wildcards.experiment:q}"
        " --fold {wildcards.fold} --trials {params.trials} --token {output.tuned:q} > {log:q} 2>&1"
