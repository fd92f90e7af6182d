"""The only Python of the workflow: settings, the table of cases, and the functions that rules ask."""

import os
import signal
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import snakemake_executor_plugin_slurm

from cohortseg.cohort import read_cases
from cohortseg.errors import CohortError
from cohortseg.io.sidecar import digest
from cohortseg.layout import TEST, Layout
from cohortseg.settings import load_study, seeds_of
from cohortseg.slurm_guard import guard
from cohortseg.sizing import Size, memory_mb, runtime_minutes, shipped
from cohortseg.stages import STAGES, stage_settings
from cohortseg.steps.records import needs_of, work_of
from cohortseg.steps.tuning import needed_trials, searched_folds
from cohortseg.workflow import (
    advice,
    bring_back_to_now,
    ensure_indexed,
    refuse_second_run,
    see_jobs_behind_ancient,
    sweep,
    write_asked,
)
from snakemake.dag import DAG

# The commands of the environment that runs Snakemake, also where nobody activated it.
shell.prefix(
    f'set -euo pipefail; export PATH="{os.path.dirname(sys.executable)}:$PATH"; '
)

# A scheduler warns a whole job of its end by this signal. Only a training listens, saves and asks for more time; bash and
# Snakemake would die of it.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

see_jobs_behind_ancient(DAG)
guard(snakemake_executor_plugin_slurm, Path(workflow.rundir))

try:
    STUDY = load_study(config)
    LAYOUT = Layout(STUDY.folder)
    if workflow.is_main_process:
        ensure_indexed(STUDY)
    CASES = {case.case: case for case in read_cases(LAYOUT.cases_table)}
except CohortError as error:
    # One line instead of a traceback: nothing has started yet.
    sys.exit(f"cohortseg: {error}")

N_CHANNELS, N_CLASSES = len(STUDY.cohort.channel_names), len(
    STUDY.cohort.labels.classes
)
# Finished cases of this study tell what the others will need.
NEEDS = (
    needs_of(LAYOUT, list(CASES.values()), N_CHANNELS, N_CLASSES)
    if workflow.is_main_process
    else {}
)

BATCHES = defaultdict(list)
FOLD_BATCHES = defaultdict(list)
for case in CASES.values():
    BATCHES[case.batch].append(case)
    FOLD_BATCHES[case.fold_batch].append(case)


onstart:
    if workflow.is_main_process:
        refuse_second_run(LAYOUT)
        sweep(LAYOUT)


onerror:
    print(f"cohortseg: {advice(LAYOUT.root)}", file=sys.stderr)


wildcard_constraints:
    batch=r"b\d+",
    fold_batch=rf"f(\d+|{TEST})-b\d+",
    experiment="|".join(STUDY.experiments),
    fold=r"\d+",
    seed=r"\d+",


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


def sizes_of(wildcards):
    """What of the cases of a job decides its cost."""
    return [Size(case.voxels, N_CHANNELS, N_CLASSES) for case in batch_of(wildcards)]


def need_of(stage, wildcards):
    """What a stage needs per case: by the records of this study, or as shipped."""
    crf = STUDY.postprocess.crf is not None
    return NEEDS.get(work_of(stage, wildcards.get("experiment"))) or shipped(
        stage, crf=crf, images=STUDY.synthesis is not None
    )


def memory_of(stage):
    """The memory of a job's largest case, from the headers; a retry gets more."""
    return lambda wildcards, attempt: max(
        memory_mb(
            stage,
            size,
            need_of(stage, wildcards),
            attempt,
            blocks_above=STUDY.blocks_above(stage),
        )
        for size in sizes_of(wildcards)
    )


def workers_of(stage):
    """The processes for the blocks of a job's oversize cases; 0 where it has none."""
    limit = STUDY.blocks_above(stage)
    return lambda wildcards: STUDY.jobs.oversize.workers * any(
        case.voxels > limit for case in batch_of(wildcards)
    )


