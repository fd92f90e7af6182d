"""The methods text says what was set, cites what it names, and invents nothing."""

import re
from dataclasses import replace

import pytest
from report_content import flow_table, study_settings

from cohortseg.report.flow import flow_diagram
from cohortseg.report.methods_text import Facts, methods_text
from cohortseg.report.references import REFERENCES, Bibliography
from cohortseg.settings import load_study
from cohortseg.steps.report import validated_by_themselves

PLAN = {
    "dims": 2,
    "spacing_mm": {"value": [5.0, 2.0, 2.0]},
    "patch": {"value": [128, 128]},
    "normalisation": {
        "ct": {"name": "window", "numbers": {"low": -1000.0, "high": 400.0, "mean": -704.7, "sd": 427.6}}
    },
    "seen": {"n_cases": 17},
}
FACTS = Facts(
    settings=study_settings(),
    plan=PLAN,
    flow=flow_diagram(flow_table()),
    n_cases=14,
    n_subjects=14,
    n_parameters={"unet2d": 271706},
    versions={"cohortseg": "0.1.0", "torch": "2.13.0"},
)


def text_of(facts):
    return " ".join(text for _, text in methods_text(facts).paragraphs)


def changed(**parts):
    values = {**FACTS.settings}
    for part, change in parts.items():
        values[part] = {**values[part], **change}
    return text_of(replace(FACTS, settings=load_study(values).model_dump(mode="json")))


@pytest.mark.parametrize(
    "sentence",
    [
        "19 scans (CT) were found; 4 scans were rejected",
        "Results refer to 14 cases of 14 subjects.",
        "resampled to 5 × 2 × 2 mm (z, y, x) with linear",
        "clipped at −1\u202f000 and 400, then reduced by the mean (−705) and divided by the SD (428)",
        "dealt into 3 folds for cross-validation (seed 1)",
        "Otsu's threshold (Otsu 1979) inside the body.",
        "a 2D U-Net (Ronneberger et al. 2015; Isensee et al. 2021) with 271\u202f706 weights was trained for 800 steps",
        "keeping the largest component",
        "a tolerance of 2 mm (Nikolov et al. 2021)",
        "cohortseg 0.1.0 and torch 2.13.0.",
    ],
)
def test_it_says_what_was_set(sentence):
    assert sentence in text_of(FACTS)


def test_every_citation_has_its_reference_and_no_other():
    made = methods_text(FACTS)
    text = " ".join(words for _, words in made.paragraphs)
    cited = {key for key, (name, _) in REFERENCES.items() if name in text}
    assert {REFERENCES[key][1] for key in cited} == set(made.references)
    assert "Yen" not in " ".join(made.references)
    assert len(made.references) > 10


def test_a_change_of_settings_changes_the_text():
    assert "10 % of the subjects were kept apart" in changed(split={"test_fraction": 0.1})
    assert "removal of components below 2 ml" in changed(postprocess={"min_volume_ml": 2.0, "keep": "all"})
    fixed = {"method": "threshold", "rule": "fixed", "low": -50.0}
    assert "a fixed threshold (above -50)" in changed(experiments={"threshold": fixed})
    focal = {"method": "unet", "loss": "focal", "optimiser": "sgd_nesterov", "mirror": True}
    text = changed(experiments={"unet2d": focal})
    assert "the focal loss (Lin et al. 2017), stochastic gradient descent with Nesterov momentum" in text
    assert "averaged over mirrored inputs" in text


def test_what_was_chosen_on_validation_folds_is_said_with_its_rule():
    settings = load_study({**FACTS.settings, "postprocess": "auto"}).model_dump(mode="json")
    settings["experiments"]["unet2d"]["threshold"] = "auto"
    text = text_of(replace(FACTS, settings=settings))
    assert "The probability threshold of unet2d was chosen from 0.02 to 0.98 for each fold, by the validation" in text
    assert "was chosen for each fold by the validation cases of the other folds, among filling of holes" in text
    assert "mean gain in Dice over subjects was at least 0.001 and its bootstrap interval, for all" in text
    assert "keeping the largest component" not in text
    settings["postprocess"]["keep_if"] = "gain"
    assert "mean gain in Dice over subjects was above zero" in text_of(replace(FACTS, settings=settings))


def test_the_best_model_is_told_with_its_rivals_and_its_rule():
    best = {"method": "best", "among": ["unet2d", "threshold"]}
    text = changed(experiments={"winner": best})
    assert "“winner”: the model among unet2d and threshold, their seeds" in text
    assert "with the highest mean Dice over subjects, chosen for each fold by the validation cases of the other" in text
    careful = changed(experiments={"winner": {**best, "keep_if": "interval"}})
    assert "unet2d, or another that was better by at least 0.001 with its whole bootstrap interval" in careful


def test_the_length_and_the_network_are_those_of_the_settings():
    minutes = {"method": "unet", "minutes": 30, "encoder": "residual_small", "deep_supervision": True}
    text = changed(experiments={"unet2d": minutes})
    assert "a 2D U-Net with a residual encoder (Ronneberger" in text
    assert "trained for as many steps as fit into 30 minutes, measured once, on patches" in text
    assert "The loss counted at the coarser levels of the decoder, too." in text
    assert "was trained on patches" in changed(experiments={"unet2d": {"method": "unet"}})
    named = {**FACTS.settings["experiments"]["unet2d"], "architecture": {"name": "attention"}}
    settings = {**FACTS.settings, "experiments": {"unet2d": named}}
    assert "a 2D network “attention” with 271" in text_of(replace(FACTS, settings=settings))


