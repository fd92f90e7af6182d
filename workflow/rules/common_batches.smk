"""What a job is about: its cases, their sources and images, its settings."""

from cohortseg.io.sidecar import digest
from cohortseg.stages import STAGES, stage_settings


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


def settings_digest(*stages):
    """The digest of the settings of some stages of the cohort."""
    return digest([[STAGES[s].revision, stage_settings(STUDY, s)] for s in stages])


def images_of(wildcards):
    """The tokens of the images that a method sees: in model space for networks, as converted for classical methods."""
    experiment = wildcards.experiment
    stages = model_space_of(experiment) if experiment in STUDY.networks else ["convert"]
    return sorted(
        {token(stage, case.batch) for stage in stages for case in batch_of(wildcards)}
    )


def converted_of(wildcards):
    """The tokens of the converted images of a batch of a fold."""
    return sorted({token("convert", case.batch) for case in batch_of(wildcards)})


def prepared_tokens():
    """What must be there before the folds are checked: model-space images where a network is trained."""
    stages = {stage for name in STUDY.networks for stage in model_space_of(name)}
    return [one for stage in sorted(stages or {"convert"}) for one in tokens(stage)]


def finished(wildcards):
    """The token of the predictions of a batch as they are judged: cleaned labels, or images as they were made."""
    stage = "predict" if STUDY.synthesis else "postprocess"
    return token(stage, wildcards.fold_batch, wildcards.experiment)
