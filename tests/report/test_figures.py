"""Figures as SVG: they show the numbers they were given, the same way each time."""

import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from report_content import history, metric_rows

from cohortseg.report.figures import MOST_VECTOR_POINTS, size_plot, strip_plot, training_curves
from cohortseg.report.style import colour, series

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def marks(svg, paint):
    """Positions (x, y) of the markers in one colour."""
    found = [
        (float(element.get("x")), float(element.get("y")))
        for element in ElementTree.fromstring(svg).iter(f"{SVG}use")
        if f"stroke: {paint}" in element.get("style", "") or f"fill: {paint}" in element.get("style", "")
    ]
    return np.array(found)


def line(svg, paint):
    """Corners (x, y) of the longest line in one colour."""
    paths = [
        np.array(re.findall(r"[ML] ([-0-9.]+) ([-0-9.]+)", element.get("d")), dtype=float)
        for element in ElementTree.fromstring(svg).iter(f"{SVG}path")
        if f"stroke: {paint}" in element.get("style", "")
    ]
    return max(paths, key=len)


def test_the_strip_plot_places_every_case_at_its_value():
    rows = pd.DataFrame({"experiment": "a", "stage": "post", "label": "x", "dice": [0.1, 0.9, 0.25, 0.5, np.nan]})
    found = np.sort(marks(strip_plot(rows, "dice", label="x"), series(0).colour)[:, 0])
    values = np.array([0.1, 0.25, 0.5, 0.9])
    assert np.allclose((found - found[0]) / (found[-1] - found[0]), (values - 0.1) / 0.8, atol=1e-4)


def test_the_strip_plot_says_median_and_counts_and_what_is_undefined():
    rows = pd.DataFrame({"experiment": "a", "stage": "raw", "label": "x", "dice": [0.1, 0.9, 0.5, np.nan]})
    said = texts(strip_plot(rows, "dice", label="x", axis_title="Dice"))
    assert "a · raw" in said
    assert "0.50, n=3, 1 undefined" in said
    assert "Dice" in said


def test_a_group_without_any_value_is_named_all_the_same():
    rows = pd.DataFrame({"experiment": ["a", "b"], "stage": "raw", "label": "x", "hd95_mm": [np.nan, 3.0]})
    assert "n=0, 1 undefined" in texts(strip_plot(rows, "hd95_mm", label="x"))


def test_only_the_asked_label_is_drawn():
    rows = metric_rows(labels=("tumour", "oedema"))
    assert strip_plot(rows, "dice", label="tumour") != strip_plot(rows, "dice", label="oedema")
    assert "n=14" in " ".join(texts(strip_plot(rows, "dice", label="oedema")))


def test_the_size_plot_uses_a_log_axis_and_says_what_it_leaves_out():
    rows = pd.DataFrame(
        {"experiment": "a", "stage": "post", "label": "x", "dice": 0.5, "reference_ml": [0.0, 1.0, 10.0, 1000.0]}
    )
    svg = size_plot(rows, label="x")
    x = np.sort(marks(svg, series(0).colour)[:, 0])
    assert (x[2] - x[0]) / (x[1] - x[0]) == pytest.approx(3, rel=1e-3)
    assert "1 undefined or without volume: not shown" in texts(svg)


@pytest.mark.parametrize("volumes_ml", [(20.0, 60.0), (1.0, 70.0), (0.1, 900.0)])
def test_the_log_axis_has_plain_numbers_whatever_its_range(volumes_ml):
    rows = metric_rows().head(len(volumes_ml)).assign(reference_ml=volumes_ml, label="x")
    svg = size_plot(rows, label="x")
    assert b"mathdefault" not in svg
    assert b"{" not in svg.split(b"</style>")[-1]


def test_the_size_plot_shows_the_last_stage_once():
    rows = metric_rows(n_cases=5)
    assert len(marks(size_plot(rows, label="tumour"), series(1).colour)) == 5


def test_the_learning_rate_curve_is_what_was_logged():
    rate = np.array([1e-3, 3e-3, 2e-3, 5e-4, 0.0])
    table = pd.DataFrame({"step": [1, 2, 4, 7, 9], "learning_rate": rate})
    drawn = line(training_curves({"m": table}, curve="learning_rate"), series(0).colour)
    assert np.allclose(np.corrcoef(drawn[:, 0], [1, 2, 4, 7, 9])[0, 1], 1)
    assert np.allclose(np.corrcoef(drawn[:, 1], rate)[0, 1], -1)


def test_the_loss_figure_tells_training_and_validation_apart_by_the_line():
    svg = training_curves({"m": history(0)}, curve="loss").decode()
    styles = [style for style in re.findall(r'style="([^"]*)"', svg) if f"stroke: {series(0).colour}" in style]
    assert any("stroke-dasharray" in style for style in styles)
    assert any("stroke-dasharray" not in style for style in styles)


def test_a_long_history_stays_small():
    long = training_curves({"m": history(0, steps=50_000)}, curve="loss")
    assert len(long) < 40_000


def test_twenty_thousand_cases_stay_small():
    chance = np.random.default_rng(1)
    rows = pd.DataFrame({"experiment": "a", "stage": "post", "label": "x", "dice": chance.uniform(0, 1, 20_000)})
    rows["reference_ml"] = 10 ** chance.uniform(0, 2, 20_000)
    assert len(rows) > MOST_VECTOR_POINTS
    assert len(strip_plot(rows, "dice", label="x")) < 150_000
    assert len(size_plot(rows, label="x")) < 150_000


def test_names_are_drawn_as_they_are_and_long_ones_are_cut_in_the_middle():
    rows = pd.DataFrame({"experiment": ["$x^2$ <b>", "a" * 30 + "_fold2"], "stage": "raw", "label": "x", "dice": 0.5})
    said = texts(strip_plot(rows, "dice", label="x"))
    assert "$x^2$ <b> · raw" in said
    assert any(text.startswith("aaaa") and "…" in text and text.endswith("_fold2 · raw") for text in said)


def test_no_rows_give_empty_figures():
    for svg in (strip_plot(pd.DataFrame(), "dice", label="x"), size_plot(pd.DataFrame(), label="x")):
        assert len(marks(svg, series(0).colour)) == 0
        assert "n=" not in " ".join(texts(svg))


def test_the_same_data_gives_the_same_bytes_without_date_or_program():
    rows = metric_rows()
    svg = strip_plot(rows, "dice", label="tumour")
    with matplotlib.rc_context({"axes.xmargin": 0.4, "font.weight": "bold", "xtick.direction": "in"}):
        assert svg == strip_plot(rows, "dice", label="tumour")
    assert b"<metadata" not in svg or (b"date" not in svg and b"Matplotlib" not in svg)


def test_figures_hold_no_colour_that_the_page_does_not_know():
    figures = [
        strip_plot(metric_rows(), "dice", label="tumour"),
        size_plot(metric_rows(), label="tumour"),
        training_curves({"m": history(0)}, curve="loss"),
    ]
    known = {colour(name) for name in ("paper", "ink", "muted", "rule", "frame")} | {series(k).colour for k in range(8)}
    for svg in figures:
        assert set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg.decode())) <= known
