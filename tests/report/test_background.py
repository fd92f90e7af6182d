"""Rejected cases with a way out, training, definitions."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter
from report_content import empty_content, full_content, history, rejected_table

from cohortseg.errors import REASONS
from cohortseg.report.background import (
    MOST_REJECTED_LINES,
    dictionary_table,
    rejections,
    split_sentence,
    training_table,
    undefined_sentence,
    with_code,
)
from cohortseg.report.ways_out import WAYS_OUT, way_out
from cohortseg.settings import Study


def grid(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_every_reason_has_a_way_out():
    assert set(WAYS_OUT) == set(REASONS)
    assert "explain" in way_out("SOMETHING_NEW")


@pytest.mark.parametrize("key", sorted(set(re.findall(r"`([a-z_]+\.[a-z_.]+)", " ".join(WAYS_OUT.values())))))
def test_a_way_out_names_settings_that_exist(key):
    model = Study
    for part in key.split("."):
        assert part in model.model_fields, key
        model = model.model_fields[part].annotation


def read_as(key, value):
    """A text of the report as the setting `key` would read it from YAML."""
    model = Study
    *parts, name = key.split(".")
    for part in parts:
        model = model.model_fields[part].annotation
    return TypeAdapter(model.model_fields[name].annotation).validate_python(yaml.safe_load(value))


@pytest.mark.parametrize(
    ("key", "value"), sorted(set(re.findall(r"`([a-z_]+\.[a-z_.]+): ([^`]+)`", " ".join(WAYS_OUT.values()))))
)
def test_a_way_out_names_values_that_the_setting_takes(key, value):
    assert read_as(key, value) is not None
    with pytest.raises(ValueError, match="validation error"):
        read_as(key, "[{no: such value}]")


def test_rejections_are_grouped_by_reason_the_most_frequent_first():
    groups = rejections(full_content())
    assert (groups[0].reason, groups[0].n) == ("NOT_AN_IMAGE", 2)
    assert sum(group.n for group in groups) == len(rejected_table())
    assert grid(groups[1].table) == [["sts-099", "convert", "distance 6.54 mm after slice 41, median 3.27 mm"]]
    assert groups[0].meaning.startswith("A DICOM object")


def test_thousands_of_rejections_are_counted_but_not_all_listed():
    table = pd.DataFrame({"case": [f"c{n}" for n in range(5000)], "stage": "index", "reason": "NOT_SELECTED"})
    (group,) = rejections(full_content(rejected=table))
    assert group.n == 5000
    assert len(group.table.rows) == MOST_REJECTED_LINES
    assert "800 more lines" in group.table.note


def test_code_between_backticks_is_marked_and_all_else_escaped():
    assert with_code("set `a.b` <now>") == "set <code>a.b</code> &lt;now&gt;"
    assert with_code("`<b>`") == "<code>&lt;b&gt;</code>"


def test_training_shows_the_best_validation_and_its_step():
    table = history(0).assign(dice=np.nan)
    table.loc[[99, 199, 299], "dice"] = [0.3, 0.81, 0.7]
    (line,) = grid(training_table(full_content(histories={"m": table})))
    assert line[0] == "m"
    assert line[1:3] == ["800", "40"]
    assert line[5:] == ["0.810", "200"]


def test_a_model_that_was_never_validated_has_no_best():
    (line,) = grid(training_table(full_content(histories={"m": pd.DataFrame({"step": [1, 2], "loss": [1.0, 0.5]})})))
    assert line == ["m", "2", "–", "0.500", "–", "–", "–"]


def test_definitions_keep_the_order_of_the_tables():
    info = {"zeta": ("", "mine"), "hd95_mm": ("mm", "far"), "dice": ("fraction", "overlap")}
    lines = grid(dictionary_table(full_content(metric_info=info)))
    assert [line[0] for line in lines] == ["dice", "hd95_mm", "zeta"]
    assert lines[2][1:3] == ["–", "–"]


def test_the_reader_learns_how_cases_were_kept_from_the_training():
    text = split_sentence(full_content())
    assert text == "Scored: 14 cases by a model that did not train on the case (cross-validation)."


def test_undefined_results_are_counted_with_their_reason():
    assert undefined_sentence(full_content(), "tumour") == (
        "Some metrics are undefined in 1 of 28 results: prediction empty (1)."
    )
    assert undefined_sentence(full_content(), "other") == ""


def test_nothing_gives_no_tables():
    content = empty_content()
    assert rejections(content) == []
    assert training_table(content) is dictionary_table(content) is None
    assert split_sentence(content) == ""