def test_a_method_without_a_sentence_of_its_own_is_described_by_its_table():
    settings = {**FACTS.settings, "experiments": {"ws": {"method": "watershed", "sigma_mm": 2.0, "channel": None}}}
    facts = replace(FACTS, settings=settings, sources={"watershed": ("marker-based watershed", "Beucher 1979")})
    assert "marker-based watershed (Beucher 1979); settings: sigma_mm 2.0." in text_of(facts)


def test_what_is_not_known_is_left_out():
    assert methods_text(Facts(settings={})) is None
    text = text_of(Facts(settings={"study": "x"}))
    assert "None" not in text
    assert not re.search(r"\b(nan|null)\b", text)
    assert "resampled" not in text


def test_references_are_listed_once_in_order():
    cited = Bibliography()
    assert cited.cite("otsu", "holm") == "(Otsu 1979; Holm 1979)"
    cited.cite("otsu")
    assert [line[:4] for line in cited.lines] == ["Holm", "Otsu"]


def test_a_plan_for_planes_leaves_the_slices_as_they_are():
    plan = {**PLAN, "spacing_mm": {"value": [None, 0.5, 0.4]}}
    assert "resampled to 0.5 × 0.4 mm (y, x) with" in text_of(replace(FACTS, plan=plan))


def test_the_size_of_a_batch_is_that_of_the_plan_where_the_settings_leave_it_open():
    unet = {"method": "unet", "steps": 9, "batch": None, "learning_rate": 0.1, "loss": "dice", "optimiser": "adamw"}
    text = methods_text(
        replace(FACTS, settings={**FACTS.settings, "experiments": {"a": unet}}, plan={"batch": {"value": 7}})
    )
    assert "on batches of 7 patches" in " ".join(words for _, words in text.paragraphs)


def test_references_stand_in_alphabetical_order_whatever_their_accents():
    cited = Bibliography()
    cited.cite("snakemake", "omezarr", "cicek", "wilcoxon", "bland")
    assert [line.partition(" ")[0] for line in cited.lines] == ["Bland", "Çiçek", "Mölder", "Moore", "Wilcoxon"]


def test_scans_of_another_kind_are_told_apart_from_those_of_the_modality():
    table = flow_table().replace({"reason": {"NOT_AN_IMAGE": "NOT_SELECTED"}})
    facts = replace(FACTS, flow=flow_diagram(table))
    assert "19 scans were found, of which 2 scans were not of the kind wanted (CT); 2 scans" in text_of(facts)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keep": "best"}, "The weights of the best validation were kept; it is the held-out cases of the fold"),
        ({"patience": 5}, "Training ended after 5 validations without a better one; it is the held-out cases"),
        ({}, None),
    ],
)
def test_what_was_decided_by_the_cases_that_are_scored_is_said(settings, said):
    network = {**FACTS.settings["experiments"]["unet2d"], **settings}
    values = {**FACTS.settings, "experiments": {"unet2d": network}}
    text = changed(experiments={"unet2d": network})
    assert said in text if said else "results on them are too good" not in text
    assert validated_by_themselves(load_study(values)) == (["unet2d"] if said else [])


def test_a_network_that_learnt_from_labels_of_others_says_so():
    experiments = {**FACTS.settings["experiments"]}
    name = next(key for key, method in experiments.items() if method["method"] == "unet")
    experiments[name] = {**experiments[name], "labels_from": "clusters", "reference_share": 0.25}
    text = text_of(replace(FACTS, settings={**FACTS.settings, "experiments": experiments}))
    assert "learnt from the labels that the experiment clusters found" in text
    assert "25 % of the subjects" in text
    assert "learnt from the labels" not in text_of(FACTS)


def test_who_labelled_what_for_a_cascade_is_said_and_in_which_voxels_its_first_network_saw():
    net = {"method": "unet", "steps": 10}
    values = {
        **FACTS.settings,
        "plan": {"dims": 3},
        "experiments": {"coarse": {**net, "resolution": "low"}, "fine": {**net, "cascade": "coarse"}},
    }
    low = {"spacing_mm": {"value": [6.0, 4.0, 4.0]}, "patch": {"value": [32, 40, 40]}, "batch": {"value": 3}}
    plan = {**PLAN, "dims": 3, "patch": {"value": [16, 64, 64]}, "low_resolution": {"share": 0.1, **low}}
    text = text_of(replace(FACTS, settings=load_study(values).model_dump(mode="json"), plan=plan))
    coarse, fine = (text[text.index(f"“{name}”") :] for name in ("coarse", "fine"))
    assert "batches of 3 patches of 32 × 40 × 40 voxels" in coarse
    assert "in voxels of 6 × 4 × 4 mm (z, y, x) (Isensee et al. 2021)" in coarse
    assert "patches of 16 × 64 × 64 voxels" in fine
    assert "neither on the case nor on any held-out case of the fold (3 of them, for pairs of 3 folds)" in fine
    assert "further input channels" not in coarse[: coarse.index("Experiment “fine”")]
