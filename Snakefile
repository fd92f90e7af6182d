"""Entry of the workflow: `snakemake --cores all` from here runs the study of config/config.yaml."""


include: "workflow/Snakefile"


# An included file loses its default target.
workflow.default_target = "all"
