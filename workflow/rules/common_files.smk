"""What files are called: tokens, records of what is asked, logs."""


def asked(work):
    """The file of what is asked of a piece of work."""
    return str(LAYOUT.asked(work))


def token(stage, batch="{batch}", experiment=None):
    """The file that says that a stage is done for a batch."""
    return str(LAYOUT.token(stage, batch, experiment))


def tokens(stage):
    """The tokens of a stage of the cohort, for all batches."""
    return [token(stage, batch) for batch in sorted(BATCHES)]


def experiment_tokens(stage):
    """The tokens of a stage of the experiments, for all of them and all batches."""
    return [
        token(stage, batch, experiment)
        for experiment in sorted(STUDY.experiments)
        for batch in sorted(FOLD_BATCHES)
    ]


def predictions_of(test):
    """The tokens of the raw predictions of the independent test set, or of all others."""
    return [
        token("predict", batch, experiment)
        for experiment in sorted(STUDY.experiments)
        for batch, cases in sorted(FOLD_BATCHES.items())
        if (cases[0].fold == TEST) == test
    ]


def log_of(rule, name="{batch}"):
    """The log of a job."""
    return str(LAYOUT.root / "logs" / rule / f"{name}.log")


def benchmark_of(rule, name="{batch}"):
    """The benchmark record of a job."""
    return str(LAYOUT.root / "benchmarks" / rule / f"{name}.jsonl")


def study_folder(wildcards):
    """The study's folder; a function, because Snakemake's lint takes a plain text for the prefix of an output."""
    return str(LAYOUT.root)


def text_of(path):
    """The text of a file of the index; empty where there is only a table of cases, enough to plan with."""
    return path.read_text() if path.exists() else ""
