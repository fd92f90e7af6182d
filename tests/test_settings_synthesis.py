"""What a study that makes images may ask for, and that one which makes labels is told so."""

import pytest

from cohortseg.errors import SettingsError
from cohortseg.settings import load_study
from cohortseg.stages import STAGES, stage_settings

CHANNELS = {"ct": {"modality": "CT"}, "mr": {"modality": "MR"}, "pet": {"modality": "PT"}}
VALUES = {
    "study": "images",
    "cohort": {"source": "data", "channels": CHANNELS, "labels": {"kind": "none"}},
    "synthesis": {"target": "ct", "range": [-1000, 2000]},
    "experiments": {"unet": {"method": "unet", "loss": "l1"}, "line": {"method": "intensity"}},
}


def changed(key, value):
    """The values with one key changed; `None` takes it away."""

    def at(values, parts):
        head, *rest = parts
        inner = at(values.get(head) or {}, rest) if rest else value
        return {name: part for name, part in values.items() if name != head} | ({} if inner is None else {head: inner})

    return at(VALUES, key.split("."))


def test_the_inputs_are_all_other_channels_in_their_order_or_those_that_are_named():
    task = load_study(VALUES).synthesis
    assert task.inputs_among(list(CHANNELS)) == ["mr", "pet"]
    named = load_study(changed("synthesis.inputs", ["pet"])).synthesis
    assert named.inputs_among(list(CHANNELS)) == ["pet"]


def test_an_image_is_made_finer_from_itself():
    task = load_study(changed("synthesis.coarser", [4, 1, 1])).synthesis
    assert task.is_finer
    assert task.inputs_among(list(CHANNELS)) == ["ct"]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("synthesis", None, "cohort.labels: name at least one class"),
        ("synthesis.target", "us", "synthesis.target: no channel 'us'; choices: ct, mr, pet"),
        ("synthesis.inputs", ["mr", "us"], "synthesis.inputs: no channel 'us'"),
        ("synthesis.inputs", ["ct"], "synthesis: the target is no input of its own"),
        ("synthesis.inputs", ["mr", "mr"], "synthesis: `inputs` names one twice"),
        ("synthesis.range", [5, 5], "synthesis: range must be (lowest, highest)"),
        ("cohort.channels", {}, "synthesis.target: no channel 'ct'; choices: image"),
        (
            "cohort.labels",
            {"values": {"body": 1}},
            "cohort.labels: a class called 'body' would be taken for the region",
        ),
        ("experiments.unet.loss", None, "experiments.unet.loss: 'dice_ce' is for labels; for images choose l1, l2, s"),
        ("experiments.unet.probabilities", True, "experiments.unet.probabilities: of labels"),
        ("experiments.unet.uncertainty", True, "experiments.unet.uncertainty: of labels"),
        ("experiments.unet.threshold", 0.5, "experiments.unet.threshold: of labels"),
        ("experiments.unet.annotated_every", 2, "experiments.unet.annotated_every: of labels"),
        ("experiments.unet.architecture", {"name": "dcan"}, "experiments.unet.architecture: dcan finds contours"),
        (
            "experiments.unet.architecture",
            {"name": "fusion", "channels": [1, 3]},
            "experiments.unet.architecture.channels: different numbers from 1 to 2",
        ),
        (
            "experiments.unet.architecture",
            {"name": "fusion", "level": "decision"},
            "experiments.unet.architecture.level: `decision` is a mean of probabilities",
        ),
        ("experiments.line.channel", "ct", "experiments.line.channel: no input 'ct'; choices: mr, pet"),
        ("experiments.line", {"method": "forest"}, "experiments.line.method: 'forest' makes labels"),
        ("experiments.line", {"method": "best"}, "experiments.line.method: 'best' makes labels"),
        ("postprocess", {"keep": "largest"}, "postprocess: cleans labels"),
        ("instances", {}, "instances: numbers objects of labels"),
        ("stability", {}, "stability: of labels"),
        ("regions", {"all": ["a"]}, "regions: are unions of classes"),
        ("experiments.unet.labels_from", "line", "experiments.unet.labels_from: of labels"),
        ("experiments.unet.targets", "regions", "experiments.unet.targets: of labels"),
        ("preprocess", {"isolate": {}}, "preprocess.isolate: "),
        ("tune", {"unet": {"space": {"learning_rate": [1e-3, 1e-2]}}}, "tune.unet.metric: 'dice' is of labels"),
        ("tune", {"line": {"space": {"rule": ["mean"]}, "metric": "closeness"}}, "tune.line: only where a network"),
        (
            "tune",
            {"unet": {"space": {"loss": ["dice", "l1"]}, "metric": "closeness"}},
            "tune.unet.space: with",
        ),
    ],
)
def test_what_does_not_fit_a_study_of_images_is_refused_in_one_line(key, value, line):
    with pytest.raises(SettingsError) as error:
        load_study(changed(key, value))
    assert str(error.value).startswith(line), str(error.value)


@pytest.mark.parametrize(
    ("experiment", "line"),
    [
        ({"method": "unet", "loss": "l1"}, "experiments.one.loss: 'l1' is for images"),
        ({"method": "intensity"}, "experiments.one.method: `intensity` makes images"),
    ],
)
def test_a_study_of_labels_is_told_what_is_for_images(experiment, line):
    values = changed("synthesis", None) | {"experiments": {"one": experiment}}
    values["cohort"] = {**values["cohort"], "labels": {"structures": {"tumour": "GTV.*"}}}
    with pytest.raises(SettingsError) as error:
        load_study(values)
    assert str(error.value).startswith(line)


def test_stages_of_a_study_of_labels_hear_nothing_of_images():
    """Their settings are part of the keys of finished work: one word more would make everything again."""
    values = changed("synthesis", None) | {"experiments": {"one": {"method": "threshold"}}}
    values["cohort"] = {**values["cohort"], "labels": {"structures": {"tumour": "GTV.*"}}}
    of_labels, of_images = load_study(values), load_study(VALUES)
    for stage in ("preprocess", "train", "predict", "evaluate", "aggregate", "report", "export"):
        name = "one" if stage in ("train", "predict") else None
        assert "synthesis" not in stage_settings(of_labels, stage, name)
        assert '"target":"ct"' in stage_settings(of_images, stage, "unet" if name else None)
    assert set(STAGES["evaluate"].settings.model_validate_json(stage_settings(of_images, "evaluate")).channels) == {
        *CHANNELS
    }
    assert "channels" not in stage_settings(of_labels, "evaluate")