def cores_of(stage):
    """The cores of a job on this machine: one for each of these processes."""
    return lambda wildcards: max(1, workers_of(stage)(wildcards))


def cluster_cores_of(stage):
    """The same on a cluster, where these processes are jobs of their own."""
    return lambda wildcards: 1 if workers_of(stage)(wildcards) else None


def worker_mb(wildcards):
    """The memory of each of these processes."""
    return int(STUDY.jobs.oversize.worker_gib * 1024)


def runtime_of(stage):
    """The time of all cases of a job, from the headers; a retry gets more."""
    return lambda wildcards, attempt: runtime_minutes(
        stage, sizes_of(wildcards), need_of(stage, wildcards), attempt
    )


def memory_once(stage):
    """The memory of a job over the whole cohort; a retry gets more."""
    return lambda wildcards, attempt: memory_mb(stage, Size(0), shipped(stage), attempt)


def gpus_of(wildcards):
    """One GPU where the method needs one."""
    return int(wildcards.experiment in STUDY.networks)


def processes_of(wildcards):
    """The processes that train one network together; a learner without a network is fitted by one."""
    return getattr(STUDY.trained[wildcards.experiment], "processes", 1)


def training_gpus(wildcards):
    """One GPU for each process that trains a network."""
    return gpus_of(wildcards) * processes_of(wildcards)


def several(value):
    """What only a training by several processes asks of SLURM: a task for each, on one node unless the profile says more."""
    return lambda wildcards: (value(wildcards) if processes_of(wildcards) > 1 else None)


def training_memory(wildcards, attempt):
    """The memory of a training: each of its processes holds images and the network."""
    return processes_of(wildcards) * memory_once("train")(wildcards, attempt)


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
    """The digest of the settings that shape what a method is trained on."""
    return shaped_by(wildcards.experiment)


def settings_digest(*stages):
    """The digest of the settings of some stages of the cohort."""
    return digest([[STAGES[s].revision, stage_settings(STUDY, s)] for s in stages])


def shaped_by(experiment):
    """The same for a model or a trial: networks see images in model space, all others see them as converted."""
    if experiment in STUDY.networks:
        return settings_digest("convert", "plan", "preprocess")
    return settings_digest("convert")


def inner_digest(experiment, fold):
    """The digest of the frozen cases that the search of a fold may see: searched again when it changes."""
    paths = (LAYOUT.members(fold), LAYOUT.inner(experiment, fold))
    return digest([text_of(path) for path in paths])


def trainings(experiment, folds):
    """The training records of the models of an experiment on some folds, for all seeds."""
    return [
        str(LAYOUT.model(experiment, str(fold), seed) / "train.json")
        for fold in folds
        for seed in seeds_of(STUDY.trained[experiment])
    ]


def models_of(wildcards):
    """The models that predict a batch: those of its fold, or of all folds for the test set."""
    if STUDY.members(wildcards.experiment):
        fold = batch_of(wildcards)[0].fold
        elected = str(LAYOUT.chosen(wildcards.experiment, "model", fold))
        return [elected, *members_tokens(wildcards)]
    if wildcards.experiment not in STUDY.trained:
        return []
    fold = batch_of(wildcards)[0].fold
    folds = range(STUDY.split.folds) if fold == TEST else [fold]
    return trainings(wildcards.experiment, folds)


def tuned(experiment, fold):
    """The settings that the search of a fold has chosen, as an input; nothing where there is no search."""
    return [str(LAYOUT.tuned(experiment, fold))] if experiment in STUDY.tune else []


def tuned_of_training(wildcards):
    """The settings that a network of a fold is trained with."""
    return tuned(wildcards.experiment, wildcards.fold)


def tuned_of_batch(wildcards):
    """The settings that a method without weights segments a batch with; a trained one has them in its weights."""
    if wildcards.experiment in {*STUDY.trained, *STUDY.networks}:
        return []
    return tuned(wildcards.experiment, batch_of(wildcards)[0].fold)


