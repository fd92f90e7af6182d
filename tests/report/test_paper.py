"""Figures for a paper show exactly what they were given: planted tables come back from the lines, boxes and texts."""

import argparse

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from report_content import history, phantom_slice
from scipy.stats import mannwhitneyu

from cohortseg.cli import figures
from cohortseg.errors import StudyError
from cohortseg.report import paper
from cohortseg.report.key_slice import key_slice


def only_axes(figure):
    (axes,) = figure.get_axes()
    return axes


def test_the_learning_rate_is_a_blue_line_of_what_was_logged():
    table = history(0, steps=60)
    (line,) = only_axes(paper.learning_rate(table)).get_lines()
    assert line.get_color() == paper.BLUE
    np.testing.assert_array_equal(line.get_xdata(), table["epoch"])
    np.testing.assert_array_equal(line.get_ydata(), table["learning_rate"])


@pytest.mark.parametrize(
    ("curve", "names", "corner"), [("loss", ["training", "validation"], 1), ("dice", ["validation"], 4)]
)
def test_training_is_blue_and_validation_red(curve, names, corner):
    axes = only_axes(paper.training(history(0), curve=curve))
    colours = {line.get_label(): line.get_color() for line in axes.get_lines()}
    assert colours == {name: {"training": paper.BLUE, "validation": paper.RED}[name] for name in names}
    assert axes.get_legend()._loc == corner  # upper right, lower right


def test_planted_medians_come_back_by_slice_thickness_and_by_volume():
    thickness = pd.Series([1.0, 2.4, 2.5, 4.9, 5.0, 6.0, 9.0, np.nan])
    metric = pd.Series([0.80, 0.90, 0.70, 0.72, 0.60, 0.62, 0.1, 0.2])
    groups = paper.binned(thickness, metric, paper.THICKNESS_MM)
    assert list(groups.values()) == [[0.80, 0.90], [0.70, 0.72], [0.60, 0.62]]
    texts = [text.get_text() for text in only_axes(paper.boxes(groups, metric="dice", title="t")).texts]
    assert texts == ["0.850, n=2", "0.710, n=2", "0.610, n=2"]
    volumes = paper.binned(pd.Series([19.9, 20.0, 150.0, 150.1]), pd.Series([1.0, 2.0, 3.0, 4.0]), paper.VOLUME_ML)
    assert list(volumes.values()) == [[1.0], [2.0, 3.0], [4.0]]


def test_the_tests_are_those_of_scipy_corrected_for_their_number():
    chance = np.random.default_rng(3)
    groups = {"a": chance.normal(0, 1, 20), "b": chance.normal(1, 1, 20), "c": chance.normal(0.1, 1, 20), "d": []}
    found = paper.mann_whitney(groups)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["a", "b"] == pytest.approx(3 * mannwhitneyu(groups["a"], groups["b"]).pvalue)
    assert max(found.values()) <= 1


def test_average_precision_is_the_area_of_the_steps():
    assert paper.average_precision([0.5, 1.0], [1.0, 0.5]) == 0.75
    assert paper.average_precision([1.0, 0.5], [0.5, 1.0]) == 0.75
    assert np.isnan(paper.average_precision([], []))
    figure = paper.precision_recall({"unet": ([0.5, 1.0], [1.0, 0.5])})
    assert only_axes(figure).get_legend().get_texts()[0].get_text() == "unet (AP 0.750)"


def test_a_table_shows_its_numbers_and_dashes():
    values = pd.DataFrame({"sensitivity": [0.89, np.nan], "accuracy": [0.9, 0.97]}, index=["a", "b"])
    (table,) = only_axes(paper.metric_table(values, decimals=2)).tables
    cells = {place: cell.get_text().get_text() for place, cell in table.get_celld().items()}
    assert [cells[0, 0], cells[0, 1]] == ["Sensitivity", "Accuracy"]
    assert [cells[1, 0], cells[2, 0], cells[2, 1]] == ["0.89", "–", "0.97"]


@pytest.mark.parametrize(("n", "shown"), [(3, 3), (25, 20)])
def test_slices_are_rows_of_four(n, shown):
    volume = np.arange(n * 4).reshape(n, 2, 2)
    axes = paper.slices(volume, volume % 2, volume % 3).get_axes()
    assert len(axes) == 4 * shown
    np.testing.assert_array_equal(axes[4].get_images()[0].get_array(), volume[1])
    np.testing.assert_array_equal(axes[3].get_images()[0].get_array(), volume[0] % 3)


def test_contours_lie_on_boundaries_and_are_named():
    image, reference, prediction = phantom_slice(0.6)
    axes = only_axes(paper.contours(image, reference, {"unet": prediction, "empty": 0 * prediction}))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["reference", "empty", "unet"]
    assert len(axes.collections) == 2
    vertices = axes.collections[0].get_paths()[0].vertices
    inside = reference[np.floor(vertices[:, 1]).astype(int), np.floor(vertices[:, 0]).astype(int)]
    outside = reference[np.ceil(vertices[:, 1]).astype(int), np.ceil(vertices[:, 0]).astype(int)]
    assert (inside != outside).any()
    assert set(vertices[:, 0] % 1) | set(vertices[:, 1] % 1) == {0.0, 0.5}


def test_each_label_of_a_map_has_a_colour_of_its_own():
    label = np.array([[0, 1], [2, 3]])
    drawn = only_axes(paper.label_map(label, names=["a", "b", "c"])).get_images()[0]
    assert len({to_hex(drawn.cmap(drawn.norm(number))) for number in range(4)}) == 4
    with pytest.raises(ValueError, match="9 labels"):
        paper.label_map(label, names=list("abcdefghi"))


def test_the_difference_is_first_less_second():
    a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 1.0]])
    axes = paper.difference(a, b).get_axes()
    np.testing.assert_array_equal(axes[2].get_images()[0].get_array(), [[-2.0, 4.0]])
    assert axes[2].get_images()[0].get_clim() == (-4.0, 4.0)


def test_the_same_figure_is_the_same_bytes_in_both_formats():
    first, second = (paper.encoded(paper.learning_rate(history(0, steps=20))) for _ in range(2))
    assert first == second
    assert first["png"].startswith(b"\x89PNG")
    assert first["svg"].startswith(b"<?xml")


def test_an_unknown_figure_is_named_with_those_there_are(tmp_path):
    arguments = argparse.Namespace(study=tmp_path, names=["los-curves"], experiment=None, label=None)
    with pytest.raises(StudyError, match=r"no figure los-curves; choices: learning-rate, loss-curves"):
        figures.run(arguments)
    with pytest.raises(StudyError, match="no tables"):
        figures.run(argparse.Namespace(study=tmp_path, names=[], experiment=None, label=None))


def test_the_slice_with_the_largest_reference_is_shown():
    reference, prediction = np.zeros((5, 6, 7), np.uint8), np.zeros((5, 6, 7), np.uint8)
    reference[1, :2, :2] = 2
    reference[3, :2, :3] = 1
    prediction[4] = 1
    assert key_slice(reference, prediction) == 3
    assert key_slice(np.zeros_like(reference), prediction) == 4
    assert key_slice(None, prediction.astype(bool)) == 4
    assert key_slice(np.zeros_like(reference), None) == 2
    with pytest.raises(ValueError, match="reference or a prediction"):
        key_slice(None, None)
