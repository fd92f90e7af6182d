"""Settings: what is wrong is said in one line that names the key, the value and the choices."""

from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import SettingsError
from cohortseg.settings import (
    METHOD_SETTINGS,
    LabelSettings,
    PostprocessSettings,
    Study,
    ThresholdMethod,
    UNetMethod,
    load_study,
)

GOOD = {
    "study": "sarcoma-ct",
    "cohort": {"source": "data/sts", "labels": {"structures": {"tumour": "GTV.*"}}},
    "experiments": {"my-unet": {"method": "unet"}, "otsu": {"method": "threshold"}},
}


def changed(key: str, value) -> dict:
    """The good settings with one value replaced; the key is written with dots."""
    values = deepcopy(GOOD)
    *path, last = key.split(".")
    part = values
    for name in path:
        part = part.setdefault(name, {})
    part[last] = value
    return values


def refusal(values: dict) -> str:
    with pytest.raises(SettingsError) as caught:
        load_study(values)
    return str(caught.value)


def test_good_settings_are_taken_and_the_rest_has_defaults():
    study = load_study(deepcopy(GOOD))
    assert study.folder == Path("results/sarcoma-ct")
    assert study.cohort.labels.classes == ["tumour"]
    assert study.split.folds == 5
    assert list(study.trained) == ["my-unet"]


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        load_study(deepcopy(GOOD)).split.folds = 3


