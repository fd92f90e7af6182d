"""What a study may say about low resolution and cascades; each refusal is one line with the key."""

import re

import pytest
from pydantic import ValidationError

from cohortseg.settings import Study, UNetMethod
from cohortseg.stages import ExperimentStage, stage_settings

NETWORK = {"method": "unet"}
LOW = {**NETWORK, "resolution": "low"}
CASCADE = {**NETWORK, "cascade": "low"}
VALUES = {
    "study": "mine",
    "cohort": {"source": "data", "labels": {"structures": {"tumour": "GTV"}}},
    "experiments": {"low": LOW, "cascade": CASCADE},
}


def study(**changes):
    return Study.model_validate(VALUES | changes)


def test_a_cascade_knows_what_stands_before_it_and_by_which_seed():
    found = study(experiments={"low": {**LOW, "seeds": [7, 8]}, "cascade": {**CASCADE, "seeds": [1, 2]}})
    assert (found.before("cascade"), found.seed_before("cascade")) == ("low", 7)
    assert (found.before("low"), found.seed_before("low")) == (None, None)
    told = ExperimentStage.model_validate_json(stage_settings(found, "predict", "cascade"))
    assert told.seed_before == 7


def test_experiments_without_it_are_told_what_they_always_were():
    """A word more in these texts would make all finished work again."""
    text = stage_settings(study(experiments={"unet": NETWORK}), "train", "unet")
    assert not re.search("cascade|resolution|before", text)
    assert "low_spacing_mm" not in stage_settings(study(), "plan")
    assert UNetMethod.model_validate_json(UNetMethod(**CASCADE).model_dump_json()) == UNetMethod(**CASCADE)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"experiments": {"cascade": CASCADE}}, "experiments.cascade.cascade: 'low'; no experiment has"),
        (
            {"experiments": {"low": NETWORK, "coarse": LOW, "cascade": CASCADE}},
            "experiments.cascade.cascade: 'low'; choices: coarse",
        ),
        ({"experiments": {"low": LOW, "cascade": {**CASCADE, "resolution": "low"}}}, "works at full resolution"),
        ({"experiments": {"low": {**LOW, "keep": "best"}, "cascade": CASCADE}}, "experiments.low.keep: `best`"),
        ({"experiments": {"low": {**LOW, "patience": 3}, "cascade": CASCADE}}, "experiments.low.keep: `best`"),
        ({"split": {"folds": 2}}, "split.folds: a cascade needs 3 at least"),
        ({"plan": {"dims": 2}}, "experiments.low.resolution: `low` is for volumes"),
        ({"plan": {"dims": 2, "low_spacing_mm": [3, 3, 3]}}, "`low_spacing_mm` is for volumes"),
        (
            {"experiments": {"low": LOW, "cascade": {**CASCADE, "labels_from": "low"}}},
            "experiments.cascade.labels_from: not with `cascade`",
        ),
        (
            {"experiments": {"low": LOW, "cascade": CASCADE, "pupil": {**NETWORK, "labels_from": "cascade"}}},
            "experiments.pupil.labels_from: 'cascade' is a cascade",
        ),
        ({"tune": {"cascade": {"space": {"batch": [1, 2]}}}}, "tune.cascade: a cascade is not searched"),
        ({"tune": {"low": {"space": {"batch": [1, 2]}}}}, "tune.low: what `experiments.cascade` builds on"),
        ({"stability": {}}, "stability: not with a cascade"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, line):
    with pytest.raises(ValidationError, match=re.escape(line)):
        study(**changes)