def tuned_argument(wildcards, input):
    """The same for the command line."""
    return ["--tuned", *input.tuned] if input.tuned else []


def earlier_trials(wildcards):
    """The tokens of the trials that a trial learns from: those of the rounds before its own."""
    needed = needed_trials(STUDY.tune[wildcards.experiment], int(wildcards.number))
    return trials(wildcards.experiment, wildcards.fold, needed)


def trials(experiment, fold, n):
    """The tokens of the first trials of a fold."""
    return [
        token("trial", f"fold-{fold}-{number:03d}", experiment) for number in range(n)
    ]


def trials_of_fold(wildcards):
    """The tokens of all trials of a fold."""
    n = STUDY.n_trials[wildcards.experiment]
    return trials(wildcards.experiment, wildcards.fold, n)


def n_trials_of(wildcards):
    """How many trials a search has."""
    return STUDY.n_trials[wildcards.experiment]


@cache
def sizes_of_trial(fold):
    """What of the cases that a trial of a fold may see decides its cost."""
    seen = [case for case in CASES.values() if case.fold != fold]
    return [Size(case.voxels, N_CHANNELS, N_CLASSES) for case in seen] or [Size(0)]


def memory_of_trial(wildcards, attempt):
    """The memory of a training, or of the largest case that a trial sees; a retry gets more."""
    if wildcards.experiment in STUDY.trained:
        return memory_once("train")(wildcards, attempt)
    need = need_of("predict", wildcards)
    sizes = sizes_of_trial(wildcards.fold)
    return max(memory_mb("predict", size, need, attempt) for size in sizes)


def runtime_of_trial(wildcards, attempt):
    """The time of a training, or of all cases that a trial sees; a retry gets more."""
    if wildcards.experiment in STUDY.trained:
        return 1440
    need = need_of("predict", wildcards)
    return runtime_minutes("predict", sizes_of_trial(wildcards.fold), need, attempt)


def plan_of(wildcards):
    """The plan, where an experiment needs one."""
    return [str(LAYOUT.plan)] if wildcards.experiment in STUDY.networks else []


def images_of(wildcards):
    """The tokens of the images that a method sees: in model space for networks, as converted for classical methods."""
    stage = "preprocess" if wildcards.experiment in STUDY.networks else "convert"
    return sorted({token(stage, case.batch) for case in batch_of(wildcards)})


def converted_of(wildcards):
    """The tokens of the converted images of a batch of a fold."""
    return sorted({token("convert", case.batch) for case in batch_of(wildcards)})


def voting_batches():
    """The batches whose cases some fold keeps out of its training on purpose: choices are made by them alone."""
    return {
        batch: cases
        for batch, cases in sorted(FOLD_BATCHES.items())
        if cases[0].fold != TEST
        and (STUDY.split.refit or any(case.role == "cohort" for case in cases))
    }


def voters_digest():
    """The digest of the cases by which choices are made, with their folds and subjects."""
    return digest(
        [
            [case.case, case.fold, case.subject]
            for cases in voting_batches().values()
            for case in cases
        ]
    )


def voting_tokens(stage):
    """The tokens of a stage of an experiment for the batches that take part in choices."""
    return [token(stage, batch, "{experiment}") for batch in voting_batches()]


def chosen_files(what, experiment="{experiment}"):
    """What was chosen for each fold and for the test set, and the list of what it was chosen from."""
    folds = [*map(str, range(STUDY.split.folds)), TEST]
    chosen = [str(LAYOUT.chosen(experiment, what, fold)) for fold in folds]
    return [*chosen, str(LAYOUT.choices(experiment, what))]


def members_tokens(wildcards):
    """The tokens of the predictions of a batch by the experiments among which the best is chosen."""
    return [
        token("predict", wildcards.fold_batch, member.experiment)
        for member in STUDY.members(wildcards.experiment)
    ]


