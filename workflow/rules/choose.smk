"""Rules of what is chosen on validation folds: the best model, a probability threshold, the cleaning of each class."""


rule contest:
    """Look at what each model, and each mean of models, shares with the references of a batch."""
    input:
        members_tokens,
        converted_of,
        asked=asked("contest-{experiment}"),
    output:
        token=token("contest", "{fold_batch}", "{experiment}"),
    log:
        log_of("contest", "{experiment}/{fold_batch}"),
    benchmark:
        benchmark_of("contest", "{experiment}/{fold_batch}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("contest"),
        runtime=runtime_of("contest"),
    params:
        study=study_folder,
        cases=names_of,
        settings=settings_of("contest"),
        revision=revision_of("contest"),
    message:
        "contest {wildcards.experiment} {wildcards.fold_batch}: {params.cases}"
    shell:
        "cohortseg contest --study {params.study:q} --experiment {wildcards.experiment:q}"
        " --cases {params.cases:q} --settings {params.settings:q} --token {output.token:q} > {log:q} 2>&1"


rule elect:
    """Choose the model, or the mean of models, for each fold by the validation cases of the other folds."""
    input:
        voting_tokens("contest"),
        asked=asked("elect-{experiment}"),
    output:
        chosen_files("model"),
    log:
        log_of("elect", "{experiment}"),
    benchmark:
        benchmark_of("elect", "{experiment}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("elect"),
        runtime=30,
    params:
        study=study_folder,
        voters=voters_digest(),
        settings=settings_of("elect"),
        revision=revision_of("elect"),
    message:
        "elect {wildcards.experiment}"
    shell:
        "cohortseg elect --study {params.study:q} --experiment {wildcards.experiment:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule threshold:
    """Choose the probability threshold for each fold by the validation cases of the other folds."""
    input:
        voting_tokens("predict"),
        asked=asked("threshold-{experiment}"),
    output:
        chosen_files("threshold"),
    log:
        log_of("threshold", "{experiment}"),
    benchmark:
        benchmark_of("threshold", "{experiment}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("threshold"),
        runtime=30,
    params:
        study=study_folder,
        voters=voters_digest(),
        settings=settings_of("threshold"),
        revision=revision_of("threshold"),
    message:
        "threshold {wildcards.experiment}"
    shell:
        "cohortseg threshold --study {params.study:q} --experiment {wildcards.experiment:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule candidates:
    """Look at what each way of cleaning would leave of the validation cases of a batch."""
    input:
        token("predict", "{fold_batch}", "{experiment}"),
        converted_of,
        thresholds_of,
        asked=asked("candidates-{experiment}"),
    output:
        token=token("candidates", "{fold_batch}", "{experiment}"),
    log:
        log_of("candidates", "{experiment}/{fold_batch}"),
    benchmark:
        benchmark_of("candidates", "{experiment}/{fold_batch}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("candidates"),
        runtime=runtime_of("candidates"),
    params:
        study=study_folder,
        cases=names_of,
        settings=settings_of("candidates"),
        revision=revision_of("candidates"),
    message:
        "candidates {wildcards.experiment} {wildcards.fold_batch}: {params.cases}"
    shell:
        "cohortseg candidates --study {params.study:q} --experiment {wildcards.experiment:q}"
        " --cases {params.cases:q} --settings {params.settings:q} --token {output.token:q} > {log:q} 2>&1"


rule choose:
    """Choose the cleaning of each class for each fold by the validation cases of the other folds."""
    input:
        voting_tokens("candidates"),
        thresholds_of,
        asked=asked("choose-{experiment}"),
    output:
        chosen_files("cleaning"),
    log:
        log_of("choose", "{experiment}"),
    benchmark:
        benchmark_of("choose", "{experiment}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("choose"),
        runtime=60,
    params:
        study=study_folder,
        voters=voters_digest(),
        settings=settings_of("choose"),
        revision=revision_of("choose"),
    message:
        "choose {wildcards.experiment}"
    shell:
        "cohortseg choose --study {params.study:q} --experiment {wildcards.experiment:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
