"""Figures by group show the planted medians: by difficulty, place, fold, size and band, from tables alone."""

import numpy as np
import pandas as pd
import pytest
from study_by_hand import case_of, study_of, write_text

from cohortseg.cli.figure_targets import TARGETS
from cohortseg.cli.figure_wish import Wish
from cohortseg.report.paper_groups import by_group, location
from cohortseg.settings import load_study

DICE = {"p0": 0.9, "p1": 0.8, "p2": 0.7, "p3": 0.6, "p4": 0.5, "p5": 0.4}
CLINIC = {  # difficulty, location, atelectasis
    "p0": ("no", "0", "no"),
    "p1": ("no", "0;1", "no"),
    "p2": ("no", "2", "yes"),
    "p3": ("yes", "1, 2", "no"),
    "p4": ("yes", "0+2", "yes"),
    "p5": ("yes", "", "yes"),
}


@pytest.fixture
def wish(tmp_path):
    layout = study_of(tmp_path, *(case_of(name, voxels=(place + 1) * 10**6) for place, name in enumerate(DICE)))
    write_text(
        layout.clinical,
        "subject\tdifficulty\tlocation\tatelectasis\n"
        + "".join(f"{n}\t" + "\t".join(c) + "\n" for n, c in CLINIC.items()),
    )
    rows = pd.DataFrame({"case": list(DICE), "dice": list(DICE.values()), "fold": [0, 0, 0, 1, 1, 1]})
    rows = rows.assign(
        experiment="a", label="tumour", reference_ml=[5.0, 30, 200, 5, 30, 200], seconds_predict=np.arange(6.0)
    )
    study = {
        "study": "planted",
        "cohort": {"source": ".", "labels": {"kind": "rtstruct", "structures": {"tumour": "GTV"}}},
        "experiments": {"a": {"method": "threshold", "rule": "otsu"}},
    }
    return Wish(layout, load_study(study), "a", "tumour", rows)


def boxes_of(figure):
    """Group: the text above its box."""
    (axes,) = figure.get_axes()
    names = [text.get_text() for text in axes.get_xticklabels()]
    notes = {round(text.xy[0]): text.get_text() for text in axes.texts}
    return {name: notes.get(place, "") for place, name in enumerate(names)}


def test_medians_by_difficulty_and_by_atelectasis(wish):
    assert boxes_of(TARGETS["results-by-difficulty"](wish)) == {"no": "0.800, n=3", "yes": "0.500, n=3"}
    assert boxes_of(TARGETS["results-by-atelectasis"](wish)) == {"no": "0.800, n=3", "yes": "0.500, n=3"}


def test_a_lesion_in_several_places_belongs_to_one_of_them(wish):
    assert boxes_of(TARGETS["results-by-location"](wish)) == {
        "chest wall": "0.600, n=2",
        "mediastinum": "0.700, n=2",
        "parenchyma": "0.900, n=1",
    }


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("0", "parenchyma"),
        ("1.0", "mediastinum"),
        ("0;1;2", "mediastinum"),
        ("2", "chest wall"),
        ("hilum", "hilum"),
        (None, ""),
    ],
)
def test_codes_of_places(code, place):
    assert location(code) == place


def test_each_cell_of_difficulty_and_volume_has_its_case(wish):
    found = boxes_of(TARGETS["results-by-difficulty-and-volume"](wish))
    assert found == {
        "< 20 ml\nno": "0.900, n=1",
        "20–150 ml\nno": "0.800, n=1",
        "> 150 ml\nno": "0.700, n=1",
        "< 20 ml\nyes": "0.600, n=1",
        "20–150 ml\nyes": "0.500, n=1",
        "> 150 ml\nyes": "0.400, n=1",
    }


def test_without_the_column_there_is_no_figure(wish):
    wish.layout.clinical.unlink()
    for name in ("results-by-difficulty", "results-by-location", "results-by-difficulty-and-volume"):
        assert TARGETS[name](wish) is None


def test_time_is_drawn_against_the_size_of_the_image(wish):
    (line,) = TARGETS["time-by-image-size"](wish).get_axes()[0].get_lines()
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(line.get_ydata(), [0, 1, 2, 3, 4, 5])


def cells(figure):
    (table,) = figure.get_axes()[0].tables
    found = {place: cell.get_text().get_text() for place, cell in table.get_celld().items()}
    return [
        [found[row, column] for column in range(1 + max(c for _, c in found))]
        for row in range(1, 1 + max(r for r, _ in found))
    ]


def test_the_table_of_folds_has_each_fold_and_all(wish):
    assert cells(TARGETS["results-by-fold"](wish)) == [["0.800", "0.500", "0.650"]]


def test_a_baseline_and_its_tuned_version_stand_side_by_side(wish):
    assert TARGETS["image-quality-table"](wish) is None
    made = {"experiment": ["baseline", "baseline", "tuned"], "mae": [41.0, 43.0, 31.0], "psnr_db": [14.5, 14.7, 18]}
    inside = pd.DataFrame({**made, "ssim": None, "region": "body", "split": "test"})
    others = [inside.assign(region="whole", mae=9.0), inside.assign(split="val", mae=99.0)]
    write_text(wish.layout.table("images"), pd.concat([others[0], inside, others[1]]).to_csv(index=False))
    # A study that makes images has no row of a label.
    found = TARGETS["image-quality-table"](Wish(wish.layout, wish.study, "a", "", wish.rows.iloc[:0]))
    assert cells(found) == [["42.000", "14.600"], ["31.000", "18.000"]]


def test_the_trimap_curve_is_that_of_the_table(wish):
    table = pd.DataFrame(
        {"experiment": "a", "label": "tumour", "stage": "post", "split": "val", "curve": "trimap"}, index=range(3)
    )
    table.assign(n_cases=6, threshold=[1, 2, 4], x=[1.0, 2.0, 4.0], y=[0.4, 0.5, 0.6]).to_csv(
        _made(wish.layout.table("curves")), index=False
    )
    (line,) = TARGETS["trimap-curve"](wish).get_axes()[0].get_lines()
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([1.0, 2.0, 4.0], [0.4, 0.5, 0.6])


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_groups_without_a_name_or_a_value_are_left_out():
    assert by_group(pd.Series(["x", " ", None, "x"]), pd.Series([1.0, 2.0, 3.0, np.nan])) == {"x": [1.0]}
