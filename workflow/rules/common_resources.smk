"""What a job asks of a machine: memory, time, cores, cards, from the headers of its cases."""

import math
from functools import cache

from cohortseg.sizing import Size, memory_mb, runtime_minutes, shipped
from cohortseg.steps.records import needs_of, parts_of, shipped_for, work_of
from cohortseg.workflow import cards_of_site

N_CHANNELS, N_CLASSES = parts_of(STUDY)
# Finished cases of this study tell what the others will need.
NEEDS = (
    needs_of(LAYOUT, STUDY, list(CASES.values())) if workflow.is_main_process else {}
)


def sizes_of(wildcards):
    """What of the cases of a job decides its cost."""
    return [Size(case.voxels, N_CHANNELS, N_CLASSES) for case in batch_of(wildcards)]


def need_of(stage, wildcards):
    """What a stage needs per case: by the records of this study, or as shipped."""
    work = work_of(stage, wildcards.get("experiment"))
    return NEEDS.get(work) or shipped_for(STUDY, stage)


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


def most_voxels_of(stage):
    """The voxels of the largest case that a stage reads as a whole; 0 where it reads every one so."""
    limit = STUDY.blocks_above(stage)
    return int(limit) if limit < math.inf else 0


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


GPU_MODEL, ONLY_GRES = cards_of_site(workflow.resource_settings.default_resources)


def cards(gpus):
    """The GPUs of a job, as SLURM and `--resources gpu=N` count them; 0 where the site counts them as `gres`."""
    return lambda wildcards: 0 if ONLY_GRES else gpus(wildcards)


def card_model(gpus):
    """The type of these; a job without a GPU must not name one, or SLURM gives it a card."""
    return lambda wildcards: (
        GPU_MODEL if GPU_MODEL and gpus(wildcards) and not ONLY_GRES else None
    )


def card_gres(gpus):
    """The same for a site that knows `--gres` alone."""
    model = f"{GPU_MODEL}:" if GPU_MODEL else ""
    return lambda wildcards: (
        f"gpu:{model}{gpus(wildcards)}" if ONLY_GRES and gpus(wildcards) else None
    )


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
