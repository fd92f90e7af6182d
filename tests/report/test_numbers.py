"""Numbers as a reader wants them."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.report.numbers import (
    MINUS,
    NARROW_SPACE,
    counted,
    duration,
    interval,
    is_number,
    memory,
    metric_look,
    number,
    p_value,
    signed,
    significant,
)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.834, 2, "0.83"),
        (-0.41, 2, f"{MINUS}0.41"),
        (-0.001, 2, "0.00"),
        (12345.6, 0, f"12{NARROW_SPACE}346"),
        (math.nan, 2, "–"),
        (math.inf, 2, "∞"),
        (-math.inf, 0, f"{MINUS}∞"),
        (None, 2, "–"),
        ("soon", 2, "–"),
        (pd.NA, 2, "–"),
    ],
)
def test_a_number_is_short_and_never_minus_zero(value, decimals, text):
    assert number(value, decimals) == text


def test_a_sign_is_written_only_for_what_is_not_zero_after_rounding():
    assert (signed(0.2), signed(-0.2), signed(0.001), signed(None)) == ("+0.20", f"{MINUS}0.20", "0.00", "–")
    assert (signed(math.inf), signed(-math.inf)) == ("+∞", f"{MINUS}∞")


def test_an_interval_with_a_minus_sign_avoids_a_second_dash():
    assert interval(0.1, 0.25) == "0.10–0.25"
    assert interval(-3.2, 4, 1) == f"{MINUS}3.2 to 4.0"
    assert interval(0.1, math.nan) == "–"


def test_p_values_keep_the_digits_that_matter():
    texts = [p_value(p) for p in (0.0001, 0.0123, 0.34, 0.999, math.nan)]
    assert texts == ["< 0.001", "= 0.012", "= 0.34", "> 0.99", "–"]


def test_counts_agree_with_their_noun():
    assert (counted(1, "case"), counted(2, "case"), counted(0, "series", "series")) == ("1 case", "2 cases", "0 series")


def test_durations_and_memory_say_the_unit_that_matters():
    assert [duration(s) for s in (0.44, 59.4, 200, 7500, 273600, None)] == [
        "0.4 s",
        "59 s",
        "3 min 20 s",
        "2 h 5 min",
        "3 d 4 h",
        "–",
    ]
    assert [memory(mb) for mb in (640.2, 3900, math.nan)] == ["640 MB", "3.9 GB", "–"]


def test_an_unknown_metric_is_shown_under_its_own_name():
    assert metric_look("hd95_mm").better == "lower"
    assert metric_look("my_score").title == "my score"


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e9, 1e9), st.integers(0, 4))
def test_a_written_number_is_the_rounded_number(value, decimals):
    text = number(value, decimals).replace(MINUS, "-").replace(NARROW_SPACE, "")
    assert is_number(text)
    assert abs(float(text) - value) <= 0.5000001 * 10**-decimals + abs(value) * 1e-12


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.976562, "0.977"), (11054.0, "11\u202f054"), (3.0, "3"), (131.859, "132"), (-68.3519, "−68.4"), (0, "0")),
        *((0.00012345, "0.000123"), (1e-9, "< 0.00001"), (-1e-9, "> −0.00001"), (9.999, "10"), (0.5, "0.5")),
        *((1374.2, "1\u202f374"), (float("nan"), "–"), (float("inf"), "∞"), ("word", "–")),
    ],
)
def test_a_few_significant_digits_never_with_an_exponent(value, text):
    assert significant(value) == text
