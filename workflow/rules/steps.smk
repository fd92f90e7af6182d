"""Seven steps by name, for who thinks of a study so: each is a name for files of the flow, and makes nothing itself."""


# Convert, check, and bring images into model space.
rule step_1_preprocess:
    input:
        tokens("convert"),
        prepared_tokens(),
    message:
        "step 1, preprocessed"


# The plan of the networks, and who trains, validates and tests.
rule step_2_initialise:
    input:
        [str(LAYOUT.plan)] if STUDY.networks else [],
        str(LAYOUT.folds),
    message:
        "step 2, initialised"


# All networks, with a validation every so many steps.
rule step_3_train:
    input:
        histories(),
    message:
        "step 3, trained"


# Each case of the cohort by the models that did not see it.
rule step_4_validate:
    input:
        predictions_of(test=False),
    message:
        "step 4, validated"


# The independent test set by the ensemble of all folds, or by a method without weights.
rule step_5_test:
    input:
        predictions_of(test=True),
    message:
        "step 5, tested"


# Clean all labels; score them before and after.
rule step_6_postprocess:
    input:
        experiment_tokens("predict" if STUDY.synthesis else "postprocess"),
        experiment_tokens("evaluate"),
    message:
        "step 6, post-processed and scored"


# Tables, report, files for other software: the same as `all`.
rule step_7_output:
    input:
        results_of_study(),
    message:
        "step 7, written"
