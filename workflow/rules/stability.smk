"""Rules of what is measured without a reference: how far labels stay the same when the image is changed."""


rule stability:
    """Change the images of some cases and compare what the method then finds with what it found."""
    input:
        token("predict", "{fold_batch}", "{experiment}"),
        images_of,
        tuned=tuned_of_batch,
        asked=asked("stability-{experiment}"),
    output:
        token=token("stability", "{fold_batch}", "{experiment}"),
    log:
        log_of("stability", "{experiment}/{fold_batch}"),
    benchmark:
        benchmark_of("stability", "{experiment}/{fold_batch}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("stability"),
        runtime=runtime_of("stability"),
        gpu=cards(gpus_of),
        gpu_model=card_model(gpus_of),
        gres=card_gres(gpus_of),
    params:
        study=study_folder,
        cases=changed_names,
        tuned=tuned_argument,
        settings=settings_of("stability"),
        revision=revision_of("stability"),
    message:
        "stability {wildcards.experiment} {wildcards.fold_batch}: {params.cases}"
    shell:
        "cohortseg stability --study {params.study:q} --experiment {wildcards.experiment:q} --threads {threads}"
        " --cases {params.cases:q} --settings {params.settings:q} --token {output.token:q} {params.tuned:q}"
        " > {log:q} 2>&1"
