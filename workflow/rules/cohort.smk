"""Rules of the cohort: from source files to images in model space, plan and folds."""


rule convert:
    """Read the scans and labels of a batch, check their geometry, write them as OME-Zarr."""
    input:
        asked=asked("convert-{batch}"),
    output:
        token=token("convert"),
    log:
        log_of("convert"),
    benchmark:
        benchmark_of("convert")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("convert"),
        runtime=runtime_of("convert"),
    params:
        study=study_folder,
        cases=names_of,
        sources=sources_of,
        settings=settings_of("convert"),
        revision=revision_of("convert"),
    message:
        "convert {wildcards.batch}: {params.cases}"
    shell:
        "cohortseg convert --study {params.study:q} --cases {params.cases:q}"
        " --settings {params.settings:q} --token {output.token:q} > {log:q} 2>&1"


rule fingerprint:
    """Measure intensities, spacings and class sizes of a batch."""
    input:
        token("convert"),
        asked=asked("fingerprint"),
    output:
        token=token("fingerprint"),
    log:
        log_of("fingerprint"),
    benchmark:
        benchmark_of("fingerprint")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("fingerprint"),
        runtime=runtime_of("fingerprint"),
    params:
        study=study_folder,
        cases=names_of,
        settings=settings_of("fingerprint"),
        revision=revision_of("fingerprint"),
    message:
        "fingerprint {wildcards.batch}: {params.cases}"
    shell:
        "cohortseg fingerprint --study {params.study:q} --cases {params.cases:q}"
        " --settings {params.settings:q} --token {output.token:q} > {log:q} 2>&1"


rule survey:
    """Gather the fingerprints of all cases in one file."""
    input:
        tokens("fingerprint"),
    output:
        str(LAYOUT.cohort_fingerprint),
    log:
        log_of("survey", "cohort"),
    benchmark:
        benchmark_of("survey", "cohort")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("split"),
        runtime=30,
    params:
        study=study_folder,
    message:
        "survey: fingerprints of all cases"
    shell:
        "cohortseg survey --study {params.study:q} > {log:q} 2>&1"


rule plan:
    """Choose model-space grid, normalisation and network size; frozen: later cases do not change it."""
    input:
        ancient(str(LAYOUT.cohort_fingerprint)),
        asked=asked("plan"),
    output:
        str(LAYOUT.plan),
    log:
        log_of("plan", "cohort"),
    benchmark:
        benchmark_of("plan", "cohort")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("plan"),
        runtime=30,
    params:
        study=study_folder,
        settings=settings_of("plan"),
        revision=revision_of("plan"),
    message:
        "plan"
    shell:
        "cohortseg plan --study {params.study:q} --settings {params.settings:q} > {log:q} 2>&1"


rule preprocess:
    """Bring the images and labels of a batch into model space."""
    input:
        token("fingerprint"),
        plan=str(LAYOUT.plan),
        asked=asked("preprocess"),
    output:
        token=token("preprocess"),
    log:
        log_of("preprocess"),
    benchmark:
        benchmark_of("preprocess")
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
        "preprocess {wildcards.batch}: {params.cases}"
    shell:
        "cohortseg preprocess --study {params.study:q} --cases {params.cases:q} --threads {threads}"
        " --settings {params.settings:q} --token {output.token:q}"
        " --workers {resources.workers} --worker-mb {resources.worker_mb} --minutes {resources.runtime}"
        " > {log:q} 2>&1"


rule split:
    """Write the folds of all usable cases; fail when one scan stands under two subjects."""
    input:
        prepared_tokens(),
        asked=asked("split"),
    output:
        str(LAYOUT.folds),
    log:
        log_of("split", "cohort"),
    benchmark:
        benchmark_of("split", "cohort")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("split"),
        runtime=30,
    params:
        study=study_folder,
        settings=settings_of("split"),
        revision=revision_of("split"),
    message:
        "split: folds and leakage check"
    shell:
        "cohortseg split --study {params.study:q} --settings {params.settings:q} > {log:q} 2>&1"
