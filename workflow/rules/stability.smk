"""Rules of what is measured without a reference: how far labels stay the same when the image is changed."""

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
        gpu=gpus_of,
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
