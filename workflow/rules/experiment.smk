"""Rules of one experiment: train where the method needs weights, predict, clean, measure, export."""


rule train:
    """Train one model on the frozen members of a fold; a network resumes where it was interrupted."""
    input:
        plan_of,
        pseudo_labels,
        labels_before,
        folds=ancient(str(LAYOUT.folds)),
        tuned=tuned_of_training,
        asked=asked("train-{experiment}-{fold}"),
    output:
        token=str(LAYOUT.model("{experiment}", "{fold}", "{seed}") / "train.json"),
    log:
        log_of("train", "{experiment}/fold-{fold}-seed-{seed}"),
    benchmark:
        benchmark_of("train", "{experiment}/fold-{fold}-seed-{seed}")
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
        members=members_of,
        upstream=upstream_of,
        tuned=tuned_argument,
        settings=settings_of("train"),
        revision=revision_of("train"),
    message:
        "train {wildcards.experiment} fold {wildcards.fold} seed {wildcards.seed}"
    shell:
        "cohortseg train --study {params.study:q} --experiment {wildcards.experiment:q} --threads {threads}"
        " --fold {wildcards.fold} --seed {wildcards.seed} --upstream {params.upstream:q}"
        " --settings {params.settings:q} --token {output.token:q} {params.tuned:q} > {log:q} 2>&1"


rule predict:
    """Segment the cases of one fold on their native grids; weights are loaded once."""
    input:
        images_of,
        models_of,
        predictions_before,
        tuned=tuned_of_batch,
        asked=asked("predict-{experiment}"),
    output:
        token=token("predict", "{fold_batch}", "{experiment}"),
    log:
        log_of("predict", "{experiment}/{fold_batch}"),
    benchmark:
        benchmark_of("predict", "{experiment}/{fold_batch}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("predict"),
        runtime=runtime_of("predict"),
        gpu=cards(gpus_of),
        gpu_model=card_model(gpus_of),
        gres=card_gres(gpus_of),
    params:
        study=study_folder,
        cases=names_of,
        tuned=tuned_argument,
        settings=settings_of("predict"),
        revision=revision_of("predict"),
    message:
        "predict {wildcards.experiment} {wildcards.fold_batch}: {params.cases}"
    shell:
        "cohortseg predict --study {params.study:q} --experiment {wildcards.experiment:q} --threads {threads}"
        " --cases {params.cases:q} --settings {params.settings:q} --token {output.token:q} {params.tuned:q}"
        " > {log:q} 2>&1"


rule postprocess:
    """Clean predicted labels: morphology and components; the raw label is kept."""
    input:
        token("predict", "{fold_batch}", "{experiment}"),
        chosen_of,
        asked=asked("postprocess-{experiment}"),
    output:
        token=token("postprocess", "{fold_batch}", "{experiment}"),
    log:
        log_of("postprocess", "{experiment}/{fold_batch}"),
    benchmark:
        benchmark_of("postprocess", "{experiment}/{fold_batch}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: cores_of("postprocess")
    resources:
        mem_mb=memory_of("postprocess"),
        runtime=runtime_of("postprocess"),
        workers=workers_of("postprocess"),
        worker_mb=worker_mb,
        cpus_per_task=cluster_cores_of("postprocess"),
    params:
        study=study_folder,
        cases=names_of,
        settings=settings_of("postprocess"),
        revision=revision_of("postprocess"),
    message:
        "postprocess {wildcards.experiment} {wildcards.fold_batch}: {params.cases}"
    shell:
        "cohortseg postprocess --study {params.study:q} --experiment {wildcards.experiment:q}"
        " --cases {params.cases:q} --settings {params.settings:q} --token {output.token:q}"
        " --workers {resources.workers} --worker-mb {resources.worker_mb} --minutes {resources.runtime}"
        " > {log:q} 2>&1"


rule evaluate:
    """Measure raw and cleaned labels against the reference."""
    input:
        finished,
        converted_of,
        asked=asked("evaluate-{experiment}"),
    output:
        token=token("evaluate", "{fold_batch}", "{experiment}"),
    log:
        log_of("evaluate", "{experiment}/{fold_batch}"),
    benchmark:
        benchmark_of("evaluate", "{experiment}/{fold_batch}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("evaluate"),
        runtime=runtime_of("evaluate"),
        most_voxels=most_voxels_of("evaluate"),
    params:
        study=study_folder,
        cases=names_of,
        settings=settings_of("evaluate"),
        revision=revision_of("evaluate"),
    message:
        "evaluate {wildcards.experiment} {wildcards.fold_batch}: {params.cases}"
    shell:
        "cohortseg evaluate --study {params.study:q} --experiment {wildcards.experiment:q}"
        " --cases {params.cases:q} --settings {params.settings:q} --token {output.token:q}"
        " --most-voxels {resources.most_voxels} > {log:q} 2>&1"


rule export:
    """Write cleaned labels for other software."""
    input:
        finished,
        asked=asked("export-{experiment}"),
    output:
        token=token("export", "{fold_batch}", "{experiment}"),
    log:
        log_of("export", "{experiment}/{fold_batch}"),
    benchmark:
        benchmark_of("export", "{experiment}/{fold_batch}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("export"),
        runtime=runtime_of("export"),
        most_voxels=most_voxels_of("export"),
    params:
        study=study_folder,
        cases=names_of,
        settings=settings_of("export"),
        revision=revision_of("export"),
    message:
        "export {wildcards.experiment} {wildcards.fold_batch}: {params.cases}"
    shell:
        "cohortseg export --study {params.study:q} --experiment {wildcards.experiment:q}"
        " --cases {params.cases:q} --settings {params.settings:q} --token {output.token:q}"
        " --most-voxels {resources.most_voxels} > {log:q} 2>&1"