@pytest.mark.parametrize(
    ("key", "choice"),
    [
        ("colour", "cohort"),
        ("cohort.flavour", "deidentified"),
        ("cohort.series.colour", "min_slices"),
        ("cohort.labels.colour", "structures"),
        ("convert.colour", "slice_tolerance_mm"),
        ("plan.colour", "patch_voxels"),
        ("preprocess.colour", "interpolation"),
        ("split.colour", "test_fraction"),
        ("postprocess.colour", "min_volume_ml"),
        ("metrics.colour", "nsd_tolerance_mm"),
        ("report.colour", "primary_metric"),
        ("export.colour", "formats"),
        ("jobs.colour", "cases_per_job"),
        ("experiments.otsu.colour", "rule"),
        ("experiments.my-unet.colour", "learning_rate"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones_at_its_place(key, choice):
    line = refusal(changed(key, "blue"))
    assert line.startswith(f"{key}: unknown key; choices: ")
    assert choice in line.partition("choices: ")[2].split(", ")
    assert "\n" not in line


def test_a_key_of_another_method_is_unknown():
    assert refusal(changed("experiments.otsu.learning_rate", 0.1)).startswith("experiments.otsu.learning_rate: unknown")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("study", "My Study", "a letter or digit first"),
        ("study", "../elsewhere", "a letter or digit first"),
        ("index", "sometimes", "'auto' or 'manual'"),
        ("cohort.series.modality", "XX", "'CT', 'MR', 'PT'"),
        ("cohort.series.min_slices", 0, "greater than or equal to 1"),
        ("cohort.series.description", "([", "not a regular expression"),
        ("cohort.images", "(?P<subject", "not a regular expression"),
        ("cohort.exclude", "case_1", "valid list"),
        ("cohort.deidentified", "perhaps", "should be true or false"),
        ("cohort.labels.kind", "nifti", "'rtstruct'"),
        ("cohort.labels.structures.tumour", "([", "not a regular expression"),
        ("cohort.labels.files", "*", "not a regular expression"),
        ("convert.slice_tolerance_mm", -0.1, "greater than 0"),
        ("plan.dims", 4, "2 or 3"),
        ("plan.spacing_mm.2", -1, "greater than 0"),
        ("plan.patch_voxels", 10, "4096"),
        ("split.folds", 1, "greater than or equal to 2"),
        ("split.folds", 2.5, "should be a whole number"),
        ("split.seed", -1, "greater than or equal to 0"),
        ("split.test_fraction", 1.0, "less than 1"),
        ("split.stratify.0", "age", "'manufacturer'"),
        ("experiments.my-unet.steps", "many", "should be a whole number"),
        ("experiments.my-unet.loss", "hinge", "'dice_ce'"),
        ("experiments.my-unet.features.0", 0, "greater than or equal to 1"),
        ("experiments.my-unet.seeds.0", -1, "greater than or equal to 0"),
        ("experiments.my-unet.seeds", [], "at least 1 item"),
        ("experiments.my-unet.threshold", 1.0, "less than 1"),
        ("experiments.otsu.rule", "guess", "'otsu'"),
        ("postprocess.keep", "most", "'largest'"),
        ("postprocess.keep", 0, "greater than or equal to 1"),
        ("metrics.nsd_tolerance_mm", "2 mm", "should be a number"),
        ("report.primary_metric", "beauty", "'dice'"),
        ("report.overlays", 51, "less than or equal to 50"),
        ("jobs.cases_per_job", 0, "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_would_be_right(key, value, said):
    whole, place = key, None
    if key.rpartition(".")[2].isdigit():
        # A wrong item of a list.
        whole, _, place = key.rpartition(".")
        given_value = [1.0] * int(place) + [value]
    else:
        given_value = value
    line = refusal(changed(whole, given_value))
    assert line.startswith(f"{key}: ")
    assert said in line
    assert f"(got {value!r})" in line
    assert "\n" not in line


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize(
    "key", ["metrics.nsd_tolerance_mm", "experiments.my-unet.learning_rate", "experiments.otsu.low"]
)
def test_numbers_are_finite(key, number):
    assert refusal(changed(key, number)).startswith(f"{key}: ")


def test_all_findings_stand_in_one_line():
    values = changed("split.folds", 1)
    values["metrics"] = {"tolerance": 2}
    line = refusal(values)
    assert "split.folds: " in line
    assert "metrics.tolerance: unknown key" in line
    assert "\n" not in line


@pytest.mark.parametrize("key", ["study", "cohort", "experiments"])
def test_what_is_required_is_missed_by_name(key):
    values = deepcopy(GOOD)
    del values[key]
    assert refusal(values) == f"{key}: missing"


def test_empty_settings_are_missed_altogether():
    assert refusal({}) == "study: missing; cohort: missing; experiments: missing"


# ---- methods --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["planned", "my-planned", "nnunet_2"])
def test_a_method_that_is_not_there_is_refused_as_not_available(name):
    line = refusal(changed(f"experiments.{name}", {"method": "planned", "minutes": 30}))
    choices = ", ".join(repr(method) for method in METHOD_SETTINGS)
    assert line == f"experiments.{name}.method: 'planned' is not available; choices: {choices}"


def test_an_experiment_names_its_method():
    choices = ", ".join(sorted(METHOD_SETTINGS))
    assert refusal(changed("experiments.otsu", {})) == f"experiments.otsu.method: missing; choices: {choices}"


def test_an_experiment_is_a_group_of_settings():
    assert refusal(changed("experiments.otsu", "otsu")).startswith("experiments.otsu: ")


def test_there_is_an_experiment():
    assert refusal(changed("experiments", {})).startswith("experiments: ")


@pytest.mark.parametrize("name", ["My U-Net", "-unet", "unet/2", "..", "x" * 49])
def test_a_name_that_would_not_do_as_a_folder_is_refused(name):
    assert refusal(changed("experiments", {name: {"method": "unet"}})).startswith("experiments")


def test_the_table_of_methods_is_the_choice_of_the_experiments():
    of_labels = {name: model for name, model in METHOD_SETTINGS.items() if name != "intensity"}
    for name, model in of_labels.items():
        values = changed("experiments", {"one": {"method": name}, "another": {"method": "threshold"}})
        experiment = load_study(values).experiments["one"]
        assert type(experiment) is model


# ---- impossible combinations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("plan.window_hu", [240, -160], "plan: window_hu must be (low, high)"),
        ("plan.normalisation", "window", "plan: `normalisation: window` needs `window_hu`"),
        ("cohort.labels", {}, "cohort.labels: name at least one class"),
        ("cohort.labels", {"structures": {"a": "A"}, "values": {"b": 1}}, "cohort.labels: `structures` and `values`"),
        ("cohort.labels", {"kind": "files", "values": {"a": 1}}, "cohort.labels: `kind: files` needs the pattern"),
        (
            "cohort.labels",
            {"kind": "rtstruct", "values": {"a": 1}},
            "cohort.labels: `kind: rtstruct` needs `structures`",
        ),
        ("cohort.labels", {"kind": "seg", "values": {"a": 1}}, "cohort.labels: `kind: seg` needs `structures`"),
        ("cohort.labels", {"values": {"a": 1, "b": 1}}, "cohort.labels: `values`"),
        ("cohort.labels", {"values": {"a": 0}}, "cohort.labels: `values`"),
        ("experiments.otsu.rule", "fixed", "experiments.otsu: `rule: fixed` needs `low` or `high`"),
        ("experiments.otsu.low", 3.0, "experiments.otsu: `low` and `high` go with `rule: fixed`"),
        (
            "experiments.otsu",
            {"method": "threshold", "rule": "fixed", "low": 3, "high": 3},
            "experiments.otsu: low must",
        ),
        ("experiments.my-unet.seeds", [1, 2, 1], "experiments.my-unet: `seeds` names 1 twice"),
        (
            "experiments.my-unet",
            {"method": "unet", "steps": 5, "minutes": 5},
            "experiments.my-unet: `steps` and `minutes`",
        ),
        (
            "experiments.my-unet",
            {"method": "unet", "foreground_share": 0.7, "negative_share": 0.4},
            "experiments.my-unet: `foreground_share` and",
        ),
        (
            "experiments.my-unet",
            {"method": "unet", "boxes": 0.2, "keep": "best"},
            "experiments.my-unet: `boxes`: `keep: best` and `patience` would look at outlines",
        ),
        ("experiments.my-unet.frozen", ["encoder"], "experiments.my-unet: `frozen` parts need weights"),
        ("experiments", {"a": {"method": "best"}}, "experiments.a.among: empty; there is no other experiment"),
        (
            "experiments.a",
            {"method": "best", "among": ["otsu", "b"]},
            "experiments.a.among: b; choices: my-unet, otsu",
        ),
        ("types", {"column": "histology"}, "types.column: the types stand in a table, name it in `cohort.clinical`"),
        ("panoptic", {"things": ["bone"]}, "panoptic.things: no class 'bone'; choices: "),
        ("cohort.labels", {"values": {"a": 1}, "instance_divisor": 9}, "cohort.labels: `instance_divisor` goes with"),
        ("detection", {"candidates_above": 0.1}, "detection.candidates_above: needs an experiment with `probabilities"),
        ("postprocess", "always", "postprocess: `auto`, or keys with what is done"),
        ("postprocess", {"choose": True, "keep": "largest"}, "postprocess: `choose` decides what is done; leave out"),
        (
            "experiments",
            {"a": {"method": "pretrained", "model": "m1"}, "b": {"method": "pretrained", "model": "m2"}},
            "experiments: the study has one plan",
        ),
    ],
)
def test_what_does_not_go_together_is_said_at_its_group(key, value, line):
    assert refusal(changed(key, value)).startswith(line)


@pytest.mark.parametrize(
    ("name", "features", "words"),
    [
        ("dsn3d", [8, 16, 32], "dsn3d has 6 levels"),
        ("highres3dnet", [8, 16], "highres3dnet has 3 levels"),
        ("segnet", [8, 8, 8, 8, 8, 8], "segnet has 2 to 5 levels"),
        ("vnet", [8, 16, 33], "double from level to level"),
    ],
)
def test_a_network_is_refused_levels_that_it_cannot_have(name, features, words):
    values = changed("experiments.my-unet.architecture", {"name": name, "features": features})
    assert words in refusal(values)
    assert str(features) in refusal(values)


def test_what_is_chosen_is_told_of_each_experiment():
    values = changed("postprocess", "auto")
    values["experiments"]["net"] = {"method": "unet", "threshold": "auto"}
    study = load_study(values)
    assert study.postprocess == PostprocessSettings(choose=True)
    assert study.choices("otsu") == ["cleaning"]
    assert study.choices("net") == ["threshold", "cleaning"]
    assert load_study(changed("postprocess", {"keep": 2})).choices("otsu") == []


def test_a_classical_method_finds_one_class_only():
    values = changed("cohort.labels.structures", {"tumour": "GTV", "lung": "Lung"})
    assert refusal(values).startswith("experiments.otsu.method: ")


def test_a_probability_threshold_goes_with_one_class_only():
    values = changed("cohort.labels.structures", {"tumour": "GTV", "lung": "Lung"})
    values["experiments"] = {"net": {"method": "unet", "threshold": 0.4}}
    assert refusal(values).startswith("experiments.net.threshold: only with a single class")


def test_image_files_have_no_dicom_labels():
    values = changed("cohort.images", r"(?P<subject>\w+)\.nii")
    values["cohort"]["labels"]["kind"] = "rtstruct"
    assert refusal(values).startswith("cohort.labels.kind: ")


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_classes_count_in_the_order_of_the_settings():
    labels = LabelSettings(structures={"b": "B", "a": "A"})
    assert labels.classes == ["b", "a"]
    assert labels.file_values == {"b": 1, "a": 2}


def test_values_of_label_files_are_those_of_the_settings():
    labels = LabelSettings(values={"b": 7, "a": 3})
    assert labels.classes == ["b", "a"]
    assert labels.file_values == {"b": 7, "a": 3}


# ---- JSON, as the workflow hands settings on ------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        dict,
        folds=st.integers(2, 20),
        seed=st.integers(0, 2**31),
        test_fraction=st.floats(0, 1, exclude_max=True),
        stratify=st.lists(st.sampled_from(["labelled", "positive", "manufacturer", "modality"]), unique=True),
    ),
    st.one_of(st.integers(1, 9), st.sampled_from(["all", "largest"])),
    st.floats(1e-6, 1e6),
)
def test_settings_come_back_from_json_unchanged(split, keep, tolerance_mm):
    values = deepcopy(GOOD) | {
        "split": split,
        "postprocess": {"keep": keep},
        "metrics": {"nsd_tolerance_mm": tolerance_mm},
    }
    study = load_study(values)
    assert Study.model_validate_json(study.model_dump_json()) == study


def test_defaults_of_the_methods_are_possible():
    assert ThresholdMethod(method="threshold").rule == "otsu"
    assert UNetMethod(method="unet").seeds == [1]
