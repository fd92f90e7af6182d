"""Rules of low resolution and of cascades; no job of them runs where no experiment asks for it."""


rule preprocess_low:
    """Bring the images and labels of a batch into the model space of low resolution."""
    input:
        token("fingerprint"),
        plan=str(LAYOUT.plan),
        asked=asked("preprocess"),
    output:
        token=token("preprocess_low"),
    log:
        log_of("preprocess_low"),
    benchmark:
        benchmark_of("preprocess_low")
    conda:
        "../../envs/cohortseg.yaml"
    threads: cores_of("preprocess")
    resources:
        mem_mb=memory_of("preprocess"),
        runtime=runtime_of("preprocess"),
        workers=workers_of("preprocess"),
        worker_mb=worker_mb,
        cpus_per_task=cluster_cores_of("preprocess"),
    params:
        study=study_folder,
        cases=names_of,
        settings=settings_of("preprocess"),
        revision=revision_of("preprocess"),
    message:
        "preprocess {wildcards.batch} at low resolution: {params.cases}"
    shell:
        "cohortseg preprocess --study {params.study:q} --cases {params.cases:q} --threads {threads}"
        " --settings {params.settings:q} --token {output.token:q} --resolution low"
        " --workers {resources.workers} --worker-mb {resources.worker_mb} --minutes {resources.runtime}"
        " > {log:q} 2>&1"


rule train_pair:
    """Train one model that sees the cases of neither of two folds: it labels the cases of one for the cascade of the other."""
    input:
        plan_of,
        folds=ancient(str(LAYOUT.folds)),
        asked=[
            asked("train-{experiment}-{fold}"),
            asked("train-{experiment}-{without}"),
        ],
    output:
        token=str(
            LAYOUT.root
            / "experiments/{experiment}/without-{fold}-{without}-seed-{seed}/train.json"
        ),
    log:
        log_of("train", "{experiment}/without-{fold}-{without}-seed-{seed}"),
    benchmark:
        benchmark_of("train", "{experiment}/without-{fold}-{without}-seed-{seed}")
    wildcard_constraints:
        without=r"\d+",
    conda:
        "../../envs/cohortseg.yaml"
    threads: processes_of
    resources:
        mem_mb=training_memory,
        runtime=1440,
        gpu=cards(training_gpus),
        gpu_model=card_model(training_gpus),
        gres=card_gres(training_gpus),
        mpi=several(lambda _: "srun"),
        nodes=several(lambda _: 1),
        tasks=several(processes_of),
        tasks_per_gpu=several(lambda _: 0),
    params:
        study=study_folder,
        members=both_members,
        upstream=upstream_of,
        settings=settings_of("train"),
        revision=revision_of("train"),
    message:
        "train {wildcards.experiment} without folds {wildcards.fold} and {wildcards.without}"
    shell:
        "cohortseg train --study {params.study:q} --experiment {wildcards.experiment:q} --threads {threads}"
        " --fold {wildcards.fold} --without {wildcards.without} --seed {wildcards.seed}"
        " --upstream {params.upstream:q} --settings {params.settings:q} --token {output.token:q} > {log:q} 2>&1"


rule crossfit:
    """Label cases for the cascade of a fold, by networks that have seen neither the cases nor those held out."""
    input:
        network_before,
        ancient(str(LAYOUT.folds)),
        asked=asked("crossfit-{experiment}"),
    output:
        token=token("crossfit", "fold-{fold}-{fold_batch}", "{experiment}"),
    log:
        log_of("crossfit", "{experiment}/fold-{fold}-{fold_batch}"),
    benchmark:
        benchmark_of("crossfit", "{experiment}/fold-{fold}-{fold_batch}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("crossfit"),
        runtime=runtime_of("crossfit"),
        gpu=cards(gpus_of),
        gpu_model=card_model(gpus_of),
        gres=card_gres(gpus_of),
    params:
        study=study_folder,
        cases=names_of,
        settings=settings_of("crossfit"),
        revision=revision_of("crossfit"),
    message:
        "crossfit {wildcards.experiment} fold {wildcards.fold} {wildcards.fold_batch}: {params.cases}"
    shell:
        "cohortseg crossfit --study {params.study:q} --experiment {wildcards.experiment:q} --threads {threads}"
        " --fold {wildcards.fold} --cases {params.cases:q} --settings {params.settings:q} --token {output.token:q}"
        " > {log:q} 2>&1"
