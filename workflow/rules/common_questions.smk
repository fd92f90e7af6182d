"""What is asked of each piece of work: what the rules have as params once more, for the case that Snakemake forgets."""

from cohortseg.io.sidecar import digest
from cohortseg.stages import stage_settings
from cohortseg.steps.tuning import searched_folds
from cohortseg.workflow import bring_back_to_now, write_asked


def asked_of(stage, experiment=None):
    """The revision and the settings of a stage."""
    return [revision_of(stage), stage_settings(STUDY, stage, experiment)]


def questions_of_cohort():
    """What is asked of the stages of the cohort."""
    told = {
        stage: asked_of(stage)
        for stage in ("fingerprint", "plan", "preprocess", "split", "report")
    }
    told["report"].append(shown_settings())
    told["aggregate"] = [*asked_of("aggregate"), cohort_digest()]
    for batch, cases in BATCHES.items():
        sources = [[case.case, case.source] for case in cases]
        told[f"convert-{batch}"] = [*asked_of("convert"), sources]
    return told


def questions_of_experiments():
    """What is asked of the stages of each experiment, and of its choices."""
    told = {}
    for experiment in STUDY.experiments:
        for stage in ("predict", "postprocess", "evaluate", "export"):
            told[f"{stage}-{experiment}"] = asked_of(stage, experiment)
        chosen = STUDY.choices(experiment)
        stages = [
            *(["contest", "elect"] if "model" in chosen else []),
            *(["threshold"] if "threshold" in chosen else []),
            *(["candidates", "choose"] if "cleaning" in chosen else []),
        ]
        for stage in stages:
            voters = voters_digest() if stage not in ("contest", "candidates") else ""
            told[f"{stage}-{experiment}"] = [*asked_of(stage, experiment), voters]
    return told


def questions_of_searches():
    """What is asked of the searches of settings."""
    told = {}
    for experiment in STUDY.tune:
        folds = searched_folds(STUDY, experiment)
        told[f"tune-{experiment}"] = {
            "trials": STUDY.n_trials[experiment],
            "folds": folds,
        }
        for fold in folds:
            told[f"trial-{experiment}-{fold}"] = [
                *asked_of("trial", experiment),
                shaped_by(experiment),
                inner_digest(experiment, fold),
            ]
    return told


def questions_of_trainings():
    """What is asked of the models of each fold."""
    return {
        f"train-{experiment}-{fold}": [
            *asked_of("train", experiment),
            shaped_by(experiment),
            digest(text_of(LAYOUT.members(str(fold)))),
        ]
        for experiment in STUDY.trained
        for fold in range(STUDY.split.folds)
    }


if workflow.is_main_process:
    write_asked(
        LAYOUT,
        {
            **questions_of_cohort(),
            **questions_of_experiments(),
            **questions_of_searches(),
            **questions_of_trainings(),
        },
    )
    bring_back_to_now(LAYOUT)