def thresholds_of(wildcards):
    """The chosen probability thresholds of an experiment, where it chooses."""
    chooses = STUDY.chooses_threshold(wildcards.experiment)
    return chosen_files("threshold", wildcards.experiment) if chooses else []


def chosen_of(wildcards):
    """What was chosen for the cases of a batch."""
    experiment, fold = wildcards.experiment, batch_of(wildcards)[0].fold
    cleaning = [what for what in STUDY.choices(experiment) if what != "model"]
    return [str(LAYOUT.chosen(experiment, what, fold)) for what in cleaning]


def finished(wildcards):
    """The token of the predictions of a batch as they are judged: cleaned labels, or images as they were made."""
    stage = "predict" if STUDY.synthesis else "postprocess"
    return token(stage, wildcards.fold_batch, wildcards.experiment)


def more_tables():
    """Further tables of results."""
    names = "ranks variance agreement gaps interactions covariates lesions classes instances calibration curves"
    names += " stability stability_summary froc detection detections operating_points panoptic panoptic_by_case types types_by_case region_features choices candidates trials data_dictionary"
    names += " images images_summary images_comparison" if STUDY.synthesis else ""
    return [str(LAYOUT.table(name)) for name in names.split()]


def clinical():
    """The clinical table of the study, where there is one: its groups are made again when it changes."""
    return [str(LAYOUT.clinical)] if STUDY.cohort.clinical is not None else []


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


def searches():
    """What the searches of all experiments and folds have chosen."""
    return [
        path
        for experiment in sorted(STUDY.tune)
        for fold in searched_folds(STUDY, experiment)
        for path in tuned(experiment, fold)
    ]


def questions():
    """What is asked of each piece of work; once more what the rules have as params, for the case that Snakemake forgets."""
    cohort_stages = ("fingerprint", "plan", "preprocess", "split", "report")
    told = {
        stage: [revision_of(stage), stage_settings(STUDY, stage)]
        for stage in cohort_stages
    }
    told["report"].append(shown_settings())
    told["aggregate"] = [
        revision_of("aggregate"),
        stage_settings(STUDY, "aggregate"),
        cohort_digest(),
    ]
    for batch, cases in BATCHES.items():
        sources = [[case.case, case.source] for case in cases]
        told[f"convert-{batch}"] = [
            revision_of("convert"),
            stage_settings(STUDY, "convert"),
            sources,
        ]
    for experiment in STUDY.experiments:
        for stage in ("predict", "postprocess", "evaluate", "export"):
            told[f"{stage}-{experiment}"] = [
                revision_of(stage),
                stage_settings(STUDY, stage, experiment),
            ]
        chosen = STUDY.choices(experiment)
        stages = [
            *(["contest", "elect"] if "model" in chosen else []),
            *(["threshold"] if "threshold" in chosen else []),
            *(["candidates", "choose"] if "cleaning" in chosen else []),
        ]
        for stage in stages:
            told[f"{stage}-{experiment}"] = [
                revision_of(stage),
                stage_settings(STUDY, stage, experiment),
                voters_digest() if stage not in ("contest", "candidates") else "",
            ]
    for experiment in STUDY.tune:
        told[f"tune-{experiment}"] = {
            "trials": STUDY.n_trials[experiment],
            "folds": searched_folds(STUDY, experiment),
        }
        for fold in searched_folds(STUDY, experiment):
            told[f"trial-{experiment}-{fold}"] = [
                revision_of("trial"),
                stage_settings(STUDY, "trial", experiment),
                shaped_by(experiment),
                inner_digest(experiment, fold),
            ]
    for experiment in STUDY.trained:
        for fold in range(STUDY.split.folds):
            told[f"train-{experiment}-{fold}"] = [
                revision_of("train"),
                stage_settings(STUDY, "train", experiment),
                shaped_by(experiment),
                digest(text_of(LAYOUT.members(str(fold)))),
            ]
    return told


if workflow.is_main_process:
    write_asked(LAYOUT, questions())
    bring_back_to_now(LAYOUT)
