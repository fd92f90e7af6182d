"""The only Python of the workflow: settings, the table of cases, and the functions that rules ask."""

import os
import sys
from collections import defaultdict

from cohortseg.cohort import read_cases
from cohortseg.errors import CohortError
from cohortseg.io.sidecar import digest
from cohortseg.layout import TEST, Layout
from cohortseg.settings import load_study
from cohortseg.stages import STAGES, memory_mb, runtime_minutes, stage_settings
from cohortseg.workflow import advice, ensure_indexed, see_jobs_behind_ancient
from snakemake.dag import DAG

# The commands of the environment that runs Snakemake, also where nobody activated it.
shell.prefix(
    f'set -euo pipefail; export PATH="{os.path.dirname(sys.executable)}:$PATH"; '
)

see_jobs_behind_ancient(DAG)

try:
    STUDY = load_study(config)
    LAYOUT = Layout(STUDY.folder)
    if workflow.is_main_process:
        ensure_indexed(STUDY)
    CASES = {case.case: case for case in read_cases(LAYOUT.cases_table)}
except CohortError as error:
    # One line instead of a traceback: nothing has started yet.
    sys.exit(f"cohortseg: {error}")

BATCHES = defaultdict(list)
FOLD_BATCHES = defaultdict(list)
for case in CASES.values():
    BATCHES[case.batch].append(case)
    FOLD_BATCHES[case.fold_batch].append(case)


onerror:
    print(f"cohortseg: {advice(LAYOUT.root)}", file=sys.stderr)


wildcard_constraints:
    batch=r"b\d+",
    fold_batch=rf"f(\d+|{TEST})-b\d+",
    experiment="|".join(STUDY.experiments),
    fold=r"\d+",
    seed=r"\d+",


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


def log_of(rule, name="{batch}"):
    """The log of a job."""
    return str(LAYOUT.root / "logs" / rule / f"{name}.log")


def benchmark_of(rule, name="{batch}"):
    """The benchmark record of a job."""
    return str(LAYOUT.root / "benchmarks" / rule / f"{name}.jsonl")


def study_folder(wildcards):
    """The study's folder; a function, because Snakemake's lint takes a plain text for the prefix of an output."""
    return str(LAYOUT.root)


def batch_of(wildcards):
    """The cases of a job."""
    if "fold_batch" in wildcards.keys():
        return FOLD_BATCHES[wildcards.fold_batch]
    return BATCHES[wildcards.batch]


def names_of(wildcards):
    """The names of the cases of a job."""
    return [case.case for case in batch_of(wildcards)]


def sources_of(wildcards):
    """The digest of the source files of a job: another scan, another digest."""
    return digest([[case.case, case.source] for case in batch_of(wildcards)])


def settings_of(stage):
    """The settings of a stage as JSON, as a function of the job's experiment."""
    return lambda wildcards: stage_settings(STUDY, stage, wildcards.get("experiment"))


def revision_of(stage):
    """The revision of a stage: raised when its computation changes."""
    return STAGES[stage].revision


def memory_of(stage):
    """The memory of a job's largest case, from the headers; a retry gets more."""
    return lambda wildcards, attempt: memory_mb(
        stage, max(case.voxels for case in batch_of(wildcards)), attempt
    )


def runtime_of(stage):
    """The time of all cases of a job, from the headers; a retry gets more."""
    return lambda wildcards, attempt: runtime_minutes(
        stage, sum(case.voxels for case in batch_of(wildcards)), attempt
    )


def memory_once(stage):
    """The memory of a job over the whole cohort; a retry gets more."""
    return lambda wildcards, attempt: memory_mb(stage, 0, attempt)


def gpus_of(wildcards):
    """One GPU where the method needs one."""
    return int(wildcards.experiment in STUDY.networks)


def prepared_tokens():
    """What must be there before the folds are checked: model-space images where a network is trained."""
    return tokens("preprocess") if STUDY.networks else tokens("convert")


def text_of(path):
    """The text of a file of the index; empty where there is only a table of cases, enough to plan with."""
    return path.read_text() if path.exists() else ""


def members_of(wildcards):
    """The digest of the frozen members of a fold: trained again when it changes."""
    return digest(text_of(LAYOUT.members(wildcards.fold)))


def upstream_of(wildcards):
    """The digest of the settings that shape what a network is trained on."""
    return digest(
        [
            [STAGES[s].revision, stage_settings(STUDY, s)]
            for s in ("convert", "plan", "preprocess")
        ]
    )


def trainings(experiment, folds):
    """The training records of the models of an experiment on some folds, for all seeds."""
    return [
        str(LAYOUT.model(experiment, str(fold), seed) / "train.json")
        for fold in folds
        for seed in STUDY.trained[experiment].seeds
    ]


def models_of(wildcards):
    """The models that predict a batch: those of its fold, or of all folds for the test set."""
    if wildcards.experiment not in STUDY.trained:
        return []
    fold = batch_of(wildcards)[0].fold
    folds = range(STUDY.split.folds) if fold == TEST else [fold]
    return trainings(wildcards.experiment, folds)


def images_of(wildcards):
    """The tokens of the images that a method sees: in model space for networks, as converted for classical methods."""
    stage = "preprocess" if wildcards.experiment in STUDY.networks else "convert"
    return sorted({token(stage, case.batch) for case in batch_of(wildcards)})


def converted_of(wildcards):
    """The tokens of the converted images of a batch of a fold."""
    return sorted({token("convert", case.batch) for case in batch_of(wildcards)})


def histories():
    """The training records of all models."""
    folds = range(STUDY.split.folds)
    return [
        record
        for experiment in sorted(STUDY.trained)
        for record in trainings(experiment, folds)
    ]


def results_of_study():
    """What `all` asks for."""
    exported = experiment_tokens("export") if STUDY.export.formats else []
    return [str(LAYOUT.report), *exported]


def cohort_digest():
    """The digest of the cohort's tables: a case that came or went shows in the tables of results."""
    return digest(
        [
            text_of(path)
            for path in (LAYOUT.cases_table, LAYOUT.rejected_table, LAYOUT.series_table)
        ]
    )


def shown_settings():
    """The digest of the settings that the report prints."""
    return digest(text_of(LAYOUT.settings))
