"""How alike the scans are: known outliers by hand, rare values, flags, and days that nobody judges."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.metrics.heterogeneity import (
    CATEGORICAL,
    COLUMNS,
    NUMERIC,
    SUMMARY_COLUMNS,
    as_numbers,
    measure,
    modified_z,
    summarise_properties,
    values_of,
)
from cohortseg.series_facts import FACTS

SPACING = "3x0.8x0.8"


def series(n: int = 20, **columns) -> pd.DataFrame:
    """`n` equal CT series; a column is one value for all, or a list."""
    names = [f"c{k:02d}" for k in range(n)]
    same = {"modality": "CT", "channel": "", "manufacturer": "ACME", "slice_thickness_mm": "3", "spacing_mm": SPACING}
    same |= {"kvp": "120", "lossy": "no", "burned_in": "no", "days": "0", "rows": "512", "columns": "512"}
    return pd.DataFrame({"case": names, "subject": names} | same | columns)


def outliers(table: pd.DataFrame) -> dict[str, str]:
    measured = measure(table)
    return {case: found for case, found in zip(measured["case"], measured["outlier"], strict=True) if found}


def with_last(value: str, rest: str, n: int = 20) -> list[str]:
    return [rest] * (n - 1) + [value]


# ---- modified z


def test_modified_z_by_hand():
    # Median 3, deviations 2 1 0 1 97, their median 1: 0.6745 * 97 / 1.
    found = modified_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    np.testing.assert_allclose(found, 0.6745 * np.array([-2, -1, 0, 1, 97]), rtol=1e-4)


def test_modified_z_of_mostly_equal_values_takes_the_mean_deviation():
    # 9 of 3 and one of 10: the median deviation is 0, the mean one 0.7.
    found = modified_z(np.array([3.0] * 9 + [10.0]))
    np.testing.assert_allclose(found, [0.0] * 9 + [7 / (1.2533 * 0.7)])


def test_modified_z_does_not_magnify_rounding():
    assert np.abs(modified_z(np.array([120.0] * 15 + [120.5]))).max() < 3.5
    assert not modified_z(np.array([0.0, 0.0, 0.0])).any()
    assert modified_z(np.array([])).size == 0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.randoms())
def test_modified_z_does_not_depend_on_the_order_or_the_sign(values, chance):
    found = modified_z(np.array(values))
    order = list(range(len(values)))
    chance.shuffle(order)
    np.testing.assert_allclose(modified_z(np.array(values)[order]), found[order], atol=1e-9)
    np.testing.assert_allclose(modified_z(-np.array(values)), -found, atol=1e-9)


# ---- outliers


def test_equal_series_differ_in_nothing():
    assert outliers(series()) == {}


@pytest.mark.parametrize(
    ("column", "rest", "value", "name"),
    [
        ("slice_thickness_mm", "3", "10", "slice_thickness_mm"),
        ("kvp", "120", "80", "kvp"),
        ("spacing_mm", SPACING, "12x0.8x0.8", "spacing_z_mm"),
        ("spacing_mm", SPACING, "3x0.8x2.5", "pixel_mm"),
        ("rows", "512", "128", "rows"),
        ("field_strength_t", "1.5", "7", "field_strength_t"),
    ],
)
def test_a_number_far_from_the_others_is_named(column, rest, value, name):
    assert outliers(series(**{column: with_last(value, rest)})) == {"c19": name}


def test_numbers_that_scatter_have_no_outlier_among_them():
    assert outliers(series(kvp=[str(100 + 2 * k) for k in range(20)])) == {}


def test_few_series_are_too_few_to_say_which_is_odd():
    assert outliers(series(9, kvp=with_last("80", "120", 9))) == {}
    assert outliers(series(10, kvp=with_last("80", "120", 10))) == {"c09": "kvp"}


def test_only_known_values_count():
    # 9 known ones of 20 are too few; and what is unknown never differs.
    assert outliers(series(kvp=["120"] * 8 + ["80"] + [""] * 11)) == {}
    assert outliers(series(kvp=["120"] * 12 + ["80"] + [""] * 7)) == {"c12": "kvp"}


@pytest.mark.parametrize("bad", ["nan", "inf", "unknown", "1e999"])
def test_what_is_no_number_is_unknown(bad):
    assert outliers(series(kvp=with_last(bad, "120"))) == {}


@pytest.mark.parametrize("bad", ["3x0.8", "3x0.8xwide", "x", "3"])
def test_a_spacing_that_is_none_is_unknown(bad):
    assert outliers(series(spacing_mm=with_last(bad, SPACING))) == {}


def test_a_rare_word_is_named_among_many_series_only():
    assert outliers(series(21, manufacturer=with_last("Other", "ACME", 21))) == {"c20": "manufacturer"}
    # One of twenty is 5 %, not less; and of nineteen no share is rare.
    assert outliers(series(20, manufacturer=with_last("Other", "ACME", 20))) == {}
    assert outliers(series(19, manufacturer=with_last("Other", "ACME", 19))) == {}


def test_an_unknown_word_is_not_rare():
    assert outliers(series(40, kernel=["B30f"] * 39 + [""])) == {}


@pytest.mark.parametrize("name", ["lossy", "burned_in"])
def test_a_flag_differs_however_many_or_few_series_there_are_unless_most_have_it(name):
    assert outliers(series(2, **{name: ["no", "yes"]})) == {"c01": name}
    assert set(outliers(series(20, **{name: ["no"] * 10 + ["yes"] * 10}))) == {f"c{k}" for k in range(10, 20)}
    assert outliers(series(3, **{name: ["no", "yes", "yes"]})) == {}


def test_days_are_never_judged():
    assert outliers(series(40, days=with_last("4000", "0", 40))) == {}


def test_series_are_compared_within_modality_and_channel():
    one, other = series(12), series(12, modality="PT", spacing_mm="5x4x4", kvp="")
    assert outliers(pd.concat([one, other])) == {}
    channels = [series(12, modality="MR", channel=name, tr_ms=value) for name, value in (("t1", "500"), ("t2", "4000"))]
    assert outliers(pd.concat(channels)) == {}
    assert len(outliers(pd.concat(channels).assign(channel=""))) == 0, "half and half: neither differs"


def test_several_properties_are_joined_in_a_fixed_order():
    table = series(21, kvp=with_last("80", "120", 21), manufacturer=with_last("Other", "ACME", 21))
    table["lossy"] = with_last("yes", "no", 21)
    assert outliers(table) == {"c20": "kvp;manufacturer;lossy"}


# ---- the table


def test_the_table_keeps_its_rows_and_has_all_columns_as_texts():
    table = series(3).sample(frac=1, random_state=1)
    measured = measure(table)
    assert list(measured.columns) == [*COLUMNS, "outlier"]
    assert measured["case"].tolist() == table["case"].tolist()
    assert measured.map(lambda cell: isinstance(cell, str)).all().all()
    assert set(measured["kernel"]) == {""}


def test_the_columns_are_those_of_the_index():
    assert set(FACTS) <= set(COLUMNS)
    assert {name for name in (*NUMERIC, *CATEGORICAL) if name not in ("spacing_z_mm", "pixel_mm")} <= set(COLUMNS)
    # Whatever the index tells of a series and is no name is judged or described.
    described = {*NUMERIC, *CATEGORICAL, "modality", "spacing_mm"}
    assert set(FACTS) - described == set()


def test_no_series_are_empty_tables():
    measured = measure(pd.DataFrame())
    assert list(measured.columns) == [*COLUMNS, "outlier"]
    assert len(measured) == 0
    summary = summarise_properties(measured)
    assert list(summary.columns) == list(SUMMARY_COLUMNS)
    assert len(summary) == 0


# ---- the summary


def summary_of(table: pd.DataFrame) -> pd.DataFrame:
    return summarise_properties(measure(table)).set_index(["modality", "channel", "property"])


def test_a_summary_by_hand():
    found = summary_of(series(12, slice_thickness_mm=["3"] * 6 + ["1", "1.5", "5", "5", "30", ""]))
    line = found.loc["CT", "", "slice_thickness_mm"]
    assert (line["n"], line["n_known"], line["n_values"], line["most_common"]) == (12, 11, 5, "3")
    assert line["share"] == pytest.approx(6 / 11)
    assert (line["min"], line["median"], line["max"], line["n_outliers"]) == (1.0, 3.0, 30.0, 1)
    words = found.loc["CT", "", "manufacturer"]
    assert (words["most_common"], words["share"], words["n_outliers"]) == ("ACME", 1.0, 0)
    assert all(math.isnan(words[name]) for name in ("min", "median", "max"))


def test_what_is_unknown_of_all_has_no_line():
    assert "te_ms" not in summary_of(series()).reset_index()["property"].tolist()


def test_days_are_described():
    line = summary_of(series(4, days=["0", "10", "20", "90"])).loc["CT", "", "days"]
    assert (line["min"], line["median"], line["max"], line["n_outliers"]) == (0.0, 15.0, 90.0, 0)


def test_of_equally_common_values_the_first_in_order_is_told():
    assert summary_of(series(4, kvp=["120", "80", "120", "80"])).loc["CT", "", "kvp"]["most_common"] == "80"
    assert summary_of(series(2, kernel=["b", "a"])).loc["CT", "", "kernel"]["most_common"] == "a"


def test_the_order_of_the_rows_makes_no_difference():
    table = pd.concat([series(15, kvp=with_last("80", "120", 15)), series(3, modality="MR", channel="t1")])
    one = summarise_properties(measure(table))
    other = summarise_properties(measure(table.sample(frac=1, random_state=2)))
    pd.testing.assert_frame_equal(one, other)


def test_the_sizes_of_a_voxel_are_taken_apart():
    table = measure(series(2, spacing_mm=["3x0.8x0.9", ""]))
    assert values_of(table, "spacing_z_mm") == ["3", ""]
    assert values_of(table, "pixel_mm") == ["0.9", ""]
    assert as_numbers(["1", "", "x", "nan", "2.5"]).tolist() == [1.0, 2.5]
