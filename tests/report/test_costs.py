"""Metric against cost: which methods nothing beats, by hand; and what the figure shows of them."""

import numpy as np
import pandas as pd
import pytest

from cohortseg.report.costs import COST_COLUMNS, on_front, pareto

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "cost", "higher", "expected"),
    [
        ([0.5, 0.9, 0.7, 0.6], [1, 10, 2, 3], True, [1, 1, 1, 0]),  # the last is beaten by the third
        ([3.0, 1.0, 2.0], [1, 10, 20], False, [1, 1, 0]),  # a distance: lower is better
        ([0.8, 0.8, 0.8], [2, 2, 3], True, [1, 1, 0]),  # equals share the front
        ([NAN, 0.1, 0.9], [1, 1, NAN], True, [0, 1, 0]),  # what is unknown is not on it, and beats nobody
        ([], [], True, []),
    ],
)
def test_the_front_by_hand(value, cost, higher, expected):
    found = on_front(np.array(value, float), np.array(cost, float), higher=higher)
    assert found.tolist() == [bool(one) for one in expected]


def table():
    rows = [
        ("otsu", "classical", 4, 0.6, 0.01, NAN, 80.0),
        ("forest", "learnt without a network", 4, 0.7, 0.5, 3.0, 120.0),
        ("unet", "network", 4, 0.9, 0.4, 60.0, 500.0),
        ("failed", "network", 0, NAN, NAN, NAN, NAN),
    ]
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


def test_methods_are_numbered_by_rank_and_those_on_the_front_are_filled():
    figure = pareto(table(), metric="dice", title="tumour, 4 cases")
    seconds, memory, names = figure.axes
    texts = [text.get_text() for text in names.texts]
    assert texts[-4:] == ["1  unet  0.900", "2  forest  0.700", "3  otsu  0.600", "4  failed  –"]
    filled = [line.get_markerfacecolor() != "none" for line in seconds.lines if line.get_marker() in "os^"]
    assert filled == [True, False, True, False]  # in the order of rank: the forest is slower than the network
    filled = [line.get_markerfacecolor() != "none" for line in memory.lines if line.get_marker() in "os^"]
    assert filled == [True, True, True, False]
    assert seconds.get_xscale() == "log"


def test_no_method_is_an_empty_figure():
    assert pareto(table()[:0], metric="dice", title="nothing").axes[0].texts[:] == []
