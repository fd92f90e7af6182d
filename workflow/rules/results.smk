"""Rules of the results: tables and report over all experiments."""


rule aggregate:
    """Gather all metrics into tables."""
    input:
        experiment_tokens("evaluate"),
        stability_tokens(),
        str(LAYOUT.folds),
        clinical(),
        searches(),
        asked=asked("aggregate"),
    output:
        str(LAYOUT.table("metrics_by_case")),
        str(LAYOUT.table("summary")),
        str(LAYOUT.table("comparison")),
        str(LAYOUT.table("subgroups")),
        str(LAYOUT.table("cohort_flow")),
        str(LAYOUT.table("rejected")),
        *more_tables(),
        str(LAYOUT.crate),
    log:
        log_of("aggregate", "cohort"),
    benchmark:
        benchmark_of("aggregate", "cohort")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("aggregate"),
        runtime=60,
    params:
        study=study_folder,
        cohort=cohort_digest(),
        settings=settings_of("aggregate"),
        revision=revision_of("aggregate"),
    message:
        "aggregate: tables"
    shell:
        "cohortseg aggregate --study {params.study:q} --settings {params.settings:q} > {log:q} 2>&1"


rule report:
    """Write the report."""
    input:
        str(LAYOUT.table("metrics_by_case")),
        histories(),
        asked=asked("report"),
    output:
        report(
            str(LAYOUT.report),
            caption="../report/report.rst",
            category="Study",
        ),
    log:
        log_of("report", "cohort"),
    benchmark:
        benchmark_of("report", "cohort")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("report"),
        runtime=60,
    params:
        study=study_folder,
        settings=settings_of("report"),
        all_settings=shown_settings(),
        revision=revision_of("report"),
    message:
        "report: {output}"
    shell:
        "cohortseg report --study {params.study:q} --settings {params.settings:q} > {log:q} 2>&1"


# Not part of `all`: `snakemake --cores 1 results/STUDY/report/figures/loss-curves.png`, or `cohortseg figures`.
rule figure:
    """Draw one figure for a paper."""
    input:
        str(LAYOUT.table("metrics_by_case")),
        histories(),
    output:
        png=report(
            str(LAYOUT.figure("{figure}", "png")),
            caption="../report/figure.rst",
            category="Figures",
        ),
        svg=str(LAYOUT.figure("{figure}", "svg")),
    log:
        log_of("figure", "{figure}"),
    benchmark:
        benchmark_of("figure", "{figure}")
    conda:
        "../../envs/cohortseg.yaml"
    threads: 1
    resources:
        mem_mb=memory_once("report"),
        runtime=30,
    params:
        study=study_folder,
        settings=settings_of("report"),
        revision=revision_of("report"),
    message:
        "figure: {wildcards.figure}"
    shell:
        "cohortseg figures {params.study:q} {wildcards.figure:q} > {log:q} 2>&1"
